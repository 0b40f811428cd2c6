//go:build linux

package integration

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// goalCost is what an attempt may cost in a large queue, in its cost in one of 1,000 messages.
const goalCost = 2.0

// costs stops the relay and does what a dispatcher does: it lists what is due,
// claims it, and settles it, in a queue of 1,000 messages and in the large one
// by turns.
func (q *throng) costs() {
	q.t.Helper()
	q.stop()
	few := openStore(q.t, filepath.Join(q.t.TempDir(), "queue"))
	now := time.Now()
	if err := queuetest.Fill(q.t.Context(), few, queuetest.Backlog{Upstream: "exo", Domain: "corp.example", Messages: 1000, Attempts: 3, Size: 2048, Since: now.Add(-time.Hour), Due: now}); err != nil {
		q.t.Fatal(err)
	}
	many := openStore(q.t, filepath.Join(q.folder, "data", "queue"))
	rounds := 2
	if q.soak {
		rounds = 15
	}
	var ratios [3][]float64
	var sums [2][3]time.Duration
	for range rounds {
		small, large := cost(q.t, few), cost(q.t, many)
		for i := range ratios {
			ratios[i] = append(ratios[i], float64(large[i])/float64(small[i]))
			sums[0][i] += small[i] / time.Duration(rounds)
			sums[1][i] += large[i] / time.Duration(rounds)
		}
	}
	for i, what := range []string{"list what is due", "claim", "settle"} {
		slices.Sort(ratios[i])
		ratio := ratios[i][rounds/2]
		q.t.Logf("to %s for 20 attempts takes %s of 1,000 and %s of %d messages, %.2f times as long (goal %g)",
			what, sums[0][i], sums[1][i], q.messages, ratio, goalCost)
		if q.soak && i > 0 && ratio > goalCost {
			q.t.Errorf("to %s takes %.2f times as long", what, ratio)
		}
	}
}

func openStore(t *testing.T, folder string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(folder, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// cost makes 20 attempts, and says how long it took to list what is due, to
// claim and to settle.
func cost(t *testing.T, s *bolt.Store) (took [3]time.Duration) {
	t.Helper()
	const attempts = 20
	var ids []queue.ID
	began := time.Now()
	lap := func(i int) { took[i], began = time.Since(began), time.Now() }
	for summary, err := range s.Due(t.Context(), "exo", began) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, summary.ID); len(ids) == attempts {
			break
		}
	}
	lap(0)
	claimed, err := s.Claim(t.Context(), ids, time.Hour)
	if err != nil || len(claimed) != attempts {
		t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	lap(1)
	var group sync.WaitGroup
	for _, m := range claimed {
		group.Go(func() {
			if err := s.Settle(t.Context(), queuetest.Deferral(m, time.Now().Add(24*time.Hour))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	lap(2)
	return took
}
