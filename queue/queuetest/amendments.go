package queuetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func amendmentRules() []rule {
	return []rule{
		{"hold takes a message out of the schedule", holdTakesOut},
		{"release makes it due and wakes", releaseMakesDue},
		{"a hold of the acceptance is released like any other", releaseAcceptance},
		{"retry makes a deferral and a refusal due and wakes", retryMakesDue},
		{"retry may name the time", retryLater},
		{"retry may name recipients", retryOf},
		{"extend moves the expiry", extendMoves},
		{"delete and undelete", deleteAndUndelete},
		{"a message deleted during its attempt may still be delivered", deletedThenDelivered},
		{"an amendment that does not apply is refused", amendmentRefused},
		{"bounce ends what is refused or held, and nothing that may still be delivered", bounceEnds},
		{"every amendment is a ledger line", amendmentLedger},
		{"trash is purged when its time is over, and not before", purgeTrash},
		{"a kept refusal goes to the trash, then away", purgeRefusal},
		{"a purge spares what is claimed", purgeSparesClaimed},
	}
}

func holdTakesOut(b *bench) {
	id := b.some(1)[0]
	hold := act(id, queue.Hold)
	b.amend(hold)
	m := b.message(id)
	if m.Held != "test" || !m.HeldAt.Equal(hold.At) || m.State() != queue.StateHeld {
		b.Fatalf("message %+v", m)
	}
	if ids := b.due(upstream, now().Add(lease)); len(ids) != 0 {
		b.Fatalf("%s is due", ids)
	}
}

func releaseMakesDue(b *bench) {
	id := b.some(1)[0]
	before := b.message(id).Expires(now())
	hold := act(id, queue.Hold)
	b.amend(hold)
	b.woken()
	release := act(id, queue.Release)
	release.At = hold.At.Add(3 * time.Hour)
	b.amend(release)
	if !b.woken() {
		b.Fatal("no token")
	}
	same(b, "due", b.due(upstream, release.At), []queue.ID{id})
	if got := b.message(id).Expires(release.At); !got.Equal(before.Add(3 * time.Hour)) {
		b.Fatalf("expires at %s, want three hours after %s", got, before)
	}
}

func releaseAcceptance(b *bench) {
	a := acceptance()
	a.Held = "spam"
	id := b.accept(a, content(10))
	if e := b.lastEntry(); e.Reason != "spam" {
		b.Fatalf("ledger line %+v", e)
	}
	b.amend(act(id, queue.Release))
	b.attempt(id, now(), queue.Delivered)
}

func retryMakesDue(b *bench) {
	id := b.accept(acceptance("a@relay.example", "b@relay.example", "c@relay.example"), nil)
	b.attempt(id, now().Add(time.Hour), queue.Delivered, queue.Deferred, queue.Refused)
	b.woken()
	b.amend(act(id, queue.Retry))
	if !b.woken() {
		b.Fatal("no token")
	}
	same(b, "due", b.due(upstream, now()), []queue.ID{id})
	m := b.claimOne(id)
	same(b, "pending", m.Pending(), []int{1, 2})
	if m.Step != 0 {
		b.Fatalf("the schedule stands at step %d", m.Step)
	}
}

func retryLater(b *bench) {
	id := b.some(1)[0]
	retry := act(id, queue.Retry)
	retry.Next = retry.At.Add(time.Hour)
	b.amend(retry)
	if ids := b.due(upstream, retry.Next.Add(-1)); len(ids) != 0 {
		b.Fatalf("%s is due too early", ids)
	}
	same(b, "due", b.due(upstream, retry.Next), []queue.ID{id})
}

func retryOf(b *bench) {
	id := b.accept(acceptance("a@relay.example", "b@relay.example"), nil)
	b.attempt(id, now(), queue.Refused, queue.Refused)
	retry := act(id, queue.Retry)
	retry.Of = []int{1}
	b.amend(retry)
	m := b.claimOne(id)
	same(b, "pending", m.Pending(), []int{1})
	b.wantErr(b.store.Amend(b.ctx, queue.Amendment{ID: id, At: now(), Event: queue.Retry, Of: []int{}}), queue.ErrState)
}

func extendMoves(b *bench) {
	id := b.some(1)[0]
	before := b.message(id)
	extend := act(id, queue.Extend)
	extend.By = 48 * time.Hour
	b.amend(extend)
	if got := b.message(id).Expires(now()); !got.Equal(before.Expires(now()).Add(extend.By)) {
		b.Fatalf("expires at %s", got)
	}
}

func deleteAndUndelete(b *bench) {
	id := b.accept(acceptance("a@relay.example", "b@relay.example"), content(10))
	b.attempt(id, now(), queue.Delivered, queue.Deferred)
	b.amend(act(id, queue.Delete))
	m := b.message(id)
	if m.RecipientState(0) != queue.StateDelivered || m.RecipientState(1) != queue.StateDeleted {
		b.Fatalf("message %+v", m)
	}
	if ids := b.due(upstream, now()); len(ids) != 0 {
		b.Fatalf("%s is due", ids)
	}
	if got := b.content(id); string(got) != trace+string(content(10)) {
		b.Fatal("content of trash differs")
	}
	b.woken()
	b.amend(act(id, queue.Undelete))
	if !b.woken() {
		b.Fatal("no token")
	}
	m = b.claimOne(id)
	same(b, "pending", m.Pending(), []int{1})
}

func deletedThenDelivered(b *bench) {
	id := b.accept(acceptance("a@relay.example", "b@relay.example"), nil)
	m := b.claimOne(id)
	b.amend(act(id, queue.Delete))
	b.settle(settlement(m, now(), queue.Delivered, queue.Deferred))
	m = b.message(id)
	if m.RecipientState(0) != queue.StateDelivered || m.RecipientState(1) != queue.StateDeleted {
		b.Fatalf("message %+v", m)
	}
	if ids := b.due(upstream, now()); len(ids) != 0 {
		b.Fatalf("%s is due", ids)
	}
}

func amendmentRefused(b *bench) {
	delivered := b.some(1)[0]
	b.attempt(delivered, now(), queue.Delivered)
	fresh := b.some(1)[0]
	held := b.some(1)[0]
	b.amend(act(held, queue.Hold))
	for _, a := range []queue.Amendment{
		act(delivered, queue.Hold), act(delivered, queue.Retry), act(delivered, queue.Extend), act(delivered, queue.Delete), act(delivered, queue.Undelete),
		act(fresh, queue.Release), act(fresh, queue.Undelete), act(fresh, queue.Accepted),
		act(held, queue.Hold), act(held, queue.Retry),
	} {
		b.Run(fmt.Sprintf("%s of %s", a.Event, b.message(a.ID).State()), func(t *testing.T) {
			b := &bench{T: t, store: b.store, ctx: t.Context()}
			before, lines := b.message(a.ID), len(b.ledger(queue.LedgerFilter{}))
			b.wantErr(b.store.Amend(b.ctx, a), queue.ErrState)
			same(b, "message", b.message(a.ID), before)
			same(b, "number of ledger lines", len(b.ledger(queue.LedgerFilter{})), lines)
		})
	}
}

func bounceEnds(b *bench) {
	id := b.accept(acceptance("a@relay.example", "b@relay.example", "c@relay.example"), nil)
	b.attempt(id, now(), queue.Delivered, queue.Deferred, queue.Refused)
	bounce := act(id, queue.Bounce)
	bounce.Of = []int{0, 1, 2, 3, -1}
	b.amend(bounce)
	m := b.message(id)
	same(b, "states", []queue.State{m.RecipientState(0), m.RecipientState(1), m.RecipientState(2)},
		[]queue.State{queue.StateDelivered, queue.StateDeferred, queue.StateFailed})
	e := b.lastEntry()
	if e.Event != queue.Bounce || len(e.Results) != 1 || e.Results[0].Action != queue.Failed {
		b.Fatalf("ledger line %+v", e)
	}
	same(b, "recipients", e.Recipients, []string{"c@relay.example"})
	b.wantErr(b.store.Amend(b.ctx, bounce), queue.ErrState)
	m = b.claimOne(id)
	b.amend(act(id, queue.Hold))
	b.wantErr(b.store.Amend(b.ctx, bounce), queue.ErrState) // its attempt may still deliver it
	b.settle(settlement(m, now(), queue.Delivered, queue.Deferred))
	b.amend(bounce)
	stats, err := b.store.Stats(b.ctx)
	b.must(err)
	same(b, "account", stats.Account, queue.Account{Accepted: 3, Delivered: 1, Failed: 2})
}

func amendmentLedger(b *bench) {
	id := b.some(1)[0]
	events := []queue.Event{queue.Hold, queue.Release, queue.Retry, queue.Extend, queue.Delete, queue.Undelete}
	for _, event := range events {
		a := act(id, event)
		b.amend(a)
		e := b.lastEntry()
		e.Seq = 0
		same(b, string(event), e, queue.Entry{At: a.At, Event: event, ID: id, Actor: "carol", Reason: "test",
			Recipients: []string{"bob@relay.example"}, MessageID: "<1@client.example>"})
	}
}

func purgeTrash(b *bench) {
	keep := queue.DefaultKeep()
	ids := b.some(2)
	remove := act(ids[0], queue.Delete)
	b.amend(remove)
	b.purge(remove.At.Add(keep.Trash-1), 0)
	b.purge(remove.At.Add(keep.Trash), 1)
	e := b.lastEntry()
	if e.Event != queue.Purged || e.ID != ids[0] {
		b.Fatalf("ledger line %+v", e)
	}
	_, err := b.store.Content(b.ctx, ids[0])
	b.wantErr(err, queue.ErrNotFound)
	b.wantErr(b.store.Amend(b.ctx, act(ids[0], queue.Undelete)), queue.ErrState)
	if m := b.message(ids[0]); !m.Purged || m.State() != queue.StateDeleted {
		b.Fatalf("message %+v", m)
	}
	b.purge(remove.At.Add(10*keep.Trash), 0)
	if got := b.content(ids[1]); len(got) != len(trace)+100 {
		b.Fatal("the other message lost its content")
	}
}

func purgeRefusal(b *bench) {
	keep := queue.DefaultKeep()
	id := b.some(1)[0]
	b.attempt(id, now(), queue.Refused)
	over := b.message(id).Envelope.Recipients[0].Last.At.Add(keep.Refused)
	b.purge(over.Add(-1), 0)
	if state := b.message(id).State(); state != queue.StateRefused {
		b.Fatalf("state %s", state)
	}
	b.purge(over, 0)
	if e := b.lastEntry(); e.Event != queue.Delete || e.ID != id || e.Actor == "" || e.Reason == "" {
		b.Fatalf("ledger line %+v", e)
	}
	b.purge(over.Add(keep.Trash-1), 0)
	b.amend(act(id, queue.Undelete))
	b.purge(over, 0)
	b.purge(over.Add(keep.Trash), 1)
}

func purgeSparesClaimed(b *bench) {
	id := b.some(1)[0]
	m := b.claimOne(id)
	remove := act(id, queue.Delete)
	remove.At = remove.At.Add(-100 * time.Hour)
	b.amend(remove)
	b.purge(now(), 0)
	b.settle(settlement(m, now(), queue.Deferred))
	b.purge(now(), 1)
}
