package bolt

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// TestFiledLinesAreNotSalvagedTwice files some ledger lines before the file is
// damaged: a salvage brings back the others.
func TestFiledLinesAreNotSalvagedTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	filed := acceptOne(t, s)
	if err := s.FileLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := acceptOne(t, s)
	if err := s.Amend(t.Context(), queue.Amendment{ID: filed, At: now(), Event: queue.Extend, By: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bothMetas(t, filepath.Join(dir, generationName(1)))
	s = open(t, dir, Options{})
	name := statsOf(t, s).Aside[0].File
	for range 2 {
		if _, err := s.Salvage(t.Context(), name, "carol", false); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[queue.ID]string{filed: "accepted extend hold", later: "accepted hold"} {
			if got := eventsOf(t, s, id); got != want {
				t.Errorf("ledger of %s: %s, want %s", id, got, want)
			}
		}
	}
	if err := s.FileLedger(t.Context()); err != nil { // the numbers are in order
		t.Fatal(err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("found %q", found)
	}
}

// TestWhatHasGoneIsNotMissed: files that went because nobody needed them are no
// loss, also when the process ends before their summaries went.
func TestWhatHasGoneIsNotMissed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		deliver(t, s, acceptOne(t, s))
		amend(t, s, acceptOne(t, s), queue.Hold)
		time.Sleep(3 * time.Hour) // it is moved, and the file goes
		synctest.Wait()
		if names := files(t, dir, "gen-"); !slices.Equal(names, []string{generationName(2)}) {
			t.Fatalf("files %s", names)
		}
		if there, err := exists(filepath.Join(dir, summaryName(1))); there || err != nil {
			t.Errorf("its summary is there: %t, %v", there, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if err := writeJSON(filepath.Join(dir, summaryName(1)), summary{Format: format}, (*os.File).Sync); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{Check: inProcess})
	if stats := statsOf(t, s); len(stats.Aside) != 0 || stats.Account.Held != 1 {
		t.Errorf("stats %+v", stats)
	}
}
