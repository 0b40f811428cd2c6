package bolt

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// TestBacklogGivesItsDiskBack takes a backlog in, delivers it but for a few
// messages that are held or in the trash, and goes on serving until the disk
// is back: within a minute, and without a stall when only giving back is left to do.
func TestBacklogGivesItsDiskBack(t *testing.T) {
	o := Options{GenerationSize: 16 << 20, Quiet: 100 * time.Millisecond}
	backlog, left, stall := int64(64<<20), int64(8<<20), 2*time.Second
	if os.Getenv("MXKEEP_SOAK") != "" {
		o, backlog, left, stall = Options{}, 8<<30, 64<<20, 100*time.Millisecond
	}
	dir := t.TempDir()
	s := open(t, dir, o)
	const size, workers = 75 << 10, 8
	ids := make([]queue.ID, backlog/size)
	body := make([]byte, size)
	a := benchAcceptance(t)
	spread(workers, len(ids), func(i int) {
		var err error
		if ids[i], err = tryAccept(s, a, body); err != nil {
			t.Error(err)
		}
	})
	kept := map[queue.ID]bool{}
	for i := range 8 {
		id := ids[i*len(ids)/8]
		kept[id] = true
		amend(t, s, id, []queue.Event{queue.Hold, queue.Delete}[i%2])
	}
	if used := mailOnDisk(t, dir); used < backlog {
		t.Fatalf("%d bytes are on disk", used)
	}
	served := server{t: t, s: s, a: a, done: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(served.serve)
	spread(workers, len(ids), func(i int) {
		if !kept[ids[i]] {
			if err := attempt(s, ids[i], queue.Delivered); err != nil {
				t.Error(err)
			}
		}
	})
	drained := time.Now()
	busy := served.count.Load()
	for mailOnDisk(t, dir) >= left {
		if time.Since(drained) > time.Minute {
			t.Fatalf("%d bytes are on disk after a minute: %s", mailOnDisk(t, dir), files(t, dir, ""))
		}
		if err := s.Note(t.Context(), queue.Entry{At: now(), Event: queue.Noted}); err != nil { // takes its time
			t.Fatal(err)
		}
	}
	back := time.Since(drained)
	close(served.done)
	serving.Wait()
	during, after := served.took[:busy], served.took[busy:]
	t.Logf("%d MiB are back after %s; the slowest of %d commits before was %s, of %d since then %s",
		backlog>>20, back.Round(time.Millisecond), len(during), slices.Max(during), len(after), slices.Max(after))
	if slowest := slices.Max(after); slowest > stall {
		t.Errorf("a commit took %s", slowest)
	}
	for id := range kept {
		wantContent(t, s, id, string(body))
	}
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Account.Missing() != 0 || stats.Account.Held != 4 || stats.Account.Deleted != 4 || stats.Account.Queued != 0 {
		t.Errorf("%+v, %v", stats.Account, err)
	}
	if chain, err := s.Verify(t.Context()); err != nil || len(chain.Faults) > 0 {
		t.Errorf("%+v, %v", chain, err)
	}
}

// server accepts and delivers small messages one by one, and notes how long each commit took.
type server struct {
	t    *testing.T
	s    *Store
	a    queue.Acceptance
	done chan struct{}

	took  []time.Duration
	count atomic.Int64 // of them
}

func (v *server) serve() {
	for {
		select {
		case <-v.done:
			return
		default:
		}
		start := time.Now()
		id, err := tryAccept(v.s, v.a, make([]byte, 2000))
		v.took = append(v.took, time.Since(start))
		v.count.Add(1)
		if err == nil {
			err = attempt(v.s, id, queue.Delivered)
		}
		if err != nil {
			v.t.Error(err)
			return
		}
	}
}

// mailOnDisk is what the generations take of the disk.
func mailOnDisk(t *testing.T, dir string) (sum int64) {
	t.Helper()
	for _, name := range files(t, dir, "gen-") {
		if used, err := diskUsed(filepath.Join(dir, name)); err == nil { // it may just go
			sum += used
		}
	}
	return sum
}
