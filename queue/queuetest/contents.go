package queuetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func contentRules() []rule {
	return []rule{
		{"content comes back as it came, after the trace", contentComesBack},
		{"an accepted message is what was accepted", acceptedIsWhatWasAccepted},
		{"an accepted message says what was tried before", acceptedAfterAnAttempt},
		{"a draft reads what was written so far", draftReadsBack},
		{"a draft reads what was written so far, in small reads", smallReads},
		{"abort leaves nothing", abortLeavesNothing},
		{"commit after a cancelled context leaves nothing", cancelledCommit},
		{"an ended draft takes nothing more", endedDraft},
		{"IDs are fresh and rise", idsRise},
		{"a second message of the same cause is refused", sameCause},
		{"a commit wakes, unless the message is held", commitWakes},
		{"what does not exist is not found", notFound},
		{"a cancelled context changes nothing", cancelledContext},
		{"a closed store says so", closedStore},
	}
}

func contentComesBack(b *bench) {
	sizes := []int{0, 1, 4096, 64<<10 - 37, 64<<10 - 36, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 200_000, 1 << 20}
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(t *testing.T) {
			b := &bench{T: t, store: b.store, ctx: t.Context()}
			body := content(size)
			id := b.accept(acceptance(), body)
			if got := string(b.content(id)); got != trace+string(body) {
				b.Fatalf("%d bytes of content differ from the %d that came", len(got), len(trace)+size)
			}
			m := b.message(id)
			if m.Size != int64(size) || m.Digest != sha256.Sum256(body) {
				b.Errorf("size %d, digest %s", m.Size, m.Digest)
			}
			r, err := b.store.Content(b.ctx, id)
			b.must(err)
			if err := iotest.TestReader(r, []byte(trace+string(body))); err != nil && size < 10_000 {
				b.Error(err)
			}
			b.must(r.Close())
		})
	}
}

func acceptedIsWhatWasAccepted(b *bench) {
	a := acceptance("bob@relay.example", "dora@relay.example")
	id := b.accept(a, content(10))
	want, wantEntry := queue.Accept(id, a, 10, sha256.Sum256(content(10)))
	same(b, "message", b.message(id), want)
	entry := b.lastEntry()
	entry.Seq = 0
	same(b, "ledger line", entry, wantEntry)
}

// acceptedAfterAnAttempt: the sender waited while it was tried.
func acceptedAfterAnAttempt(b *bench) {
	a := acceptance("bob@relay.example", "dora@relay.example")
	for i := range a.Envelope.Recipients {
		a.Envelope.Recipients[i].Last = queue.Result{At: a.At, Action: queue.Deferred, Scope: queue.ScopeUpstream, MaybeDuplicate: true,
			Reply: queue.Reply{Command: "DATA", Text: "connection reset"}}
	}
	id := b.accept(a, content(10))
	want, wantEntry := queue.Accept(id, a, 10, sha256.Sum256(content(10)))
	same(b, "message", b.message(id), want)
	entry := b.lastEntry()
	entry.Seq = 0
	same(b, "ledger line", entry, wantEntry)
	stats, err := b.store.Stats(b.ctx)
	b.must(err)
	same(b, "account", stats.Account, queue.Account{Accepted: 2, Queued: 2})
	if claimed := b.claimOne(id); len(claimed.Pending()) != 2 {
		b.Errorf("pending %v", claimed.Pending())
	}
}

func draftReadsBack(b *bench) {
	for _, size := range []int{0, 5, 64 << 10, 300_000} {
		body := content(size)
		d := b.draft(body)
		before, err := d.Content()
		b.must(err)
		if _, err := d.Write(content(100_000)); err != nil {
			b.Fatal(err)
		}
		if got := b.readAll(before); string(got) != string(body) {
			b.Fatalf("draft of %d bytes reads as %d others", size, len(got))
		}
		b.must(d.Abort())
	}
}

func smallReads(b *bench) {
	body := content(70_000)
	d := b.draft(body)
	r, err := d.Content()
	b.must(err)
	got, err := io.ReadAll(iotest.HalfReader(r))
	b.must(err)
	if string(got) != string(body) {
		b.Fatal("content differs")
	}
	b.must(r.Close())
	b.must(d.Commit(b.ctx, acceptance()))
	b.balanced()
}

func abortLeavesNothing(b *bench) {
	for _, size := range []int{0, 100, 300_000} {
		d := b.draft(content(size))
		b.must(d.Abort())
		b.nothingOf(d.ID())
	}
}

func (b *bench) nothingOf(id queue.ID) {
	b.Helper()
	_, err := b.store.Message(b.ctx, id)
	b.wantErr(err, queue.ErrNotFound)
	_, err = b.store.Content(b.ctx, id)
	b.wantErr(err, queue.ErrNotFound)
	if n := len(b.ids(queue.Filter{States: queue.States()})); n != 0 {
		b.Fatalf("%d messages are left", n)
	}
	if n := len(b.ledger(queue.LedgerFilter{})); n != 0 {
		b.Fatalf("%d ledger lines are left", n)
	}
	if ids := b.due(upstream, now().Add(lease)); len(ids) != 0 {
		b.Fatalf("%s is due", ids)
	}
}

func cancelledCommit(b *bench) {
	cancelled, cancel := context.WithCancel(b.ctx)
	cancel()
	for _, size := range []int{100, 300_000} {
		d := b.draft(content(size))
		b.wantErr(d.Commit(cancelled, acceptance()), context.Canceled)
		b.nothingOf(d.ID())
		b.wantErr(d.Commit(b.ctx, acceptance()), queue.ErrState)
		b.must(d.Abort())
		b.nothingOf(d.ID())
	}
}

func endedDraft(b *bench) {
	for _, end := range []func(queue.Draft) error{
		func(d queue.Draft) error { return d.Commit(b.ctx, acceptance()) },
		func(d queue.Draft) error { return d.Abort() },
	} {
		d := b.draft(content(10))
		b.must(end(d))
		_, err := d.Write(content(10))
		b.wantErr(err, queue.ErrState)
		_, err = d.Content()
		b.wantErr(err, queue.ErrState)
		b.wantErr(d.Commit(b.ctx, acceptance()), queue.ErrState)
		b.must(d.Abort())
	}
	if n := len(b.ids(queue.Filter{})); n != 1 {
		b.Fatalf("%d messages, want the committed one", n)
	}
}

func idsRise(b *bench) {
	var last queue.ID
	for range 100 {
		d, err := b.store.Create(b.ctx)
		b.must(err)
		if _, err := queue.ParseID(string(d.ID())); err != nil || d.ID() <= last {
			b.Fatalf("ID %q after %q: %v", d.ID(), last, err)
		}
		last = d.ID()
		b.must(d.Abort())
	}
}

func sameCause(b *bench) {
	caused := acceptance()
	caused.Envelope.Cause = queue.Cause{ID: "0123456789ab", Attempt: 3, Kind: "failure"}
	first := b.accept(caused, content(100))
	for _, size := range []int{100, 300_000} {
		b.wantErr(b.draft(content(size)).Commit(b.ctx, caused), queue.ErrExists)
	}
	other := caused
	other.Envelope.Cause.Attempt = 4
	b.accept(other, content(100))
	b.attempt(first, now(), queue.Delivered)
	again := b.draft(content(100))
	b.wantErr(again.Commit(b.ctx, caused), queue.ErrExists)
	_, err := b.store.Message(b.ctx, again.ID())
	b.wantErr(err, queue.ErrNotFound)
	if n := len(b.ledger(queue.LedgerFilter{Events: []queue.Event{queue.Accepted}})); n != 2 {
		b.Fatalf("%d acceptances, want 2", n)
	}
}

func commitWakes(b *bench) {
	if b.woken() {
		b.Fatal("an empty store has a token")
	}
	b.some(2)
	if !b.woken() || b.woken() {
		b.Fatal("want one token after two commits")
	}
	held := acceptance()
	held.Held = "spam"
	b.accept(held, nil)
	other := acceptance()
	other.Envelope.Upstream = "another"
	b.accept(other, nil)
	if b.woken() {
		b.Fatal("a held message, or one of another upstream, gave a token")
	}
}

func notFound(b *bench) {
	const id = queue.ID("0123456789ab")
	b.some(1)
	_, err := b.store.Message(b.ctx, id)
	b.wantErr(err, queue.ErrNotFound)
	_, err = b.store.Content(b.ctx, id)
	b.wantErr(err, queue.ErrNotFound)
	b.wantErr(b.store.Amend(b.ctx, act(id, queue.Hold)), queue.ErrNotFound)
	b.wantErr(b.store.Settle(b.ctx, queue.Settlement{ID: id, Attempt: 1}), queue.ErrNotFound)
	if claimed := b.claim(lease, id); len(claimed) != 0 {
		b.Fatalf("claimed %+v", claimed)
	}
	if found := b.ids(queue.Filter{IDs: []queue.ID{id}}); len(found) != 0 {
		b.Fatalf("found %s", found)
	}
}

func cancelledContext(b *bench) {
	id := b.some(1)[0]
	cancelled, cancel := context.WithCancel(b.ctx)
	cancel()
	b.everyMethod(cancelled, id, context.Canceled)
	if m := b.message(id); m.Attempts != 0 || m.Held != "" || len(b.ledger(queue.LedgerFilter{})) != 1 {
		b.Fatalf("changed: %+v", m)
	}
}

func closedStore(b *bench) {
	id := b.some(1)[0]
	r, err := b.store.Content(b.ctx, id)
	b.must(err)
	b.must(b.store.Close())
	b.everyMethod(b.ctx, id, queue.ErrClosed)
	_, _ = io.ReadAll(r) // may fail, must not crash
	b.must(r.Close())
}

// everyMethod wants the same error from each of the store's methods.
func (b *bench) everyMethod(ctx context.Context, id queue.ID, want error) {
	b.Helper()
	check := func(method string, err error) {
		b.Helper()
		if !errors.Is(err, want) {
			b.Errorf("%s: error is %v, want %v", method, err, want)
		}
	}
	_, err := b.store.Create(ctx)
	check("Create", err)
	for _, err := range b.store.Due(ctx, upstream, now()) {
		check("Due", err)
	}
	_, err = b.store.Claim(ctx, []queue.ID{id}, lease)
	check("Claim", err)
	_, err = b.store.Content(ctx, id)
	check("Content", err)
	_, err = b.store.Adopt(ctx, foreign(time.Hour, nil), bytes.NewReader(nil))
	check("Adopt", err)
	check("Settle", b.store.Settle(ctx, queue.Settlement{ID: id}))
	check("Amend", b.store.Amend(ctx, act(id, queue.Hold)))
	_, err = b.store.Message(ctx, id)
	check("Message", err)
	for _, err := range b.store.Messages(ctx, queue.Filter{}) {
		check("Messages", err)
	}
	for _, err := range b.store.Messages(ctx, queue.Filter{IDs: []queue.ID{id}}) {
		check("Messages by ID", err)
	}
	check("Note", b.store.Note(ctx, queue.Entry{At: now(), Event: queue.Noted}))
	for _, err := range b.store.Ledger(ctx, queue.LedgerFilter{}) {
		check("Ledger", err)
	}
	_, err = b.store.Purge(ctx, now())
	check("Purge", err)
	_, err = b.store.Stats(ctx)
	check("Stats", err)
}
