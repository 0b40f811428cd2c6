package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// changingVerbs are the commands that change something, with what they need besides a selection.
var changingVerbs = map[string][]string{
	"queue hold":      nil,
	"queue release":   nil,
	"queue retry":     {"--now"},
	"queue delete":    {"--reason", "test", "--confirm", "4"},
	"queue undelete":  nil,
	"queue bounce":    {"--reason", "test", "--confirm", "3"},
	"queue pause":     {"--reason", "test", "--yes"},
	"queue resume":    nil,
	"health override": {"--reason", "test", "--yes"},
}

// readingVerbs change nothing at all.
var readingVerbs = []string{"status", "ready", "queue list", "queue stats", "queue show", "queue cat", "trace",
	"health show", "health probe", "window list", "config validate", "config example", "version", "completion", "help",
	"db check", "db stats", "db export-ledger", "backup inspect", "backup list", "recipients list", "recipients check", "explain", "auth verify", "auth seal"}

// fileVerbs change files, not messages that were chosen: see db_test.go, backup_test.go and auth_test.go.
var fileVerbs = []string{"db salvage", "db accept-loss", "db compact", "db migrate", "backup create", "backup restore", "auth keygen"}

// archiveVerbs are about archives of messages: see queue_export_test.go.
var archiveVerbs = []string{"queue export", "queue import"}

// listVerbs change what is known about recipients: see recipients_test.go.
var listVerbs = []string{"recipients sync", "recipients import"}

// incidentVerbs are about incidents: see incident_test.go and incident_report_test.go.
var incidentVerbs = []string{"incident list", "incident show", "incident open", "incident note", "incident link", "incident ack", "incident close", "health history", "incident report", "incident verify", "incident reconcile"}

// windowVerbs plan windows: see window_test.go.
var windowVerbs = []string{"window add", "window remove"}

// runs are commands that are processes of their own, not clients.
var runs = []string{"serve", "demo"}

// leaves lists the commands of the tree that do something.
func leaves(cmd *cobra.Command, above string) (all []string) {
	for _, c := range cmd.Commands() {
		name := strings.TrimSpace(above + " " + c.Name())
		if below := leaves(c, name); len(below) > 0 {
			all = append(all, below...)
		} else if !c.Hidden {
			all = append(all, name)
		}
	}
	return all
}

func TestEveryCommandIsKnownToTheseTests(t *testing.T) {
	r := newRig(t)
	known := slices.Concat(slices.Collect(maps.Keys(changingVerbs)), readingVerbs, fileVerbs, archiveVerbs, listVerbs, windowVerbs, incidentVerbs, runs)
	root := newRoot(&app{env: func(string) string { return "" }})
	for _, name := range leaves(root, "") {
		if !slices.Contains(known, name) {
			t.Errorf("%q is in none of the lists: does it change something?", name)
		}
		cmd, _, err := root.Find(strings.Fields(name))
		if err != nil || cmd.Short == "" {
			t.Errorf("%q: %v, no words of what it does", name, err)
		}
		if got := r.run(append(strings.Fields(name), "--help")...); got.code != 0 || !strings.Contains(got.out, "Usage:") {
			t.Errorf("%q --help: exit %d, %q", name, got.code, got.errs)
		}
	}
}

// population is one message in each state that a person may meet.
func population(r *rig) {
	r.accept("billing@supplier.example", "a.meyer@corp.example")
	r.attempt(r.accept("promo@bulk.example", "x@corp.example"), deferred(451, "4.3.2", "later"))
	r.attempt(r.accept("promo@bulk.example", "gone@corp.example"), refused("no such user"))
	r.accept("promo@bulk.example", "held@corp.example", func(a *queue.Acceptance) { a.Held = "odd" })
	trash := r.accept("old@bulk.example", "trash@corp.example")
	if err := r.store.Amend(context.Background(), queue.Amendment{ID: trash, Event: queue.Delete, Actor: "test"}); err != nil {
		r.t.Fatal(err)
	}
}

// snapshot is everything that a command could have changed.
func snapshot(r *rig) string {
	text, err := json.Marshal(append(r.store.Snapshot(context.Background()), r.exo.Status, r.exo.Delivery, r.inbound.Stats, r.recipients.Imported, r.recipients.Forced))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func TestNoSelectionNoChange(t *testing.T) {
	for name, flags := range changingVerbs {
		for _, terminal := range []bool{false, true} {
			r := newRig(t)
			population(r)
			r.serve()
			before := snapshot(r)
			got := r.with(screen{in: terminal, out: terminal, width: 80}, "y\n4\n", append(strings.Fields(name), flags...)...)
			if got.code != 2 || got.out != "" || got.errs == "" {
				t.Errorf("%s: exit %d, out %q, errors %q", name, got.code, got.out, got.errs)
			}
			if snapshot(r) != before {
				t.Errorf("%s without a selection changed something", name)
			}
		}
	}
}

// selected gives each changing verb a selection.
func selected(name string) []string {
	switch name {
	case "health override":
		return []string{"up"}
	case "queue pause", "queue resume":
		return []string{"--inbound", "--outbound"}
	}
	return []string{"--all"}
}

func TestDryRunChangesNothing(t *testing.T) {
	for name, flags := range changingVerbs {
		r := newRig(t)
		population(r)
		if name == "queue resume" {
			r.inbound.Stats.Paused.Until = time.Now().Add(time.Hour)
		}
		r.serve()
		before := snapshot(r)
		got := r.run(slices.Concat(strings.Fields(name), selected(name), flags, []string{"--dry-run"})...)
		if got.code != 0 || !strings.Contains(strings.ToLower(got.out), "dry run") {
			t.Errorf("%s: exit %d, out %q, errors %q", name, got.code, got.out, got.errs)
		}
		if snapshot(r) != before {
			t.Errorf("%s --dry-run changed something", name)
		}
	}
}

func TestDryRunNamesTheSetThatIsTouched(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"hold", []string{"queue", "hold", "--from", "@bulk.example"}, 1}, // the refused, held and deleted ones do not apply
		{"release", []string{"queue", "release", "--all"}, 1},
		{"retry", []string{"queue", "retry", "--all"}, 3},
		{"delete", []string{"queue", "delete", "--from", "promo@*", "--reason", "spam", "--confirm", "3"}, 3},
		{"undelete", []string{"queue", "undelete", "--all"}, 1},
		{"bounce", []string{"queue", "bounce", "--state", "refused", "--reason", "gone", "--confirm", "1"}, 1},
	} {
		r := newRig(t)
		population(r)
		r.serve()
		said := strings.Fields(r.run(append(test.args, "-n", "-o", "id")...).out)
		lines := len(r.ledger(queue.Event(test.name)))
		got := r.run(append(test.args, "-o", "id")...)
		if got.code != 0 {
			t.Errorf("%s: exit %d, %q", test.name, got.code, got.errs)
		}
		var touched []string
		for _, e := range r.ledger(queue.Event(test.name))[lines:] {
			touched = append(touched, string(e.ID))
		}
		slices.Sort(touched)
		if len(said) != test.want || !slices.Equal(said, touched) || !slices.Equal(said, strings.Fields(got.out)) {
			t.Errorf("%s: dry run %v, touched %v, answered %q; want %d", test.name, said, touched, got.out, test.want)
		}
	}
}

func TestVerbsDoWhatTheySay(t *testing.T) {
	r := newRig(t)
	id := r.accept("a@b.example", "c@corp.example")
	r.serve()
	for _, step := range []struct {
		args  []string
		state string
		says  string
	}{
		{[]string{"queue", "hold", string(id), "--reason", "odd"}, "held", "Held 1 message, 66 B.\nUndo: mxkeep queue release " + string(id)},
		{[]string{"queue", "retry", string(id)}, "held", "Nothing to retry: 1 message chosen, none in a state that allows it."},
		{[]string{"queue", "release", string(id)}, "queued", "Released 1 message"},
		{[]string{"queue", "retry", string(id)}, "queued", "Due now: 1 message"},
		{[]string{"queue", "delete", string(id), "--reason", "spam", "--confirm=1"}, "deleted", "Undo: mxkeep queue undelete " + string(id)},
		{[]string{"queue", "undelete", string(id)}, "queued", "Taken out of the trash: 1 message"},
	} {
		got := r.run(step.args...)
		if got.code != 0 || !strings.Contains(got.out, step.says) {
			t.Errorf("%v: exit %d, %q, %q", step.args, got.code, got.out, got.errs)
		}
		if state := r.states()[id]; state != step.state {
			t.Errorf("%v left it %s, want %s", step.args, state, step.state)
		}
	}
	held := r.ledger(queue.Hold)
	if len(held) != 1 || held[0].Reason != "odd" || held[0].Actor == "" || held[0].Actor == "unknown" {
		t.Errorf("ledger of the hold: %+v", held)
	}
}

func TestBounceSaysWhoMayNotBeTold(t *testing.T) {
	r := newRig(t)
	population(r)
	r.bounces.Why = map[string]queue.KeptFor{}
	for m, err := range r.store.Messages(t.Context(), queue.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		r.bounces.Why[m.Envelope.ReversePath] = queue.KeptUnauthenticated
	}
	r.serve()
	got := r.run("queue", "bounce", "--state", "refused", "--reason", "gone")
	if want := "Not of 1 message: the sender may be forged: neither SPF nor an aligned DKIM signature passed when it came.\nNothing to bounce: 1 message chosen, none in a state that allows it.\n"; got.code != 0 || got.out != want {
		t.Errorf("exit %d, %q %q", got.code, got.out, got.errs)
	}
	clear(r.bounces.Why)
	got = r.with(screen{in: true, out: true, width: 80}, "1\n", "queue", "bounce", "--state", "refused", "--reason", "gone")
	if got.code != 0 || !strings.Contains(got.errs, "Their senders are told. This cannot be undone.\nType the number of messages to bounce them: ") || !strings.HasPrefix(got.out, "Given up, and the senders told: 1 message, ") || strings.Contains(got.out, "Undo") {
		t.Errorf("exit %d, %q %q", got.code, got.out, got.errs)
	}
	if lines := r.ledger(queue.Bounce); len(lines) != 1 || lines[0].Reason != "gone" || len(lines[0].Results) != 1 || lines[0].Results[0].Action != queue.Failed {
		t.Errorf("%+v", lines)
	}
	r.exo.Status = health.Status{State: health.Down}
	r.bounces.Fail = errors.New("no room")
	if got := r.run("queue", "bounce", "--state", "queued", "--reason", "gone", "--limit", "1", "--confirm=1"); got.code != 1 || !strings.Contains(got.errs, "E1501") {
		t.Errorf("exit %d, %q %q", got.code, got.out, got.errs)
	}
}

func TestDeleteWantsTheNumber(t *testing.T) {
	remove := slices.Clip([]string{"queue", "delete", "--from", "promo@*", "--reason", "spam"})
	for _, test := range []struct {
		name, input string
		terminal    bool
		args        []string
		code        int
		number      string
	}{
		{"typed", "3\n", true, nil, 0, ""},
		{"typed without a line end", "3", true, nil, 0, ""},
		{"mistyped", "4\n", true, nil, 2, "E1109"},
		{"no answer", "", true, nil, 2, "E1109"},
		{"yes is no number", "y\n", true, []string{"--yes"}, 2, "E1109"},
		{"script without it", "3\n", false, nil, 2, "E1107"},
		{"script with --yes only", "", false, []string{"--yes"}, 2, "E1107"},
		{"script with another number", "", false, []string{"--confirm=2"}, 2, "E1105"},
		{"script with it", "", false, []string{"--confirm=3"}, 0, ""},
		{"without a reason", "3\n", true, []string{"--reason", ""}, 2, "E1106"},
	} {
		r := newRig(t)
		population(r)
		r.serve()
		before := snapshot(r)
		got := r.with(screen{in: test.terminal, out: test.terminal, width: 80}, test.input, append(remove, test.args...)...)
		if got.code != test.code || !strings.Contains(got.errs, test.number) {
			t.Errorf("%s: exit %d, %q", test.name, got.code, got.errs)
		}
		if changed := snapshot(r) != before; changed != (test.code == 0) {
			t.Errorf("%s: changed %v", test.name, changed)
		}
	}
}

func TestManyMessagesAreAskedFor(t *testing.T) {
	r := newRig(t)
	for i := range manyMessages + 1 {
		r.accept(fmt.Sprintf("n%d@bulk.example", i), "c@corp.example")
	}
	r.serve()
	for _, test := range []struct {
		name string
		got  func() result
		code int
		held int
	}{
		{"script", func() result { return r.run("queue", "hold", "--all") }, 2, 0},
		{"no", func() result { return r.terminal(80, "n\n", "queue", "hold", "--all") }, 2, 0},
		{"few need no question", func() result { return r.run("queue", "hold", "--from", "n1*") }, 0, 12},
		{"yes", func() result { return r.terminal(80, "y\n", "queue", "hold", "--all") }, 0, 12 + 89},
		{"script with --yes", func() result { return r.run("queue", "release", "--all", "--yes") }, 0, 0},
	} {
		got := test.got()
		held := 0
		for _, state := range r.states() {
			if state == "held" {
				held++
			}
		}
		if got.code != test.code || held != test.held {
			t.Errorf("%s: exit %d, %d held, %q", test.name, got.code, held, got.errs)
		}
	}
}

func TestRetryWhileTheUpstreamIsDown(t *testing.T) {
	r := newRig(t)
	id := r.accept("a@b.example", "c@corp.example")
	r.exo.Status.State = health.Down
	r.serve()
	before := snapshot(r)
	got := r.run("queue", "retry", "--all")
	if got.code != 0 || snapshot(r) != before {
		t.Errorf("exit %d, changed %v", got.code, snapshot(r) != before)
	}
	for _, words := range []string{"exo takes no mail now", "Nothing changed", "queue retry --all --now", "health override up"} {
		if !strings.Contains(got.out, words) {
			t.Errorf("%q does not say %q", got.out, words)
		}
	}
	if got := r.run("queue", "retry", string(id), "--now"); got.code != 0 || len(r.ledger(queue.Retry)) != 1 {
		t.Errorf("--now: exit %d, %q, %d ledger lines", got.code, got.errs, len(r.ledger(queue.Retry)))
	}
	r.exo.Status.State = health.Up
	r.exo.Delivery.Paused = admin.Pause{Until: r.started.Add(1000000 * 3600e9), Actor: "x", Reason: "y"}
	if got := r.run("queue", "retry", "--all"); !strings.Contains(got.out, "Nothing changed") {
		t.Errorf("while paused: %q", got.out)
	}
}

func TestIfCount(t *testing.T) {
	r := newRig(t)
	population(r)
	r.serve()
	before := snapshot(r)
	if got := r.run("queue", "hold", "--all", "--if-count", "3"); got.code != 2 || !strings.Contains(got.errs, "E1105") || snapshot(r) != before {
		t.Errorf("another number: exit %d, %q", got.code, got.errs)
	}
	if got := r.run("queue", "hold", "--all", "--if-count", "2"); got.code != 0 || snapshot(r) == before {
		t.Errorf("the number: exit %d, %q", got.code, got.errs)
	}
	if got := r.run("queue", "hold", "--all", "--if-count", "0"); got.code != 0 {
		t.Errorf("none, as expected: exit %d, %q", got.code, got.errs)
	}
	if got := r.run("queue", "hold", "--all", "--fail-empty"); got.code != 5 {
		t.Errorf("--fail-empty: exit %d", got.code)
	}
}

// leave makes every amendment of the message fail.
func (r *rig) leave(gone queue.ID, err error) {
	r.store.OnAmend = func(a queue.Amendment) error {
		if a.ID == gone {
			return err
		}
		return nil
	}
}

func TestPartlyDone(t *testing.T) {
	for _, test := range []struct {
		err    error
		code   int
		number string
	}{
		{queue.ErrState, 3, "E1301"},
		{queue.ErrNotFound, 3, "E1301"},
		{errors.New("input/output error"), 1, "E1501"},
	} {
		r := newRig(t)
		r.accept("a@b.example", "c@corp.example")
		gone := r.accept("a@b.example", "c@corp.example")
		r.leave(gone, test.err)
		r.serve()
		got := r.run("queue", "hold", "--all")
		if got.code != test.code || !strings.Contains(got.errs, test.number) || r.states()[gone] != "queued" {
			t.Errorf("%v: exit %d, %q", test.err, got.code, got.errs)
		}
	}
}

func TestPauseResumeOverride(t *testing.T) {
	r := newRig(t)
	r.serve()
	steps := []struct {
		args []string
		code int
		says string
		done func() bool
	}{
		{[]string{"queue", "pause", "--outbound", "--for", "2h", "--reason", "migration"}, 2, "E1108", func() bool { return r.exo.Delivery.Paused.Actor == "" }},
		{[]string{"queue", "pause", "--outbound", "--yes"}, 2, "E1106", func() bool { return r.exo.Delivery.Paused.Actor == "" }},
		{[]string{"queue", "pause", "--outbound", "--for", "2h", "--reason", "migration", "-y"}, 0, "Paused delivery to exo until", func() bool { return r.exo.Delivery.Paused.Reason == "migration" }},
		{[]string{"queue", "pause", "--inbound", "--for", "1d", "--reason", "disk", "-y"}, 0, "End it: mxkeep queue resume --inbound", func() bool { return r.inbound.Stats.Paused.Reason == "disk" }},
		{[]string{"queue", "pause", "--inbound", "--for", "8d", "--reason", "disk", "-y"}, 2, "must end by itself", func() bool { return true }},
		{[]string{"queue", "resume", "--inbound", "--outbound"}, 0, "Resumed accepting mail, delivery to exo", func() bool { return r.exo.Delivery.Paused.Actor == "" && r.inbound.Stats.Paused.Actor == "" }},
		{[]string{"queue", "resume", "--outbound", "--upstream", "lab"}, 2, "E1403", func() bool { return true }},
		{[]string{"health", "override", "up", "--for", "10m", "-y"}, 2, "E1106", func() bool { return r.exo.Status.Override == nil }},
		{[]string{"health", "override", "up", "--for", "10m", "--reason", "mended"}, 2, "E1108", func() bool { return r.exo.Status.Override == nil }},
		{[]string{"health", "override", "sideways", "--reason", "x"}, 2, "E1101", func() bool { return r.exo.Status.Override == nil }},
		{[]string{"health", "override", "up", "--for", "10m", "--reason", "mended", "-y"}, 0, "exo counts as up until", func() bool {
			o := r.exo.Status.Override
			return o != nil && o.State == health.Up && o.Reason == "mended" && o.Actor != ""
		}},
		{[]string{"health", "override", "auto", "--reason", "done"}, 0, "The probes decide about exo again", func() bool { return r.exo.Status.Override == nil }},
	}
	for _, step := range steps {
		got := r.run(step.args...)
		if got.code != step.code || !strings.Contains(got.out+got.errs, step.says) || !step.done() {
			t.Errorf("%v: exit %d, %q, %q, done %v", step.args, got.code, got.out, got.errs, step.done())
		}
	}
	var noted []string
	for _, e := range r.ledger(queue.Noted) {
		noted = append(noted, e.Upstream+" "+e.Reason)
		if e.Actor == "" || e.Actor == "unknown" {
			t.Errorf("no actor: %+v", e)
		}
	}
	if len(noted) != 6 || !strings.Contains(noted[0], "exo pause outbound until") || !strings.Contains(noted[4], "override up until") {
		t.Errorf("ledger: %q", noted)
	}
	if got := r.terminal(80, "y\n", "queue", "pause", "--inbound", "--reason", "x"); got.code != 0 || r.inbound.Stats.Paused.Reason != "x" {
		t.Errorf("asked and answered: exit %d, %q", got.code, got.errs)
	}
}

func TestAFormatThatACommandHasNotIsRefusedBeforeItActs(t *testing.T) {
	for name, flags := range changingVerbs {
		for _, format := range [][]string{{"-o", "mailq"}, {"-o", "csv"}, {"--fields", "state"}} {
			r := newRig(t)
			population(r)
			r.serve()
			before := snapshot(r)
			got := r.run(slices.Concat(strings.Fields(name), selected(name), flags, format)...)
			if got.code != exitUsage || !strings.Contains(got.errs, "E1101") || snapshot(r) != before {
				t.Errorf("%s %v: exit %d, %q", name, format, got.code, got.errs)
			}
		}
	}
}

func TestWhatIsNotThereIsSaid(t *testing.T) {
	r := newRig(t)
	r.serve()
	if got := r.run("queue", "retry", "000000000000"); got.code != exitNotFound || !strings.Contains(got.errs, "E1401") {
		t.Errorf("an unknown id: exit %d, %q", got.code, got.errs)
	}
	for _, args := range [][]string{{"queue", "pause", "--inbound", "--reason", "x", "-n"}, {"health", "override", "down", "--reason", "x", "-n"}} {
		if got := r.run(args...); got.code != 0 || !strings.HasPrefix(got.out, "Dry run: nothing was changed. It would say: ") || strings.Contains(got.out, "End it") {
			t.Errorf("%v: exit %d, %q", args, got.code, got.out)
		}
	}
	if got := r.run("queue", "retry", "--all"); got.code != 0 || got.out != "Nothing to retry: no message matches.\n" {
		t.Errorf("no message at all: exit %d, %q", got.code, got.errs)
	}
	if got := r.run("queue", "resume", "--inbound", "--outbound"); got.code != 0 || got.out != "Nothing to resume: it is not paused.\n" {
		t.Errorf("what is not paused: exit %d, %q", got.code, got.out)
	}
	for _, command := range []string{"queue show", "queue cat", "trace", "completion", "health override", "queue pause", "queue resume"} {
		if got := r.run(strings.Fields(command)...); got.code != exitUsage || !strings.Contains(got.errs, "E1101") {
			t.Errorf("%s: exit %d, %q", command, got.code, got.errs)
		}
	}
}

func TestUndoIsExactOrSaysThatItIsNot(t *testing.T) {
	r := newRig(t)
	for range fewIDs + 1 {
		r.accept("a@b.example", "c@corp.example")
	}
	r.serve()
	if got := r.run("queue", "hold", "--all"); !strings.Contains(got.out, "\nUndo: mxkeep queue release --state held\n") {
		t.Errorf("%q", got.out)
	}
	if got := r.run("queue", "release", "--state", "held"); !strings.Contains(got.out, "add -o id > FILE") {
		t.Errorf("%q", got.out)
	}
	last := r.accept("a@b.example", "c@corp.example")
	r.run("queue", "hold", string(last))
	if got := r.run("queue", "hold", "--all"); !strings.Contains(got.out, "Undo, also for those that were so before: mxkeep queue release --state held\n") {
		t.Errorf("%q", got.out)
	}
}
