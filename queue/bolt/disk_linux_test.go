package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// breakDisk makes every later write to the youngest file fail, as a disk does
// that turned read-only.
func breakDisk(t *testing.T, s *Store) { t.Helper(); reopenFile(t, s, syscall.O_RDONLY) }

// healDisk ends what breakDisk began.
func healDisk(t *testing.T, s *Store) { t.Helper(); reopenFile(t, s, syscall.O_RDWR) }

// reopenFile puts another description in the place of the youngest file's.
func reopenFile(t *testing.T, s *Store, flags int) {
	t.Helper()
	if err := reopened(filepath.Join(s.dir, row(t, s)[len(row(t, s))-1].name()), flags); err != nil {
		t.Fatal(err)
	}
}

// reopened puts another description in the place of the one of an open file.
func reopened(path string, flags int) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err != nil || target != path {
			continue
		}
		other, err := syscall.Open(path, flags|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var number int
		if _, err := fmt.Sscan(entry.Name(), &number); err != nil {
			return err
		}
		return errors.Join(syscall.Dup3(other, number, syscall.O_CLOEXEC), syscall.Close(other))
	}
	return fmt.Errorf("%s is not open: %w", path, os.ErrNotExist)
}

// changes are all acts that write, each with its own message to work on.
func changes(t *testing.T, s *Store) map[string]func() error {
	ctx := t.Context()
	settled, amended, claimed, purged := claimedOne(t, s), acceptOne(t, s), acceptOne(t, s), acceptOne(t, s)
	if err := s.Amend(ctx, queue.Amendment{ID: purged, At: time.Now(), Event: queue.Delete}); err != nil {
		t.Fatal(err)
	}
	small, caused, large := draftOf(t, s, []byte("small")), draftOf(t, s, []byte("caused")), draftOf(t, s, make([]byte, 3*chunkSize+5))
	writing, reading, aborted := draftOf(t, s, make([]byte, chunkSize)), draftOf(t, s, make([]byte, 2*chunkSize)), draftOf(t, s, make([]byte, 2*chunkSize))
	for _, d := range []queue.Draft{large, reading, aborted} {
		if _, err := d.Content(); err != nil { // waits for the chunk that is being written
			t.Fatal(err)
		}
	}
	notification := benchAcceptance(t)
	notification.Envelope.Cause = queue.Cause{ID: settled, Attempt: 1, Kind: "failure"}
	return map[string]func() error{
		"commit":           func() error { return small.Commit(ctx, benchAcceptance(t)) },
		"commit of chunks": func() error { return large.Commit(ctx, benchAcceptance(t)) },
		"commit of cause":  func() error { return caused.Commit(ctx, notification) },
		"create":           func() error { _, err := s.Create(ctx); return err },
		"write": func() error { // the second waits for what the first handed over
			_, first := writing.Write(make([]byte, chunkSize))
			_, second := writing.Write(make([]byte, chunkSize))
			return errors.Join(first, second, writing.Commit(ctx, benchAcceptance(t)))
		},
		"write and read": func() error {
			_, err := reading.Write(make([]byte, chunkSize))
			if r, openErr := reading.Content(); openErr == nil {
				_, openErr = io.Copy(io.Discard, r)
				err = errors.Join(err, openErr)
			} else {
				err = errors.Join(err, openErr)
			}
			return errors.Join(err, reading.Commit(ctx, benchAcceptance(t)))
		},
		"write and abort": func() error {
			_, err := aborted.Write(make([]byte, 2*chunkSize))
			return errors.Join(err, aborted.Abort())
		},
		"claim":            func() error { _, err := s.Claim(ctx, []queue.ID{claimed}, time.Hour); return err },
		"claim of nothing": func() error { _, err := s.Claim(ctx, nil, time.Hour); return err },
		"settle": func() error {
			return s.Settle(ctx, queue.Settlement{ID: settled, Attempt: 1, Results: map[int]queue.Result{0: {Action: queue.Delivered}}})
		},
		"amend": func() error {
			return s.Amend(ctx, queue.Amendment{ID: amended, At: time.Now(), Event: queue.Hold, Reason: "why"})
		},
		"note":  func() error { return s.Note(ctx, queue.Entry{At: time.Now(), Event: queue.Noted}) },
		"purge": func() error { _, err := s.Purge(ctx, time.Now().Add(1000*time.Hour)); return err },
	}
}

func acceptOne(t *testing.T, s *Store) queue.ID {
	t.Helper()
	return accept(t, s, benchAcceptance(t), []byte("kept"))
}

func claimedOne(t *testing.T, s *Store) queue.ID {
	t.Helper()
	id := acceptOne(t, s)
	if claimed, err := s.Claim(t.Context(), []queue.ID{id}, time.Hour); err != nil || len(claimed) != 1 {
		t.Fatal(claimed, err)
	}
	return id
}

// TestFailedDiskEndsEveryChange breaks the disk before one kind of change, heals
// it and then tries all the others: none may answer nil any more.
func TestFailedDiskEndsEveryChange(t *testing.T) {
	for _, first := range []string{"commit", "commit of chunks", "commit of cause", "write", "write and read", "write and abort", "claim", "settle", "amend", "note", "purge"} {
		t.Run(first, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			acts := changes(t, s)
			before, err := s.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			breakDisk(t, s)
			if err := acts[first](); !errors.Is(err, syscall.EBADF) || !errors.Is(err, ErrFailed) || isOurs(err) {
				t.Fatalf("%s: %v, want the error of the disk", first, err)
			}
			select {
			case <-s.Failed():
			default:
				t.Fatal("the store does not say that it has failed")
			}
			healDisk(t, s)
			delete(acts, first)
			for name, act := range acts {
				if err := act(); !errors.Is(err, syscall.EBADF) || isOurs(err) {
					t.Errorf("%s after %s: %v, want the error of the disk", name, first, err)
				}
			}
			queuetest.Balanced(t, s) // reading goes on
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			again := open(t, dir, Options{})
			queuetest.Balanced(t, again)
			if after, err := again.Stats(t.Context()); err != nil || after.Account != before.Account || keys(t, again, bucketDrafts) != 0 {
				t.Errorf("opened again: %+v, %v, want %+v", after.Account, err, before.Account)
			}
		})
	}
}

// TestFailedDiskAmongSenders breaks the disk while many send: what was
// promised is there afterwards, and nothing is promised any more.
func TestFailedDiskAmongSenders(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	promised := map[queue.ID]int{}
	a := benchAcceptance(t)
	enough := make(chan struct{})
	var sending sync.WaitGroup
	for sender := range 20 {
		sending.Go(func() {
			for failed := 0; failed < 3; {
				id, err := tryAccept(s, a, make([]byte, sender*10_000))
				if err != nil {
					failed++
					continue
				}
				if failed > 0 {
					t.Errorf("%s was promised after a failure", id)
				}
				mu.Lock()
				promised[id] = sender * 10_000
				if len(promised) == 200 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	breakDisk(t, s)
	sending.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{})
	queuetest.Balanced(t, again)
	for id, size := range promised {
		wantContent(t, again, id, string(make([]byte, size)))
	}
}

// tryAccept may be called from any goroutine.
func tryAccept(s *Store, a queue.Acceptance, body []byte) (queue.ID, error) {
	ctx := context.Background()
	d, err := s.Create(ctx)
	if err != nil {
		return "", err
	}
	if _, err := d.Write(body); err != nil {
		return "", errors.Join(err, d.Abort())
	}
	return d.ID(), d.Commit(ctx, a)
}

// TestNoNextFile makes beginning the next file fail.
func TestNoNextFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 1})
	id := acceptOne(t, s)
	if err := os.Mkdir(filepath.Join(dir, generationName(len(row(t, s))+1)+unfinishedSuffix), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := tryAccept(s, benchAcceptance(t), nil); err == nil || isOurs(err) {
			t.Fatalf("error is %v", err)
		}
	}
	if s.Err() == nil {
		t.Fatal("the store goes on")
	}
	wantContent(t, s, id, "kept")
}
