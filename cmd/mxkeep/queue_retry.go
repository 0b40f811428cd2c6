package main

import (
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newQueueRetry(a *app) *cobra.Command {
	cmd, c := verb{
		name:  "retry",
		short: "Make messages due at once",
		long: "Make messages due at once, and refused ones pending again. While the upstream takes no mail this\n" +
			"changes nothing and says so, unless --now is given: what waits is tried on recovery anyway.",
		example: "  mxkeep queue retry --state refused --reply '550*'\n" +
			"  mxkeep queue retry --older 2h --spread 10m\n" +
			"  mxkeep queue retry 7hq2m8x4kd3w --now",
		done: "Due now:",
	}.command(a)
	cmd.Flags().Var(secondsFlag{&c.request.SpreadSeconds}, "spread", "spread the attempts over this time, oldest first")
	cmd.Flags().BoolVar(&c.request.Now, "now", false, "also if the upstream is down: first in turn then")
	return cmd
}

// secondsFlag is a duration that a request carries in seconds.
type secondsFlag struct{ seconds *float64 }

func (s secondsFlag) String() string { return "" }
func (s secondsFlag) Type() string   { return "duration" }

func (s secondsFlag) Set(value string) error {
	parsed, err := queue.ParseDuration(value)
	*s.seconds = admin.Seconds(parsed)
	return err
}
