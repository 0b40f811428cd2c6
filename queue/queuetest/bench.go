package queuetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

const (
	upstream = "primary"
	trace    = "Received: from client.example by relay.example; Tue, 3 Mar 2026 10:00:00 +0000\r\nX-Trace: 1\r\n"
	lease    = time.Hour
)

// T is what the tests of a store need: a *testing.T, or the *rapid.T of one of
// many lives.
type T interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
}

// bench is one store under test. Each of its acts also checks the account.
type bench struct {
	T
	store queue.Store
	ctx   context.Context
}

// Run runs a part of a rule as a test of its own.
func (b *bench) Run(name string, part func(*testing.T)) {
	b.Helper()
	b.T.(*testing.T).Run(name, part)
}

func newBench(t *testing.T, open func(t *testing.T) queue.Store) *bench {
	b := &bench{T: t, store: open(t), ctx: t.Context()}
	t.Cleanup(func() {
		if err := b.store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// now has no monotonic part and no place, so that it compares after it was stored.
func now() time.Time { return time.Now().UTC().Round(0) }

func acceptance(recipients ...string) queue.Acceptance {
	a := queue.Acceptance{At: now(), Trace: []byte(trace), MessageID: "<1@client.example>", Lifetime: queue.DefaultLifetime,
		Envelope: queue.Envelope{Upstream: upstream, ReversePath: "alice@client.example",
			Params: queue.Params{Body: "8BITMIME", SMTPUTF8: true, Ret: "HDRS", EnvID: "e1", RequireTLS: true},
			Origin: queue.Origin{Address: "127.0.0.9", Host: "client.example", Hello: "client.example", TLS: "TLS1.3", Reason: "upstream down"}}}
	if len(recipients) == 0 {
		recipients = []string{"bob@relay.example"}
	}
	for _, r := range recipients {
		a.Envelope.Recipients = append(a.Envelope.Recipients,
			queue.Recipient{ForwardPath: r, ORcpt: "rfc822;" + r, Notify: []string{"FAILURE", "DELAY"}})
	}
	return a
}

func content(size int) []byte {
	sum := sha256.Sum256([]byte{byte(size), byte(size >> 8), byte(size >> 16)})
	return bytes.Repeat(sum[:], size/len(sum)+1)[:size]
}

// accept takes a message and returns its ID.
func (b *bench) accept(a queue.Acceptance, body []byte) queue.ID {
	b.Helper()
	d := b.draft(body)
	b.must(d.Commit(b.ctx, a))
	b.balanced()
	return d.ID()
}

// some accepts n messages for bob.
func (b *bench) some(n int) (ids []queue.ID) {
	b.Helper()
	for range n {
		ids = append(ids, b.accept(acceptance(), content(100)))
	}
	return ids
}

func (b *bench) draft(body []byte) queue.Draft {
	b.Helper()
	d, err := b.store.Create(b.ctx)
	b.must(err)
	for piece := range slices.Chunk(body, 10_000) {
		n, err := d.Write(piece)
		b.must(err)
		if n != len(piece) {
			b.Fatalf("Write took %d of %d bytes", n, len(piece))
		}
	}
	return d
}

func (b *bench) claim(lease time.Duration, ids ...queue.ID) []queue.Message {
	b.Helper()
	claimed, err := b.store.Claim(b.ctx, ids, lease)
	b.must(err)
	b.balanced()
	return claimed
}

// claimOne claims a message that must be due.
func (b *bench) claimOne(id queue.ID) queue.Message {
	b.Helper()
	claimed := b.claim(lease, id)
	if len(claimed) != 1 || claimed[0].ID != id {
		b.Fatalf("Claim(%s) = %+v", id, claimed)
	}
	return claimed[0]
}

func (b *bench) settle(s queue.Settlement) {
	b.Helper()
	b.must(b.store.Settle(b.ctx, s))
	b.balanced()
}

// attempt claims the message and settles it with one result for each recipient.
func (b *bench) attempt(id queue.ID, next time.Time, actions ...queue.Action) {
	b.Helper()
	b.settle(settlement(b.claimOne(id), next, actions...))
}

func settlement(m queue.Message, next time.Time, actions ...queue.Action) queue.Settlement {
	s := queue.Settlement{ID: m.ID, Attempt: m.Attempts, NextAttempt: next, Step: m.Step + 1, Results: map[int]queue.Result{}}
	for i, action := range actions {
		s.Results[i] = result(action)
	}
	return s
}

func result(action queue.Action) queue.Result {
	r := queue.Result{At: now(), Action: action, Scope: queue.ScopeOneRecipient, Host: "mx.relay.example", Address: "127.0.0.1:25",
		RemoteSession: "abc", Took: time.Second, Reply: queue.Reply{Command: "RCPT", Code: 451, Enhanced: "4.7.1", Text: "later\nplease"}}
	if action == queue.Delivered {
		r.Scope, r.Reply = queue.ScopeNone, queue.Reply{Command: "DATA", Code: 250, Enhanced: "2.6.0", Text: "queued"}
	}
	return r
}

func (b *bench) amend(a queue.Amendment) {
	b.Helper()
	b.must(b.store.Amend(b.ctx, a))
	b.balanced()
}

func act(id queue.ID, event queue.Event) queue.Amendment {
	return queue.Amendment{ID: id, At: now(), Event: event, Actor: "carol", Reason: "test"}
}

func (b *bench) purge(at time.Time, want int) {
	b.Helper()
	n, err := b.store.Purge(b.ctx, at)
	b.must(err)
	if n != want {
		b.Fatalf("Purge removed %d messages, want %d", n, want)
	}
	b.balanced()
}

func (b *bench) message(id queue.ID) queue.Message {
	b.Helper()
	m, err := b.store.Message(b.ctx, id)
	b.must(err)
	return m
}

func (b *bench) messages(f queue.Filter) []queue.Message {
	b.Helper()
	var all []queue.Message
	for m, err := range b.store.Messages(b.ctx, f) {
		b.must(err)
		all = append(all, m)
	}
	return all
}

func (b *bench) ids(f queue.Filter) (ids []queue.ID) {
	b.Helper()
	for _, m := range b.messages(f) {
		ids = append(ids, m.ID)
	}
	return ids
}

func (b *bench) due(upstream string, at time.Time) (ids []queue.ID) {
	b.Helper()
	for s, err := range b.store.Due(b.ctx, upstream, at) {
		b.must(err)
		ids = append(ids, s.ID)
	}
	return ids
}

func (b *bench) ledger(f queue.LedgerFilter) []queue.Entry {
	b.Helper()
	var all []queue.Entry
	for e, err := range b.store.Ledger(b.ctx, f) {
		b.must(err)
		if len(all) > 0 && e.Seq <= all[len(all)-1].Seq {
			b.Fatalf("ledger line %d comes after %d", e.Seq, all[len(all)-1].Seq)
		}
		all = append(all, e)
	}
	return all
}

func (b *bench) lastEntry() queue.Entry {
	b.Helper()
	all := b.ledger(queue.LedgerFilter{})
	if len(all) == 0 {
		b.Fatal("the ledger is empty")
	}
	return all[len(all)-1]
}

func (b *bench) content(id queue.ID) []byte {
	b.Helper()
	r, err := b.store.Content(b.ctx, id)
	b.must(err)
	return b.readAll(r)
}

func (b *bench) readAll(r io.ReadCloser) []byte {
	b.Helper()
	all, err := io.ReadAll(r)
	b.must(err)
	b.must(r.Close())
	return all
}

// woken takes the upstream's token, if there is one.
func (b *bench) woken() bool {
	select {
	case <-b.store.Wake(upstream):
		return true
	default:
		return false
	}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) wantErr(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("error is %v, want %v", err, want)
	}
	b.balanced()
}

func same[T any](b *bench, what string, got, want T) {
	b.Helper()
	if !reflect.DeepEqual(got, want) {
		b.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// balanced compares the counters with a count of all messages.
func (b *bench) balanced() {
	b.Helper()
	Balanced(b.T, b.store)
}

// Balanced fails the test if an accepted recipient has no state, or if the
// store's counters differ from a count of its messages. Final messages that the
// store has forgotten are counted in the ledger. Nothing may change meanwhile.
func Balanced(t T, s queue.Store) {
	t.Helper()
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatalf("stats: %v", err)
	}
	if missing := stats.Account.Missing(); missing != 0 {
		t.Fatalf("%d accepted recipients have no state: %+v", missing, stats.Account)
	}
	account := queue.Account{Passed: stats.Account.Passed, SetAside: stats.Account.SetAside, Accepted: stats.Account.SetAside}
	states, of := map[queue.State]int64{}, map[string]queue.Held{}
	var size, damaged int64
	var oldest time.Time
	for m, err := range s.Messages(t.Context(), queue.Filter{States: queue.States()}) {
		if err != nil {
			t.Fatalf("messages: %v", err)
		}
		account.Accepted += int64(len(m.Envelope.Recipients))
		for state, n := range m.Tally() {
			account.Add(state, n)
		}
		if state := m.State(); !state.Final() {
			states[state]++
			size += m.Size
			if m.Damaged {
				damaged++
			}
			one := of[m.Envelope.Upstream]
			one.Add(queue.Held{Messages: 1, Bytes: m.Size})
			of[m.Envelope.Upstream] = one
			if oldest.IsZero() {
				oldest = m.AcceptedAt
			}
		}
	}
	maps.DeleteFunc(stats.Messages, func(_ queue.State, n int64) bool { return n == 0 })
	if account.Accepted < stats.Account.Accepted {
		account = withForgotten(t, s, account, stats.Account)
	}
	maps.DeleteFunc(stats.Upstreams, func(_ string, h queue.Held) bool { return h == queue.Held{} })
	if account != stats.Account || !maps.Equal(states, stats.Messages) || size != stats.Bytes || damaged != stats.Damaged ||
		!maps.Equal(of, stats.Upstreams) || !oldest.Equal(stats.Oldest) {
		t.Fatalf("the counters say %+v\nbut the messages %+v %v %v, %d bytes, %d damaged, oldest %v", stats, account, states, of, size, damaged, oldest)
	}
}

// withForgotten adds to the account of the messages what the ledger says was
// accepted, in the final states in which the counters have more.
func withForgotten(t T, s queue.Store, account, counters queue.Account) queue.Account {
	t.Helper()
	account.Accepted = account.SetAside
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{Events: []queue.Event{queue.Accepted, queue.Adopted}}) {
		if err != nil {
			t.Fatalf("ledger: %v", err)
		}
		account.Accepted += int64(len(e.Recipients))
	}
	account.Delivered = max(account.Delivered, counters.Delivered)
	account.Failed = max(account.Failed, counters.Failed)
	account.Expired = max(account.Expired, counters.Expired)
	account.Deleted = max(account.Deleted, counters.Deleted)
	return account
}
