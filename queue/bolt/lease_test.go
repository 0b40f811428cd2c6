package bolt

import (
	"context"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// TestInterruptedAttempts: what was under way when the process died is due
// again after a wait that grows, whatever its lease was, and the ledger says so.
func TestInterruptedAttempts(t *testing.T) {
	ctx := context.Background()
	s := open(t, t.TempDir(), Options{GenerationSize: 200 << 10})
	var ids []queue.ID
	for range 30 { // in several files
		ids = append(ids, accept(t, s, benchAcceptance(t), make([]byte, 20<<10)))
	}
	interrupted := []queue.ID{ids[0], ids[14], ids[29]}
	for attempt := 1; attempt <= 2; attempt++ {
		if claimed, err := s.Claim(ctx, interrupted, 24*time.Hour); err != nil || len(claimed) != len(interrupted) {
			t.Fatalf("claimed %d, %v", len(claimed), err)
		}
		before := now()
		s = crashed(t, s)
		after := now()
		for _, id := range interrupted {
			m, err := s.Message(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			wait := time.Duration(attempt) * time.Minute
			if m.State() != queue.StateQueued || m.NextAttempt.Before(before.Add(wait)) || m.NextAttempt.After(after.Add(wait)) {
				t.Errorf("attempt %d of %s: %s, next in %s", attempt, id, m.State(), m.NextAttempt.Sub(before))
			}
			if n := interruptions(t, s, id); n != attempt {
				t.Errorf("attempt %d of %s: the ledger has %d interruptions", attempt, id, n)
			}
			if err := s.Amend(ctx, queue.Amendment{ID: id, At: now(), Event: queue.Retry}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stats, err := s.Stats(ctx)
	if err != nil || stats.Messages[queue.StateActive] != 0 || stats.Account.Queued != int64(len(ids)) || stats.Account.Missing() != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	sameHoldings(t, s)
}

// interruptions counts the lines that call a duplicate possible.
func interruptions(t *testing.T, s *Store, id queue.ID) (n int) {
	t.Helper()
	for e, err := range s.Ledger(context.Background(), queue.LedgerFilter{ID: id, Events: []queue.Event{queue.Interrupted}}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Results) == 1 && e.Results[0].MaybeDuplicate {
			n++
		}
	}
	return n
}

func TestLeasesMayRunOut(t *testing.T) {
	ctx := context.Background()
	s := open(t, t.TempDir(), Options{Interrupted: -1})
	id := accept(t, s, benchAcceptance(t), []byte("x"))
	if claimed, err := s.Claim(ctx, []queue.ID{id}, time.Hour); err != nil || len(claimed) != 1 {
		t.Fatalf("claimed %d, %v", len(claimed), err)
	}
	dir := t.TempDir()
	copyFiles(t, s.dir, dir)
	if m, err := open(t, dir, Options{Interrupted: -1}).Message(ctx, id); err != nil || m.State() != queue.StateActive {
		t.Errorf("%s, %v", m.State(), err)
	}
}

// TestHeldDuringAnAttempt: a message that is held, or in the trash, when the
// process dies in its attempt is no longer under way when it comes back: a
// released one is due, the other waits like those that were active.
func TestHeldDuringAnAttempt(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		away, back queue.Event
		wait       time.Duration
	}{{queue.Hold, queue.Release, 0}, {queue.Delete, queue.Undelete, time.Minute}} {
		s := open(t, t.TempDir(), Options{})
		id := accept(t, s, benchAcceptance(t), []byte("x"))
		amend := func(event queue.Event) {
			t.Helper()
			if err := s.Amend(ctx, queue.Amendment{ID: id, At: now(), Event: event, Actor: "an operator", Reason: "a test"}); err != nil {
				t.Fatal(err)
			}
		}
		if claimed, err := s.Claim(ctx, []queue.ID{id}, 24*time.Hour); err != nil || len(claimed) != 1 {
			t.Fatalf("claimed %d, %v", len(claimed), err)
		}
		amend(test.away)
		amend(test.back) // the attempt is still under way
		if m, err := s.Message(ctx, id); err != nil || m.State() != queue.StateActive {
			t.Errorf("%s within the attempt: %s, %v", test.back, m.State(), err)
		}
		amend(test.away)
		s = crashed(t, s)
		before := now()
		amend(test.back)
		m, err := s.Message(ctx, id)
		if err != nil || m.State() != queue.StateQueued || m.NextAttempt.Before(before.Add(test.wait)) || m.NextAttempt.After(now().Add(test.wait)) {
			t.Errorf("after %s: %s, next in %s, %v", test.back, m.State(), m.NextAttempt.Sub(before), err)
		}
		if n := interruptions(t, s, id); n != 1 {
			t.Errorf("after %s the ledger has %d interruptions", test.back, n)
		}
		queuetest.Balanced(t, s)
	}
}
