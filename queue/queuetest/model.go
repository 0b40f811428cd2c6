package queuetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/mxkeep/mxkeep/queue"
)

// model is what the store must say: the pure decisions, applied to a map. What
// is final the store may forget, and then for good.
type model struct {
	*bench
	t         *rapid.T
	life      Life
	messages  map[queue.ID]queue.Message
	forgotten map[queue.ID]bool
	drafts    map[queue.ID]*written
	adopted   []queue.Adoption
	lines     int
}

// written is a message that is being received.
type written struct {
	draft queue.Draft
	body  []byte
}

// sizes are those of what is written at once: from nothing to more than a chunk.
func sizes() *rapid.Generator[int] {
	return rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(60_000, 70_000), rapid.IntRange(0, 200_000))
}

func (w *model) begin() {
	d, err := w.store.Create(w.ctx)
	w.must(err)
	if _, known := w.messages[d.ID()]; known || w.drafts[d.ID()] != nil {
		w.Fatalf("%s was given before", d.ID())
	}
	w.drafts[d.ID()] = &written{draft: d}
}

// draft chooses one of the messages that are being received.
func (w *model) one() (queue.ID, *written) {
	if len(w.drafts) == 0 {
		w.t.Skip("nothing is being received")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.drafts))).Draw(w.t, "draft")
	return id, w.drafts[id]
}

// some chooses one of the messages.
func (w *model) some() queue.ID {
	if len(w.messages) == 0 {
		w.t.Skip("there is no message")
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(w.messages))).Draw(w.t, "message")
}

func (w *model) write() {
	_, d := w.one()
	part := content(sizes().Draw(w.t, "size"))
	n, err := d.draft.Write(part)
	w.must(err)
	same(w.bench, "bytes written", n, len(part))
	d.body = append(d.body, part...)
}

func (w *model) commit() {
	id, d := w.one()
	a := acceptance([]string{"a@relay.example", "b@relay.example", "c@relay.example"}[:rapid.IntRange(1, 3).Draw(w.t, "recipients")]...)
	a.Held = rapid.SampledFrom([]string{"", "", "", "spam"}).Draw(w.t, "held")
	w.must(d.draft.Commit(w.ctx, a))
	delete(w.drafts, id)
	w.messages[id], _ = queue.Accept(id, a, int64(len(d.body)), sha256.Sum256(d.body))
	w.lines++
	w.look(id)
}

func (w *model) abort() {
	id, d := w.one()
	w.must(d.draft.Abort())
	delete(w.drafts, id)
	_, err := w.store.Message(w.ctx, id)
	w.wantErr(err, queue.ErrNotFound)
}

func (w *model) claim() {
	id := w.some()
	before := w.messages[id]
	claimed := w.bench.claim(time.Duration(rapid.IntRange(0, 1).Draw(w.t, "hours"))*lease, id)
	at := now()
	if due := before.Due(at); due != (len(claimed) == 1) {
		w.Fatalf("claimed %+v of %+v at %s", claimed, before, at)
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
	same(w.bench, "claimed", claimed[0], want)
	w.look(id)
}

func (w *model) settle() {
	id := w.some()
	m := w.messages[id]
	s := queue.Settlement{ID: id, Attempt: m.Attempts - rapid.IntRange(0, 1).Draw(w.t, "attempts ago"), Step: rapid.IntRange(0, 4).Draw(w.t, "step"),
		Results: map[int]queue.Result{}, NextAttempt: now().Add(time.Duration(rapid.IntRange(0, 1).Draw(w.t, "hours")) * time.Hour)}
	for i := range m.Envelope.Recipients {
		if action := queue.Action(rapid.IntRange(0, 5).Draw(w.t, "action")); action != queue.Queued {
			s.Results[i] = result(action)
		}
	}
	if s.Damaged = rapid.IntRange(0, 9).Draw(w.t, "damaged") == 9; s.Damaged {
		s.Held = "damaged"
	}
	want, _, wantErr := m.Settled(s, now())
	w.changed(id, want, wantErr, w.store.Settle(w.ctx, s), queue.ErrStale)
}

func (w *model) amend() {
	id := w.some()
	events := []queue.Event{queue.Hold, queue.Release, queue.Retry, queue.Extend, queue.Delete, queue.Undelete, queue.Bounce}
	a := act(id, rapid.SampledFrom(events).Draw(w.t, "event"))
	a.Of = rapid.SliceOfN(rapid.IntRange(0, 3), 0, 3).Draw(w.t, "of")
	a.By = time.Duration(rapid.IntRange(0, 99).Draw(w.t, "by")) * time.Hour
	want, _, wantErr := w.messages[id].Amended(a)
	w.changed(id, want, wantErr, w.store.Amend(w.ctx, a), queue.ErrState)
}

// adopt brings in a message as it may have been at another relay.
func (w *model) adopt() {
	body := content(sizes().Draw(w.t, "size"))
	a := foreign(time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(100*time.Hour)).Draw(w.t, "ago")), body,
		[]string{"a@relay.example", "b@relay.example", "c@relay.example"}[:rapid.IntRange(1, 3).Draw(w.t, "recipients")]...)
	for i := range a.Message.Envelope.Recipients {
		r := &a.Message.Envelope.Recipients[i]
		if action := queue.Action(rapid.IntRange(0, 5).Draw(w.t, "action")); action != queue.Queued {
			r.Last = result(action)
		}
		r.Deleted = !r.Last.Action.Final() && rapid.IntRange(0, 4).Draw(w.t, "deleted") == 4
	}
	if rapid.Bool().Draw(w.t, "active") {
		a.Message.Attempts, a.Message.LeasedUntil = 1, now().Add(lease)
	}
	a.Held = rapid.SampledFrom([]string{"", "restored"}).Draw(w.t, "held")
	id, err := w.store.Adopt(w.ctx, a, bytes.NewReader(body))
	if a.Check() != nil {
		w.wantErr(err, queue.ErrState)
		return
	}
	if slices.ContainsFunc(w.adopted, func(other queue.Adoption) bool {
		return other.Message.ID == a.Message.ID && other.Message.Same(a.Message)
	}) {
		w.wantErr(err, queue.ErrExists) // the clock stood still, and all else was drawn as before
		return
	}
	w.must(err)
	if _, known := w.messages[id]; known {
		w.Fatalf("%s was known before", id)
	}
	m, lines := a.Adopt(id, false, now())
	w.messages[id] = m
	w.adopted = append(w.adopted, a)
	w.lines += len(lines)
	w.look(id)
}

// adoptAgain brings a message that was brought before, whatever became of it.
func (w *model) adoptAgain() {
	if len(w.adopted) == 0 {
		w.t.Skip("nothing was adopted")
	}
	_, err := w.store.Adopt(w.ctx, rapid.SampledFrom(w.adopted).Draw(w.t, "adopted"), nil)
	w.wantErr(err, queue.ErrExists)
}

// changed compares the outcome of a change with that of the pure decision.
func (w *model) changed(id queue.ID, want queue.Message, wantErr, err, refusal error) {
	w.Helper()
	switch {
	case errors.Is(err, queue.ErrNotFound): // readers may find it for a moment longer
		w.mayForget(id)
		return
	case (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, refusal):
		w.Fatalf("error %v, want %v", err, wantErr)
	case err == nil:
		if !want.HeldAt.IsZero() && w.messages[id].HeldAt.IsZero() { // the store's clock decides
			want.HeldAt = w.message(id).HeldAt
		}
		w.messages[id] = want
		w.lines++
	}
	w.look(id)
}

func (w *model) purge() {
	at := now().Add(time.Duration(rapid.IntRange(0, 2).Draw(w.t, "times 40 hours")) * 40 * time.Hour)
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
	w.bench.purge(at, removed)
}

// wait lets time pass.
func (w *model) wait() {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Minute, time.Hour, 100 * time.Hour}).Draw(w.t, "time"))
}

// suffer lets something happen to the store: what was being received is gone.
func (w *model) suffer(fate func()) {
	fate()
	w.store = w.life.Store()
	for id := range w.drafts {
		_, err := w.store.Message(w.ctx, id)
		w.wantErr(err, queue.ErrNotFound)
	}
	clear(w.drafts)
	w.compare()
}

// forget reports whether the store has forgotten the message, as err says and as it may.
func (w *model) forget(id queue.ID, err error) bool {
	w.Helper()
	if !errors.Is(err, queue.ErrNotFound) {
		if w.forgotten[id] {
			w.Fatalf("%s was forgotten, and is back: %v", id, err)
		}
		return false
	}
	w.mayForget(id)
	w.forgotten[id] = true
	return true
}

// mayForget fails the test if there is something to do for the message, or to bring back.
func (w *model) mayForget(id queue.ID) {
	w.Helper()
	m := w.messages[id]
	if after, _, _ := m.PurgedBy(queue.Keep{}, m.LeasedUntil.Add(queue.MaxLifetime)); !m.State().Final() || after.Purged != m.Purged {
		w.Fatalf("%s, which is %s, was forgotten", id, m.State())
	}
}

// look compares one message.
func (w *model) look(id queue.ID) {
	w.Helper()
	m, err := w.store.Message(w.ctx, id)
	if !w.forget(id, err) {
		w.must(err)
		same(w.bench, "message", m, w.messages[id])
	}
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
func (w *model) read(id queue.ID) ([]byte, error) {
	r, err := w.store.Content(w.ctx, id)
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(r)
	return all, errors.Join(err, r.Close())
}

// compare looks at everything.
func (w *model) compare() {
	w.Helper()
	all := w.bench.messages(queue.Filter{States: queue.States()})
	listed := map[queue.ID]bool{}
	for _, m := range all {
		listed[m.ID] = true
	}
	for id := range w.messages {
		if !listed[id] {
			_, err := w.store.Message(w.ctx, id)
			if !w.forget(id, err) {
				w.Fatalf("%s is not listed", id)
			}
		}
	}
	if len(all)+len(w.forgotten) != len(w.messages) {
		w.Fatalf("%d messages and %d forgotten, want %d", len(all), len(w.forgotten), len(w.messages))
	}
	stats, err := w.store.Stats(w.ctx)
	w.must(err)
	same(w.bench, "account", stats.Account, w.account())
	at := now().Add(time.Hour)
	var due []queue.ID
	for _, m := range all {
		same(w.bench, "message", m, w.messages[m.ID])
		if m.Due(at) {
			due = append(due, m.ID)
		}
		if !m.Purged {
			w.compareContent(m)
		}
	}
	got := w.due(upstream, at)
	slices.Sort(got)
	same(w.bench, "due", got, due)
	same(w.bench, "number of ledger lines", len(w.ledger(queue.LedgerFilter{})), w.lines)
}

func (w *model) compareContent(m queue.Message) {
	w.Helper()
	received, err := w.read(m.ID)
	if w.forget(m.ID, err) { // since it was listed
		return
	}
	w.must(err)
	body, ok := bytes.CutPrefix(received, []byte(trace))
	if !ok || sha256.Sum256(body) != m.Digest {
		w.Fatalf("%s has other content than was accepted", m.ID)
	}
}
