package queuetest

import (
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func attemptRules() []rule {
	return []rule{
		{"a claim postpones and counts", claimPostpones},
		{"a claim leaves out what is not due", claimLeavesOut},
		{"a claim of one ID twice claims once", claimTwice},
		{"a lease that ran out is due again, and the ledger says so", leaseRunsOut},
		{"a settlement changes the recipients it names", settleChanges},
		{"a settlement is taken once", settleOnce},
		{"a settlement after a second claim is stale", settleAfterClaim},
		{"a settlement without a claim is stale", settleUnclaimed},
		{"a settlement may hold what is pending", settleHolds},
		{"a final recipient stays final", finalStays},
		{"a deferral is due at its next attempt and wakes", deferralIsDue},
		{"a message whose recipients are final is never due", finalIsNotDue},
	}
}

func claimPostpones(b *bench) {
	ids := b.some(3)
	before := now()
	claimed := b.claim(lease, ids[2], ids[0])
	if len(claimed) != 2 || claimed[0].ID != ids[2] || claimed[1].ID != ids[0] {
		b.Fatalf("claimed %+v", claimed)
	}
	for _, m := range claimed {
		if m.Attempts != 1 || m.LeasedUntil.Before(before.Add(lease)) || !m.NextAttempt.Equal(m.LeasedUntil) || m.State() != queue.StateActive {
			b.Fatalf("claimed %+v", m)
		}
		stored := b.message(m.ID)
		if stored.Attempts != 1 || !stored.LeasedUntil.Equal(m.LeasedUntil) {
			b.Fatalf("stored %+v", stored)
		}
	}
	same(b, "due", b.due(upstream, now()), ids[1:2])
	same(b, "due after the lease", b.due(upstream, now().Add(lease)), []queue.ID{ids[1], ids[0], ids[2]})
	if n := len(b.ledger(queue.LedgerFilter{})); n != 3 {
		b.Fatalf("%d ledger lines: a first claim writes none", n)
	}
}

func claimLeavesOut(b *bench) {
	ids := b.some(6)
	b.claimOne(ids[0])
	b.amend(act(ids[1], queue.Hold))
	b.amend(act(ids[2], queue.Delete))
	b.attempt(ids[3], now(), queue.Delivered)
	b.attempt(ids[4], now().Add(time.Hour), queue.Deferred)
	claimed := b.claim(lease, ids...)
	if len(claimed) != 1 || claimed[0].ID != ids[5] {
		b.Fatalf("claimed %+v", claimed)
	}
}

func claimTwice(b *bench) {
	id := b.some(1)[0]
	if claimed := b.claim(lease, id, id); len(claimed) != 1 || claimed[0].Attempts != 1 {
		b.Fatalf("claimed %+v", claimed)
	}
}

func leaseRunsOut(b *bench) {
	id := b.accept(acceptance("bob@relay.example", "dora@relay.example"), content(10))
	b.attempt(id, now(), queue.Delivered, queue.Deferred)
	first := b.claim(0, id)
	same(b, "due", b.due(upstream, now()), []queue.ID{id})
	second := b.claim(lease, id)
	if len(first) != 1 || len(second) != 1 || second[0].Attempts != 3 {
		b.Fatalf("claimed %+v, then %+v", first, second)
	}
	e := b.lastEntry()
	if e.Event != queue.Interrupted || e.ID != id || e.Attempt != 2 || len(e.Results) != 1 || !e.Results[0].MaybeDuplicate {
		b.Fatalf("ledger line %+v", e)
	}
	same(b, "recipients", e.Recipients, []string{"dora@relay.example"})
	b.wantErr(b.store.Settle(b.ctx, settlement(first[0], now(), queue.Delivered)), queue.ErrStale)
	b.settle(settlement(second[0], now(), queue.Delivered, queue.Delivered))
}

func settleChanges(b *bench) {
	id := b.accept(acceptance("a@relay.example", "b@relay.example", "c@relay.example", "d@relay.example", "e@relay.example"), content(10))
	m := b.claimOne(id)
	next := now().Add(time.Minute)
	s := settlement(m, next, queue.Delivered, queue.Deferred, queue.Refused, queue.Failed)
	s.Actor = "dispatcher"
	b.settle(s)
	want, wantEntry, err := m.Settled(s, time.Time{})
	b.must(err)
	same(b, "message", b.message(id), want)
	e := b.lastEntry()
	if age := time.Since(e.At); age < 0 || age > time.Hour {
		b.Fatalf("the ledger line is from %s", e.At)
	}
	e.Seq, e.At = 0, time.Time{}
	same(b, "ledger line", e, wantEntry)
	stats, err := b.store.Stats(b.ctx)
	b.must(err)
	same(b, "account", stats.Account, queue.Account{Accepted: 5, Delivered: 1, Queued: 2, Refused: 1, Failed: 1})
}

func settleOnce(b *bench) {
	id := b.some(1)[0]
	s := settlement(b.claimOne(id), now(), queue.Deferred)
	b.settle(s)
	lines := len(b.ledger(queue.LedgerFilter{}))
	b.wantErr(b.store.Settle(b.ctx, s), queue.ErrStale)
	if n := len(b.ledger(queue.LedgerFilter{})); n != lines {
		b.Fatalf("%d ledger lines, want %d", n, lines)
	}
}

func settleAfterClaim(b *bench) {
	id := b.some(1)[0]
	old := b.claim(0, id)[0]
	fresh := b.claimOne(id)
	b.wantErr(b.store.Settle(b.ctx, settlement(old, now(), queue.Failed)), queue.ErrStale)
	if m := b.message(id); m.State() != queue.StateActive || m.Attempts != 2 {
		b.Fatalf("message %+v", m)
	}
	b.settle(settlement(fresh, now(), queue.Delivered))
}

func settleUnclaimed(b *bench) {
	id := b.some(1)[0]
	b.wantErr(b.store.Settle(b.ctx, queue.Settlement{ID: id}), queue.ErrStale)
	b.wantErr(b.store.Settle(b.ctx, queue.Settlement{ID: id, Attempt: 1}), queue.ErrStale)
}

func settleHolds(b *bench) {
	id := b.some(1)[0]
	b.woken()
	s := settlement(b.claimOne(id), now(), queue.Deferred)
	s.Held = "panic in the attempt"
	b.settle(s)
	if m := b.message(id); m.Held != s.Held || m.HeldAt.IsZero() || m.State() != queue.StateHeld {
		b.Fatalf("message %+v", m)
	}
	if b.woken() || len(b.due(upstream, now().Add(lease))) != 0 {
		b.Fatal("a held message is due")
	}
}

func finalStays(b *bench) {
	id := b.accept(acceptance("a@relay.example", "b@relay.example"), nil)
	b.attempt(id, now(), queue.Delivered, queue.Deferred)
	b.attempt(id, now(), queue.Failed, queue.Deferred)
	m := b.message(id)
	if m.RecipientState(0) != queue.StateDelivered {
		b.Fatalf("a delivered recipient became %s", m.RecipientState(0))
	}
	same(b, "recipients of the ledger line", b.lastEntry().Recipients, []string{"b@relay.example"})
}

func deferralIsDue(b *bench) {
	id := b.some(1)[0]
	next := now().Add(time.Hour)
	b.woken()
	b.attempt(id, next, queue.Deferred)
	if len(b.due(upstream, next.Add(-1))) != 0 {
		b.Fatal("due before its next attempt")
	}
	same(b, "due", b.due(upstream, next), []queue.ID{id})
	second := b.some(1)[0]
	b.woken()
	b.attempt(second, now(), queue.Deferred)
	if !b.woken() {
		b.Fatal("no token although it is due at once")
	}
}

func finalIsNotDue(b *bench) {
	for _, action := range []queue.Action{queue.Delivered, queue.Failed, queue.Expired, queue.Refused} {
		id := b.some(1)[0]
		b.attempt(id, now(), action)
		if ids := b.due(upstream, now().Add(lease)); len(ids) != 0 {
			b.Fatalf("%s is due after %s", ids, action)
		}
		if claimed := b.claim(lease, id); len(claimed) != 0 {
			b.Fatalf("claimed after %s", action)
		}
	}
}
