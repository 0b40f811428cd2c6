package health

import (
	"context"
	"sync"
	"time"
)

// maxRecent is how many signals, and transitions, a Monitor remembers.
const maxRecent = 100

// unknown is the Why of a primary nobody has looked at.
const unknown = "not yet known: no probe so far"

// MonitorOptions says what a Monitor watches.
type MonitorOptions struct {
	Upstream string // its name; signals of others are ignored
	Rules    Rules  // zero fields have their default
	Initial  Status // what was saved last; the zero Status is Degraded, not yet known

	// Save, if not nil, is called by Run soon after the state, the override or
	// a condition has changed, with the newest status, never concurrently.
	Save func(Status)

	// Observed, if not nil, is called with each signal, and Became with each status
	// and the one before. Both are called one at a time, and must not wait.
	Observed func(Signal)
	Became   func(was, is Status, at time.Time)
}

// Transition is a change of what is thought of a primary, or of what counts
// instead while there is an override.
type Transition struct {
	At       time.Time
	From, To State
	Why      string // for people; may quote a remote server
}

// Monitor keeps the status of one primary. Its methods may be called
// concurrently and none but Run waits for anything.
type Monitor struct {
	upstream string
	rules    Rules
	save     func(Status)
	observed func(Signal)
	became   func(was, is Status, at time.Time)
	wake     chan struct{} // of size one: Run has to save, or to look at the time anew

	mu          sync.Mutex
	status      Status
	window      Window
	told        view
	unsaved     bool
	recent      latest[Signal]
	topics      topics
	transitions latest[Transition]
	subscribers map[chan struct{}]struct{}
}

// view is what subscribers are told about.
type view struct {
	state                    State // the effective one
	throttled, misconfigured bool
	network, stops           bool
}

func viewOf(s Status, now time.Time) view {
	return view{s.Effective(now), s.Throttled.Active(), s.Misconfigured.Active(), s.Network.Active(), s.Misconfigured.Stops}
}

// NewMonitor makes a Monitor that begins with the initial status.
func NewMonitor(o MonitorOptions) *Monitor {
	now := time.Now()
	s := o.Initial
	if s.Since.IsZero() || s.Since.After(now) { // a clock that was set back must not hold up a recovery
		s.Since = now
	}
	if s.Why == "" {
		s.Why = unknown
	}
	s.BadRounds, s.GoodRounds = 0, 0 // in a row means: without a stop of ours between
	rules := o.Rules.filled()
	s = rules.At(s, now)
	if o.Observed == nil {
		o.Observed = func(Signal) {}
	}
	if o.Became == nil {
		o.Became = func(_, _ Status, _ time.Time) {}
	}
	return &Monitor{upstream: o.Upstream, rules: rules, save: o.Save, observed: o.Observed, became: o.Became, wake: make(chan struct{}, 1), status: s,
		window: Window{taken: s.ProbeTaken}, told: viewOf(s, now), subscribers: map[chan struct{}]struct{}{}}
}

// Observe takes a signal into account. A signal without a time is of now.
func (m *Monitor) Observe(sig Signal) {
	if sig.Upstream != "" && sig.Upstream != m.upstream {
		return
	}
	sig.Upstream = m.upstream
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if sig.At.IsZero() || sig.At.After(now) {
		sig.At = now
	}
	m.topics.add(sig)
	if !sig.Source.Annotates() {
		m.recent.add(sig)
	}
	m.observed(sig)
	m.window = m.window.Add(sig, m.rules.Span)
	m.become(m.rules.Next(m.status, m.window, sig), now)
}

// Status is what is thought of the primary now.
func (m *Monitor) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rules.At(m.status, time.Now())
}

// Override makes a person's decision count until it ends; nil ends the one there is.
func (m *Monitor) Override(o *Override) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	next := m.rules.At(m.status, now)
	next.Override = nil
	if o != nil && now.Before(o.Until) {
		copied := *o
		next.Override = &copied
	}
	m.become(next, now)
}

// Changed subscribes: the channel gets a token when the effective state
// changes or a condition begins or ends. It is of size one, so that nobody
// waits for the subscriber, and never closed. The func ends the subscription.
func (m *Monitor) Changed() (<-chan struct{}, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tokens := make(chan struct{}, 1)
	m.subscribers[tokens] = struct{}{}
	return tokens, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subscribers, tokens)
	}
}

// Topics are the last signals of each source and what it looks at, sorted by these.
func (m *Monitor) Topics() []Signal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.topics.all()
}

// Recent are the last signals that may count, the newest last.
func (m *Monitor) Recent() []Signal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent.all()
}

// Transitions are the last changes, the newest last.
func (m *Monitor) Transitions() []Transition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.transitions.all()
}

// Run saves, and ends what is over by time, until ctx ends; then it saves a
// last time. It is to be called once.
func (m *Monitor) Run(ctx context.Context) {
	for {
		m.settle()
		timer, stop := m.timer()
		select {
		case <-ctx.Done():
			stop()
			m.settle()
			return
		case <-m.wake:
		case <-timer:
		}
		stop()
	}
}

// timer fires when something is over by time; never if nothing will be.
func (m *Monitor) timer() (<-chan time.Time, func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.rules.ends(m.status)
	if at.IsZero() {
		return nil, func() bool { return true }
	}
	timer := time.NewTimer(time.Until(at))
	return timer.C, timer.Stop
}

// settle ends what is over and saves what is not saved. Save is called without
// the lock, so that a slow disk delays no signal.
func (m *Monitor) settle() {
	m.mu.Lock()
	now := time.Now()
	m.become(m.rules.At(m.status, now), now)
	status, unsaved := m.status, m.unsaved
	m.unsaved = false
	m.mu.Unlock()
	if unsaved && m.save != nil {
		m.save(status)
	}
}

// become makes next the status and tells who has to know.
func (m *Monitor) become(next Status, now time.Time) {
	was := m.status
	m.status = next
	m.became(was, next, now)
	if was.State != next.State {
		m.transitions.add(Transition{At: next.Since, From: was.State, To: next.State, Why: next.Why})
	}
	is := viewOf(next, now)
	steered := was.Override != next.Override || was.Planned != next.Planned
	if steered && m.told.state != is.state {
		m.transitions.add(Transition{At: now, From: m.told.state, To: is.state, Why: whySteered(was, next, now)})
	}
	if was.State != next.State || steered ||
		was.Throttled.Since != next.Throttled.Since || was.Misconfigured.Since != next.Misconfigured.Since ||
		was.Misconfigured.Stops != next.Misconfigured.Stops || was.Network.Since != next.Network.Since || was.Relapses != next.Relapses {
		m.unsaved = true
		poke(m.wake)
	}
	if m.told != is {
		m.told = is
		for tokens := range m.subscribers {
			poke(tokens)
		}
	}
}

// poke leaves a token, unless there is one.
func poke(tokens chan struct{}) {
	select {
	case tokens <- struct{}{}:
	default:
	}
}

// latest remembers the last maxRecent of what is added.
type latest[T any] struct {
	items []T
	next  int // where the oldest is, once there are maxRecent
}

func (l *latest[T]) add(item T) {
	if len(l.items) < maxRecent {
		l.items = append(l.items, item)
		return
	}
	l.items[l.next] = item
	l.next = (l.next + 1) % maxRecent
}

// all is a copy, the newest last.
func (l *latest[T]) all() []T {
	return append(append([]T{}, l.items[l.next:]...), l.items[:l.next]...)
}
