package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// danger is what a verb asks before it acts.
type danger int

const (
	mild   danger = iota // runs; asks when it touches many messages
	severe               // wants the number of messages
)

// manyMessages is where a mild verb begins to ask.
const manyMessages = 100

// verb is a command that changes messages.
type verb struct {
	name, short, long, example string
	danger                     danger
	done                       string // "Held": what was done, before the number
	warning                    string // before the question, "" if there is nothing to be warned of
	reverse                    func(chosen admin.Select, ids []string) string
}

// changing is one run of a verb.
type changing struct {
	app       *app
	verb      verb
	chosen    admin.Select
	request   admin.ChangeRequest
	confirm   int
	ifCount   int
	failEmpty bool
}

// command makes the cobra command of a verb. The caller may add flags.
func (v verb) command(a *app) (*cobra.Command, *changing) {
	var s selection
	c := &changing{app: a, verb: v, request: admin.ChangeRequest{Verb: v.name}}
	cmd := &cobra.Command{
		Use:         v.name + " [ID...]",
		Annotations: map[string]string{alsoFormats: "id"},
		Short:       v.short,
		Long:        v.long,
		Example:     v.example,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.chosen, err = a.choose(cmd.Context(), &s, args); err != nil {
				return err
			}
			return c.run(cmd)
		},
	}
	selectFlags(cmd, &s)
	f := cmd.Flags()
	f.StringVar(&c.request.Reason, "reason", "", "why, for the ledger")
	f.IntVar(&c.ifCount, "if-count", -1, "change nothing unless so many match")
	f.IntVar(&c.request.Limit, "limit", 0, "at most so many, the oldest first; 0 is all")
	f.BoolVar(&c.failEmpty, "fail-empty", false, "exit with 5 if nothing matches")
	if v.danger == severe {
		f.IntVar(&c.confirm, "confirm", -1, "the number of messages, in a script")
	}
	return cmd, c
}

// run looks first, asks if it has to, and then changes what it showed.
func (c *changing) run(cmd *cobra.Command) error {
	if len(c.chosen.Where) == 0 && !c.chosen.All {
		return failure{admin.CodeNoSelection, "no selection: " + c.verb.name + " would apply to every message"}
	}
	if c.verb.danger == severe && c.request.Reason == "" && !c.app.flags.dryRun {
		return failure{admin.CodeReasonRequired, c.verb.name + " needs a reason"}
	}
	c.request.Select, c.request.DryRun = c.chosen, true
	plan, err := c.app.client().Change(cmd.Context(), c.request)
	if err != nil {
		return err
	}
	switch {
	case plan.Count+plan.Inapt+plan.WaitingCount == 0 && c.named():
		return failure{admin.CodeNotFound, "none of the ids is that of a message, or no filter fits it; nothing was changed"}
	case c.ifCount >= 0 && plan.Count != c.ifCount:
		return failure{admin.CodeCountChanged, fmt.Sprintf("%s match now, not %d; nothing was changed", messages(plan.Count), c.ifCount)}
	case c.app.flags.dryRun || plan.Count == 0:
		return c.answer(plan)
	}
	if err := c.permit(cmd.Context(), plan); err != nil {
		return err
	}
	return c.apply(cmd, plan)
}

// named reports whether messages were chosen by id.
func (c *changing) named() bool {
	return slices.ContainsFunc(c.chosen.Where, func(rule string) bool { return strings.HasPrefix(rule, "id=") })
}

// permit asks, or wants the answer on the command line.
func (c *changing) permit(ctx context.Context, plan admin.Change) error {
	a := c.app
	switch {
	case c.verb.danger == severe && c.confirm == plan.Count:
		return nil
	case c.verb.danger == severe && c.confirm >= 0:
		return failure{admin.CodeCountChanged, fmt.Sprintf("%s match now, not %d; nothing was changed", messages(plan.Count), c.confirm)}
	case c.verb.danger == mild && (a.flags.yes || plan.Count <= manyMessages):
		return nil
	case !a.asks() && c.verb.danger == severe:
		return failure{admin.CodeCountRequired, fmt.Sprintf("%s would %s %s, and nobody can be asked here", c.verb.name, c.verb.name, messages(plan.Count))}
	case !a.asks():
		return failure{"confirmation_required", fmt.Sprintf("%s applies to %s, and nobody can be asked here", c.verb.name, messages(plan.Count))}
	}
	a.showPlan(a.errs, plan)
	if c.verb.warning != "" {
		fmt.Fprintln(a.errs, c.verb.warning)
	}
	if c.verb.danger == severe {
		answer, err := a.ask(ctx, fmt.Sprintf("Type the number of messages to %s them: ", c.verb.name))
		if err == nil && answer != strconv.Itoa(plan.Count) {
			err = failure{"not_confirmed", quote(clean(answer)) + " is not the number of messages"}
		}
		return err
	}
	return a.askYes(ctx, fmt.Sprintf("%s %s? [y/N] ", strings.ToUpper(c.verb.name[:1])+c.verb.name[1:], messages(plan.Count)))
}

// apply changes what was shown, and nothing that came later.
func (c *changing) apply(cmd *cobra.Command, plan admin.Change) error {
	request := c.request
	request.DryRun = false
	request.Where = []string{"id=" + strings.Join(plan.IDs, ",")}
	for _, rule := range c.chosen.Where {
		if !strings.HasPrefix(rule, "id=") { // the ids of the plan are among them
			request.Where = append(request.Where, rule)
		}
	}
	if c.verb.danger == severe || c.ifCount >= 0 {
		request.IfCount = &plan.Count
	}
	change, err := c.app.client().Change(cmd.Context(), request)
	if err != nil {
		return err
	}
	change.Gone += plan.Count - change.Count
	change.Waiting, change.WaitingCount, change.Inapt, change.MayNot = plan.Waiting, plan.WaitingCount, plan.Inapt, plan.MayNot
	return c.answer(change)
}

// answer writes what would be, or was, changed.
func (c *changing) answer(change admin.Change) error {
	err := c.write(change)
	switch {
	case change.Gone > 0: // also when nobody reads what was done
		return failure{"partly_done", fmt.Sprintf("%d of %d messages done", change.Done, change.Done+change.Gone)}
	case err == nil && change.Count == 0 && change.WaitingCount == 0 && c.failEmpty:
		return failure{"nothing_matched", "nothing matched"}
	}
	return err
}

// write writes a change in the format asked for.
func (c *changing) write(change admin.Change) error {
	if format, _ := c.app.format(); format != formatID {
		return c.app.document(change, func(w io.Writer) { c.show(w, change) })
	}
	for _, id := range change.IDs {
		if _, err := fmt.Fprintln(c.app.out, clean(id)); err != nil {
			return err
		}
	}
	return nil
}

// show writes a change for people.
func (c *changing) show(w io.Writer, change admin.Change) {
	if change.WaitingCount > 0 {
		c.showWaiting(w, change)
	}
	for _, r := range change.MayNot {
		fmt.Fprintf(w, "Not of %s: %s.\n", messages(r.Messages), clean(r.Text))
	}
	if change.Count > 0 && change.DryRun {
		c.app.showPlan(w, change)
		fmt.Fprintln(w, "Dry run: nothing was changed.")
		return
	}
	if change.Done > 0 {
		fmt.Fprintf(w, "%s %s, %s%s.\n", c.verb.done, messages(change.Done), size(change.Bytes), c.app.kept(change))
		if c.verb.reverse != nil {
			c.showUndo(w, change)
		}
		return
	}
	switch {
	case change.WaitingCount > 0:
	case change.Inapt == 0:
		fmt.Fprintf(w, "Nothing to %s: no message matches.\n", c.verb.name)
	default:
		fmt.Fprintf(w, "Nothing to %s: %s chosen, none in a state that allows it.\n", c.verb.name, messages(change.Inapt))
	}
}

// showUndo says how to take the change back. Many are not listed by id: then
// the same rules choose them, and with them what was so before.
func (c *changing) showUndo(w io.Writer, change admin.Change) {
	switch undo := clean(c.verb.reverse(c.chosen, change.IDs)); {
	case undo == "":
		fmt.Fprintf(w, "No one command takes this back for so many. Next time keep the ids: add -o id > FILE\n")
	case len(change.IDs) > fewIDs && change.Inapt > 0:
		fmt.Fprintf(w, "Undo, also for those that were so before: %s\n", undo)
	default:
		fmt.Fprintf(w, "Undo: %s\n", undo)
	}
}

// kept says how long deleted messages can be brought back.
func (a *app) kept(change admin.Change) string {
	if change.KeptUntil.IsZero() {
		return ""
	}
	return ", kept until " + a.clock(change.KeptUntil)
}

// showWaiting says that a retry would do nothing, and what would.
func (c *changing) showWaiting(w io.Writer, change admin.Change) {
	names := clean(strings.Join(change.Waiting, ", "))
	fmt.Fprintf(w, "%s takes no mail now. When it does, %s will be tried anyway, oldest first.\n", names, messages(change.WaitingCount))
	if change.Done == 0 {
		fmt.Fprintln(w, "Nothing changed.")
	}
	fmt.Fprintf(w, "To make them first in turn:\n  mxkeep queue retry %s --now\n", clean(pasted(c.chosen)))
	fmt.Fprintln(w, "To stop waiting for the probes:")
	fmt.Fprintln(w, `  mxkeep health override up --for 10m --reason "..."`)
}

// showPlan writes set, bytes and a sample.
func (a *app) showPlan(w io.Writer, plan admin.Change) {
	fmt.Fprintf(w, "%s, %s, received %s to %s, %s recipients.\n", messages(plan.Count), size(plan.Bytes),
		a.clock(plan.Oldest), a.clock(plan.Newest), admin.Thousands(int64(plan.Recipients)))
	for _, m := range plan.Sample {
		tail := "  " + size(m.SizeBytes)
		line := fmt.Sprintf("  %s  %s > %s", clean(m.ID), clean(from(m)), clean(to(m)))
		fmt.Fprintln(w, cut(line, a.width()-len(tail), a.screen.utf8)+tail)
	}
	if more := plan.Count - len(plan.Sample); more > 0 {
		fmt.Fprintf(w, "  ... %s more (all of them: --dry-run -o id)\n", admin.Thousands(int64(more)))
	}
	if plan.Inapt > 0 {
		fmt.Fprintf(w, "  %s chosen as well, but not in a state that allows it.\n", messages(plan.Inapt))
	}
}
