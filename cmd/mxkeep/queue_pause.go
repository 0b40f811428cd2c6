package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// defaultPause is how long a pause lasts if nothing else is said.
const defaultPause = time.Hour

func newQueuePause(a *app) *cobra.Command {
	request := admin.PauseRequest{}
	lasts := daysFlag(defaultPause)
	cmd := &cobra.Command{
		Use:     "pause (--inbound | --outbound)",
		Short:   "Stop accepting, or delivering, for a time",
		Long:    "Stop accepting mail (senders get a temporary reply), or delivering it, for a time. Every pause ends by itself.",
		Example: "  mxkeep queue pause --outbound --for 2h --reason \"tenant migration\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request.ForSeconds, request.DryRun = admin.Seconds(time.Duration(lasts)), a.flags.dryRun
			switch {
			case !request.Inbound && !request.Outbound:
				return usage("pause what? Say --inbound (accepting), --outbound (delivering), or both")
			case request.Reason == "":
				return failure{admin.CodeReasonRequired, "pause needs a reason"}
			}
			if err := a.permitPause(cmd.Context(), request); err != nil {
				return err
			}
			did, err := a.client().Pause(cmd.Context(), request)
			if err != nil {
				return err
			}
			return a.document(did, func(w io.Writer) {
				fmt.Fprintf(w, "%s%s until %s.\n", wouldBe(did, "Paused "), switched(did), a.clock(did.Until))
				if !did.DryRun {
					fmt.Fprintf(w, "End it: mxkeep queue resume %s\n", switches(request.ResumeRequest))
				}
			})
		},
	}
	pauseFlags(cmd, &request.ResumeRequest)
	cmd.Flags().Var(&lasts, "for", "how long (also 1d)")
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for the ledger and status")
	return cmd
}

func newQueueResume(a *app) *cobra.Command {
	request := admin.ResumeRequest{}
	cmd := &cobra.Command{
		Use:     "resume (--inbound | --outbound)",
		Short:   "End a pause",
		Example: "  mxkeep queue resume --outbound",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request.DryRun = a.flags.dryRun
			if !request.Inbound && !request.Outbound {
				return usage("resume what? Say --inbound (accepting), --outbound (delivering), or both")
			}
			did, err := a.client().Resume(cmd.Context(), request)
			if err != nil {
				return err
			}
			return a.document(did, func(w io.Writer) {
				if !did.Inbound && len(did.Upstreams) == 0 {
					fmt.Fprintln(w, "Nothing to resume: it is not paused.")
					return
				}
				fmt.Fprintf(w, "%s%s.\n", wouldBe(did, "Resumed "), switched(did))
			})
		},
	}
	pauseFlags(cmd, &request)
	return cmd
}

func pauseFlags(cmd *cobra.Command, request *admin.ResumeRequest) {
	f := cmd.Flags()
	f.BoolVar(&request.Inbound, "inbound", false, "accepting mail")
	f.BoolVar(&request.Outbound, "outbound", false, "delivering mail")
	f.StringVar(&request.Upstream, "upstream", "", "delivering to this one only (default: all)")
}

// permitPause asks, or wants --yes.
func (a *app) permitPause(ctx context.Context, request admin.PauseRequest) error {
	switch {
	case a.flags.yes || a.flags.dryRun:
		return nil
	case !a.asks():
		return failure{"confirmation_required", "pause changes the whole relay, and nobody can be asked here"}
	}
	return a.askYes(ctx, fmt.Sprintf("Pause %s for %s? [y/N] ", pausing(request.ResumeRequest), span(admin.Duration(request.ForSeconds))))
}

// pausing says what would be paused.
func pausing(request admin.ResumeRequest) string {
	var words []string
	if request.Inbound {
		words = append(words, "accepting mail")
	}
	if request.Outbound {
		words = append(words, "delivering mail")
	}
	return strings.Join(words, " and ")
}

// wouldBe puts the words of a dry run before what was not done.
func wouldBe(did admin.Switch, word string) string {
	if did.DryRun {
		return "Dry run: nothing was changed. It would say: " + word
	}
	return word
}

// switched says what was paused or resumed.
func switched(did admin.Switch) string {
	var words []string
	if did.Inbound {
		words = append(words, "accepting mail")
	}
	for _, name := range did.Upstreams {
		words = append(words, "delivery to "+clean(name))
	}
	return strings.Join(words, ", ")
}

// switches writes the flags again.
func switches(request admin.ResumeRequest) string {
	var words []string
	if request.Inbound {
		words = append(words, "--inbound")
	}
	if request.Outbound {
		words = append(words, "--outbound")
	}
	if request.Upstream != "" {
		words = append(words, "--upstream", shell(clean(request.Upstream)))
	}
	return strings.Join(words, " ")
}

// daysFlag is a duration that may be written in days.
type daysFlag time.Duration

func (d *daysFlag) String() string { return span(time.Duration(*d)) }
func (d *daysFlag) Type() string   { return "duration" }

func (d *daysFlag) Set(value string) error {
	parsed, err := queue.ParseDuration(value)
	*d = daysFlag(parsed)
	return err
}
