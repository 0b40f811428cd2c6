package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// desk is a Dispatcher with a store in memory, a health that does as it is
// told, and a primary that is a func. Use it in a bubble.
type desk struct {
	*testing.T
	*Dispatcher
	store  *queuetest.Memory
	health *standing
	run    context.Context
	cancel context.CancelFunc
	ended  chan error
}

// anyRate is no limit on the messages a minute, for tests of everything else.
const anyRate = 1 << 30

// primaryFunc is a Deliverer.
type primaryFunc func(ctx context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report

func (primaryFunc) Name() string { return "exo" }

func (f primaryFunc) Deliver(ctx context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report {
	return f(ctx, m, open)
}

// newDesk starts a dispatcher. The state is Up.
func newDesk(t *testing.T, deliver primaryFunc, change func(*DispatcherOptions)) *desk {
	t.Helper()
	d := &desk{T: t, store: queuetest.New(), health: &standing{tokens: make(chan struct{}, 1)}, ended: make(chan error, 1)}
	d.health.set(health.Status{State: health.Up})
	o := DispatcherOptions{Upstream: deliver, Store: d.store, Health: d.health, StartRate: anyRate}
	if change != nil {
		change(&o)
	}
	var err error
	if d.Dispatcher, err = NewDispatcher(o); err != nil {
		t.Fatal(err)
	}
	d.run, d.cancel = context.WithCancel(t.Context())
	go func() { d.ended <- d.Dispatcher.Run(d.run) }()
	return d
}

// end stops the dispatcher and checks what Run says.
func (d *desk) end(want error) {
	d.Helper()
	d.cancel()
	if err := <-d.ended; !errors.Is(err, want) {
		d.Errorf("run: %v, want %v", err, want)
	}
	if now := d.Delivery(); now.InFlight != 0 || now.Window != 0 {
		d.Errorf("after the end: %+v", now)
	}
}

// accept takes messages into the store.
func (d *desk) accept(n int) (ids []queue.ID) {
	d.Helper()
	for range n {
		ids = append(ids, d.acceptFor("b@corp.example"))
	}
	return ids
}

// acceptFor takes one message for these recipients into the store.
func (d *desk) acceptFor(recipients ...string) queue.ID {
	d.Helper()
	draft, err := d.store.Create(d.Context())
	if err == nil {
		_, err = io.WriteString(draft, text)
	}
	if err == nil {
		e := message(recipients...).Envelope
		e.Origin.Auth.ReversePath = true
		err = draft.Commit(d.Context(), queue.Acceptance{At: time.Now(), Lifetime: queue.DefaultLifetime, Envelope: e})
	}
	if err != nil {
		d.Fatal(err)
	}
	return draft.ID()
}

// message reads a message.
func (d *desk) message(id queue.ID) queue.Message {
	d.Helper()
	m, err := d.store.Message(context.Background(), id)
	if err != nil {
		d.Fatal(err)
	}
	return m
}

// state waits until nothing moves and returns the state of a message.
func (d *desk) state(id queue.ID) queue.State {
	d.Helper()
	synctest.Wait()
	return d.message(id).State()
}

// standing is a Health.
type standing struct {
	mu     sync.Mutex
	status health.Status
	tokens chan struct{}
	seen   []health.Signal
}

func (s *standing) set(status health.Status) {
	s.mu.Lock()
	s.status = status
	s.mu.Unlock()
	select {
	case s.tokens <- struct{}{}:
	default:
	}
}

func (s *standing) Status() health.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *standing) Observe(signal health.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, signal)
}

func (s *standing) Changed() (<-chan struct{}, func()) { return s.tokens, func() {} }

// gives makes a report that says the same of every recipient.
func gives(m queue.Message, action queue.Action, scope queue.Scope, classes ...health.Class) Report {
	r := Report{Results: map[int]queue.Result{}}
	for _, i := range m.Pending() {
		r.Results[i] = queue.Result{At: time.Now(), Action: action, Scope: scope, Reply: queue.Reply{Text: "so it is"}}
	}
	for _, c := range classes {
		r.Signals = append(r.Signals, health.Signal{At: time.Now(), Source: health.SourceAttempt, Class: c})
	}
	return r
}

// takes accepts every message after some time.
func takes(d time.Duration) primaryFunc {
	return func(_ context.Context, m queue.Message, _ func() (io.ReadCloser, error)) Report {
		time.Sleep(d)
		return gives(m, queue.Delivered, queue.ScopeNone, health.OK)
	}
}

// answers says the same of every message, almost at once.
func answers(action queue.Action, scope queue.Scope, classes ...health.Class) primaryFunc {
	return func(_ context.Context, m queue.Message, _ func() (io.ReadCloser, error)) Report {
		time.Sleep(time.Millisecond)
		return gives(m, action, scope, classes...)
	}
}

// journal is a log that remembers its events.
type journal struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	j.lines = append(j.lines, line)
	return nil
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}
