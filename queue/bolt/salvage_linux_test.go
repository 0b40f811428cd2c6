package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// TestSalvageOnABrokenDisk: the disk fails during a salvage, and during the
// closing of what is left. Nothing is thought to be done that is not.
func TestSalvageOnABrokenDisk(t *testing.T) {
	l := lived(t, bothMetas)
	s := l.store
	name := statsOf(t, s).Aside[0].File
	breakDisk(t, s)
	if did, err := s.Salvage(t.Context(), name, "carol", false); err == nil || did.Messages != 0 {
		t.Fatalf("did %+v, %v", did, err)
	}
	if _, err := s.AcceptLoss(t.Context(), name, "carol", "x", false); !errors.Is(err, ErrFailed) {
		t.Errorf("loss: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, l.dir, Options{Check: inProcess})
	if stats := statsOf(t, s); len(stats.Aside) != 1 || stats.Account.SetAside != 7 {
		t.Fatalf("stats %+v", stats)
	}
	// The description cannot be written: what was brought back stays, and the next run goes on.
	path := filepath.Join(l.dir, name+".json"+unfinishedSuffix)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if did, err := s.Salvage(t.Context(), name, "carol", false); !errors.Is(err, syscall.EISDIR) || did.Messages != 0 {
		t.Errorf("did %+v, %v", did, err)
	}
	if _, err := s.AcceptLoss(t.Context(), name, "carol", "x", false); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("loss: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	did, err := s.Salvage(t.Context(), name, "carol", false)
	if err != nil || did.Messages != 7 || did.Rest != 0 {
		t.Errorf("did %+v, %v", did, err)
	}
	pending(t, s)
	if stats := statsOf(t, s); stats.Account.SetAside != 0 || stats.Account.Held != 7 {
		t.Errorf("stats %+v", stats)
	}
}

// TestUnsavedSummary: that a summary cannot be written loses no mail, and the
// next start looks at the file.
func TestUnsavedSummary(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, summaryName(1)+unfinishedSuffix)
	var id queue.ID
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		id = acceptOne(t, s)
		synctest.Wait() // the first summary is written
		if err := errors.Join(os.Remove(filepath.Join(dir, summaryName(1))), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
		acceptOne(t, s)
		time.Sleep(2 * summaryEvery) // the next one cannot be
		if err := s.Err(); err != nil {
			t.Errorf("the store has failed: %v", err)
		}
		if err := s.Close(); !errors.Is(err, syscall.EISDIR) {
			t.Errorf("close: %v", err)
		}
	})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var r recorder
	s := open(t, dir, Options{Check: r.check})
	if len(r.names) != 1 {
		t.Errorf("checked %q", r.names)
	}
	if m, err := s.Message(t.Context(), id); err != nil || m.State() != queue.StateQueued {
		t.Errorf("%+v, %v", m, err)
	}
}
