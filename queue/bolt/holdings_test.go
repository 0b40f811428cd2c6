package bolt

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func TestLimits(t *testing.T) {
	for name, size := range map[string]int64{"one file": 0, "a file for each message": 1} {
		t.Run(name, func(t *testing.T) {
			queuetest.RunLimits(t, func(t *testing.T, l queue.Limits) queue.Store {
				return open(t, t.TempDir(), Options{GenerationSize: size, Limits: l})
			})
		})
	}
}

// TestLimitsAfterARestart: what is held counts after the process has died, also
// when the limits have become lower than that.
func TestLimitsAfterARestart(t *testing.T) {
	o := Options{GenerationSize: 200 << 10, Limits: queue.Limits{Upstreams: map[string]queue.Limit{"primary": {Messages: 31}}}}
	s := open(t, t.TempDir(), o)
	var ids []queue.ID
	for range 30 { // in several files
		ids = append(ids, accept(t, s, benchAcceptance(t), make([]byte, 20<<10)))
	}
	dir := t.TempDir()
	copyFiles(t, s.dir, dir)
	s = open(t, dir, o)
	acceptOne(t, s)
	if err := s.Room(t.Context(), "primary", 1); !errors.Is(err, queue.ErrFull) {
		t.Errorf("room after a restart: %v", err)
	}
	sameHoldings(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Limits.Upstreams["primary"] = queue.Limit{Messages: 30}
	s = open(t, dir, o)
	for _, id := range ids[:2] {
		if err := s.Room(t.Context(), "primary", 1); !errors.Is(err, queue.ErrFull) {
			t.Errorf("room below a lower limit: %v", err)
		}
		if err := s.Amend(t.Context(), queue.Amendment{ID: id, At: now(), Event: queue.Delete}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Room(t.Context(), "primary", 1); err != nil {
		t.Errorf("room after two have left: %v", err)
	}
	sameHoldings(t, s)
}

// TestMovingTakesNoRoom: a message that moves to a younger file counts once at
// every instant, so the last free place stays free, and is no second one.
func TestMovingTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Limits: queue.Limits{Upstreams: map[string]queue.Limit{"primary": {Messages: 3}}}}
		var s *Store
		steps := map[string]int{}
		o.step = func(name string) {
			steps[name]++
			s.holdings.mu.Lock()
			defer s.holdings.mu.Unlock()
			if want := (queue.Held{Messages: 2, Bytes: 2 * chunkSize}); s.holdings.all != want || s.holdings.upstreams["primary"] != want {
				t.Errorf("after %q: %+v %+v are held", name, s.holdings.all, s.holdings.upstreams)
			}
		}
		s = open(t, t.TempDir(), o)
		for range 2 {
			amend(t, s, accept(t, s, benchAcceptance(t), make([]byte, chunkSize)), queue.Hold)
		}
		deliver(t, s, acceptOne(t, s))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if steps["copied"] == 0 || steps["records"] == 0 || steps["removed"] == 0 {
			t.Errorf("steps %v", steps)
		}
		sameHoldings(t, s)
		acceptOne(t, s)
		if err := s.Room(t.Context(), "primary", 1); !errors.Is(err, queue.ErrFull) {
			t.Errorf("room for a fourth: %v", err)
		}
	})
}

// sameHoldings compares what the limits look at with the counters.
func sameHoldings(t testing.TB, s *Store) {
	t.Helper()
	stats, err := s.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s.holdings.mu.Lock()
	defer s.holdings.mu.Unlock()
	var all queue.Held
	for _, held := range stats.Upstreams {
		all.Add(held)
	}
	if !maps.Equal(s.holdings.upstreams, stats.Upstreams) || s.holdings.all != all || all.Bytes != stats.Bytes {
		t.Errorf("holdings %+v %+v, but counters %+v", s.holdings.all, s.holdings.upstreams, stats)
	}
}

// TestHoldingsOfManyAtOnce: senders that are refused at their ends, a
// dispatcher that makes room, and new files all the time.
func TestHoldingsOfManyAtOnce(t *testing.T) {
	const most = 20
	limits := queue.Limits{All: queue.Limit{Messages: most}}
	s := open(t, t.TempDir(), Options{GenerationSize: 100 << 10, Limits: limits})
	ctx, cancel := context.WithCancel(t.Context())
	settled := make(chan int)
	go func() {
		n := 0
		defer func() { settled <- n }()
		for ctx.Err() == nil {
			for summary, err := range s.Due(ctx, "primary", time.Now()) {
				if err != nil {
					return
				}
				s.holdings.mu.Lock()
				held := s.holdings.all.Messages
				s.holdings.mu.Unlock()
				if held > most {
					t.Errorf("%d messages are held", held)
				}
				if claimed, err := s.Claim(ctx, []queue.ID{summary.ID}, time.Hour); err != nil || len(claimed) == 0 {
					continue
				}
				if err := s.Settle(ctx, queue.Settlement{ID: summary.ID, Attempt: 1, Results: map[int]queue.Result{0: {Action: queue.Delivered}}}); err == nil {
					n++
				}
			}
		}
	}()
	a := benchAcceptance(t)
	spread(16, 400, func(i int) {
		if _, err := tryAccept(s, a, make([]byte, i*10)); err != nil && !errors.Is(err, queue.ErrFull) {
			t.Error(err)
		}
	})
	cancel()
	if n := <-settled; n == 0 {
		t.Error("nothing was settled")
	}
	sameHoldings(t, s)
	queuetest.Balanced(t, s)
}
