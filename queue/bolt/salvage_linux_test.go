package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

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
	if _, err := s.AcceptLoss(t.Context(), name, "carol", "x"); !errors.Is(err, ErrFailed) {
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
	if _, err := s.AcceptLoss(t.Context(), name, "carol", "x"); !errors.Is(err, syscall.EISDIR) {
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
	s := open(t, t.TempDir(), Options{})
	id := acceptOne(t, s)
	if err := os.RemoveAll(filepath.Join(s.dir, summaryName(1))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, summaryName(1)+unfinishedSuffix)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	s.generations[0].save(s.generations[0].summary(), (*os.File).Sync)
	if err := s.Close(); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("close: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var r recorder
	s = open(t, s.dir, Options{Check: r.check})
	if len(r.names) != 1 {
		t.Errorf("checked %q", r.names)
	}
	if m, err := s.Message(t.Context(), id); err != nil || m.State() != queue.StateQueued {
		t.Errorf("%+v, %v", m, err)
	}
}
