package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot makes the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := group("mxkeep", "A backup MX that keeps mail while the primary cannot take it")
	root.Long = "mxkeep takes mail into custody while the primary cannot, and delivers it once the primary can.\n\n" +
		"Start with: mxkeep status. In an outage: mxkeep help outage."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRunE = a.start
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	a.globalFlags(root)
	root.AddCommand(
		newServe(a),
		newDemo(a),
		newStatus(a),
		newReady(a),
		newQueue(a),
		newTrace(a),
		newExplain(a),
		newHealth(a),
		newWindow(a),
		newIncident(a),
		newBackup(a),
		newRecipients(a),
		newAuth(a),
		newDB(a),
		newConfig(a),
		newVersion(a),
		newCompletion(a),
	)
	root.SetHelpCommand(newHelp(a))
	root.AddCommand(oldHabits()...)
	fold(root)
	return root
}

// helpWidth is for screens of any width.
const helpWidth = 80

// fold breaks the paragraphs about a command, and those below it, into lines.
func fold(cmd *cobra.Command) {
	var paragraphs []string
	for _, paragraph := range strings.Split(cmd.Long, "\n\n") {
		paragraphs = append(paragraphs, strings.Join(breakWords(helpWidth, strings.Join(strings.Fields(paragraph), " ")), "\n"))
	}
	cmd.Long = strings.Join(paragraphs, "\n\n")
	for _, below := range cmd.Commands() {
		fold(below)
	}
}

func (a *app) globalFlags(root *cobra.Command) {
	f, g := root.PersistentFlags(), &a.flags
	f.StringVarP(&g.config, "config", "c", "", "configuration file (MXKEEP_CONFIG)")
	f.StringVar(&g.socket, "socket", "", "control socket (MXKEEP_SOCKET)")
	f.StringVarP(&g.output, "output", "o", "", "format: see mxkeep help output (MXKEEP_OUTPUT)")
	f.StringVar(&g.json, "json", "", "JSON; --json=1 insists on schema 1")
	f.Lookup("json").NoOptDefVal = "1"
	f.StringSliceVar(&g.fields, "fields", nil, "only these columns, or members of the JSON")
	f.BoolVar(&g.utc, "utc", false, "times in UTC (the default)")
	f.BoolVar(&g.local, "local", false, "times for people in the local zone")
	f.BoolVar(&g.noColor, "no-color", false, "no colour (also NO_COLOR)")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "no words, only data and errors")
	f.BoolVarP(&g.dryRun, "dry-run", "n", false, "say what would change, and change nothing")
	f.BoolVarP(&g.yes, "yes", "y", false, "do not ask (delete wants --confirm as well)")
	f.BoolVar(&g.noInput, "no-input", false, "never ask: refuse where one would have to")
	f.DurationVar(&g.timeout, "timeout", 0, "give up after this time (30s; for changes none)")
}

// exactly wants one argument, and says what it is. If words are given, it must be one of them.
func exactly(what string, words ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 || len(words) > 0 && !slices.Contains(words, args[0]) {
			return usage("give %s", what)
		}
		return nil
	}
}

// group makes a command that only has commands below it. A mistyped one is
// answered with what was probably meant; it is never run.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			words := "unknown command " + quote(args[0]) + " for " + quote(cmd.CommandPath())
			if cmd.SuggestionsMinimumDistance == 0 {
				cmd.SuggestionsMinimumDistance = 2
			}
			if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
				words += "; did you mean " + strings.Join(meant, " or ") + "?"
			}
			return usage("%s", words)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(below...)
	return cmd
}

func newQueue(a *app) *cobra.Command {
	return group("queue", "Look at, and steer, the mail that is kept here",
		newQueueList(a), newQueueStats(a), newQueueShow(a), newQueueCat(a),
		newQueueHold(a), newQueueRelease(a), newQueueRetry(a), newQueueBounce(a), newQueueDelete(a), newQueueUndelete(a),
		newQueueExport(a), newQueueImport(a),
		newQueuePause(a), newQueueResume(a))
}

func newHealth(a *app) *cobra.Command {
	return group("health", "Whether the primary can take mail, and why we think so",
		newHealthShow(a), newHealthProbe(a), newHealthHistory(a), newHealthOverride(a))
}
