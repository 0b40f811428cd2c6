package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/dsn"
)

// ended is how an attempt ended.
type ended struct {
	id     queue.ID
	epoch  int // of the pace when it began
	lesson lesson
	err    error // of the store: what became of the attempt is not written down
}

// attempt delivers a claimed message and settles it. The context is that of all
// attempts: when it is cancelled the attempt ends soon, but it is settled.
func (d *Dispatcher) attempt(ctx context.Context, m queue.Message) ended {
	within, cancel := context.WithTimeout(ctx, d.options.Attempt)
	defer cancel()
	report, held := d.deliver(within, m)
	damaged := errors.Is(report.Content, queue.ErrDamaged)
	failpoint.Hit(failpoint.OutboundDelivered)
	for _, s := range report.Signals { // before it is settled: what is due at once then meets the new status
		d.options.Health.Observe(s)
	}
	now := time.Now()
	d.listen(m, report.Results, now)
	plan := queue.Plan(d.options.Schedule, m, doubted(report.Results, d.believes(now)), now)
	circumstances := d.standing(now)
	circumstances.Relayed = report.Relayed
	for _, r := range plan.Results {
		if r.Action == queue.Failed && dsn.Unknown(r.Reply) {
			circumstances.Spike = d.spike.look(now).Active // it takes a while
			break
		}
	}
	plan = d.options.Notifier.Conclude(ctx, m, plan, circumstances) // what it tells is on disk before the attempt is settled
	plan.Actor, plan.Held, plan.Damaged = actor, held, damaged
	if least := now.Add(report.Slow); report.Slow > 0 && plan.NextAttempt.Before(least) {
		plan.NextAttempt = least
	}
	err := d.options.Store.Settle(context.WithoutCancel(ctx), plan)
	d.log(m, plan, now)
	return ended{id: m.ID, lesson: learn(report), err: err}
}

// actor names us in the ledger.
const actor = "relay"

// deliver makes the attempt. held says why the message must not be tried again
// before a person has looked, "" if it may.
func (d *Dispatcher) deliver(ctx context.Context, m queue.Message) (report Report, held string) {
	defer func() {
		if r := recover(); r != nil {
			d.panics.Add(1)
			held = fmt.Sprintf("panic in the attempt: %.200v", r)
			report = Report{Results: map[int]queue.Result{}}
			for _, i := range m.Pending() { // it may have happened after the primary took the message
				report.Results[i] = queue.Result{At: time.Now(), Action: queue.Deferred, Scope: queue.ScopeOwn,
					Reply: queue.Reply{Text: held}, MaybeDuplicate: true}
			}
			d.options.Log.Error("delivery.panic", "id", m.ID, "upstream", d.name, "attempt", m.Attempts, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	// Reading our own disk is short, and a cancelled attempt must not look like damage.
	read := context.WithoutCancel(ctx)
	report = d.options.Upstream.Deliver(ctx, m, func() (io.ReadCloser, error) { return d.content(read, m) })
	if report.Content != nil {
		held = "the content cannot be read: " + report.Content.Error()
	}
	return report, held
}

// content opens a message as it leaves.
func (d *Dispatcher) content(ctx context.Context, m queue.Message) (io.ReadCloser, error) {
	stored, err := d.options.Store.Content(ctx, m.ID)
	if err != nil || d.options.Outgoing == nil {
		return stored, err
	}
	return outgoing{d.options.Outgoing(m, stored), stored}, nil
}

// outgoing reads what leaves, and closes what is stored.
type outgoing struct {
	io.Reader
	io.Closer
}

// believes reports whether a refusal for good is to be believed now: a primary
// that is in trouble, or has just recovered, refuses recipients that it has.
func (d *Dispatcher) believes(now time.Time) bool {
	s := d.options.Health.Status()
	return s.State == health.Up && now.Sub(s.Since) >= d.options.Doubt
}

// doubted turns Failed into Deferred if it is not believed. What is believed is
// for the Notifier, who decides whether the sender may be told.
func doubted(results map[int]queue.Result, believed bool) map[int]queue.Result {
	all := make(map[int]queue.Result, len(results))
	for i, r := range results {
		if r.Action == queue.Failed && !believed {
			r.Action = queue.Deferred
		}
		all[i] = r
	}
	return all
}

// standing is how the upstream is at now, but for a spike.
func (d *Dispatcher) standing(now time.Time) dsn.Circumstances {
	s := d.options.Health.Status()
	c := dsn.Circumstances{Now: now, Incident: s.State != health.Up, Recovered: s.Since}
	if d.options.Incident != nil {
		lasts, recovered := d.options.Incident()
		c.Incident, c.Recovered = c.Incident || lasts, recovered
	}
	return c
}

// listen notes what the primary said about recipients that are known to exist.
func (d *Dispatcher) listen(m queue.Message, results map[int]queue.Result, now time.Time) {
	if d.options.Known == nil {
		return
	}
	for i, r := range results {
		refused := r.Action == queue.Failed && dsn.Unknown(r.Reply)
		if recipient := m.Envelope.Recipients[i].ForwardPath; (refused || r.Action == queue.Delivered) && d.options.Known(recipient) {
			d.spike.note(strings.ToLower(recipient), refused, now)
		}
	}
}

// maxLoggedReply bounds what a remote server can write into a line of our log.
const maxLoggedReply = 512

// log writes a line for each outcome of the attempt, with the number of
// recipients that had it.
func (d *Dispatcher) log(m queue.Message, plan queue.Settlement, now time.Time) {
	if plan.Held != "" {
		d.options.Log.Error("delivery.held", "id", m.ID, "upstream", d.name, "attempt", m.Attempts, "reason", plan.Held)
	}
	type outcome struct {
		action queue.Action
		reply  queue.Reply
		kept   queue.KeptFor
	}
	recipients := map[outcome]int{}
	for _, r := range plan.Results {
		recipients[outcome{r.Action, r.Reply, r.Kept}]++
	}
	for _, i := range m.Pending() {
		r, found := plan.Results[i]
		n := recipients[outcome{r.Action, r.Reply, r.Kept}]
		if !found || n == 0 {
			continue
		}
		delete(recipients, outcome{r.Action, r.Reply, r.Kept}) // its line is this one
		level, next := slog.LevelInfo, time.Duration(0)
		if r.Action != queue.Delivered {
			level = slog.LevelWarn
		}
		if r.Action == queue.Deferred {
			next = max(0, plan.NextAttempt.Sub(now))
		}
		line := []any{"id", m.ID, "sid", r.RemoteSession,
			"upstream", d.name, "address", r.Address, "command", r.Reply.Command, "code", r.Reply.Code, "enhanced", r.Reply.Enhanced,
			"attempt", m.Attempts, "recipients", n, "took", r.Took, "next", next, "maybe_duplicate", r.MaybeDuplicate,
			"reply", fmt.Sprintf("%.*s", maxLoggedReply, r.Reply.Text)}
		if r.Kept != "" { // why its sender is not told: a spike, for one
			line = append(line, "kept", string(r.Kept))
		}
		d.options.Log.Log(context.Background(), level, "delivery."+r.Action.String(), line...)
	}
}
