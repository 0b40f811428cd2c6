package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/spf13/cobra"
)

// validation is what "config validate" found.
type validation struct {
	Schema   string          `json:"schema"`
	File     string          `json:"file"`
	Valid    bool            `json:"valid"`
	Problems []configProblem `json:"problems"`
}

// configProblem is one problem; line and column are null if it has no place in the file.
type configProblem struct {
	Line    *int   `json:"line"`
	Column  *int   `json:"column"`
	Key     string `json:"key"`
	Message string `json:"message"`
	Next    string `json:"next"`
}

// exampleDocument is the example for a program.
type exampleDocument struct {
	Schema string `json:"schema"`
	Text   string `json:"text"`
}

func newConfig(a *app) *cobra.Command {
	return group("config", "Look at configuration files", newConfigValidate(a), newConfigExample(a))
}

func newConfigValidate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Say all that is wrong with a configuration file",
		Long: "Says all that is wrong with a configuration file, and exits with 78 if anything is. It only reads: nothing is\n" +
			"written, no port is opened and nobody is asked. Files that it names are looked at as the user who runs this.",
		Example: "  mxkeep config validate /etc/mxkeep/mxkeep.yaml\n" +
			"  mxkeep config example | mxkeep config validate -\n" +
			"  sudo -u mxkeep mxkeep config validate --config /etc/mxkeep/mxkeep.yaml --json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := a.configFile()
			if len(args) > 0 {
				file = args[0]
			}
			if file == "-" {
				file = "/dev/stdin"
			}
			if file == "" {
				return usage("no configuration file: name one, say --config FILE, or set MXKEEP_CONFIG")
			}
			config, err := configs.Load(file)
			var wrong configs.Problems
			errors.As(err, &wrong)
			err = a.document(validationOf(file, wrong), func(w io.Writer) { a.showValidation(w, file, config, wrong) })
			if err == nil && len(wrong) > 0 {
				return exitCode(exitConfig)
			}
			return err
		},
	}
}

func newConfigExample(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "example [systemd | socket]",
		Short: "Print a configuration file with every key, or a unit of systemd",
		Long: "Prints a configuration file in which every key is explained. With systemd it is the unit of the service that is\n" +
			"printed, and with socket the unit that opens its ports: see mxkeep help service.",
		Example: "  mxkeep config example > /etc/mxkeep/mxkeep.yaml\n" +
			"  mxkeep config example systemd > /etc/systemd/system/mxkeep.service\n" +
			"  mxkeep config example socket > /etc/systemd/system/mxkeep.socket",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"systemd", "socket"},
		RunE: func(_ *cobra.Command, args []string) error {
			text := configs.Example()
			if len(args) > 0 {
				text = configs.Unit(args[0])
			}
			return a.document(exampleDocument{"mxkeep.config.example/1", string(text)}, func(w io.Writer) { _, _ = w.Write(text) })
		},
	}
}

func validationOf(file string, wrong configs.Problems) validation {
	v := validation{Schema: "mxkeep.config.validation/1", File: file, Valid: len(wrong) == 0, Problems: []configProblem{}}
	for _, p := range wrong {
		out := configProblem{Key: p.Key, Message: p.Message, Next: p.Next}
		if p.Line > 0 {
			out.Line, out.Column = &p.Line, &p.Column
		}
		v.Problems = append(v.Problems, out)
	}
	return v
}

// showValidation writes each problem as people read it; for programs in one
// line, as compilers do.
func (a *app) showValidation(w io.Writer, file string, c configs.Config, wrong configs.Problems) {
	f := a.flow(w)
	for _, p := range wrong {
		if a.exact() {
			fmt.Fprintln(w, clean(p.String()))
			continue
		}
		next := p.Next
		p.Next = ""
		f.block("", 0, p.String())
		f.block("    ", 4, "Next: "+next)
	}
	switch {
	case len(wrong) == 0:
		fmt.Fprintf(w, "%s: valid: %s for %s, upstream %s\n", clean(file), c.Hostname, strings.Join(domainNames(c), ", "), strings.Join(upstreamNames(c), ", "))
	case a.exact():
	case len(wrong) == 1:
		fmt.Fprintln(w, "1 problem; nothing was opened or written")
	default:
		fmt.Fprintf(w, "%d problems; nothing was opened or written\n", len(wrong))
	}
}

func domainNames(c configs.Config) (names []string) {
	for _, d := range c.Domains {
		names = append(names, d.Name)
	}
	return names
}

func upstreamNames(c configs.Config) (names []string) {
	for _, u := range c.Upstreams {
		names = append(names, u.Name)
	}
	return names
}

// configFile is the file that was asked for: flag, then environment; "" if there is none.
func (a *app) configFile() string {
	if a.flags.config != "" {
		return a.flags.config
	}
	return a.env("MXKEEP_CONFIG")
}

// configuredSocket is the control socket that the configuration file names; ""
// if there is no file, or none that can be read. What else is wrong with it is
// not the matter of a command that only wants to reach the relay.
func (a *app) configuredSocket() string {
	file := a.configFile()
	if file == "" {
		return ""
	}
	config, _ := configs.Load(file)
	return config.Socket
}
