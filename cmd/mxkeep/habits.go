package main

import "github.com/spf13/cobra"

// habits are commands of other mail systems, and what they are here. They are answered, never run.
var habits = []struct{ name, answer string }{
	{"mailq", "the queue is listed by: mxkeep queue list -o mailq"},
	{"postqueue", "-p is: mxkeep queue list -o mailq; -f is: mxkeep queue retry --all; -i ID is: mxkeep queue retry ID"},
	{"flush", "some mean \"deliver all now\": mxkeep queue retry --all; some mean \"throw all away\": mxkeep queue delete --all --reason \"...\""},
}

// oldHabits makes a hidden command of each.
func oldHabits() []*cobra.Command {
	var all []*cobra.Command
	for _, habit := range habits {
		all = append(all, &cobra.Command{
			Use:                habit.name,
			Hidden:             true,
			DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return failure{"old_habit", habit.name + " is no command of mxkeep; " + habit.answer}
			},
		})
	}
	return all
}
