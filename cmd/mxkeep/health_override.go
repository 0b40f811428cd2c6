package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// defaultOverride is how long an override lasts if nothing else is said.
const defaultOverride = 30 * time.Minute

func newHealthOverride(a *app) *cobra.Command {
	var request admin.OverrideRequest
	lasts := daysFlag(defaultOverride)
	cmd := &cobra.Command{
		Use:       "override up|down|auto",
		Short:     "Say what counts as the state of an upstream, for a time",
		Long:      "Say what counts as the state of an upstream, for a time. Signals go on being recorded, and every override ends by itself.",
		Example:   "  mxkeep health override up --for 10m --reason \"they say it is mended\"",
		Args:      exactly("a state: up, down or auto", "up", "down", "auto"),
		ValidArgs: []string{"up", "down", "auto"},
		RunE: func(cmd *cobra.Command, args []string) error {
			request.State, request.DryRun = args[0], a.flags.dryRun
			if request.State != "auto" {
				request.ForSeconds = admin.Seconds(time.Duration(lasts))
			}
			if request.Reason == "" {
				return failure{admin.CodeReasonRequired, "override needs a reason"}
			}
			if err := a.permitOverride(cmd.Context(), request); err != nil {
				return err
			}
			did, err := a.client().Override(cmd.Context(), request)
			if err != nil {
				return err
			}
			return a.document(did, func(w io.Writer) { a.showOverride(w, did) })
		},
	}
	f := cmd.Flags()
	f.Var(&lasts, "for", "how long (also 1d)")
	f.StringVar(&request.Reason, "reason", "", "why, for the ledger and status")
	f.StringVar(&request.Upstream, "upstream", "", "which, if there are several")
	return cmd
}

// permitOverride asks before "up": the relay then delivers whatever the probes say.
func (a *app) permitOverride(ctx context.Context, request admin.OverrideRequest) error {
	switch {
	case request.State == "auto" || a.flags.yes || a.flags.dryRun:
		return nil
	case !a.asks():
		return failure{"confirmation_required", "override changes what the whole relay does, and nobody can be asked here"}
	}
	does := map[string]string{"up": "Deliver", "down": "Hold all mail"}[request.State]
	return a.askYes(ctx, fmt.Sprintf("%s, whatever the probes say, for %s? [y/N] ", does, span(admin.Duration(request.ForSeconds))))
}

func (a *app) showOverride(w io.Writer, did admin.Switch) {
	name := clean(did.Upstreams[0])
	if did.State == "auto" {
		fmt.Fprintf(w, "%s\n", wouldBe(did, "The probes decide about "+name+" again."))
		return
	}
	fmt.Fprintf(w, "%s\n", wouldBe(did, fmt.Sprintf("%s counts as %s until %s.", name, did.State, a.clock(did.Until))))
	if did.DryRun {
		return
	}
	fmt.Fprintf(w, "End it: mxkeep health override auto --upstream %s --reason \"...\"\n", shell(name))
}
