package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newDBSalvage(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "salvage FILE",
		Short: "Bring back, as held, what can be read of a file set aside",
		Long: "Brings back what can be read of a file that was set aside because it was damaged. Its messages are held:\n" +
			"nothing of it is delivered before a person releases it. What is final by the ledger, and what is here already,\n" +
			"is not brought back. The file stays where it is. It may be run again.",
		Example: "  mxkeep db salvage gen-000003.db.damaged-20260122T193000Z --dry-run\n" +
			"  mxkeep db salvage gen-000003.db.damaged-20260122T193000Z\n" +
			"  mxkeep queue list --state held",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			did, err := a.client().Salvage(cmd.Context(), admin.SalvageRequest{File: args[0], DryRun: a.flags.dryRun})
			if err != nil {
				return err
			}
			return a.document(did, func(w io.Writer) { showSalvage(w, did) })
		},
	}
}

// showSalvage says what was, or would be, brought back.
func showSalvage(w io.Writer, did admin.Salvage) {
	if did.Ledger {
		showLedgerSalvage(w, did)
		return
	}
	word := "Held again:"
	if did.DryRun {
		word = "Dry run, nothing was changed. Would be held again:"
	}
	fmt.Fprintf(w, "%s %s with %s recipients, %s, and %s ledger lines.\n", word, messages(int(did.Messages)),
		admin.Thousands(did.Recipients), size(did.Bytes), admin.Thousands(did.Lines))
	for _, part := range []struct {
		n     int64
		words string
	}{
		{did.Damaged, "of them with content that differs from what was received"},
		{did.Rebuilt, "of them made anew from the ledger, without parameters of the envelope"},
		{did.Final, "needed nothing: all recipients are final"},
		{did.Present, "are here already"},
	} {
		if part.n > 0 {
			fmt.Fprintf(w, "  %s %s\n", admin.Thousands(part.n), part.words)
		}
	}
	switch {
	case did.Rest == 0 && did.Certainty == "exact":
		fmt.Fprintln(w, "Nothing of the file is missing.")
	case did.Rest == 0:
		fmt.Fprintln(w, "Nobody is known to be missing, but not all of the file could be read.")
	default:
		fmt.Fprintf(w, "Still set aside: %s recipients.\n", certain(did.Rest, did.Certainty))
	}
	if did.DryRun {
		return
	}
	if did.Rest != 0 || did.Certainty != "exact" {
		fmt.Fprintf(w, "To give up the rest: mxkeep db accept-loss %s --reason \"...\"\n", shell(clean(did.File)))
	}
	if did.Messages > 0 {
		fmt.Fprintln(w, "Look at them, then release them: mxkeep queue list --state held")
	}
}

// showLedgerSalvage says what was, or would be, brought back of a file of the ledger.
func showLedgerSalvage(w io.Writer, did admin.Salvage) {
	word := "Brought back, under new numbers:"
	if did.DryRun {
		word = "Dry run, nothing was changed. Would be brought back:"
	}
	fmt.Fprintf(w, "%s %s.\n", word, counted(did.Lines, "ledger line"))
	if did.Certainty == "exact" {
		fmt.Fprintln(w, "Nothing of the file is missing.")
		return
	}
	fmt.Fprintf(w, "Not all of the file could be read. To give up the rest: mxkeep db accept-loss %s --reason \"...\"\n", shell(clean(did.File)))
}

func newDBAcceptLoss(a *app) *cobra.Command {
	var request admin.AcceptRequest
	cmd := &cobra.Command{
		Use:   "accept-loss FILE|ID",
		Short: "Give up what could not be salvaged",
		Long: "Gives up what could not be salvaged of a file that was set aside, with a line in the ledger: its recipients\n" +
			"then count as deleted, and the status says that nothing is lost again. The file stays where it is.\n" +
			"With the id of a message whose record cannot be read, as db check lists it, that message is given up.",
		Example: "  mxkeep db accept-loss gen-000003.db.damaged-20260122T193000Z \\\n" +
			"      --reason \"senders were asked, ticket 4711\"",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.File, request.DryRun = args[0], true
			if request.Reason == "" {
				return failure{admin.CodeReasonRequired, "accept-loss needs a reason"}
			}
			loss, err := a.client().AcceptLoss(cmd.Context(), request)
			if err == nil && !a.flags.dryRun {
				if err = a.permitLoss(cmd.Context(), loss); err == nil {
					request.DryRun = false
					loss, err = a.client().AcceptLoss(cmd.Context(), request)
				}
			}
			if err != nil {
				return err
			}
			return a.document(loss, func(w io.Writer) { showLoss(w, loss) })
		},
	}
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for the ledger")
	return cmd
}

// permitLoss asks, or wants --yes.
func (a *app) permitLoss(ctx context.Context, loss admin.Loss) error {
	switch {
	case a.flags.yes:
		return nil
	case !a.asks():
		return failure{"confirmation_required", "accept-loss gives up " + givenUp(loss) + ", and nobody can be asked here"}
	}
	return a.askYes(ctx, "Give up "+givenUp(loss)+"? [y/N] ")
}

func givenUp(loss admin.Loss) string {
	if loss.Aside.InUse || loss.Aside.Ledger {
		return "what may be missing of " + clean(loss.Aside.File)
	}
	return certain(loss.Aside.Recipients, loss.Aside.Certainty) + " recipients in " + clean(loss.Aside.File)
}

func showLoss(w io.Writer, loss admin.Loss) {
	switch {
	case loss.DryRun:
		fmt.Fprintf(w, "Dry run, nothing was changed: would give up %s.\n", givenUp(loss))
	case loss.Aside.InUse || loss.Aside.Gone:
		fmt.Fprintf(w, "Given up: %s.\n", givenUp(loss))
	default:
		fmt.Fprintf(w, "Given up: %s. The file stays where it is, with mail in it: remove it when nobody needs it.\n", givenUp(loss))
	}
}
