package bolt

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// unreadable is a store with messages of which neither record nor ledger line
// can be read, and one that is sound. Each has two recipients.
func unreadable(t *testing.T, n int) (s *Store, ids []queue.ID, sound queue.ID) {
	t.Helper()
	s = open(t, t.TempDir(), Options{Interrupted: -1})
	a := benchAcceptance(t)
	a.MessageID = "<victim@client.example>"
	a.Envelope.Recipients = append(a.Envelope.Recipients, queue.Recipient{ForwardPath: "carol@relay.example"})
	for range n {
		ids = append(ids, accept(t, s, a, []byte("victim")))
	}
	sound = acceptOne(t, s)
	s, _ = reopenDamaged(t, s, "victim@", "victom@")
	return s, ids, sound
}

// TestUnreadableIsGivenUp closes messages of which nothing is known any more.
func TestUnreadableIsGivenUp(t *testing.T) {
	for _, claimed := range []bool{true, false} {
		s, ids, sound := unreadable(t, 2)
		if claimed {
			if got, err := s.Claim(t.Context(), ids, time.Hour); err != nil || len(got) != 0 {
				t.Fatalf("claimed %+v, %v", got, err)
			}
			if stats := statsOf(t, s); stats.Unreadable != 2 {
				t.Errorf("%+v", stats)
			}
		}
		dry, err := s.AcceptLoss(t.Context(), string(ids[0]), "carol", "x", true)
		if err != nil || dry.Recipients != 1 || dry.Certainty != queue.About || !dry.Closed.IsZero() || !strings.Contains(dry.Why, "checksum") {
			t.Errorf("dry: %+v, %v", dry, err)
		}
		wants := []queue.Account{
			{Accepted: 5, Queued: 4, Deleted: 1},
			{Accepted: 5, Queued: 1, Deleted: 4},
		}
		for i, id := range ids {
			given, err := s.AcceptLoss(t.Context(), string(id), "carol", "senders were asked", false)
			if err != nil || given.Recipients != []int64{1, 3}[i] || given.Closed.IsZero() || given.Reason != "senders were asked" {
				t.Errorf("%d: %+v, %v", i, given, err)
			}
			if stats := statsOf(t, s); stats.Account != wants[i] || stats.Account.Missing() != 0 || stats.Unreadable > int64(1-i) {
				t.Errorf("%d: %+v", i, stats)
			}
			if _, err := s.AcceptLoss(t.Context(), string(id), "carol", "again", false); !errors.Is(err, queue.ErrNoFile) {
				t.Errorf("%d, again: %v", i, err)
			}
		}
		if stats := statsOf(t, s); stats.Messages[queue.StateQueued] != 1 || stats.Bytes != int64(len("hello")) && stats.Bytes <= 0 {
			t.Errorf("%+v", stats)
		}
		if found := findings(t, s); len(found) != 2 { // the lines of the ledger
			t.Errorf("found %q", found)
		}
		noted := 0
		for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{Events: []queue.Event{queue.Noted}}) {
			if err == nil && e.Actor == "carol" && e.ID == ids[noted] && strings.HasSuffix(e.Reason, "senders were asked") {
				noted++
			}
		}
		if noted != 2 {
			t.Errorf("%d lines about it", noted)
		}
		if _, err := s.AcceptLoss(t.Context(), string(sound), "carol", "x", false); !errors.Is(err, queue.ErrState) {
			t.Errorf("a message that can be read: %v", err)
		}
		deliver(t, s, sound)
	}
}

// TestGiveUpOnlyWhatIsLost: what the ledger can make anew is not given up.
func TestGiveUpOnlyWhatIsLost(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	damaged := acceptOne(t, s)
	held := acceptOne(t, s)
	amend(t, s, held, queue.Hold)
	for _, id := range []queue.ID{damaged, held} {
		err := s.generations[0].do(t.Context(), func(b *batch) error { return b.bucket(bucketLive).Put([]byte(id), []byte("nothing of it")) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AcceptLoss(t.Context(), string(damaged), "carol", "x", false); !errors.Is(err, queue.ErrState) || !strings.Contains(err.Error(), "makes its record anew") {
		t.Errorf("%v", err)
	}
	given, err := s.AcceptLoss(t.Context(), string(held), "carol", "x", true)
	if err != nil || given.Recipients != 1 {
		t.Errorf("held: %+v, %v", given, err)
	}
}

// TestGiveUpFromTrash: of what is in the trash nobody waits.
func TestGiveUpFromTrash(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	id := acceptOne(t, s)
	amend(t, s, id, queue.Delete)
	if err := s.generations[0].do(t.Context(), func(b *batch) error { return b.bucket(bucketTrash).Put([]byte(id), []byte("nothing of it")) }); err != nil {
		t.Fatal(err)
	}
	given, err := s.AcceptLoss(t.Context(), string(id), "carol", "x", false)
	if err != nil || given.Recipients != 0 {
		t.Errorf("%+v, %v", given, err)
	}
	if a := accountOf(t, s); a != (queue.Account{Accepted: 1, Deleted: 1}) {
		t.Errorf("account %+v", a)
	}
}

func TestOneOf(t *testing.T) {
	for _, c := range []struct{ of, want queue.Account }{
		{queue.Account{Queued: 3, Held: 2}, queue.Account{Queued: 1}},
		{queue.Account{Held: 2, Refused: 2}, queue.Account{Held: 1}},
		{queue.Account{Refused: 2}, queue.Account{Refused: 1}},
		{queue.Account{}, queue.Account{}},
	} {
		if got := oneOf(c.of); got != c.want {
			t.Errorf("%+v: %+v", c.of, got)
		}
	}
}
