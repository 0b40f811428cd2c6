package bolt

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func TestAcceptLoss(t *testing.T) {
	dir, _ := twoFiles(t)
	if err := os.Truncate(filepath.Join(dir, generationName(1)), 100); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	name := statsOf(t, s).Aside[0].File
	if _, err := s.AcceptLoss(t.Context(), "gen-000009.db", "carol", "x", false); !errors.Is(err, queue.ErrNoFile) {
		t.Errorf("another file: %v", err)
	}
	closed, err := s.AcceptLoss(t.Context(), name, "carol", "ticket 7", false)
	if err != nil || closed.Recipients != 2 || closed.Open() {
		t.Fatalf("closed %+v, %v", closed, err)
	}
	for range 2 {
		stats := statsOf(t, s)
		if len(stats.Aside) != 0 || stats.Account.SetAside != 0 || stats.Account.Deleted != 2 {
			t.Errorf("stats %+v", stats)
		}
		if all, err := s.Aside(t.Context()); err != nil || len(all) != 1 || all[0].Reason != "ticket 7" || all[0].Closed.IsZero() {
			t.Errorf("aside %+v, %v", all, err)
		}
		for what, err := range map[string]error{
			"accept-loss": func() error { _, err := s.AcceptLoss(t.Context(), name, "carol", "again", false); return err }(),
			"salvage":     func() error { _, err := s.Salvage(t.Context(), name, "carol", false); return err }(),
		} {
			if !errors.Is(err, queue.ErrState) {
				t.Errorf("%s of what is closed: %v", what, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
	}
	var said []string
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{Events: []queue.Event{queue.Noted}}) {
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, e.Actor+": "+e.Reason)
	}
	if want := "carol: gave up 2 recipients set aside in " + name + ": ticket 7"; !slices.Contains(said, want) {
		t.Errorf("ledger %q", said)
	}
	if there, err := exists(filepath.Join(dir, name)); !there || err != nil {
		t.Errorf("the file is there: %t, %v", there, err)
	}
}

// TestDescriptionThatCannotBeRead: it is still told.
func TestDescriptionThatCannotBeRead(t *testing.T) {
	dir, _ := twoFiles(t)
	if err := os.Truncate(filepath.Join(dir, generationName(1)), 100); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	name := statsOf(t, s).Aside[0].File
	if err := errors.Join(s.Close(), os.WriteFile(filepath.Join(dir, name+".json"), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	told := statsOf(t, s).Aside
	if len(told) != 1 || told[0].File != name || told[0].Certainty != queue.Unknown || !strings.Contains(told[0].Why, "description") {
		t.Errorf("aside %+v", told)
	}
	var again aside
	text, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err == nil {
		err = json.Unmarshal(text, &again)
	}
	if err != nil || !again.Noted {
		t.Errorf("description %s, %v", text, err)
	}
}

// TestAsideReportsTheFileSystem: what cannot be renamed or written ends Open, with its reason.
func TestAsideReportsTheFileSystem(t *testing.T) {
	dir, _ := twoFiles(t)
	if err := os.Truncate(filepath.Join(dir, generationName(1)), 100); err != nil {
		t.Fatal(err)
	}
	// A folder in the place of the description's first name.
	stamp := generationName(1) + asideInfix
	for second := range 120 {
		name := stamp + time.Now().Add(time.Duration(second)*time.Second).UTC().Format("20060102T150405Z") + ".json" + unfinishedSuffix
		if err := os.MkdirAll(filepath.Join(dir, name, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := Open(dir, Options{}); err == nil || s != nil {
		t.Fatalf("opened %v", s)
	}
}
