package queuetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func concurrencyRules() []rule {
	return []rule{
		{"many senders and one dispatcher at once", manyAtOnce},
		{"only one of many claims gets the message", oneClaimWins},
		{"only one of many messages of a cause is accepted", oneCauseWins},
		{"a random life is that of the model", randomLife},
	}
}

// manyAtOnce lets senders accept while a dispatcher claims and settles what is
// due and an operator reads: all is delivered once.
func manyAtOnce(b *bench) {
	const senders, each = 8, 25
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for i := range each {
				d, err := b.store.Create(b.ctx)
				if err == nil {
					_, err = d.Write(content(i * 5000))
				}
				if err == nil {
					err = d.Commit(b.ctx, acceptance())
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	reading := sync.WaitGroup{}
	reading.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			stats, err := b.store.Stats(b.ctx)
			if err != nil || stats.Account.Missing() != 0 {
				b.Errorf("stats %+v, error %v", stats, err)
			}
			for _, err := range b.store.Messages(b.ctx, queue.Filter{States: queue.States()}) {
				if err != nil {
					b.Error(err)
				}
			}
		}
	})
	delivered := map[queue.ID]int{}
	for len(delivered) < senders*each && !b.Failed() {
		<-b.store.Wake(upstream)
		claimed, err := b.store.Claim(b.ctx, b.due(upstream, now()), lease)
		b.must(err)
		for _, m := range claimed {
			delivered[m.ID]++
			if got := b.content(m.ID); int64(len(got)) != m.Size+int64(len(trace)) {
				b.Errorf("%s has %d bytes", m.ID, len(got))
			}
			b.must(b.store.Settle(b.ctx, settlement(m, now(), queue.Delivered)))
		}
	}
	sending.Wait()
	close(done)
	reading.Wait()
	b.balanced()
	for id, n := range delivered {
		if n != 1 {
			b.Errorf("%s was claimed %d times", id, n)
		}
	}
}

func oneClaimWins(b *bench) {
	id := b.some(1)[0]
	var mu sync.Mutex
	var wins int
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			claimed, err := b.store.Claim(b.ctx, []queue.ID{id}, lease)
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			wins += len(claimed)
		})
	}
	group.Wait()
	if wins != 1 {
		b.Fatalf("%d claims got it", wins)
	}
}

func oneCauseWins(b *bench) {
	caused := acceptance()
	caused.Envelope.Cause = queue.Cause{ID: "0123456789ab", Kind: "delay"}
	var group sync.WaitGroup
	outcomes := make(chan error, 20)
	for range cap(outcomes) {
		d := b.draft(content(10))
		group.Go(func() { outcomes <- d.Commit(b.ctx, caused) })
	}
	group.Wait()
	close(outcomes)
	accepted := 0
	for err := range outcomes {
		if err == nil {
			accepted++
		} else if !errors.Is(err, queue.ErrExists) {
			b.Error(err)
		}
	}
	if accepted != 1 {
		b.Fatalf("%d were accepted", accepted)
	}
	b.balanced()
}

// model is what the store must say: the pure decisions, applied to a map. What
// is final the store may forget, and then for good.
type model struct {
	messages  map[queue.ID]queue.Message
	forgotten map[queue.ID]bool
	lines     int
}

// forget reports whether the store has forgotten the message, as err says and as it may.
func (w *model) forget(b *bench, id queue.ID, err error) bool {
	b.Helper()
	if !errors.Is(err, queue.ErrNotFound) {
		if w.forgotten[id] {
			b.Fatalf("%s was forgotten, and is back: %v", id, err)
		}
		return false
	}
	w.mayForget(b, id)
	w.forgotten[id] = true
	return true
}

// mayForget fails the test if there is something to do for the message, or to bring back.
func (w *model) mayForget(b *bench, id queue.ID) {
	b.Helper()
	m := w.messages[id]
	if after, _, _ := m.PurgedBy(queue.Keep{}, m.LeasedUntil.Add(queue.MaxLifetime)); !m.State().Final() || after.Purged != m.Purged {
		b.Fatalf("%s, which is %s, was forgotten", id, m.State())
	}
}

func randomLife(b *bench) { b.live(600, func() queue.Store { return b.store }) }

// Live does the same random acts to a store and to the model. Before each act
// it asks for the store, which may have been closed and opened again.
func Live(t *testing.T, acts int, store func() queue.Store) {
	(&bench{T: t, ctx: t.Context()}).live(acts, store)
}

// seedVariable names a seed to begin with instead of a random one, to play a
// failed life again.
const seedVariable = "QUEUETEST_SEED"

func (b *bench) live(acts int, store func() queue.Store) {
	b.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		b.must(err)
	}
	b.Logf("play it again with %s=%d", seedVariable, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	world := model{messages: map[queue.ID]queue.Message{}, forgotten: map[queue.ID]bool{}}
	var ids []queue.ID
	for step := range acts {
		b.store = store()
		if len(ids) == 0 || random.IntN(5) == 0 {
			ids = append(ids, world.accept(b, random))
		}
		id := ids[random.IntN(len(ids))]
		switch random.IntN(5) {
		case 0:
			world.claim(b, random, id)
		case 1:
			world.settle(b, random, id)
		case 2:
			world.amend(b, random, id)
		case 3:
			world.purge(b, random)
		case 4:
			world.abort(b, random)
		}
		m, err := b.store.Message(b.ctx, id)
		if !world.forget(b, id, err) {
			b.must(err)
			same(b, "message", m, world.messages[id])
		}
		if step%20 == 0 {
			world.compare(b)
		}
	}
	world.compare(b)
}

func (w *model) accept(b *bench, random *rand.Rand) queue.ID {
	a := acceptance([]string{"a@relay.example", "b@relay.example", "c@relay.example"}[:1+random.IntN(3)]...)
	if random.IntN(4) == 0 {
		a.Held = "spam"
	}
	body := content(random.IntN(1 << (1 + random.IntN(18))))
	id := b.accept(a, body)
	w.messages[id], _ = queue.Accept(id, a, int64(len(body)), sha256.Sum256(body))
	w.lines++
	return id
}

func (w *model) claim(b *bench, random *rand.Rand, id queue.ID) {
	before := w.messages[id]
	claimed := b.claim(time.Duration(random.IntN(2))*lease, id)
	at := now()
	if due := before.Due(at); due != (len(claimed) == 1) {
		b.Fatalf("claimed %+v of %+v at %s", claimed, before, at)
	}
	if len(claimed) == 0 {
		return
	}
	want, interrupted := before.Claimed(at, 0)
	if interrupted != nil {
		w.lines++
	}
	want.LeasedUntil = claimed[0].LeasedUntil // the store's clock decides
	want.NextAttempt = want.LeasedUntil
	w.messages[id] = want
	same(b, "claimed", claimed[0], want)
}

func (w *model) settle(b *bench, random *rand.Rand, id queue.ID) {
	m := w.messages[id]
	s := queue.Settlement{ID: id, Attempt: m.Attempts - random.IntN(2), Step: random.IntN(5), Results: map[int]queue.Result{},
		NextAttempt: now().Add(time.Duration(random.IntN(2)) * time.Hour)}
	for i := range m.Envelope.Recipients {
		if action := queue.Action(random.IntN(6)); action != queue.Queued {
			s.Results[i] = result(action)
		}
	}
	want, _, wantErr := m.Settled(s, now())
	err := b.store.Settle(b.ctx, s)
	if errors.Is(err, queue.ErrNotFound) { // readers may find it for a moment longer
		w.mayForget(b, id)
		return
	}
	if !errors.Is(err, wantErr) && (err == nil || !errors.Is(wantErr, queue.ErrStale)) {
		b.Fatalf("settle: %v, want %v", err, wantErr)
	}
	b.balanced()
	if wantErr == nil {
		w.messages[id] = want
		w.lines++
	}
}

func (w *model) amend(b *bench, random *rand.Rand, id queue.ID) {
	events := []queue.Event{queue.Hold, queue.Release, queue.Retry, queue.Extend, queue.Delete, queue.Undelete}
	a := act(id, events[random.IntN(len(events))])
	a.By = time.Duration(random.IntN(100)) * time.Hour
	want, _, wantErr := w.messages[id].Amended(a)
	err := b.store.Amend(b.ctx, a)
	if errors.Is(err, queue.ErrNotFound) { // readers may find it for a moment longer
		w.mayForget(b, id)
		return
	}
	if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, queue.ErrState) {
		b.Fatalf("amend: %v, want %v", err, wantErr)
	}
	b.balanced()
	if wantErr == nil {
		w.messages[id] = want
		w.lines++
	}
}

// abort begins a message and gives it up.
func (w *model) abort(b *bench, random *rand.Rand) {
	d := b.draft(content(random.IntN(1 << (1 + random.IntN(18)))))
	b.must(d.Abort())
	_, err := b.store.Message(b.ctx, d.ID())
	b.wantErr(err, queue.ErrNotFound)
}

func (w *model) purge(b *bench, random *rand.Rand) {
	at := now().Add(time.Duration(random.IntN(3)) * 40 * time.Hour)
	removed := 0
	for id, m := range w.messages {
		after, _, act := m.PurgedBy(queue.DefaultKeep(), at)
		if !act {
			continue
		}
		w.messages[id] = after
		w.lines++
		if after.Purged {
			removed++
		}
	}
	b.purge(at, removed)
}

// account counts all messages that ever were.
func (w *model) account() (a queue.Account) {
	for _, m := range w.messages {
		a.Accepted += int64(len(m.Envelope.Recipients))
		for state, n := range m.Tally() {
			a.Add(state, n)
		}
	}
	return a
}

// read returns trace and content.
func (*model) read(b *bench, id queue.ID) ([]byte, error) {
	r, err := b.store.Content(b.ctx, id)
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(r)
	return all, errors.Join(err, r.Close())
}

// compare looks at everything.
func (w *model) compare(b *bench) {
	b.Helper()
	all := b.messages(queue.Filter{States: queue.States()})
	listed := map[queue.ID]bool{}
	for _, m := range all {
		listed[m.ID] = true
	}
	for id := range w.messages {
		if !listed[id] {
			_, err := b.store.Message(b.ctx, id)
			if !w.forget(b, id, err) {
				b.Fatalf("%s is not listed", id)
			}
		}
	}
	if len(all)+len(w.forgotten) != len(w.messages) {
		b.Fatalf("%d messages and %d forgotten, want %d", len(all), len(w.forgotten), len(w.messages))
	}
	stats, err := b.store.Stats(b.ctx)
	b.must(err)
	same(b, "account", stats.Account, w.account())
	at := now().Add(time.Hour)
	var due []queue.ID
	for _, m := range all {
		same(b, "message", m, w.messages[m.ID])
		if m.Due(at) {
			due = append(due, m.ID)
		}
		if m.Purged {
			continue
		}
		received, err := w.read(b, m.ID)
		if w.forget(b, m.ID, err) { // since it was listed
			continue
		}
		b.must(err)
		body, ok := bytes.CutPrefix(received, []byte(trace))
		if !ok || sha256.Sum256(body) != m.Digest {
			b.Fatalf("%s has other content than was accepted", m.ID)
		}
	}
	got := b.due(upstream, at)
	slices.Sort(got)
	same(b, "due", got, due)
	same(b, "number of ledger lines", len(b.ledger(queue.LedgerFilter{})), w.lines)
}
