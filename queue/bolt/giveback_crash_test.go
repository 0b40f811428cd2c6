package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// mixture is a store with mail in all states, in several files, and what must
// be true of it whatever happens to the files.
type mixture struct {
	kept    map[queue.ID]queue.Message // not final, or in the trash
	content map[queue.ID]string
	done    []queue.ID
	due     []queue.ID
	account queue.Account
	lines   int
	cause   queue.Cause // of a message that was delivered
}

// mixedOptions are those of mixtures.
func mixedOptions() Options { return Options{GenerationSize: 1 << 20, Interrupted: -1} }

// mixedFiles makes the files of a mixture, with a clock that begins in 2000.
func mixedFiles(t *testing.T, dir string) (m *mixture) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, mixedOptions())
		m = mixed(t, s)
		m.check(t, s)
	})
	return m
}

func mixed(t *testing.T, s *Store) *mixture {
	t.Helper()
	m := &mixture{kept: map[queue.ID]queue.Message{}, content: map[queue.ID]string{}, cause: queue.Cause{ID: "0123456789ab", Kind: "failure"}}
	both := benchAcceptance(t)
	both.Envelope.Recipients = append(slices.Clone(both.Envelope.Recipients), queue.Recipient{ForwardPath: "dora@relay.example"})
	notification := benchAcceptance(t)
	notification.Envelope.Cause = m.cause
	ids := []queue.ID{accept(t, s, notification, []byte("notification"))}
	for i := range 60 {
		body := fmt.Sprintf("%d %s", i, make([]byte, 40<<10))
		if i == 30 {
			body = string(make([]byte, 5<<19)) // moves in several transactions
		}
		ids = append(ids, accept(t, s, both, []byte(body)))
		m.content[ids[len(ids)-1]] = body
	}
	if err := s.Note(t.Context(), queue.Entry{At: now(), Event: queue.Passed, Recipients: []string{"eve@relay.example"}}); err != nil {
		t.Fatal(err)
	}
	amend(t, s, ids[1], queue.Hold)
	amend(t, s, ids[2], queue.Delete)
	amend(t, s, ids[31], queue.Hold)
	attempt := func(id queue.ID, first, second queue.Action) {
		t.Helper()
		if claimed, err := s.Claim(t.Context(), []queue.ID{id}, time.Hour); err != nil || len(claimed) != 1 {
			t.Fatal(claimed, err)
		}
		if err := s.Settle(t.Context(), queue.Settlement{ID: id, Attempt: 1, NextAttempt: now(), Results: map[int]queue.Result{0: {Action: first}, 1: {Action: second}}}); err != nil {
			t.Fatal(err)
		}
	}
	attempt(ids[3], queue.Delivered, queue.Deferred)
	attempt(ids[32], queue.Refused, queue.Delivered)
	attempt(ids[33], queue.Failed, queue.Deferred)
	if claimed, err := s.Claim(t.Context(), []queue.ID{ids[34]}, 1000*time.Hour); err != nil || len(claimed) != 1 {
		t.Fatal(claimed, err)
	}
	keep := []queue.ID{ids[1], ids[2], ids[3], ids[31], ids[32], ids[33], ids[34], ids[60]}
	for _, id := range ids {
		if !slices.Contains(keep, id) {
			deliver(t, s, id)
			m.done = append(m.done, id)
		}
	}
	for _, id := range keep {
		var err error
		if m.kept[id], err = s.Message(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	m.due = dueIDs(t, s)
	slices.Sort(m.due)
	m.account = accountOf(t, s)
	for _, err := range s.Ledger(t.Context(), queue.LedgerFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		m.lines++
	}
	return m
}

// check looks at everything that must be true.
func (m *mixture) check(t *testing.T, s *Store) {
	t.Helper()
	ctx := context.Background()
	wantSound(t, s, m.account, m.lines)
	var listed []queue.ID
	for got, err := range s.Messages(ctx, queue.Filter{States: queue.States()}) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, got.ID)
		if want, ok := m.kept[got.ID]; ok && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("message\n%+v, want\n%+v", got, want)
		} else if !ok && (!slices.Contains(m.done, got.ID) || got.State() != queue.StateDelivered) {
			t.Errorf("%s is %s", got.ID, got.State())
		}
	}
	if !slices.IsSorted(listed) || len(slices.Compact(slices.Clone(listed))) != len(listed) {
		t.Errorf("listed %s", listed)
	}
	for id := range m.kept {
		if !slices.Contains(listed, id) {
			t.Errorf("%s is not listed", id)
		}
		wantContent(t, s, id, m.content[id])
	}
	for _, id := range m.done {
		if _, err := s.Message(ctx, id); err != nil && !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	due := dueIDs(t, s)
	slices.Sort(due)
	if !slices.Equal(due, m.due) {
		t.Errorf("due %s, want %s", due, m.due)
	}
	if err := s.isNew(causeKey(m.cause)); !errors.Is(err, queue.ErrExists) {
		t.Errorf("cause: %v", err)
	}
}

// checkEnd wants nothing to be left of mail that is done with.
func (m *mixture) checkEnd(t *testing.T, s *Store) {
	t.Helper()
	m.check(t, s)
	if drafts := keys(t, s, bucketDrafts); drafts != 0 {
		t.Errorf("%d drafts", drafts)
	}
	if n := keys(t, s, bucketDone); n != 0 {
		t.Errorf("%d records of mail that is done with are left", n)
	}
	var size, used int64
	for id := range m.kept {
		size += int64(len(m.content[id]))
	}
	for _, g := range row(t, s) {
		used += g.standing().size
	}
	if used > 2*size+1<<20 { // the room of what a crash cut short is free within the file
		t.Errorf("%d files have %d bytes for %d of content", len(row(t, s)), used, size)
	}
}

// TestCrashWhileGivingBack copies the files at each step of giving back, as a
// kill leaves them, and goes on with each of the copies.
func TestCrashWhileGivingBack(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	var copies []string
	steps := map[string]int{}
	m := mixedFiles(t, dir)
	synctest.Test(t, func(t *testing.T) {
		watched := mixedOptions()
		watched.step = func(name string) {
			steps[name]++
			to := filepath.Join(root, fmt.Sprint(len(copies), name))
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Error(err)
			}
			copyFiles(t, dir, to)
			copies = append(copies, to)
		}
		s := open(t, dir, watched)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		m.checkEnd(t, s)
	})
	for _, name := range []string{"stopped", "filed", "causes", "absorbed", "removed", "chunks", "content", "copied", "records"} {
		if steps[name] == 0 {
			t.Errorf("no step %q: %v", name, steps)
		}
	}
	for _, dir := range copies {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, dir, mixedOptions())
				m.check(t, s)
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				m.checkEnd(t, s)
			})
		})
	}
}
