package queuetest

import (
	"context"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func listRules() []rule {
	return []rule{
		{"due mail comes by time, each upstream for itself", dueOrder},
		{"a summary is that of the message", dueSummary},
		{"a list may be left at any line", listsStop},
		{"a list ends with its context", listsEnd},
		{"messages are filtered and come by ID", messagesFiltered},
		{"final messages are listed if asked for", messagesFinal},
		{"the store goes on while it is listed", listsWhileChanging},
		{"the ledger has a line for every change, in order", ledgerOrder},
		{"the ledger is filtered", ledgerFiltered},
		{"a note is a ledger line, and counts what was passed", notes},
		{"stats say what is held", statsSay},
	}
}

func dueOrder(b *bench) {
	start := now()
	var want []queue.ID
	for _, wait := range []time.Duration{3, 1, 2, 0, 2} {
		a := acceptance()
		a.At = start.Add(wait * time.Hour)
		want = append(want, b.accept(a, nil))
	}
	other := acceptance()
	other.Envelope.Upstream = "primar" // sorts close to the other
	otherID := b.accept(other, nil)
	other.Envelope.Upstream = "primary2"
	b.accept(other, nil)
	want = []queue.ID{want[3], want[1], want[2], want[4], want[0]}
	same(b, "due", b.due(upstream, start.Add(lease*3)), want)
	same(b, "due after an hour", b.due(upstream, start.Add(time.Hour)), want[:2])
	same(b, "due of another upstream", b.due("primar", start.Add(lease)), []queue.ID{otherID})
	same(b, "due of no upstream", len(b.due("nobody", start.Add(lease))), 0)
	for range 300 {
		b.must(b.draft(nil).Commit(b.ctx, acceptance()))
	}
	if n := len(b.due(upstream, now())); n != 301 {
		b.Fatalf("%d are due, want 301", n)
	}
}

func dueSummary(b *bench) {
	id := b.accept(acceptance("a@Relay.Example", "b@relay.example", "c@relay.example"), content(123))
	b.attempt(id, now(), queue.Deferred, queue.Delivered)
	for got, err := range b.store.Due(b.ctx, upstream, now()) {
		b.must(err)
		m := b.message(id)
		same(b, "summary", got, queue.Summarize(m))
		same(b, "summary", got, queue.Summary{ID: id, Due: m.NextAttempt, AcceptedAt: m.AcceptedAt, Domain: "relay.example",
			Recipients: 2, Size: 123, Attempts: 1})
		return
	}
	b.Fatal("nothing is due")
}

func listsStop(b *bench) {
	b.some(3)
	for range b.store.Due(b.ctx, upstream, now()) {
		break
	}
	for range b.store.Messages(b.ctx, queue.Filter{}) {
		break
	}
	for range b.store.Ledger(b.ctx, queue.LedgerFilter{}) {
		break
	}
	b.some(1) // no lock is left behind
}

func listsEnd(b *bench) {
	for range 600 {
		b.must(b.draft(nil).Commit(b.ctx, acceptance()))
	}
	count := func(list func(context.Context, func(error) bool)) {
		b.Helper()
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		lines, last := 0, error(nil)
		list(ctx, func(err error) bool {
			cancel()
			lines, last = lines+1, err
			return true
		})
		if last != context.Canceled || lines == 600 {
			b.Fatalf("%d lines, the last with error %v", lines, last)
		}
	}
	count(func(ctx context.Context, each func(error) bool) {
		b.store.Due(ctx, upstream, now())(func(_ queue.Summary, err error) bool { return each(err) })
	})
	count(func(ctx context.Context, each func(error) bool) {
		b.store.Messages(ctx, queue.Filter{})(func(_ queue.Message, err error) bool { return each(err) })
	})
	count(func(ctx context.Context, each func(error) bool) {
		b.store.Ledger(ctx, queue.LedgerFilter{})(func(_ queue.Entry, err error) bool { return each(err) })
	})
}

func messagesFiltered(b *bench) {
	ids := b.some(5)
	b.claimOne(ids[1])
	b.amend(act(ids[2], queue.Hold))
	b.attempt(ids[3], now().Add(time.Hour), queue.Deferred)
	b.attempt(ids[4], now(), queue.Refused)
	for _, c := range []struct {
		rule string
		f    queue.Filter
		want []queue.ID
	}{
		{"all", queue.Filter{}, ids},
		{"limit", queue.Filter{Limit: 2}, ids[:2]},
		{"limit beyond the end", queue.Filter{Limit: 20}, ids},
		{"queued", queue.Filter{States: []queue.State{queue.StateQueued}}, ids[:1]},
		{"active or held", queue.Filter{States: []queue.State{queue.StateHeld, queue.StateActive}}, ids[1:3]},
		{"deferred", queue.Filter{States: []queue.State{queue.StateDeferred}}, ids[3:4]},
		{"refused", queue.Filter{States: []queue.State{queue.StateRefused}}, ids[4:]},
		{"by ID, in any order and twice", queue.Filter{IDs: []queue.ID{ids[3], ids[0], ids[3]}}, []queue.ID{ids[0], ids[3]}},
		{"by ID and limit", queue.Filter{IDs: []queue.ID{ids[3], ids[0]}, Limit: 1}, ids[:1]},
		{"by ID and state", queue.Filter{IDs: ids[:2], States: []queue.State{queue.StateActive}}, ids[1:2]},
		{"by condition", queue.Filter{Where: []queue.Condition{
			func(m queue.Message, _ time.Time) bool { return m.Attempts == 1 },
			func(m queue.Message, _ time.Time) bool { return m.ID != ids[3] },
		}}, []queue.ID{ids[1], ids[4]}},
	} {
		same(b, c.rule, b.ids(c.f), c.want)
	}
}

func messagesFinal(b *bench) {
	ids := b.some(4)
	b.attempt(ids[0], now(), queue.Delivered)
	b.amend(act(ids[1], queue.Delete))
	partly := b.accept(acceptance("a@relay.example", "b@relay.example"), nil)
	b.attempt(partly, now(), queue.Delivered, queue.Deferred)
	b.attempt(ids[3], now(), queue.Failed)
	same(b, "not final", b.ids(queue.Filter{}), []queue.ID{ids[2], partly})
	same(b, "delivered", b.ids(queue.Filter{States: []queue.State{queue.StateDelivered}}), []queue.ID{ids[0], partly})
	same(b, "deleted", b.ids(queue.Filter{States: []queue.State{queue.StateDeleted}}), ids[1:2])
	same(b, "failed", b.ids(queue.Filter{States: []queue.State{queue.StateFailed}}), ids[3:4])
	same(b, "by ID", b.ids(queue.Filter{IDs: ids}), ids)
	same(b, "all", b.ids(queue.Filter{States: queue.States()}), append(slices.Clone(ids), partly))
}

func listsWhileChanging(b *bench) {
	var ids []queue.ID
	for range 200 {
		d := b.draft(content(100))
		b.must(d.Commit(b.ctx, acceptance()))
		ids = append(ids, d.ID())
	}
	seen := 0
	for m, err := range b.store.Messages(b.ctx, queue.Filter{States: queue.States()}) {
		b.must(err)
		if seen < len(ids) && m.ID != ids[seen] {
			b.Fatalf("message %d is %s, want %s", seen, m.ID, ids[seen])
		}
		if seen%10 == 0 && seen < len(ids) { // behind and before the reader
			b.amend(act(ids[seen], queue.Delete))
			b.amend(act(ids[len(ids)-1-seen/2], queue.Extend))
			b.accept(acceptance(), nil)
		}
		seen++
	}
	if seen < len(ids) {
		b.Fatalf("saw %d messages of %d", seen, len(ids))
	}
}

func ledgerOrder(b *bench) {
	ids := b.some(2)
	b.claimOne(ids[0])
	b.settle(settlement(b.message(ids[0]), now(), queue.Deferred))
	b.claim(0, ids[1])
	b.amend(act(ids[0], queue.Hold))
	b.claim(0, ids[1])
	b.amend(act(ids[0], queue.Delete))
	b.must(b.store.Note(b.ctx, queue.Entry{At: now(), Event: queue.Noted}))
	b.purge(now().Add(100*24*time.Hour), 1)
	type line struct {
		event queue.Event
		id    queue.ID
	}
	var got []line
	for _, e := range b.ledger(queue.LedgerFilter{}) {
		got = append(got, line{e.Event, e.ID})
	}
	same(b, "ledger", got, []line{{queue.Accepted, ids[0]}, {queue.Accepted, ids[1]}, {queue.Attempted, ids[0]},
		{queue.Hold, ids[0]}, {queue.Interrupted, ids[1]}, {queue.Delete, ids[0]}, {queue.Noted, ""}, {queue.Purged, ids[0]}})
}

func ledgerFiltered(b *bench) {
	start := now()
	ids := b.some(2)
	other := acceptance("dora@relay.example")
	other.MessageID = "<2@client.example>"
	other.At = start.Add(time.Hour)
	otherID := b.accept(other, nil)
	b.amend(act(ids[0], queue.Hold))
	tried := settlement(b.claimOne(ids[1]), now(), queue.Delivered)
	session := tried.Results[0]
	session.RemoteSession = "session 7"
	tried.Results[0] = session
	b.settle(tried)
	for _, c := range []struct {
		rule string
		f    queue.LedgerFilter
		want []queue.ID
	}{
		{"all", queue.LedgerFilter{}, []queue.ID{ids[0], ids[1], otherID, ids[0], ids[1]}},
		{"ID", queue.LedgerFilter{ID: ids[0]}, []queue.ID{ids[0], ids[0]}},
		{"event", queue.LedgerFilter{Events: []queue.Event{queue.Hold}}, ids[:1]},
		{"address", queue.LedgerFilter{Address: "Dora@relay.example"}, []queue.ID{otherID}},
		{"Message-ID", queue.LedgerFilter{MessageID: "<2@client.example>"}, []queue.ID{otherID}},
		{"since", queue.LedgerFilter{Since: start.Add(time.Hour)}, []queue.ID{otherID}},
		{"until", queue.LedgerFilter{Until: start.Add(time.Hour)}, []queue.ID{ids[0], ids[1], ids[0], ids[1]}},
		{"remote session", queue.LedgerFilter{RemoteSession: "session 7"}, ids[1:2]},
		{"all of it", queue.LedgerFilter{ID: ids[1], MessageID: "<1@client.example>", Address: "bob@relay.example", RemoteSession: "session 7",
			Events: []queue.Event{queue.Hold, queue.Attempted}, Since: start, Until: start.Add(time.Hour)}, ids[1:2]},
	} {
		var got []queue.ID
		for _, e := range b.ledger(c.f) {
			got = append(got, e.ID)
		}
		same(b, c.rule, got, c.want)
	}
}

func notes(b *bench) {
	e := queue.Entry{At: now(), Event: queue.Passed, Actor: "session", Reason: "front", Upstream: upstream, ReversePath: "alice@client.example",
		Recipients: []string{"a@relay.example", "b@relay.example"}, Results: []queue.Result{result(queue.Delivered), result(queue.Delivered)},
		MessageID: "<3@client.example>", Size: 17, Origin: queue.Origin{Address: "127.0.0.9"}}
	b.must(b.store.Note(b.ctx, e))
	got := b.lastEntry()
	if got.Seq == 0 {
		b.Fatal("no sequence number")
	}
	got.Seq = 0
	same(b, "ledger line", got, e)
	b.must(b.store.Note(b.ctx, queue.Entry{At: now(), Event: queue.Rejected, Recipients: []string{"x@relay.example"}}))
	stats, err := b.store.Stats(b.ctx)
	b.must(err)
	same(b, "account", stats.Account, queue.Account{Passed: 2})
	b.balanced()
}

func statsSay(b *bench) {
	first := acceptance()
	first.At = first.At.Add(-time.Hour)
	id := b.accept(first, content(1000))
	second := b.accept(acceptance("a@relay.example", "b@relay.example"), content(70_000))
	stats, err := b.store.Stats(b.ctx)
	b.must(err)
	if stats.Bytes != 71_000 || !stats.Oldest.Equal(first.At) || stats.Messages[queue.StateQueued] != 2 || stats.DiskUsed < 71_000 {
		b.Fatalf("stats %+v", stats)
	}
	b.attempt(id, now(), queue.Delivered)
	b.amend(act(second, queue.Delete))
	stats, err = b.store.Stats(b.ctx)
	b.must(err)
	if stats.Bytes != 0 || !stats.Oldest.IsZero() {
		b.Fatalf("stats %+v", stats)
	}
	same(b, "account", stats.Account, queue.Account{Accepted: 3, Delivered: 1, Deleted: 2})
}
