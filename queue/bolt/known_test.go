package bolt

import (
	"crypto/sha256"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// TestAdoptionWhileTheLedgerIsIncomplete: who knows what has been delivered?
// Then a person decides, until the missing part is given up.
func TestAdoptionWhileTheLedgerIsIncomplete(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	acceptOne(t, s)
	if err := errors.Join(s.FileLedger(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	damageRoot(t, filepath.Join(dir, files(t, dir, "ledger-")[0]))
	s = open(t, dir, Options{})
	adopt := func(held string, ago time.Duration) queue.Message {
		t.Helper()
		acc := benchAcceptance(t)
		acc.At = time.Now().Add(-ago)
		m, _ := queue.Accept(queue.NextID("", acc.At), acc, 4, sha256.Sum256([]byte("text")))
		m.Held = ""
		id, err := s.Adopt(t.Context(), queue.Adoption{Message: m, Held: held, Actor: "carol", Source: "from Rome"}, strings.NewReader("text"))
		if err != nil {
			t.Fatal(err)
		}
		if m, err = s.Message(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return m
	}
	const why = "part of the ledger here is missing: it may have been delivered already"
	if got := adopt("", time.Hour).Held; got != why {
		t.Errorf("held because %q", got)
	}
	if got := adopt("looked at first", 2*time.Hour).Held; got != "looked at first; "+why {
		t.Errorf("held because %q", got)
	}
	if _, err := s.AcceptLoss(t.Context(), statsOf(t, s).Aside[0].File, "carol", "seen", false); err != nil {
		t.Fatal(err)
	}
	s.adopting.known.forget()
	if m := adopt("", 3*time.Hour); m.Held != "" || m.State() != queue.StateQueued {
		t.Errorf("held because %q", m.Held)
	}
}

// TestBackupOfABrokenLedger: what is set aside is in the copy, and told there,
// and the copy says which store it is.
func TestBackupOfABrokenLedger(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	s := open(t, dir, Options{})
	acceptOne(t, s)
	if err := errors.Join(s.FileLedger(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	damageRoot(t, filepath.Join(dir, files(t, dir, "ledger-")[0]))
	s = open(t, dir, Options{})
	acceptOne(t, s)
	if _, err := s.Backup(t.Context(), copied, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	n, err := OpenSnapshot(t.Context(), copied, nil)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := n.Stats(t.Context())
	if err := errors.Join(err, n.Close()); err != nil {
		t.Fatal(err)
	}
	if len(stats.Aside) != 1 || !stats.Aside[0].Ledger || stats.Account.Accepted != 2 {
		t.Errorf("%+v", stats)
	}
	if is, err := readIdentity(copied); err != nil || is.ID != s.Identity().ID {
		t.Errorf("%+v, %v", is, err)
	}
}
