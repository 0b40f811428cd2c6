package incident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// DefaultQuiet is how long a drained incident has to be quiet before it is closed.
const DefaultQuiet = 15 * time.Minute

// Upstream is what is needed of a health.Monitor.
type Upstream struct {
	Name    string
	Status  func() health.Status
	Recent  func() []health.Signal // the newest last
	Changed func() (<-chan struct{}, func())
}

// Options say what a Keeper keeps. Book, History and Store must be set.
type Options struct {
	Book      *Book
	History   History
	Store     Store
	Upstreams []Upstream
	Quiet     time.Duration // default DefaultQuiet
	Lifetime  time.Duration // of mail, as it is configured; default queue.DefaultLifetime
	Log       *slog.Logger  // default none
}

// Keeper moves incidents on. Run does the work; its other methods may be called concurrently.
type Keeper struct {
	*Book
	options Options
	every   time.Duration        // between two looks
	tried   map[string]time.Time // when an incident was reckoned last that does not close; only Run touches it

	mu       sync.RWMutex
	expiring Expiring
}

// The time between two looks is a tenth of the quiet time, within these bounds.
const (
	mostEvery  = 5 * time.Second
	leastEvery = 10 * time.Millisecond
	patience   = 20 // a look is repeated after so many times the time it took
	tryEvery   = 10 // looks, between two reckonings of an incident that does not close
)

// New makes a Keeper.
func New(o Options) *Keeper {
	if o.Quiet <= 0 {
		o.Quiet = DefaultQuiet
	}
	if o.Lifetime <= 0 {
		o.Lifetime = queue.DefaultLifetime
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{Book: o.Book, options: o, tried: map[string]time.Time{}, every: min(mostEvery, max(leastEvery, o.Quiet/10))}
}

// Run follows the upstreams until ctx ends. It is to be called once.
func (k *Keeper) Run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	for _, u := range k.options.Upstreams {
		tokens, unsubscribe := u.Changed()
		defer unsubscribe()
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			forward(ctx, tokens, changed)
		}()
	}
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for {
		took := k.look(ctx)
		tick.Reset(max(k.every, patience*took))
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// forward hands on tokens until ctx ends.
func forward(ctx context.Context, from <-chan struct{}, to chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-from:
		}
		select {
		case to <- struct{}{}:
		default:
		}
	}
}

// look moves all incidents on, and says how long it took.
func (k *Keeper) look(ctx context.Context) time.Duration {
	began := time.Now()
	for _, u := range k.options.Upstreams {
		status, now := u.Status(), time.Now()
		seen := health.Seen{At: now, State: status.Effective(now), Why: why(status, now), Quiet: k.options.Quiet}
		moved := false
		for _, i := range k.List() {
			if i.Upstream != u.Name || i.State == health.IncidentClosed {
				continue
			}
			over := i.IsQuiet(now, k.options.Quiet)
			if over && seen.State == health.Down { // it only lacks its account: what begins now is another one
				continue
			}
			moved = moved || !over
			k.move(ctx, i, seen)
		}
		if seen.State == health.Down && !moved {
			_, _ = k.begin(ctx, u, seen, health.ByRelay) // a person was faster
		}
	}
	return time.Since(began)
}

// why says what the state that counts rests on.
func why(s health.Status, now time.Time) string {
	if o := s.Steering(now); o != nil && o.Window != "" {
		return fmt.Sprintf("planned window %s by %s: %s", o.Window, o.Actor, o.Reason)
	} else if o != nil {
		return fmt.Sprintf("override by %s: %s", o.Actor, o.Reason)
	}
	return s.Why
}

// begin opens an incident.
func (k *Keeper) begin(ctx context.Context, u Upstream, seen health.Seen, opener string) (health.Incident, error) {
	began := time.Time{}
	if seen.State == health.Down {
		began = firstBad(u.Recent())
	}
	from, err := k.oldestWaiting(ctx, u.Name)
	if err != nil {
		k.failed(ctx, err)
	}
	i, err := k.open(u.Name, seen.At, k.options.Quiet, func(id string) health.Incident {
		i := health.OpenIncident(id, u.Name, seen, opener, began)
		if !from.IsZero() && from.Before(i.From) {
			i.From = from
		}
		return i
	})
	if err == nil {
		k.options.Log.Warn("incident.opened", "incident", i.ID, "upstream", i.Upstream, "by", opener, "why", i.Why)
	}
	return i, err
}

// firstBad is the time of the first bad signal after the last good one; zero if
// the last signal is good. It is pure.
func firstBad(recent []health.Signal) (first time.Time) {
	for n := len(recent) - 1; n >= 0; n-- {
		s := recent[n]
		switch {
		case !s.Source.Direct(): // it has seen nothing of the upstream
		case s.Class == health.OK:
			return first
		case s.Class == health.Outage:
			first = s.At
		}
	}
	return first
}

// waits reports whether a message waits for its upstream's sake, and for no
// reason of its own.
func waits(m queue.Message) bool {
	if m.Held != "" {
		return false
	}
	for _, n := range m.Pending() {
		last := m.Envelope.Recipients[n].Last
		if last.Action == queue.Queued || last.Scope == queue.ScopeUpstream || last.Scope == queue.ScopeOwn {
			return true
		}
	}
	return false
}

// oldestWaiting is when the first message was accepted that waits for the
// upstream; zero if none does.
func (k *Keeper) oldestWaiting(ctx context.Context, upstream string) (time.Time, error) {
	stats, err := k.options.Store.Stats(ctx)
	if err != nil || stats.Upstreams[upstream].Messages == 0 {
		return time.Time{}, err
	}
	f := queue.Filter{Limit: 1, Where: []queue.Condition{func(m queue.Message, _ time.Time) bool {
		return m.Envelope.Upstream == upstream && waits(m)
	}}}
	for m, err := range k.options.Store.Messages(ctx, f) {
		if errors.Is(err, queue.ErrDamaged) {
			continue
		}
		return m.AcceptedAt, err
	}
	return time.Time{}, nil
}

// move lets one incident go on.
func (k *Keeper) move(ctx context.Context, i health.Incident, seen health.Seen) {
	if seen.State == health.Up && i.Lasts() {
		oldest, err := k.oldestWaiting(ctx, i.Upstream)
		if err != nil {
			k.failed(ctx, err)
			return
		}
		seen.Waiting = !oldest.IsZero() && (i.Until.IsZero() || !oldest.After(i.Until))
	}
	var figures json.RawMessage
	unsettled := i.Unsettled
	if seen.State == health.Up && i.IsQuiet(seen.At, k.options.Quiet) && (unsettled == "" || seen.At.Sub(k.tried[i.ID]).Abs() >= tryEvery*k.every) {
		var err error
		if figures, unsettled, err = k.account(ctx, i); err != nil {
			k.failed(ctx, err)
			return
		}
		k.tried[i.ID] = seen.At
		seen.Settled = unsettled == ""
	}
	k.apply(i, seen, unsettled, figures)
}

// apply writes what has changed.
func (k *Keeper) apply(was health.Incident, seen health.Seen, unsettled string, figures json.RawMessage) {
	changed := func(i health.Incident) (health.Incident, bool) {
		next := i.Next(seen)
		if seen.State == health.Up {
			next.Unsettled = unsettled
		}
		if next.State == health.IncidentClosed {
			next.Figures = figures
		}
		return next, !same(i, next)
	}
	if _, differs := changed(was); !differs {
		return
	}
	next, err := k.change(was.ID, func(i health.Incident) (health.Incident, error) {
		next, _ := changed(i)
		return next, nil
	})
	switch {
	case err != nil:
	case next.State == health.IncidentClosed:
		k.options.Log.Info("incident.closed", "incident", next.ID, "upstream", next.Upstream, "by", health.ByRelay)
	case next.Unsettled != "":
		k.options.Log.Error("incident.unsettled", "incident", next.ID, "upstream", next.Upstream, "why", next.Unsettled)
	case next.State != was.State:
		k.options.Log.Warn("incident.moved", "incident", next.ID, "upstream", next.Upstream, "from", was.State, "to", next.State, "why", seen.Why)
	}
}

// same reports whether nothing that is kept differs.
func same(a, b health.Incident) bool {
	return a.State == b.State && a.UpAt.Equal(b.UpAt) && a.From.Equal(b.From) && a.WasDown == b.WasDown && a.Unsettled == b.Unsettled &&
		len(a.Moments) == len(b.Moments) && a.QuietSince.Equal(b.QuietSince)
}

// account reckons a quiet incident, and says why it cannot be closed; "" if it can.
func (k *Keeper) account(ctx context.Context, i health.Incident) (figures json.RawMessage, unsettled string, err error) {
	record, err := k.reckon(ctx, i)
	if err != nil {
		return nil, "", err
	}
	switch a := record.Figures.Account; {
	case a.Remainder != 0:
		unsettled = fmt.Sprintf("%d of %d recipients have no account", a.Remainder, a.Accepted)
	case a.SetAside != 0:
		unsettled = fmt.Sprintf("%d of %d recipients are in files that were set aside", a.SetAside, a.Accepted)
	case record.Figures.Unread != 0:
		unsettled = fmt.Sprintf("%d records could not be read", record.Figures.Unread)
	}
	figures, err = json.Marshal(kept{record.Figures, record.Timeline})
	return figures, unsettled, err
}

// kept is what of a Record stays with a closed incident: the ledger and the
// samples are not kept for as long.
type kept struct {
	Figures  Figures         `json:"figures"`
	Timeline []health.Moment `json:"timeline"`
}

func (k *Keeper) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		k.options.Log.Error("incident.failed", "error", err)
	}
}

// Record is all that is known of an incident. ErrNotFound, or an error of the
// store. It takes the time of reading the ledger since the incident began,
// unless that is closed.
func (k *Keeper) Record(ctx context.Context, id string) (Record, error) {
	i, err := k.Get(id)
	if err != nil {
		return Record{}, err
	}
	if len(i.Figures) > 0 {
		var was kept
		if err := json.Unmarshal(i.Figures, &was); err != nil {
			return Record{}, fmt.Errorf("figures of %s: %w", id, err)
		}
		return Record{Incident: i, Figures: was.Figures, Timeline: Timeline(i, nil, was.Figures, was.Timeline)}, nil
	}
	return k.reckon(ctx, i)
}

func (k *Keeper) reckon(ctx context.Context, i health.Incident) (Record, error) {
	figures, err := Reckon(ctx, k.options.Store, k.options.History, i)
	if err != nil {
		return Record{}, err
	}
	var changes []health.Change
	for c, err := range k.options.History.Changes(ctx, i.Upstream, i.Began.Add(-around), i.ClosedAt) {
		if err != nil {
			figures.NoHistory = true
			break
		}
		changes = append(changes, c)
	}
	return Record{Incident: i, Figures: figures, Timeline: Timeline(i, changes, figures, nil)}, nil
}

// around is the time before an incident that its timeline looks back on.
const around = 10 * time.Minute

// Open opens an incident for a person. ErrState, and the other one, if the
// upstream has one that goes on; ErrNotFound if there is no such upstream.
func (k *Keeper) Open(ctx context.Context, upstream, actor, reason string) (health.Incident, error) {
	for _, u := range k.options.Upstreams {
		if u.Name == upstream {
			now := time.Now()
			return k.begin(ctx, u, health.Seen{At: now, State: u.Status().Effective(now), Why: reason}, actor)
		}
	}
	return health.Incident{}, fmt.Errorf("upstream %s: %w", upstream, ErrNotFound)
}

// Close closes an incident for a person. waiting is for how many recipients it
// is not over: still queued, set aside, or without an account. It is closed only
// if that number is the one that was confirmed. ErrState while the upstream is down.
func (k *Keeper) Close(ctx context.Context, id, actor, reason string, confirmed int64) (i health.Incident, waiting int64, err error) {
	record, err := k.Record(ctx, id)
	if err != nil {
		return record.Incident, 0, err
	}
	if record.Incident.State == health.IncidentClosed {
		return record.Incident, 0, fmt.Errorf("%s is closed: %w", id, ErrState)
	}
	for _, u := range k.options.Upstreams {
		if u.Name == record.Incident.Upstream && u.Status().Effective(time.Now()) == health.Down {
			return record.Incident, 0, fmt.Errorf("%s is still down: %w", u.Name, ErrState)
		}
	}
	a := record.Figures.Account
	if waiting = a.Queued + a.SetAside + a.Remainder; waiting != confirmed {
		return record.Incident, waiting, nil
	}
	figures, err := json.Marshal(kept{record.Figures, record.Timeline})
	if err != nil {
		return record.Incident, waiting, err
	}
	i, err = k.change(id, func(i health.Incident) (health.Incident, error) {
		if i.State == health.IncidentClosed {
			return i, fmt.Errorf("%s is closed: %w", id, ErrState)
		}
		i = i.Close(time.Now(), actor, reason)
		i.Figures = figures
		return i, nil
	})
	if err == nil {
		k.options.Log.Info("incident.closed", "incident", id, "upstream", i.Upstream, "by", actor, "why", reason)
	}
	return i, waiting, err
}

// Changes lists what was recorded of changes of the upstreams; "" is all.
func (k *Keeper) Changes(ctx context.Context, upstream string, from, until time.Time) iter.Seq2[health.Change, error] {
	return k.options.History.Changes(ctx, upstream, from, until)
}
