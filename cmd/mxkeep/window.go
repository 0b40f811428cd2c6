package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newWindow(a *app) *cobra.Command {
	return group("window", "Planned times in which the mail for an upstream is held",
		newWindowAdd(a), newWindowList(a), newWindowRemove(a))
}

// windowDocument is every planned window.
type windowDocument struct {
	Schema  string         `json:"schema"`
	Windows []admin.Window `json:"windows"`
}

func newWindowAdd(a *app) *cobra.Command {
	request := admin.WindowRequest{}
	var from, to string
	var lasts daysFlag
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Plan a time in which the mail for an upstream is held",
		Long: "Plan a time in which the mail for an upstream is held: new mail is taken into custody, and nothing is delivered, whatever the probes say. " +
			"At its end mail goes out by itself if the upstream is up, or, with --release approval, when you remove the window. A window survives restarts; an override goes before it. " +
			"Times are like \"2026-03-12 22:00\", 22:00 (the next), or RFC 3339; in UTC, or with --local in the local zone.",
		Example: "  mxkeep window add --from 22:00 --to 02:00 --reason \"tenant move\"\n" +
			"  mxkeep window add --for 2h --release approval --reason \"tenant move\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.readWindow(&request, from, to, time.Duration(lasts)); err != nil {
				return err
			}
			if err := a.permitWindow(cmd.Context(), fmt.Sprintf("Hold the mail from %s to %s, whatever the probes say? [y/N] ", a.windowFrom(request), a.clock(request.To))); err != nil {
				return err
			}
			w, err := a.client().AddWindow(cmd.Context(), request)
			if err != nil {
				return err
			}
			return a.document(w, func(out io.Writer) { a.showAdded(out, w) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "its beginning (default: now)")
	f.StringVar(&to, "to", "", "its end, or")
	f.Var(&lasts, "for", "how long (also 1d)")
	f.StringVar(&request.Release, "release", admin.ReleaseAuto, "approval: hold until it is removed")
	f.StringVar(&request.Reason, "reason", "", "why, for the ledger and status")
	f.StringVar(&request.Upstream, "upstream", "", "which, if there are several")
	return cmd
}

// readWindow makes a request of the flags.
func (a *app) readWindow(request *admin.WindowRequest, from, to string, lasts time.Duration) error {
	request.DryRun = a.flags.dryRun
	begin := a.now
	if from != "" {
		at, err := a.parseTime(from)
		if err != nil {
			return err
		}
		begin, request.From = at, admin.Time{Time: at}
	}
	switch {
	case request.Reason == "":
		return failure{admin.CodeReasonRequired, "a window needs a reason"}
	case (to == "") == (lasts == 0):
		return usage("give --to or --for, and not both")
	case to == "":
		request.To = admin.Time{Time: begin.Add(lasts)}
		return nil
	}
	end, err := a.parseTime(to)
	if err == nil && len(to) == len("15:04") && end.Before(begin) { // 22:00 to 02:00
		end = end.AddDate(0, 0, 1)
	}
	request.To = admin.Time{Time: end}
	return err
}

// parseTime reads an instant that a person wrote. A time of day is the next one.
func (a *app) parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if at, err := time.ParseInLocation(layout, text, a.zone()); err == nil {
			return at, nil
		}
	}
	clock, err := time.ParseInLocation("15:04", text, a.zone())
	if err != nil {
		return time.Time{}, usage("%s is no time: write it like \"2026-03-12 22:00\" or 22:00", quote(text))
	}
	now := a.now.In(a.zone())
	at := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, a.zone())
	if at.Before(now) {
		at = time.Date(now.Year(), now.Month(), now.Day()+1, clock.Hour(), clock.Minute(), 0, 0, a.zone())
	}
	return at, nil
}

func (a *app) windowFrom(request admin.WindowRequest) string {
	if request.From.IsZero() {
		return "now"
	}
	return a.clock(request.From)
}

// permitWindow asks before something that holds, or lets go, all mail.
func (a *app) permitWindow(ctx context.Context, question string) error {
	switch {
	case a.flags.yes || a.flags.dryRun:
		return nil
	case !a.asks():
		return failure{"confirmation_required", "a window changes what the whole relay does, and nobody can be asked here"}
	}
	return a.askYes(ctx, question)
}

func (a *app) showAdded(out io.Writer, w admin.Window) {
	how := "then it goes out by itself"
	if w.Release == admin.ReleaseApproval {
		how = "then until the window is removed"
	}
	words := fmt.Sprintf("mail for %s is held from %s to %s, %s", clean(w.Upstream), a.clock(w.From), a.clock(w.To), how)
	if w.DryRun {
		fmt.Fprintf(out, "dry run: %s.\n", words)
		return
	}
	fmt.Fprintf(out, "%s: %s.\nEnd it: mxkeep window remove %s --reason \"...\"\n", clean(w.ID), words, shell(clean(w.ID)))
}

func newWindowList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "The windows that are planned, hold, or wait to be removed",
		Example: "  mxkeep window list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := windowDocument{Schema: "mxkeep.windows/1", Windows: []admin.Window{}}
			err := a.client().Windows(cmd.Context(), func(w admin.Window) error {
				all.Windows = append(all.Windows, w)
				return nil
			})
			if err != nil {
				return err
			}
			return a.document(all, func(out io.Writer) { a.showWindows(out, all.Windows) })
		},
	}
}

func (a *app) showWindows(out io.Writer, all []admin.Window) {
	if len(all) == 0 {
		fmt.Fprintln(out, "No window is planned. To plan one: mxkeep window add")
		return
	}
	rows := [][]string{{"id", "upstream", "state", "from", "to", "release", "by", "reason"}}
	for _, w := range all {
		rows = append(rows, []string{clean(w.ID), clean(w.Upstream), clean(w.State), a.clock(w.From), a.clock(w.To), clean(w.Release), clean(w.Actor), clean(w.Reason)})
	}
	a.writeTable(out, rows)
}

func newWindowRemove(a *app) *cobra.Command {
	var request admin.RemoveRequest
	cmd := &cobra.Command{
		Use:     "remove ID",
		Short:   "Remove a window; what it holds goes out if the upstream is up",
		Example: "  mxkeep window remove WIN-2026-03-12-1 --reason \"the move is done\"",
		Args:    exactly("the id of a window"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if request.DryRun = a.flags.dryRun; request.Reason == "" {
				return failure{admin.CodeReasonRequired, "to remove a window needs a reason"}
			}
			if err := a.permitWindow(cmd.Context(), "Remove "+clean(args[0])+", and deliver what it holds? [y/N] "); err != nil {
				return err
			}
			w, err := a.client().RemoveWindow(cmd.Context(), args[0], request)
			if err != nil {
				return err
			}
			return a.document(w, func(out io.Writer) {
				words := clean(w.ID) + " is removed: mail for " + clean(w.Upstream) + " goes out as soon as the upstream is up."
				if w.DryRun {
					words = "dry run: " + strings.Replace(words, "is removed", "would be removed", 1)
				}
				fmt.Fprintln(out, words)
			})
		},
	}
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for the ledger")
	return cmd
}
