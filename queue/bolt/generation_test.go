package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func TestNextFileBySize(t *testing.T) {
	s := open(t, t.TempDir(), Options{GenerationSize: 1 << 20})
	for range 40 {
		accept(t, s, benchAcceptance(t), make([]byte, 100<<10))
	}
	if n := len(row(t, s)); n < 4 || n > 6 {
		t.Errorf("4 MB are in %d files of 1 MiB", n)
	}
	for _, g := range row(t, s)[:len(row(t, s))-1] {
		// A transaction may go beyond the size, but no other follows.
		if size := g.standing().size; size < 1<<20 || size > 2<<20 {
			t.Errorf("%s has %d bytes in use", g.name(), size)
		}
	}
}

func TestNextFileByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{GenerationAge: time.Hour})
		early := draftOf(t, s, make([]byte, 2*chunkSize)) // has a chunk in the first file
		first := acceptOne(t, s)
		time.Sleep(10 * time.Hour)
		second := acceptOne(t, s)
		if len(row(t, s)) != 1 {
			t.Fatal("a file was followed by the next one although all of its mail waits")
		}
		deliver(t, s, first)
		time.Sleep(time.Hour - time.Nanosecond)
		synctest.Wait()
		if len(row(t, s)) != 1 {
			t.Errorf("%d files before the hour", len(row(t, s)))
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		third := acceptOne(t, s)
		if len(row(t, s)) != 2 || !row(t, s)[0].standing().ids.contains(second) || !row(t, s)[1].standing().ids.contains(third) {
			t.Fatalf("%d files after the hour", len(row(t, s)))
		}
		if err := early.Commit(t.Context(), benchAcceptance(t)); err != nil {
			t.Fatal(err)
		}
		if !row(t, s)[0].standing().ids.contains(early.ID()) {
			t.Error("a record is in another file than its content")
		}
		queuetest.Balanced(t, s)
	})
}

// TestIDsNeverRepeat opens the store with clocks that go on, stand still and
// step back by decades: a bubble begins in the year 2000.
func TestIDsNeverRepeat(t *testing.T) {
	dir := t.TempDir()
	var ids []queue.ID
	more := func(t *testing.T) {
		s := open(t, dir, Options{GenerationSize: 1 << 10})
		for range 3 {
			ids = append(ids, acceptOne(t, s))
			given := draftOf(t, s, nil) // takes an ID, too
			if err := given.Abort(); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, given.ID())
		}
	}
	t.Run("now", more)
	for range 3 {
		t.Run("in the past", func(t *testing.T) { synctest.Test(t, more) })
	}
	t.Run("now again", more)
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Fatalf("IDs %s", ids)
	}
	s := open(t, dir, Options{})
	for i := 0; i < len(ids); i += 2 {
		wantContent(t, s, ids[i], "kept")
	}
}

// TestOldFilesChange does every act to messages in files that take no new mail.
func TestOldFilesChange(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 1})
	var ids []queue.ID
	for range 6 {
		ids = append(ids, acceptOne(t, s))
	}
	ctx := t.Context()
	amend := func(id queue.ID, event queue.Event) {
		t.Helper()
		if err := s.Amend(ctx, queue.Amendment{ID: id, At: now(), Event: event, Actor: "carol"}); err != nil {
			t.Fatal(err)
		}
	}
	claimed, err := s.Claim(ctx, []queue.ID{ids[4], ids[0], ids[2]}, time.Hour) // three files
	if err != nil || len(claimed) != 3 || claimed[0].ID != ids[4] || claimed[1].ID != ids[0] || claimed[2].ID != ids[2] {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	for i, action := range []queue.Action{queue.Delivered, queue.Deferred, queue.Refused} {
		if err := s.Settle(ctx, queue.Settlement{ID: claimed[i].ID, Attempt: 1, NextAttempt: now(), Results: map[int]queue.Result{0: {At: now(), Action: action}}}); err != nil {
			t.Fatal(err)
		}
	}
	amend(ids[1], queue.Delete)
	amend(ids[3], queue.Delete)
	amend(ids[3], queue.Undelete)
	amend(ids[5], queue.Hold)
	if n, err := s.Purge(ctx, now().Add(80*time.Hour)); n != 1 || err != nil {
		t.Fatalf("purged %d, %v", n, err)
	}
	check := func() {
		t.Helper()
		queuetest.Balanced(t, s)
		want := []queue.State{queue.StateDeferred, queue.StateDeleted, queue.StateRefused, queue.StateQueued, queue.StateDelivered, queue.StateHeld}
		for i, id := range ids {
			if m, err := s.Message(ctx, id); err != nil || m.State() != want[i] || m.Purged != (i == 1) {
				t.Errorf("message %d is %s, purged %t, %v; want %s", i, m.State(), m.Purged, err, want[i])
			}
		}
		if due := dueIDs(t, s); !slices.Equal(due, []queue.ID{ids[3], ids[0]}) {
			t.Errorf("due %s", due)
		}
		if got := ledgerOf(t, s, ids); got != "accepted0 accepted1 accepted2 accepted3 accepted4 accepted5 "+
			"attempted4 attempted0 attempted2 delete1 delete3 undelete3 hold5 purged1" {
			t.Errorf("ledger %s", got)
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	check()
	id := acceptOne(t, s)
	for e, err := range s.Ledger(ctx, queue.LedgerFilter{ID: id}) {
		if err != nil || e.Seq != 15 {
			t.Errorf("the ledger goes on with line %d, %v", e.Seq, err)
		}
	}
}

// ledgerOf writes each line as its event and the number of its message.
func ledgerOf(t *testing.T, s *Store, ids []queue.ID) string {
	t.Helper()
	var lines []string
	last := uint64(0)
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{}) {
		if err != nil || e.Seq <= last {
			t.Fatalf("line %d after %d, %v", e.Seq, last, err)
		}
		last = e.Seq
		lines = append(lines, fmt.Sprint(e.Event, slices.Index(ids, e.ID)))
	}
	return strings.Join(lines, " ")
}

// TestYoungerFileWins has one message in two files, as after a copy.
func TestYoungerFileWins(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	id := acceptOne(t, s)
	old := row(t, s)[0]
	next, err := s.beginGeneration(2)
	if err != nil {
		t.Fatal(err)
	}
	s.rotation.Lock()
	s.append(next)
	s.rotation.Unlock()
	m, err := s.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	m.Held = "moved"
	err = row(t, s)[1].do(t.Context(), func(b *batch) error {
		b.now.ids = b.now.ids.with(id)
		return b.bucket(bucketLive).Put([]byte(id), encodeMessage(m))
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Message(t.Context(), id); err != nil || got.Held != "moved" {
		t.Errorf("message %+v, %v", got, err)
	}
	n := 0
	for got, err := range s.Messages(t.Context(), queue.Filter{}) {
		if n++; err != nil || got.Held != "moved" {
			t.Errorf("listed %+v, %v", got, err)
		}
	}
	if has, err := old.has(id); n != 1 || !has || err != nil {
		t.Errorf("listed %d times; the old file has it: %t, %v", n, has, err)
	}
}

func TestManyBeginTheNextFileOnce(t *testing.T) {
	s := open(t, t.TempDir(), Options{GenerationSize: 100 << 10})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range 10 {
				if _, err := tryAccept(s, benchAcceptance(t), make([]byte, 5000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	queuetest.Balanced(t, s)
	for i, g := range row(t, s) {
		if g.number != i+1 {
			t.Errorf("file %d has number %d", i, g.number)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	put := func(bucket, key, value []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, value) })
		}
	}
	for _, c := range []struct {
		rule   string
		damage func(t *testing.T, path string)
		says   string
	}{
		{"a newer format", func(t *testing.T, path string) {
			put(bucketMeta, keyFormat, []byte{format + 1})(t, path)
			newer := summary{Format: format + 1}
			if err := writeJSON(strings.TrimSuffix(path, ".db")+".json", newer, (*os.File).Sync); err != nil {
				t.Fatal(err)
			}
		}, "written by a newer version: it has format 3; this version reads formats 1 to 2. Start that version, or a newer one"},
		{"a newer format of what is set aside", func(t *testing.T, path string) {
			if err := writeJSON(path+asideInfix+"20260122T193000Z.json", aside{Format: format + 1}, (*os.File).Sync); err != nil {
				t.Fatal(err)
			}
		}, "it has format 3"},
		{"a name that is no generation's", func(t *testing.T, path string) {
			if err := os.Rename(path, filepath.Join(filepath.Dir(path), "gen-1.db")); err != nil {
				t.Fatal(err)
			}
		}, "gen-1.db: not the name of a generation"},
		{"a folder in the place of the file", func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{GenerationSize: 1})
			acceptOne(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.damage(t, filepath.Join(dir, generationName(2)))
			if s, err := Open(dir, Options{}); err == nil || s != nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v does not say %q", err, c.says)
			}
			if s, err := Open(dir, Options{}); err == nil { // nothing was locked or repaired
				t.Fatal(s)
			}
		})
	}
}

func edit(t *testing.T, path string, act func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(act), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestUnfinishedFileIsRemoved(t *testing.T) {
	dir := t.TempDir()
	unfinished := filepath.Join(dir, generationName(1)+unfinishedSuffix)
	if err := os.WriteFile(unfinished, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if _, err := os.Stat(unfinished); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	acceptOne(t, s)
}

func TestOneProcessOnly(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	s, err := Open(dir, Options{LockTimeout: time.Nanosecond})
	if !errors.Is(err, ErrInUse) || s != nil || !strings.Contains(err.Error(), dir) {
		t.Fatal(s, err)
	}
}

func TestOpenReportsTheFileSystem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if s, err := Open(dir, Options{}); err == nil || s != nil {
			t.Errorf("%s was opened", dir)
		}
	}
}

func TestLargeMessage(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	body := bytes.Repeat([]byte("0123456789abcde\n"), 25<<20/16)
	id := accept(t, s, benchAcceptance(t), body)
	r, err := s.Content(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.HasSuffix(got, body) || len(got) != len(body)+len(benchAcceptance(t).Trace) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}
