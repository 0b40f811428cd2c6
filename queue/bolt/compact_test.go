package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// patient are options of mixtures with which nothing goes by itself.
func patient() Options {
	o := mixedOptions()
	o.GenerationAge, o.Quiet = 1000*time.Hour, 1000*time.Hour
	return o
}

func compact(t *testing.T, s *Store, dry bool) queue.Compaction {
	t.Helper()
	did, err := s.Compact(t.Context(), dry)
	if err != nil {
		t.Fatal(err)
	}
	var before, after int64
	for _, f := range did.Files {
		before, after = before+f.Before, after+f.After
	}
	if before != did.Before || !dry && after != did.After || did.DryRun != dry {
		t.Errorf("sums of %+v", did)
	}
	return did
}

// outcomes counts the files by what became of them.
func outcomes(did queue.Compaction) map[queue.Outcome]int {
	n := map[queue.Outcome]int{}
	for _, f := range did.Files {
		n[f.Outcome]++
	}
	return n
}

// TestCompact gives back at once, after saying what it would do; then there is
// nothing to gain.
func TestCompact(t *testing.T) {
	dir := t.TempDir()
	m := mixedFiles(t, dir)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, patient())
		before := snapshot(t, dir)
		would := compact(t, s, true)
		if after := snapshot(t, dir); after != before {
			t.Error("the dry run changed something")
		}
		did := compact(t, s, false)
		m.check(t, s)
		if n := outcomes(did); n[queue.Freed] < 2 || n[queue.Grew] == 0 || outcomes(would)[queue.Freed] != n[queue.Freed] {
			t.Errorf("would %+v\ndid %+v", would, did)
		}
		if did.Before != would.Before || did.After > did.Before-1<<20 || would.After > did.After+1<<20 || would.After < did.After/4 {
			t.Errorf("%d bytes became %d, and %d were expected", did.Before, did.After, would.After)
		}
		again := compact(t, s, false)
		if n := outcomes(again); n[queue.Kept] != len(again.Files) || again.After != again.Before {
			t.Errorf("again: %+v", again)
		}
		m.check(t, s)
	})
}

// TestCompactKilled copies the files at each step, as a kill leaves them, and
// goes on with each of the copies.
func TestCompactKilled(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	var copies []string
	m := mixedFiles(t, dir)
	synctest.Test(t, func(t *testing.T) {
		watched := patient()
		watched.step = func(name string) {
			to := filepath.Join(root, fmt.Sprint(len(copies), name))
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Error(err)
			}
			copyFiles(t, dir, to)
			copies = append(copies, to)
		}
		s := open(t, dir, watched)
		compact(t, s, false)
	})
	if len(copies) < 20 {
		t.Errorf("only %d steps", len(copies))
	}
	for _, dir := range copies {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, dir, patient())
			m.check(t, s)
			compact(t, s, false)
			m.check(t, s)
			if t.Failed() {
				t.Fatal(filepath.Base(dir))
			}
		})
	}
}

// filled is a store of one file, of which most is done with.
func filled(t *testing.T, o Options) (s *Store, held queue.ID) {
	t.Helper()
	s = open(t, t.TempDir(), o)
	held = accept(t, s, benchAcceptance(t), []byte("held"))
	amend(t, s, held, queue.Hold)
	for range 5 {
		deliver(t, s, accept(t, s, benchAcceptance(t), make([]byte, 100<<10)))
	}
	return s, held
}

// TestCompactBesideASender: the file that a sender writes to goes when he is done.
func TestCompactBesideASender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, held := filled(t, patient())
		d := draftOf(t, s, make([]byte, 2*chunkSize))
		if did := compact(t, s, false); len(did.Files) != 2 || did.Files[0].Outcome != queue.Busy {
			t.Errorf("did %+v", did)
		}
		synctest.Wait()
		if names := files(t, s.dir, "gen-"); len(names) != 2 {
			t.Errorf("files %q", names)
		}
		if err := d.Commit(t.Context(), benchAcceptance(t)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if names := files(t, s.dir, "gen-"); len(names) != 1 || names[0] != generationName(2) {
			t.Errorf("files %q", names)
		}
		wantContent(t, s, held, "held")
		statsOf(t, s)
	})
}

// TestCompactWithoutRoom moves nothing when there is no room for it.
func TestCompactWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := filled(t, patient())
		full := func() { // for this second, in which nothing asks again
			s.space.mu.Lock()
			defer s.space.mu.Unlock()
			s.space.asked, s.space.left = time.Now(), 1000
		}
		full()
		for _, dry := range []bool{true, false} {
			if did := compact(t, s, dry); len(did.Files) != 1 || did.Files[0].Outcome != queue.NoRoom || did.After != did.Before {
				t.Errorf("did %+v", did)
			}
		}
		if was, err := s.compactOne(t.Context(), row(t, s)[0]); err != nil || was != queue.NoRoom { // it filled meanwhile
			t.Errorf("%s, %v", was, err)
		}
	})
}

// TestCompactAroundDamage: a record that cannot be read stays, and the rest moves.
func TestCompactAroundDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, held := filled(t, patient())
		hurt := acceptOne(t, s)
		if err := row(t, s)[0].update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketLive).Put([]byte(hurt), []byte("none")) }); err != nil {
			t.Fatal(err)
		}
		did := compact(t, s, false)
		if len(did.Files) != 2 || did.Files[0].Outcome != queue.Stuck || did.Files[0].After == 0 {
			t.Errorf("did %+v", did)
		}
		if g, err := s.home(held); err != nil || g.number != 2 {
			t.Errorf("held is in %+v, %v", g, err)
		}
	})
}

// TestCompactIsAskedInVain: of a store that is closed or has failed, by one who
// has gone, and on a disk that breaks.
func TestCompactIsAskedInVain(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s, _ := filled(t, patient())
	if _, err := s.Compact(gone, false); !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v", err)
	}
	c := &compaction{store: s, asker: gone, result: make(chan error, 1)}
	c.run(t.Context()) // he went after he had asked
	if err := <-c.result; !errors.Is(err, context.Canceled) || s.Err() != nil || len(row(t, s)) != 1 {
		t.Errorf("gone later: %v, %v", err, s.Err())
	}
	c = &compaction{store: s, asker: t.Context(), result: make(chan error, 1)}
	c.run(gone) // the store is being closed
	if err := <-c.result; !errors.Is(err, queue.ErrClosed) || s.Err() != nil {
		t.Errorf("closing: %v, %v", err, s.Err())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Compact(t.Context(), false); !errors.Is(err, queue.ErrClosed) || !errors.Is(s.whyStopped(), queue.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	broken, _ := filled(t, patient())
	if err := os.Mkdir(filepath.Join(broken.dir, generationName(2)), 0o700); err != nil { // in the place of the next file
		t.Fatal(err)
	}
	_, err := broken.Compact(t.Context(), false)
	if !errors.Is(err, ErrFailed) || broken.Err() == nil || !errors.Is(broken.whyStopped(), ErrFailed) {
		t.Errorf("broken: %v", err)
	}
	if _, err := broken.Compact(t.Context(), false); !errors.Is(err, ErrFailed) {
		t.Errorf("after a failure: %v", err)
	}
}

func TestCompactReportsTheDisk(t *testing.T) {
	s, _ := filled(t, patient())
	path := filepath.Join(s.dir, generationName(1))
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Compact(t.Context(), true); !errors.Is(err, syscall.ENOENT) || s.Err() != nil {
		t.Errorf("%v, %v", err, s.Err())
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
}

// TestReusable: what is reusable is what is not needed.
func TestReusable(t *testing.T) {
	s, _ := filled(t, patient())
	all, err := s.Files(t.Context())
	if err != nil || len(all) != 1 || all[0].Reusable > all[0].Used || all[0].Reusable < 500<<10 {
		t.Errorf("%+v, %v", all, err)
	}
	small := standing{size: 10, counters: counters{Bytes: 100}}
	if small.needed() != 10 || small.reusable() != 0 {
		t.Errorf("%d, %d", small.needed(), small.reusable())
	}
}

// TestBesideCompact: small messages are committed beside a compaction. How long
// that takes is judged with MXKEEP_SOAK=1 only.
func TestBesideCompact(t *testing.T) {
	size := 8 << 20
	if os.Getenv("MXKEEP_SOAK") != "" {
		size = 256 << 20
	}
	o := patient()
	o.GenerationSize = int64(size)
	s := open(t, t.TempDir(), o)
	body := make([]byte, 75<<10)
	for i := range size / len(body) {
		if id := accept(t, s, benchAcceptance(t), body); i%5 > 1 { // two of five stay
			deliver(t, s, id)
		}
	}
	alone := beside(t, s, 100, func() {})
	var did queue.Compaction
	took := beside(t, s, 10, func() { did, _ = s.Compact(context.Background(), false) })
	t.Logf("alone: median %s, p99 %s, at most %s; beside a compaction of %d MiB to %d in %s: %d commits, median %s, p99 %s, at most %s",
		alone[len(alone)/2], alone.p99(), alone.most(), did.Before>>20, did.After>>20, did.Took, len(took), took[len(took)/2], took.p99(), took.most())
	if os.Getenv("MXKEEP_SOAK") != "" && alone.most() < maxStall/4 && took.most() > maxStall {
		t.Errorf("a commit took %s", took.most())
	}
	if outcomes(did)[queue.Freed] == 0 || did.After > did.Before*3/4 {
		t.Errorf("did %+v", did)
	}
	if found := findings(t, s); len(found) > 0 {
		t.Error(strings.Join(found, "\n"))
	}
}
