package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// topics are pages of "mxkeep help" that belong to no command.
var topics = []struct{ name, short, text string }{
	{"filters", "how messages are chosen", strings.TrimLeft(filterHelp, "\n") + `
A command that changes messages does nothing without a filter, ids, or --all. --dry-run shows
the set; --if-count N changes nothing if the set is not of that size.
`},
	{"output", "formats, fields, colour and times", `-o auto is a table on a terminal, and tab-separated values on a pipe: no header, nothing cut, times in RFC 3339.
-o table, wide, tsv, csv, json, jsonl, id and mailq are obeyed everywhere they make sense.
--json is the newest schema, --json=1 insists on schema 1. Members are only added within a number;
words such as states may get more. Bytes are integers, durations seconds, times UTC; unknown is null.
--fields id,state chooses columns, or members of the JSON.
Colour is off on a pipe, with NO_COLOR, MXKEEP_NO_COLOR, TERM=dumb, CLICOLOR=0 or --no-color; CLICOLOR_FORCE forces it.
Data goes to standard output, words to standard error. With --json a failure ends with one JSON object there.
`},
	{"environment", "variables that are read", `MXKEEP_SOCKET   control socket
MXKEEP_CONFIG   configuration file
MXKEEP_OUTPUT   output format
A flag wins over the environment, the environment over the file, the file over the default.
`},
	{"exit-codes", "what the exit codes mean", `0    done; also when nothing matched, unless --fail-empty
1    failed
2    wrong usage, or refused for safety: no selection, no confirmation, another count
3    partly done; the rest is listed
4    the relay does not answer, or may not be asked
5    not found; nothing matched with --fail-empty
6    --timeout is over
74   the disk failed, of "serve": start it again
78   the configuration is invalid
130  interrupted
"status --exit-code" and "status --format nagios": 0 fine, 1 warning, 2 critical, 3 unknown.
New codes may come: an unknown one is a failure.
`},
}

func newHelp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC | ERROR]",
		Short: "Words about a command, a topic, or an error",
		Example: "  mxkeep help queue list\n" +
			"  mxkeep help exit-codes\n" +
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
				return usage("no help about %s; there are commands, errors, and the topics: %s", quote(strings.Join(args, " ")), topicNames())
			}
			return about.Help()
		},
	}
}

func topicNames() string {
	var names []string
	for _, t := range topics {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

// helpOverview is the help of the root, and the list of topics.
func helpOverview(w io.Writer, root *cobra.Command) error {
	if err := root.Help(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nTopics of \"mxkeep help\":")
	for _, t := range topics {
		fmt.Fprintf(w, "  %-12s %s\n", t.name, t.short)
	}
	return nil
}

// helpPage finds a topic, or an error by its number or its word.
func helpPage(word string) (string, bool) {
	for _, t := range topics {
		if t.name == word {
			return t.text, true
		}
	}
	for _, p := range problems {
		if strings.EqualFold(p.number, word) || p.code == word {
			return fmt.Sprintf("%s %s\nexit code  %d\nnext step  %s\n", p.number, p.code, p.exit, p.hint), true
		}
	}
	return "", false
}
