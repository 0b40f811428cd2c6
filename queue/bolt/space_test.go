package bolt

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func TestSpaceThreshold(t *testing.T) {
	asked := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rule string
		left uint64
		full bool
	}{
		{"plenty", 1000, false},
		{"just enough", 100, false},
		{"a byte too little", 99, true},
		{"nothing", 0, true},
	} {
		s := space{dir: t.TempDir(), min: 100, asked: asked, left: c.left}
		for _, at := range []time.Time{asked, asked.Add(time.Second - 1)} { // the answer of before
			if err := s.check(at); errors.Is(err, queue.ErrFull) != c.full || err != nil && !c.full {
				t.Errorf("%s: %v", c.rule, err)
			}
		}
		for _, at := range []time.Time{asked.Add(time.Second), asked.Add(-time.Hour)} { // asks again
			if err := s.check(at); err != nil || !s.asked.Equal(at) {
				t.Errorf("%s, asked again at %s: %v", c.rule, at, err)
			}
		}
	}
	s := space{dir: filepath.Join(t.TempDir(), "missing"), min: 1}
	if err := s.check(asked); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), s.dir) {
		t.Errorf("no folder: %v", err)
	}
}

// TestSpaceWithinASecond: the file system is asked once a second, and more than
// what is kept free can come within one. In the bubble no time passes.
func TestSpaceWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		draftOf(t, s, nil) // it asks
		s.space.left = s.space.min + 3*chunkSize - 1
		large := draftOf(t, s, make([]byte, 4*chunkSize)) // the last chunk waits in memory
		if n, err := large.Write([]byte("x")); n != 0 || !errors.Is(err, queue.ErrFull) {
			t.Errorf("a fourth chunk where there is room for three: %d, %v", n, err)
		}
		s.space.left = s.space.min + 3*chunkSize/2
		for range 2 {
			small := draftOf(t, s, make([]byte, chunkSize-1))
			if err := small.Commit(t.Context(), benchAcceptance(t)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Create(t.Context()); !errors.Is(err, queue.ErrFull) {
			t.Errorf("a third message where there is room for one and a half: %v", err)
		}
		s.space.take(math.MaxInt)
		if s.space.left != 0 {
			t.Errorf("%d bytes left", s.space.left)
		}
	})
}

func TestFullDisk(t *testing.T) {
	s := open(t, t.TempDir(), Options{GenerationSize: 1})
	known := acceptOne(t, s)
	small, large := draftOf(t, s, []byte("small")), draftOf(t, s, make([]byte, chunkSize))
	files := len(row(t, s))
	s.space.min = math.MaxUint64
	if _, err := s.Create(t.Context()); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("Create: %v", err)
	}
	if n, err := large.Write(make([]byte, 10)); n != 0 || !errors.Is(err, queue.ErrFull) {
		t.Fatalf("Write: %d, %v", n, err)
	}
	if err := large.Commit(t.Context(), benchAcceptance(t)); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("Commit without what could not be written: %v", err)
	}
	if err := small.Commit(t.Context(), benchAcceptance(t)); err != nil { // it was let in before
		t.Fatal(err)
	}
	claimed, err := s.Claim(t.Context(), []queue.ID{known, small.ID()}, time.Hour)
	if err != nil || len(claimed) != 2 {
		t.Fatal(claimed, err)
	}
	for _, m := range claimed {
		if err := s.Settle(t.Context(), queue.Settlement{ID: m.ID, Attempt: 1, Results: map[int]queue.Result{0: {Action: queue.Delivered}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Note(t.Context(), queue.Entry{At: now(), Event: queue.Noted}); err != nil {
		t.Fatal(err)
	}
	if len(row(t, s)) != files {
		t.Error("a file was begun on a full disk")
	}
	s.space.min = 1
	acceptOne(t, s)
	if len(row(t, s)) == files {
		t.Error("no file was begun when there was room again")
	}
}

func TestStatsOfTheDisk(t *testing.T) {
	s := open(t, t.TempDir(), Options{GenerationSize: 1})
	accept(t, s, benchAcceptance(t), make([]byte, 1<<20))
	accept(t, s, benchAcceptance(t), make([]byte, 1<<20))
	stats, err := s.Stats(t.Context())
	if err != nil || stats.DiskFree <= 0 || stats.DiskUsed < 2<<20 || stats.DiskUsed > 8<<20 {
		t.Fatalf("%+v, %v", stats, err)
	}
	path := filepath.Join(s.dir, row(t, s)[0].name())
	if err := os.Rename(path, path+".gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stats(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is gone: %v", err)
	}
}

// TestErrorsOfTheFileSystem: one that bbolt has made text of is told again as what it is.
func TestErrorsOfTheFileSystem(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		text := fmt.Sprintf("file resize error: truncate gen-000001.db: %s", number)
		if err := plain(errors.New(text)); !errors.Is(err, number) || err.Error() != text {
			t.Errorf("%v", err)
		}
	}
	if err := plain(errors.New("bucket not found")); err == nil || err.Error() != "bucket not found" {
		t.Errorf("%v", err)
	}
}
