package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

// recorder notes the names of the files that a store has checked.
type recorder struct {
	names []string
	err   error
}

func (r *recorder) check(_ context.Context, path string) error {
	r.names = append(r.names, filepath.Base(path))
	return r.err
}

// TestWhichFilesAreChecked: those that were written since the last clean stop,
// and those that are suspect.
func TestWhichFilesAreChecked(t *testing.T) {
	dir, ids := twoFiles(t)
	opened := func(want ...string) *Store {
		t.Helper()
		var r recorder
		s := open(t, dir, Options{Check: r.check})
		if !slices.Equal(r.names, want) {
			t.Errorf("checked %q, want %q", r.names, want)
		}
		return s
	}
	first, second := generationName(1), generationName(2)
	s := opened()
	if err := s.Close(); err != nil { // nothing was written
		t.Fatal(err)
	}
	s = opened()
	if err := s.Amend(t.Context(), queue.Amendment{ID: ids[1], At: now(), Event: queue.Release}); err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	copyFiles(t, dir, copied) // not a clean stop
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	closed := dir
	dir = copied
	s = opened(first)
	s.checking.Wait()
	if err := errors.Join(s.Err(), s.Close()); err != nil {
		t.Fatal(err)
	}
	dir = closed
	s = opened()
	s.generations[1].remember(errors.New("a test"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(second)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened() // it was found sound
	for n := range 2 {
		if err := os.Remove(filepath.Join(dir, summaryName(n+1))); err != nil {
			t.Fatal(err)
		}
	}
	copied = t.TempDir()
	copyFiles(t, dir, copied)
	dir = copied
	opened(first, second) // as after the first start of this version
}

// TestCheckDecides: damage sets aside, and that a file cannot be checked does not.
func TestCheckDecides(t *testing.T) {
	for _, c := range []struct {
		err   error
		aside int
	}{
		{fmt.Errorf("%w: page 7", ErrDamagedFile), 1},
		{errors.New("fork: not permitted"), 0},
	} {
		s := open(t, t.TempDir(), Options{})
		acceptOne(t, s)
		dir := t.TempDir()
		copyFiles(t, s.dir, dir)
		again := open(t, dir, Options{Check: (&recorder{err: c.err}).check})
		if stats := statsOf(t, again); len(stats.Aside) != c.aside || stats.Account.SetAside != int64(c.aside) {
			t.Errorf("%v: %+v", c.err, stats)
		}
	}
}

// page finds the number of the first page that the test is looking for.
func pageOf(t *testing.T, path string, wanted func(page) bool) (id uint64, pageSize int64) {
	t.Helper()
	r, err := openRuins(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := r.heads()
	w := newWalk(r, h.newest.end)
	w.pages = func(n, _ uint64) {
		if p, err := r.page(n, h.newest.end); err == nil && id == 0 && wanted(p) {
			id = n
		}
	}
	if err := w.tree("", h.newest.root); err != nil || id == 0 {
		t.Fatalf("page %d, %v", id, err)
	}
	return id, r.pageSize
}

// hasRecords reports whether a page is the one with the records of a file.
func hasRecords(p page) bool {
	if p.flags != flagLeaf || p.count == 0 {
		return false
	}
	e, err := p.element(0)
	if err != nil || len(e.key) != idSize || e.bucket {
		return false
	}
	_, err = decodeMessage(queue.ID(e.key), e.value)
	return err == nil
}

// hasTraces reports whether a page is the one with the traces of a file, which
// nothing looks at before a message is read.
func hasTraces(p page) bool {
	e, err := p.element(0)
	return err == nil && p.flags == flagLeaf && p.count > 1 && len(e.key) == idSize && !e.bucket && bytes.Contains(e.value, []byte("Received:"))
}

// fileWithPages makes a store whose buckets have pages of their own, and closes it.
func fileWithPages(t *testing.T) (dir string, ids []queue.ID) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, Options{GenerationSize: 256 << 10})
	for i := range 12 {
		ids = append(ids, accept(t, s, benchAcceptance(t), []byte(strings.Repeat("kept ", 1+100*i))))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, ids
}

// TestPanicPutsTheStoreOut damages a page of a file in use: the reader, or the
// writer, gets an error, the store takes no further change, and the next start
// sets the file aside.
func TestPanicPutsTheStoreOut(t *testing.T) {
	for _, c := range []struct {
		rule string
		act  func(*testing.T, *Store, queue.ID) error
	}{
		{"a reader", func(t *testing.T, s *Store, id queue.ID) error { _, err := s.Message(t.Context(), id); return err }},
		{"a writer", func(t *testing.T, s *Store, id queue.ID) error {
			return s.generations[0].do(t.Context(), func(b *batch) error { _, err := b.record(id); return err })
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir, ids := fileWithPages(t)
			path := filepath.Join(dir, generationName(1))
			records, size := pageOf(t, path, hasRecords)
			s := open(t, dir, Options{Check: inProcess})
			writeAt(t, path, int64(records)*size, binary.NativeEndian.AppendUint64(nil, 7)) // it says it is another
			if err := c.act(t, s, ids[0]); !errors.Is(err, ErrDamagedFile) {
				t.Fatalf("error %v", err)
			}
			<-s.Failed()
			if err := s.Err(); !errors.Is(err, ErrDamagedFile) || !strings.Contains(err.Error(), generationName(1)) {
				t.Errorf("failed with %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			copied := t.TempDir() // the process of a store that failed ends, and lets go of its files
			copyFiles(t, dir, copied)
			again := open(t, copied, Options{})
			if stats := statsOf(t, again); len(stats.Aside) != 1 || stats.Account.SetAside != int64(len(ids)) || stats.Aside[0].Certainty != queue.Exact {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

// TestBackgroundCheck damages a file that was not written before a stop that
// was not clean: it is found while the store is in use.
func TestBackgroundCheck(t *testing.T) {
	dir, _ := fileWithPages(t)
	path := filepath.Join(dir, generationName(1))
	traces, size := pageOf(t, path, hasTraces)
	writeAt(t, path, int64(traces)*size+8, []byte{flagFreelist})
	if err := os.Remove(filepath.Join(dir, cleanMark)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{Check: inProcess})
	<-s.Failed()
	if err := s.Err(); !errors.Is(err, ErrDamagedFile) || !strings.Contains(err.Error(), "is a freelist") {
		t.Errorf("failed with %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{Check: inProcess})
	if stats := statsOf(t, again); len(stats.Aside) != 1 || stats.Aside[0].Certainty != queue.Exact {
		t.Errorf("stats %+v", stats)
	}
}

// TestCheckInUseAmongWriters checks a file while others write to it.
func TestCheckInUseAmongWriters(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			if _, err := tryAccept(s, benchAcceptance(t), make([]byte, 3000)); err != nil {
				t.Error(err)
			}
		}
	}()
	for checking := true; checking; {
		select {
		case <-done:
			checking = false
		default:
		}
		if err := s.generations[0].checkInUse(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.generations[0].checkInUse(ctx); err == nil || errors.Is(err, ErrDamagedFile) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCheckFile(t *testing.T) {
	dir, _ := fileWithPages(t)
	path := filepath.Join(dir, generationName(1))
	if err := CheckFile(path); err != nil {
		t.Fatal(err)
	}
	records, size := pageOf(t, path, hasRecords)
	at := int64(records) * size
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule string
		at   int64
		put  []byte
		says string
	}{
		{"a page of another number", at, []byte{1}, "says it is"},
		{"a page of no kind", at + 8, []byte{0x44}, "is of no kind"},
		{"a page that is a freelist", at + 8, []byte{flagFreelist}, "is a freelist"},
		{"too many elements", at + 10, []byte{0xFF, 0xFF}, "has no room"},
		{"too many pages behind it", at + 12, []byte{0, 0, 0, 1}, "beyond the end"},
		{"an element outside", at + pageHeader + 4, []byte{0xFF, 0xFF, 0xFF}, "lies outside"},
		{"a key out of order", at + pageHeader + 4, []byte{byte(size - 12 - 2000), byte((size - 12 - 2000) >> 8)}, "out of order"},
	} {
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		writeAt(t, path, c.at, c.put)
		if err := CheckFile(path); !errors.Is(err, ErrDamagedFile) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
	for _, path := range []string{filepath.Join(dir, "none"), dir} {
		if err := CheckFile(path); err == nil || errors.Is(err, ErrDamagedFile) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
