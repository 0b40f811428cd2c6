package queuetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Adopt brings in a message that was accepted elsewhere.
func (s *Memory) Adopt(ctx context.Context, a queue.Adoption, content io.Reader) (queue.ID, error) {
	if err := s.lock(ctx); err != nil {
		return "", err
	}
	defer s.mu.Unlock()
	if err := a.Check(); err != nil {
		return "", err
	}
	if s.full {
		return "", queue.ErrFull
	}
	id, err := s.idFor(a.Message)
	if err != nil {
		return "", err
	}
	received, err := io.ReadAll(io.LimitReader(content, a.Message.Size+1))
	if err != nil {
		return "", fmt.Errorf("content of %s: %w", id, err)
	}
	damaged := sha256.Sum256(received) != a.Message.Digest
	if int64(len(received)) > a.Message.Size || damaged && !a.Message.Damaged {
		return "", fmt.Errorf("content of %s: %w", id, queue.ErrDamaged)
	}
	if cause := a.Message.Envelope.Cause; cause != (queue.Cause{}) {
		if s.causes[cause] {
			return "", fmt.Errorf("the cause of %s: %w", id, queue.ErrExists)
		}
		s.causes[cause] = true
	}
	m, lines := a.Adopt(id, damaged, now())
	s.messages[id] = &held{message: clone(m), trace: slices.Clone(a.Trace), received: received}
	s.accepted += int64(len(m.Envelope.Recipients))
	for _, e := range lines {
		s.write(e)
	}
	s.wake(m)
	return id, nil
}

// idFor is the ID under which a message is adopted. The caller holds the lock.
func (s *Memory) idFor(m queue.Message) (queue.ID, error) {
	for _, id := range []queue.ID{m.ID, m.Alias()} {
		if s.drafts[id] || id.Time().After(time.Now()) {
			continue
		}
		s.last = max(s.last, id)
		h := s.messages[id]
		if h == nil {
			return id, nil
		}
		if h.message.Same(m) {
			return "", fmt.Errorf("%s is %s here: %w", id, h.message.State(), queue.ErrExists)
		}
	}
	return "", fmt.Errorf("%s and its alias are those of other messages: %w", m.ID, queue.ErrState)
}

// foreign is a message that another relay accepted that long ago.
func foreign(ago time.Duration, body []byte, recipients ...string) queue.Adoption {
	acc := acceptance(recipients...)
	acc.At = acc.At.Add(-ago)
	m, _ := queue.Accept(queue.NextID("", acc.At), acc, int64(len(body)), sha256.Sum256(body))
	m.ID = queue.NextID(m.ID, acc.At) // no store gives this one by itself so easily
	return queue.Adoption{Message: m, Trace: []byte(trace), Actor: "carol", Source: "from the relay in Rome"}
}

func adoptionRules() []rule {
	return []rule{
		{"an adopted message is as it was elsewhere", adoptedIsAsItWas},
		{"an adopted message may be held", adoptedHeld},
		{"an attempt that ran elsewhere was interrupted", adoptedWhileActive},
		{"nothing is adopted twice", adoptedOnce},
		{"what this store accepted is not adopted", adoptedOwn},
		{"an ID that another message has is not given again", adoptedCollision},
		{"an ID of the future does not push ours ahead", adoptedFuture},
		{"content that is not what was received is refused", adoptedDamaged},
		{"content known to be damaged is adopted as it is", adoptedKnownDamage},
		{"what is done with, or makes no sense, is not adopted", adoptedNonsense},
		{"a notification of a known cause is not adopted", adoptedCause},
		{"trash is adopted, and comes back", adoptedTrash},
	}
}

func (b *bench) adopt(a queue.Adoption, body []byte) queue.ID {
	b.Helper()
	id, err := b.store.Adopt(b.ctx, a, bytes.NewReader(body))
	b.must(err)
	b.balanced()
	return id
}

// refuses wants the adoption to fail, and nothing of it to remain.
func (b *bench) refuses(a queue.Adoption, body []byte, want error) {
	b.Helper()
	lines := len(b.ledger(queue.LedgerFilter{}))
	_, err := b.store.Adopt(b.ctx, a, bytes.NewReader(body))
	b.wantErr(err, want)
	same(b, "number of ledger lines", len(b.ledger(queue.LedgerFilter{})), lines)
}

func adoptedIsAsItWas(b *bench) {
	b.woken()
	for _, size := range []int{0, 100, 300_000} {
		a := foreign(time.Hour+time.Duration(size)*time.Millisecond, content(size), "a@relay.example", "b@relay.example", "c@relay.example")
		r := a.Message.Envelope.Recipients
		r[0].Last, r[1].Last = result(queue.Delivered), result(queue.Deferred)
		a.Message.Attempts, a.Message.Step, a.Message.Extended = 2, 1, time.Minute
		id := b.adopt(a, content(size))
		same(b, "ID", id, a.Message.ID)
		same(b, "message", b.message(id), a.Message)
		same(b, "content", string(b.content(id)), trace+string(content(size)))
		e := b.lastEntry()
		if e.At.Before(a.Message.AcceptedAt.Add(time.Hour)) {
			b.Fatalf("adopted at %s", e.At)
		}
		e.Seq, e.At = 0, time.Time{}
		same(b, "ledger line", e, queue.Entry{Event: queue.Adopted, ID: id, Attempt: 2, Actor: "carol", Reason: "from the relay in Rome",
			Upstream: upstream, ReversePath: "alice@client.example", Recipients: []string{"a@relay.example", "b@relay.example", "c@relay.example"},
			Results: []queue.Result{r[0].Last, r[1].Last, {}}, MessageID: "<1@client.example>", Size: int64(size), Digest: &a.Message.Digest,
			Origin: a.Message.Envelope.Origin, AcceptedAt: a.Message.AcceptedAt})
		if !b.woken() {
			b.Fatal("no token")
		}
		b.attempt(id, now(), queue.Deferred, queue.Delivered, queue.Delivered)
		if m := b.message(id); m.State() != queue.StateDelivered || m.Attempts != 3 {
			b.Fatalf("message %+v", m)
		}
	}
	if fresh := b.some(1)[0]; fresh.Time().After(time.Now()) {
		b.Fatalf("%s is of the future", fresh)
	}
}

func adoptedHeld(b *bench) {
	for before, want := range map[string]string{"": "restored", "spam": "restored; it was held before: spam"} {
		a := foreign(time.Hour+time.Duration(len(before))*time.Second, nil)
		a.Held = "restored"
		if a.Message.Held = before; before != "" {
			a.Message.HeldAt = a.Message.AcceptedAt
		}
		m := b.message(b.adopt(a, nil))
		if m.Held != want || m.State() != queue.StateHeld || before != "" && !m.HeldAt.Equal(a.Message.HeldAt) || m.HeldAt.IsZero() {
			b.Fatalf("message %+v", m)
		}
		same(b, "reason", b.lastEntry().Reason, "from the relay in Rome; held: restored")
		if ids := b.due(upstream, now().Add(lease)); len(ids) != 0 {
			b.Fatalf("%s is due", ids)
		}
		b.amend(act(m.ID, queue.Release))
		b.attempt(m.ID, now(), queue.Delivered)
	}
}

func adoptedWhileActive(b *bench) {
	a := foreign(time.Hour, nil)
	a.Message.Attempts, a.Message.LeasedUntil = 1, now().Add(lease)
	a.Message.NextAttempt = a.Message.LeasedUntil
	id := b.adopt(a, nil)
	if e := b.lastEntry(); e.Event != queue.Interrupted || e.ID != id || e.Attempt != 1 || !e.Results[0].MaybeDuplicate {
		b.Fatalf("ledger line %+v", e)
	}
	same(b, "due", b.due(upstream, now()), []queue.ID{id})
	b.attempt(id, now(), queue.Delivered)
}

func adoptedOnce(b *bench) {
	a := foreign(time.Hour, content(100))
	id := b.adopt(a, content(100))
	b.refuses(a, content(100), queue.ErrExists)
	b.attempt(id, now(), queue.Deferred)
	b.refuses(a, content(100), queue.ErrExists)
	b.attempt(id, now(), queue.Delivered)
	b.refuses(a, content(100), queue.ErrExists)
}

func adoptedOwn(b *bench) {
	id := b.some(1)[0]
	a := queue.Adoption{Message: b.message(id)}
	b.refuses(a, content(100), queue.ErrExists)
	b.amend(act(id, queue.Delete))
	b.refuses(a, content(100), queue.ErrExists)
	d := b.draft(content(100))
	own := foreign(time.Hour, content(100))
	own.Message.ID = d.ID()
	same(b, "ID", b.adopt(own, content(100)), own.Message.Alias())
	b.must(d.Commit(b.ctx, acceptance()))
	b.balanced()
}

func adoptedCollision(b *bench) {
	a, other := foreign(time.Hour, content(100)), foreign(time.Hour, content(200))
	other.Message.ID = a.Message.ID
	b.adopt(a, content(100))
	id := b.adopt(other, content(200))
	same(b, "ID", id, other.Message.Alias())
	same(b, "content", string(b.content(id)), trace+string(content(200)))
	same(b, "content", string(b.content(a.Message.ID)), trace+string(content(100)))
	same(b, "reason", b.lastEntry().Reason, fmt.Sprintf("from the relay in Rome; its ID was %s, which another message has here", a.Message.ID))
	b.refuses(other, content(200), queue.ErrExists)
	b.attempt(id, now(), queue.Delivered)
	b.attempt(a.Message.ID, now(), queue.Delivered)
	b.refuses(other, content(200), queue.ErrExists)
	b.refuses(a, content(100), queue.ErrExists)
	third := foreign(time.Hour, content(300))
	third.Message.ID = a.Message.ID
	same(b, "ID", b.adopt(third, content(300)), third.Message.Alias())
}

func adoptedFuture(b *bench) {
	a := foreign(-1000*time.Hour, content(100))
	id := b.adopt(a, content(100))
	if id.Time().After(time.Now()) {
		b.Fatalf("%s is of the future", id)
	}
	if fresh := b.some(1)[0]; fresh.Time().After(time.Now()) {
		b.Fatalf("%s is of the future", fresh)
	}
	b.refuses(a, content(100), queue.ErrExists)
}

func adoptedDamaged(b *bench) {
	for name, body := range map[string][]byte{"shorter": content(99), "longer": append(content(100), 0), "other": bytes.Repeat([]byte{1}, 100)} {
		a := foreign(time.Hour, content(100))
		b.refuses(a, body, queue.ErrDamaged)
		_, err := b.store.Message(b.ctx, a.Message.ID)
		b.wantErr(err, queue.ErrNotFound)
		if err := b.ctx.Err(); err != nil {
			b.Fatal(name, err)
		}
	}
	large := foreign(time.Hour, content(300_000))
	_, err := b.store.Adopt(b.ctx, large, io.MultiReader(bytes.NewReader(content(300_000)[:200_000]), &reader{end: io.ErrUnexpectedEOF}))
	b.wantErr(err, io.ErrUnexpectedEOF)
	b.adopt(large, content(300_000))
}

func adoptedKnownDamage(b *bench) {
	for i, body := range [][]byte{content(99), bytes.Repeat([]byte{1}, 100)} {
		a := foreign(time.Hour+time.Duration(i)*time.Second, content(100))
		a.Message.Damaged, a.Message.Held, a.Message.HeldAt = true, "damaged", now()
		same(b, "message", b.message(b.adopt(a, body)), a.Message)
		r, err := b.store.Content(b.ctx, a.Message.ID)
		b.must(err)
		_, err = io.ReadAll(r)
		b.wantErr(err, queue.ErrDamaged)
		b.must(r.Close())
	}
	a := foreign(2*time.Hour, content(100))
	a.Message.Damaged = true
	if m := b.message(b.adopt(a, content(100))); m.Damaged {
		b.Fatal("its content is as it was received, and it is said to be damaged")
	}
	a = foreign(3*time.Hour, content(100))
	a.Message.Damaged = true
	b.refuses(a, append(content(100), 0), queue.ErrDamaged)
}

func adoptedNonsense(b *bench) {
	for name, spoil := range map[string]func(m *queue.Message){
		"delivered":    func(m *queue.Message) { m.Envelope.Recipients[0].Last = result(queue.Delivered) },
		"purged":       func(m *queue.Message) { m.Envelope.Recipients[0].Deleted, m.Purged = true, true },
		"no recipient": func(m *queue.Message) { m.Envelope.Recipients = nil },
		"no ID":        func(m *queue.Message) { m.ID = "Rome" },
		"size":         func(m *queue.Message) { m.Size = -1 },
		"action":       func(m *queue.Message) { m.Envelope.Recipients[0].Last.Action = 99 },
	} {
		a := foreign(time.Hour, nil)
		spoil(&a.Message)
		b.Logf("%s", name)
		b.refuses(a, nil, queue.ErrState)
	}
}

func adoptedCause(b *bench) {
	a, other := foreign(time.Hour, content(100)), foreign(2*time.Hour, content(100))
	a.Message.Envelope.Cause = queue.Cause{ID: "0123456789ab", Attempt: 3, Kind: "failure"}
	other.Message.Envelope.Cause = a.Message.Envelope.Cause
	b.adopt(a, content(100))
	b.refuses(other, content(100), queue.ErrExists)
	caused := acceptance()
	caused.Envelope.Cause = a.Message.Envelope.Cause
	b.wantErr(b.draft(nil).Commit(b.ctx, caused), queue.ErrExists)
}

func adoptedTrash(b *bench) {
	a := foreign(time.Hour, content(100))
	a.Message.Envelope.Recipients[0].Deleted, a.Message.DeletedAt = true, now()
	id := b.adopt(a, content(100))
	if state := b.message(id).State(); state != queue.StateDeleted {
		b.Fatalf("state %s", state)
	}
	b.amend(act(id, queue.Undelete))
	b.attempt(id, now(), queue.Delivered)
}
