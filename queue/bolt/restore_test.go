package bolt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// restored is what the tests here have restored, or would.
func restored(t *testing.T, s *Store, n *Snapshot, dry bool) Restored {
	t.Helper()
	did, err := s.Restore(t.Context(), n, Restoring{Held: "restored", Actor: "carol", Source: "from a test", DryRun: dry})
	if err != nil {
		t.Fatal(err)
	}
	return did
}

// several accepts messages that differ.
func several(t *testing.T, s *Store, n int) (ids []queue.ID) {
	t.Helper()
	for i := range n {
		ids = append(ids, accept(t, s, benchAcceptance(t), fmt.Append(nil, i, string(make([]byte, 100+i*1000)))))
	}
	return ids
}

// TestRestoreBringsWhatIsMissing: to a store that knows nothing of it, once.
func TestRestoreBringsWhatIsMissing(t *testing.T) {
	from := open(t, t.TempDir(), Options{})
	ids := several(t, from, 6)
	amend(t, from, ids[1], queue.Hold)
	amend(t, from, ids[2], queue.Delete)
	deliver(t, from, ids[3])
	if _, err := from.Claim(t.Context(), []queue.ID{ids[4]}, time.Hour); err != nil {
		t.Fatal(err)
	}
	_, n := backUp(t, from)
	s := open(t, t.TempDir(), Options{})
	own := acceptOne(t, s)
	want := Restored{Messages: 5, Recipients: 4, Bytes: n.size(t, ids[0], ids[1], ids[2], ids[4], ids[5])}
	for _, dry := range []bool{true, false} {
		if did := restored(t, s, n, dry); did != want {
			t.Errorf("dry %t: restored %+v, want %+v", dry, did, want)
		}
	}
	queuetest.Balanced(t, s)
	for i, state := range map[int]queue.State{0: queue.StateHeld, 1: queue.StateHeld, 2: queue.StateDeleted, 4: queue.StateHeld, 5: queue.StateHeld} {
		m, was := messageOf(t, s, ids[i]), messageOf(t, from, ids[i])
		if m.State() != state || !m.Same(was) || !m.AcceptedAt.Equal(was.AcceptedAt) {
			t.Errorf("%d is %+v", i, m)
		}
		wantContent(t, s, ids[i], string(fmt.Append(nil, i, string(make([]byte, 100+i*1000)))))
	}
	if events := eventsOf(t, s, ids[4]); events != "adopted interrupted" {
		t.Errorf("ledger of what was being delivered: %s", events)
	}
	if did := restored(t, s, n, false); did != (Restored{Present: 5}) {
		t.Errorf("again: %+v", did)
	}
	amend(t, s, ids[0], queue.Release)
	deliver(t, s, ids[0], own)
	if did := restored(t, s, n, false); did != (Restored{Present: 5}) {
		t.Errorf("after a delivery: %+v", did)
	}
	if _, err := s.Message(t.Context(), ids[3]); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("what was delivered before the backup: %v", err)
	}
}

// size adds up messages of a copy.
func (n *Snapshot) size(t *testing.T, ids ...queue.ID) (sum int64) {
	t.Helper()
	for m, err := range n.Messages(t.Context(), queue.Filter{IDs: ids}) {
		if err != nil {
			t.Fatal(err)
		}
		sum += m.Size
	}
	return sum
}

// TestRestoreOfWhatWasLost: the ledger knows the messages, and their file is
// gone. What it knows as delivered stays away, the rest comes back.
func TestRestoreOfWhatWasLost(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	both := benchAcceptance(t)
	both.Envelope.Recipients = append(both.Envelope.Recipients[:1:1], queue.Recipient{ForwardPath: "dora@relay.example"})
	caused := benchAcceptance(t)
	caused.Envelope.Cause = queue.Cause{ID: "0123456789ab", Attempt: 1, Kind: "failure"}
	half, gone, notice := accept(t, s, both, []byte("half")), accept(t, s, both, []byte("gone")), accept(t, s, caused, []byte("notice"))
	_, n := backUp(t, s)
	deliver(t, s, gone)
	if _, err := s.Claim(t.Context(), []queue.ID{half}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(t.Context(), queue.Settlement{ID: half, Attempt: 1, NextAttempt: now(), Results: map[int]queue.Result{0: {Action: queue.Delivered}, 1: {Action: queue.Deferred}}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.FileLedger(t.Context()), s.Close(), os.Remove(filepath.Join(dir, generationName(1)))); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if did := restored(t, s, n, false); did.Messages != 2 || did.Final != 1 || did.Recipients != 2 {
		t.Errorf("restored %+v", did)
	}
	if m := messageOf(t, s, half); m.State() != queue.StateHeld || m.RecipientState(0) != queue.StateDelivered {
		t.Errorf("it is %+v", m)
	}
	if m := messageOf(t, s, notice); m.State() != queue.StateHeld {
		t.Errorf("the notification is %s", m.State())
	}
	if _, err := s.Message(t.Context(), gone); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("what was delivered: %v", err)
	}
	if a := statsOf(t, s).Account; a.Missing() != 0 {
		t.Errorf("account %+v", a)
	}
	if did := restored(t, s, n, false); did.Messages != 0 || did.Present != 2 || did.Final != 1 {
		t.Errorf("again: %+v", did)
	}
}

// TestRestoreOfDamage: what cannot be read whole comes back as damaged, what
// cannot be read at all is counted.
func TestRestoreOfDamage(t *testing.T) {
	from := open(t, t.TempDir(), Options{})
	ids := several(t, from, 4)
	dir, n := backUp(t, from)
	letGo(t, n)
	flipContent(t, dir, ids[1])
	change := open(t, dir, Options{})
	g := row(t, change)[0]
	if err := g.do(t.Context(), func(b *batch) error {
		return errors.Join(b.bucket(bucketLive).Put([]byte(ids[2]), []byte("ruined")), b.bucket(bucketTraces).Put([]byte(ids[3]), []byte("ruined")))
	}); err != nil {
		t.Fatal(err)
	}
	if err := change.Close(); err != nil {
		t.Fatal(err)
	}
	n = snapshotOf(t, dir)
	s := open(t, t.TempDir(), Options{})
	for _, dry := range []bool{true, false} {
		if did := restored(t, s, n, dry); did.Messages != 2 || did.Damaged != 1 || did.Unreadable != 2 {
			t.Errorf("dry %t: restored %+v", dry, did)
		}
	}
	if m := messageOf(t, s, ids[1]); !m.Damaged {
		t.Errorf("it is %+v", m)
	}
	if m := messageOf(t, s, ids[0]); m.Damaged {
		t.Errorf("it is %+v", m)
	}
	queuetest.Balanced(t, s)
}

// TestRestoreOfACollision: another message has the ID here. Both are kept.
func TestRestoreOfACollision(t *testing.T) {
	from := open(t, t.TempDir(), Options{})
	id := several(t, from, 1)[0]
	other := queue.Adoption{Message: messageOf(t, from, id)}
	other.Message.AcceptedAt = other.Message.AcceptedAt.Add(-time.Hour)
	_, n := backUp(t, from)
	s := open(t, t.TempDir(), Options{})
	r, err := from.Content(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, len(benchAcceptance(t).Trace))); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Adopt(t.Context(), other, r); err != nil || got != id {
		t.Fatal(got, err)
	}
	if did := restored(t, s, n, false); did.Messages != 1 {
		t.Errorf("restored %+v", did)
	}
	if m := messageOf(t, s, messageOf(t, from, id).Alias()); m.State() != queue.StateHeld {
		t.Errorf("it is %s", m.State())
	}
	if did := restored(t, s, n, false); did.Messages != 0 || did.Present != 1 {
		t.Errorf("again: %+v", did)
	}
}

func TestRestoreEnds(t *testing.T) {
	from := open(t, t.TempDir(), Options{})
	several(t, from, 3)
	_, n := backUp(t, from)
	s := open(t, t.TempDir(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	did, err := s.Restore(ctx, n, Restoring{Held: "restored", Progress: func(Restored) { cancel() }})
	if did.Messages != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled meanwhile: %+v, %v", did, err)
	}
	if _, err := s.Restore(ctx, n, Restoring{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	if did := restored(t, s, n, false); did.Messages != 2 || did.Present != 1 {
		t.Errorf("the rest: %+v", did)
	}
}

func TestHoldAll(t *testing.T) {
	s := open(t, t.TempDir(), Options{GenerationSize: 100 << 10})
	ids := several(t, s, 60)
	amend(t, s, ids[0], queue.Hold)
	amend(t, s, ids[1], queue.Delete)
	deliver(t, s, ids[2])
	if n, err := s.HoldAll(t.Context(), "carol", "restored", func(int64) {}); n != 57 || err != nil {
		t.Errorf("held %d, %v", n, err)
	}
	if n, err := s.HoldAll(t.Context(), "carol", "restored", func(int64) {}); n != 0 || err != nil {
		t.Errorf("again: held %d, %v", n, err)
	}
	if stats := statsOf(t, s); stats.Messages[queue.StateHeld] != 58 {
		t.Errorf("states %v", stats.Messages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	acceptOne(t, s)
	if _, err := s.HoldAll(ctx, "carol", "restored", func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	queuetest.Balanced(t, s)
}

// TestKilledRestore lets a child process restore until it is killed, again and
// again until it comes to its end: everything is there, once.
func TestKilledRestore(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		s, n := open(t, filepath.Join(dir, "queue"), Options{}), snapshotOf(t, filepath.Join(dir, "backup"))
		said := int64(0)
		progress := func(r Restored) {
			if r.Messages > said { // one more came in
				said = r.Messages
				fmt.Println("at", said)
			}
		}
		if _, err := s.Restore(t.Context(), n, Restoring{Held: "restored", Progress: progress}); err != nil {
			panic(err)
		}
		fmt.Println("at -1")
		return
	}
	dir := t.TempDir()
	from := open(t, filepath.Join(dir, "from"), Options{GenerationSize: 300 << 10})
	ids := several(t, from, 120)
	if err := os.Mkdir(filepath.Join(dir, "backup"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Backup(t.Context(), filepath.Join(dir, "backup"), func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for !restoreInChild(t, dir) {
		kills++
	}
	s := open(t, filepath.Join(dir, "queue"), Options{})
	queuetest.Balanced(t, s)
	if a := statsOf(t, s).Account; a.Accepted != 120 || a.Held != 120 {
		t.Errorf("account %+v", a)
	}
	for _, id := range ids {
		if events := eventsOf(t, s, id); events != "adopted" {
			t.Errorf("ledger of %s: %s", id, events)
		}
		if r, err := s.Content(t.Context(), id); err != nil {
			t.Error(err)
		} else if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("killed %d times", kills)
}

// restoreInChild kills the child after some messages, and reports whether it
// has come to its end before.
func restoreInChild(t *testing.T, dir string) (ended bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v=false")
	child.Env = append(os.Environ(), childVariable+"="+dir)
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for left := rand.IntN(40) + 1; lines.Scan(); left-- {
		if lines.Text() == "at -1" {
			ended = true
		}
		if left == 0 && !ended {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); (err == nil) != ended {
		t.Fatalf("the child ended with %v", err)
	}
	return ended
}
