package incident

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/health/history"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// rig is a keeper with a queue in memory, a history on disk and a primary that
// is as the test says.
type rig struct {
	t      *testing.T
	path   string
	store  *queuetest.Memory
	wrong  *wrong // what the keeper sees of it
	file   *history.File
	keeper *Keeper
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	status  health.Status
	recent  []health.Signal
	changed chan struct{}
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "history.db"), store: queuetest.New(), changed: make(chan struct{}, 1)}
	r.wrong = &wrong{Store: r.store}
	r.status = health.Status{State: health.Up, Since: time.Now()}
	r.start()
	t.Cleanup(r.stop)
	return r
}

// start is a start of the relay.
func (r *rig) start() {
	r.file = history.Open(r.path, history.Options{})
	r.keeper = New(Options{Book: NewBook(r.file, nil), History: r.file, Store: r.wrong, Upstreams: []Upstream{{Name: "exo",
		Status:  func() health.Status { r.mu.Lock(); defer r.mu.Unlock(); return r.status },
		Recent:  func() []health.Signal { r.mu.Lock(); defer r.mu.Unlock(); return r.recent },
		Changed: func() (<-chan struct{}, func()) { return r.changed, func() {} }}}})
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ended = cancel, make(chan struct{})
	go func() { defer close(r.ended); r.keeper.Run(ctx) }()
	synctest.Wait()
}

func (r *rig) stop() {
	r.cancel()
	<-r.ended
	if err := r.file.Close(); err != nil {
		r.t.Error(err)
	}
}

// becomes lets the primary be in a state.
func (r *rig) becomes(s health.State) {
	r.mu.Lock()
	r.status = health.Status{State: s, Since: time.Now(), Why: "it is " + s.String()}
	r.mu.Unlock()
	r.changed <- struct{}{}
	synctest.Wait()
}

// accept takes a message into custody.
func (r *rig) accept(recipients ...string) queue.ID {
	r.t.Helper()
	e := queue.Envelope{Upstream: "exo", ReversePath: "a@sender.example"}
	for _, path := range recipients {
		e.Recipients = append(e.Recipients, queue.Recipient{ForwardPath: path})
	}
	draft, err := r.store.Create(context.Background())
	if err == nil {
		_, err = io.WriteString(draft, "Subject: x\r\n\r\n")
	}
	if err == nil {
		err = draft.Commit(context.Background(), queue.Acceptance{At: time.Now(), Envelope: e, Lifetime: queue.DefaultLifetime})
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return draft.ID()
}

// attempt ends one attempt with the results, by recipient.
func (r *rig) attempt(id queue.ID, results ...queue.Result) {
	r.t.Helper()
	claimed, err := r.store.Claim(context.Background(), []queue.ID{id}, time.Minute)
	if err != nil || len(claimed) != 1 {
		r.t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	plan := queue.Settlement{ID: id, Attempt: claimed[0].Attempts, Results: map[int]queue.Result{}, NextAttempt: time.Now()}
	for i, result := range results {
		result.At = time.Now()
		plan.Results[i] = result
	}
	if err := r.store.Settle(context.Background(), plan); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) amend(id queue.ID, event queue.Event) {
	r.t.Helper()
	if err := r.store.Amend(context.Background(), queue.Amendment{ID: id, At: time.Now(), Event: event, Actor: "j.doe"}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) only() health.Incident {
	r.t.Helper()
	all := r.keeper.List()
	if len(all) != 1 {
		r.t.Fatalf("%d incidents: %+v", len(all), all)
	}
	return all[0]
}

func (r *rig) figures() Figures {
	r.t.Helper()
	record, err := r.keeper.Record(context.Background(), r.only().ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return record.Figures
}

func replied(action queue.Action, scope queue.Scope, code int, enhanced string) queue.Result {
	return queue.Result{Action: action, Scope: scope, Reply: queue.Reply{Command: "MAIL", Code: code, Enhanced: enhanced, Text: "text"}, Host: "mx.corp.example", Address: "192.0.2.1:25", RemoteSession: "S1"}
}

var (
	delivered = replied(queue.Delivered, queue.ScopeNone, 250, "2.6.0")
	outage    = replied(queue.Deferred, queue.ScopeUpstream, 451, "4.3.2")
	fullBox   = replied(queue.Deferred, queue.ScopeOneRecipient, 452, "4.2.2")
	unknown   = replied(queue.Refused, queue.ScopeOneRecipient, 550, "5.1.1")
)

// wrong is a store that fails, or has damage, or has lost a message.
type wrong struct {
	Store
	mu  sync.Mutex
	now ills
}

type ills struct {
	fail    error // of Ledger and Stats
	gone    error // of Messages
	damaged bool
	lost    queue.ID
}

func (w *wrong) set(now ills) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

func (w *wrong) get() ills {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *wrong) Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error] {
	return func(yield func(queue.Entry, error) bool) {
		now := w.get()
		if now.fail != nil {
			yield(queue.Entry{}, now.fail)
			return
		}
		if now.damaged && !yield(queue.Entry{}, queue.ErrDamaged) {
			return
		}
		for e, err := range w.Store.Ledger(ctx, f) {
			if !yield(e, err) {
				return
			}
		}
	}
}

func (w *wrong) Messages(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		now := w.get()
		if now.gone != nil {
			yield(queue.Message{}, now.gone)
			return
		}
		if now.damaged && !yield(queue.Message{}, queue.ErrDamaged) {
			return
		}
		for m, err := range w.Store.Messages(ctx, f) {
			if m.ID != now.lost && !yield(m, err) {
				return
			}
		}
	}
}

func (w *wrong) Stats(ctx context.Context) (queue.Stats, error) {
	if now := w.get(); now.fail != nil {
		return queue.Stats{}, now.fail
	}
	return w.Store.Stats(ctx)
}

func seed() maphash.Seed { return maphash.MakeSeed() }

var errDisk = errors.New("the disk fails")

// whats are the words of a timeline.
func whats(all []health.Moment) string {
	var words []string
	for _, m := range all {
		words = append(words, strings.ReplaceAll(m.What, " ", "-"))
	}
	return strings.Join(words, " ")
}
