package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newIncidentOpen(a *app) *cobra.Command {
	var request admin.IncidentRequest
	cmd := &cobra.Command{
		Use:   "open --reason R",
		Short: "Open an incident by hand, when the relay sees none",
		Long: "Open an incident by hand, when the relay sees none: nothing expires and no sender is told of failures while it lasts. " +
			"It stays open until the upstream has been down and comes back, or until you close it.",
		Example: "  mxkeep incident open --reason \"users see no mail, MO1221364\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request.DryRun = a.flags.dryRun
			if request.Text == "" {
				return failure{admin.CodeReasonRequired, "open needs a reason"}
			}
			switch {
			case a.flags.yes || a.flags.dryRun:
			case !a.asks():
				return failure{"confirmation_required", "open stops the expiry of all mail for the upstream, and nobody can be asked here"}
			default:
				if err := a.askYes(cmd.Context(), "Open an incident: nothing expires until it is over? [y/N] "); err != nil {
					return err
				}
			}
			i, err := a.client().OpenIncident(cmd.Context(), request)
			if err != nil {
				return err
			}
			return a.document(i, func(w io.Writer) {
				if request.DryRun {
					fmt.Fprintf(w, "Dry run: nothing was changed. It would open an incident of %s.\n", clean(i.Upstream))
					return
				}
				fmt.Fprintf(w, "Opened %s.\nEnd it: mxkeep incident close %s\n", i.ID, i.ID)
			})
		},
	}
	cmd.Flags().StringVar(&request.Text, "reason", "", "why, for the timeline and the ledger")
	cmd.Flags().StringVar(&request.Upstream, "upstream", "", "which, if there are several")
	return cmd
}

// incidentWords makes a command that adds words to an incident.
func (a *app) incidentWords(verb, use, short, example, done string, least int) *cobra.Command {
	return &cobra.Command{
		Use:     verb + use,
		Short:   short,
		Long:    short + ". The id may be " + admin.LastIncident + ": the one that goes on, or else the last one.",
		Example: example,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < least || len(args) > 2 {
				return usage("give%s", use)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			request := admin.IncidentRequest{DryRun: a.flags.dryRun}
			if len(args) == 2 {
				request.Text = args[1]
			}
			i, err := a.client().ChangeIncident(cmd.Context(), args[0], verb, request)
			if err != nil {
				return err
			}
			return a.document(i, func(w io.Writer) {
				if request.DryRun {
					fmt.Fprintf(w, "Dry run: nothing was changed. It would be: ")
				}
				fmt.Fprintf(w, "%s of %s.\n", done, i.ID)
			})
		},
	}
}

func newIncidentNote(a *app) *cobra.Command {
	return a.incidentWords("note", " ID TEXT", "Write a line into the timeline of an incident",
		"  mxkeep incident note INC-2026-03-12-1 \"service health shows EX0000000\"", "Noted in the timeline", 2)
}

func newIncidentLink(a *app) *cobra.Command {
	return a.incidentWords("link", " ID OTHER", "Name the provider's own incident, or a ticket",
		"  mxkeep incident link INC-2026-01-22-1 MO1221364", "Linked in the records", 2)
}

func newIncidentAck(a *app) *cobra.Command {
	return a.incidentWords("ack", " ID [TEXT]", "Say that you have taken note of an incident",
		"  mxkeep incident ack last", "Your acknowledgement is in the timeline", 1)
}

func newIncidentClose(a *app) *cobra.Command {
	var request admin.IncidentRequest
	var confirm int64
	cmd := &cobra.Command{
		Use:   "close ID",
		Short: "Close an incident before it closes by itself",
		Long: "Close an incident before it closes by itself, or because it cannot. If it is not over for some recipients, because they are still queued, or have no account, their number has to be confirmed, and a reason given. " +
			"While the upstream is down no incident can be closed.",
		Example: "  mxkeep incident close INC-2026-03-12-1\n" +
			"  mxkeep incident close INC-2026-03-12-1 --confirm=3 --reason \"see 4711\"",
		Args: exactly("the id of an incident"),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.DryRun = a.flags.dryRun
			if cmd.Flags().Changed("confirm") {
				request.Confirm = &confirm
			}
			if err := a.permitClose(cmd.Context(), args[0], &request); err != nil {
				return err
			}
			i, err := a.client().ChangeIncident(cmd.Context(), args[0], "close", request)
			if err != nil {
				return err
			}
			return a.document(i, func(w io.Writer) {
				if request.DryRun {
					fmt.Fprintf(w, "Dry run: nothing was changed. It would close %s, which is not over for %s.\n", i.ID, recipientCount(i.Waiting))
					return
				}
				fmt.Fprintf(w, "Closed %s.\n", i.ID)
			})
		},
	}
	cmd.Flags().Int64Var(&confirm, "confirm", 0, "for how many recipients it is not over")
	cmd.Flags().StringVar(&request.Text, "reason", "", "why, for the timeline and the ledger")
	return cmd
}

func recipientCount(n int64) string {
	if n == 1 {
		return "1 recipient"
	}
	return admin.Thousands(n) + " recipients"
}

// permitClose asks a person for the number of recipients for which it is not over.
func (a *app) permitClose(ctx context.Context, id string, request *admin.IncidentRequest) error {
	if request.DryRun || request.Confirm != nil || !a.asks() {
		return nil
	}
	i, err := a.client().Incident(ctx, id)
	if err != nil || i.Waiting == 0 {
		return err
	}
	if request.Text == "" {
		return failure{admin.CodeReasonRequired, "close needs a reason: it is not over for " + recipientCount(i.Waiting)}
	}
	answer, err := a.ask(ctx, fmt.Sprintf("%s is not over for %s. Type that number to close it: ", i.ID, recipientCount(i.Waiting)))
	if err != nil {
		return err
	}
	if answer != strconv.FormatInt(i.Waiting, 10) {
		return failure{"not_confirmed", "not confirmed"}
	}
	request.Confirm = &i.Waiting
	return nil
}
