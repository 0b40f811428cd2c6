package main

import (
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// guide has the pages of "mxkeep help" that belong to no command. The first
// line of each is its title.
//
//go:embed help/*.md
var guide embed.FS

// topics are the names of the pages, in the order in which people need them.
var topics = []string{"outage", "probes", "exchange-online", "configuration", "service", "recipients", "clients", "authentication", "arc", "milter", "notifications", "internet", "incidents", "reports", "states", "damage", "ledger", "moving", "backup", "upgrade", "filters", "logs", "output", "environment", "exit-codes"}

// errorsTopic is the page that is made from the table of errors.
const errorsTopic = "errors"

func newHelp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC | ERROR]",
		Short: "Words about a command, a topic, or an error",
		Example: "  mxkeep help outage\n" +
			"  mxkeep help queue list\n" +
			"  mxkeep help E1203",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return helpOverview(a.out, cmd.Root())
			}
			if len(args) == 1 {
				if page, ok := helpPage(args[0]); ok {
					_, err := io.WriteString(a.out, page)
					return err
				}
			}
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage("no help about %s; there are commands, errors, and the topics: %s, %s", quote(strings.Join(args, " ")), strings.Join(topics, ", "), errorsTopic)
			}
			return about.Help()
		},
	}
}

// helpOverview is the help of the root, and the list of topics.
func helpOverview(w io.Writer, root *cobra.Command) error {
	if err := root.Help(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nTopics of \"mxkeep help\":")
	for _, name := range topics {
		title, _, _ := strings.Cut(topic(name), "\n")
		fmt.Fprintf(w, "  %-16s %s\n", name, strings.TrimPrefix(title, "# "))
	}
	fmt.Fprintf(w, "  %-16s %s\n", errorsTopic, "Every error, with its number and exit code")
	return nil
}

// topic is the page of that name; "" if there is none.
func topic(name string) string {
	text, _ := guide.ReadFile("help/" + name + ".md") // what is not there has no text
	return string(text)
}

// helpPage finds a topic, or an error by its number or its word.
func helpPage(word string) (string, bool) {
	if text := topic(word); text != "" {
		return text, true
	}
	if word == errorsTopic {
		return errorList(), true
	}
	for _, p := range problems {
		if strings.EqualFold(p.number, word) || p.code == word {
			return fmt.Sprintf("%s %s\nexit code  %d\nnext step  %s\n", p.number, p.code, p.exit, p.hint), true
		}
	}
	return "", false
}

// errorList is every error of the command line.
func errorList() string {
	var page strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&page, "%s  exit %-3d  %s\n    %s\n", p.number, p.exit, p.code, p.hint)
	}
	return page.String()
}

// filterHelp is what a command that chooses messages says about it: the first
// paragraph of the page.
func filterHelp() string {
	_, text, _ := strings.Cut(topic("filters"), "\n\n")
	text, _, _ = strings.Cut(text, "\n\n")
	return "\n\n" + text
}
