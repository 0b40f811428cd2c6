package bolt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// deliver claims messages and settles them as delivered.
func deliver(t testing.TB, s *Store, ids ...queue.ID) {
	t.Helper()
	claimed, err := s.Claim(t.Context(), ids, time.Hour)
	if err != nil || len(claimed) != len(ids) {
		t.Fatalf("claimed %d of %d, %v", len(claimed), len(ids), err)
	}
	for _, m := range claimed {
		results := map[int]queue.Result{}
		for i := range m.Envelope.Recipients {
			results[i] = queue.Result{At: now(), Action: queue.Delivered, RemoteSession: "session of " + string(m.ID)}
		}
		if err := s.Settle(t.Context(), queue.Settlement{ID: m.ID, Attempt: m.Attempts, Results: results}); err != nil {
			t.Fatal(err)
		}
	}
}

func amend(t testing.TB, s *Store, id queue.ID, event queue.Event) {
	t.Helper()
	if err := s.Amend(t.Context(), queue.Amendment{ID: id, At: now(), Event: event, Actor: "carol"}); err != nil {
		t.Fatal(err)
	}
}

// files lists the names of a store's files by kind.
func files(t testing.TB, dir, kind string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, kind+"*.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// wantSound checks what must hold at any time: the account, the lists, and the ledger.
func wantSound(t testing.TB, s *Store, account queue.Account, lines int) {
	t.Helper()
	stats, err := s.Stats(context.Background())
	if err != nil || stats.Account != account || stats.Account.Missing() != 0 {
		t.Errorf("the account is %+v, %v\nwant %+v", stats.Account, err, account)
	}
	n, last := 0, uint64(0)
	for e, err := range s.Ledger(context.Background(), queue.LedgerFilter{}) {
		if err != nil || e.Seq <= last {
			t.Fatalf("line %d after %d, %v", e.Seq, last, err)
		}
		n, last = n+1, e.Seq
	}
	if n != lines {
		t.Errorf("the ledger has %d lines, want %d", n, lines)
	}
	chain, err := s.Verify(context.Background())
	if err != nil || len(chain.Faults) > 0 || chain.Lines > int64(lines) {
		t.Errorf("chain %+v, %v", chain, err)
	}
	sameHoldings(t, s)
}

func accountOf(t testing.TB, s *Store) queue.Account {
	t.Helper()
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stats.Account
}

func TestWhenAGenerationIsDue(t *testing.T) {
	const age, quiet = time.Hour, 20 * time.Second
	created := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return created.Add(d) }
	lively := func(messages, bytes int64) (c counters) {
		c.Messages[queue.StateQueued], c.Bytes = messages, bytes
		return c
	}
	done := func(c counters, n int64) counters { c.Done, c.DoneAt = n, at(10*time.Minute); return c }
	for _, c := range []struct {
		rule     string
		now      standing
		youngest bool
		want     time.Time // zero is never
	}{
		{"the youngest, with nothing in it", standing{size: 32 << 10}, true, time.Time{}},
		{"the youngest, with lines only", standing{size: 32 << 10, lastSeq: 7}, true, at(24 * time.Hour)},
		{"the youngest, all of it waits", standing{size: 9 << 20, counters: lively(9, 8<<20), lastSeq: 7}, true, time.Time{}},
		{"the youngest, small and done with", standing{size: 1 << 20, counters: done(counters{}, 5), smallSince: at(11 * time.Minute)}, true, at(70 * time.Minute)},
		{"the youngest, large and done with", standing{size: 8 << 20, counters: done(counters{}, 5), smallSince: at(11 * time.Minute)}, true, at(11*time.Minute + quiet)},
		{"the youngest, large, and little waits", standing{size: 80 << 20, counters: done(lively(1, 1<<20), 5), smallSince: at(11 * time.Minute)}, true, at(11*time.Minute + quiet)},
		{"the youngest, large, and much waits", standing{size: 80 << 20, counters: done(lively(1, 9<<20), 5), smallSince: at(11 * time.Minute)}, true, at(70 * time.Minute)},
		{"an old one, empty", standing{lastDone: at(11 * time.Minute)}, false, at(11*time.Minute + quiet)},
		{"an old one, done with", standing{counters: done(counters{}, 5), lastDone: at(11 * time.Minute)}, false, at(11*time.Minute + quiet)},
		{"an old one, all of it waits", standing{size: 80 << 20, counters: lively(100, 79<<20)}, false, time.Time{}},
		{"an old one, little waits", standing{size: 80 << 20, counters: done(lively(1, 1<<20), 5), smallSince: at(11 * time.Minute)}, false, at(11*time.Minute + quiet)},
		{"an old one, many messages without content wait", standing{size: 8 << 20, counters: done(lively(1000, 0), 5), smallSince: at(11 * time.Minute)}, false, at(70 * time.Minute)},
		{"an old one, much waits", standing{size: 80 << 20, counters: done(lively(100, 60<<20), 5), smallSince: at(11 * time.Minute)}, false, at(70 * time.Minute)},
		{"an old one, of which little waits just before the hour", standing{size: 80 << 20, counters: done(lively(1, 1<<20), 5), smallSince: at(70*time.Minute - 1)}, false, at(70 * time.Minute)},
		{"an old one, with trash", standing{size: 80 << 20, counters: done(counters{Trash: pile{1, 60 << 20}}, 5), smallSince: at(11 * time.Minute)}, false, at(70 * time.Minute)},
	} {
		got, ok := c.now.due(created, c.youngest, age, quiet)
		if ok != !c.want.IsZero() || ok && !got.Equal(c.want) {
			t.Errorf("%s: due after %s, %t; want %s", c.rule, got.Sub(created), ok, c.want.Sub(created))
		}
	}
}

// TestDrainedFilesGo fills some files, empties them, and looks for what is left.
func TestDrainedFilesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{GenerationSize: 1 << 20})
		var ids []queue.ID
		for range 100 {
			ids = append(ids, accept(t, s, benchAcceptance(t), make([]byte, 100<<10)))
		}
		if n := len(files(t, dir, "gen-")); n < 8 {
			t.Fatalf("10 MB are in %d files", n)
		}
		slices.Reverse(ids) // the order is all the same
		for _, id := range ids {
			deliver(t, s, id)
		}
		account := accountOf(t, s)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if names := files(t, dir, "gen-"); len(names) != 1 {
			t.Errorf("after half a minute there are %s", names)
		}
		wantSound(t, s, account, 200)
		if _, err := s.Message(t.Context(), slices.Min(ids)); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("a message of a file that has gone: %v", err)
		}
		time.Sleep(time.Hour) // the youngest is small
		synctest.Wait()
		queuetest.Balanced(t, s)
		if got := keys(t, s, bucketDone); got != 0 {
			t.Errorf("%d records of delivered mail are left after an hour", got)
		}
		for _, id := range ids {
			if _, err := s.Message(t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
			if err := s.Amend(t.Context(), queue.Amendment{ID: id, At: now(), Event: queue.Hold}); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("hold %s: %v", id, err)
			}
		}
		last := acceptOne(t, s)
		account.Accepted, account.Queued = account.Accepted+1, 1
		wantSound(t, s, account, 201)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		wantSound(t, s, account, 201)
		wantContent(t, s, last, "kept")
		if last <= slices.Max(ids) {
			t.Errorf("ID %s was given after %s", last, slices.Max(ids))
		}
	})
}

// TestNothingToDo: an idle store begins no file and sets no timer that ends soon.
func TestNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := 0
		dir := t.TempDir()
		s := open(t, dir, Options{step: func(string) { steps++ }})
		acceptOne(t, s)
		amend(t, s, acceptOne(t, s), queue.Hold)
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		if names := files(t, dir, ""); steps > 0 || len(names) != 1 {
			t.Errorf("%d steps, files %s", steps, names)
		}
	})
}

// TestNotesAreFiledAfterADay: lines do not wait for mail.
func TestNotesAreFiledAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		if err := s.Note(t.Context(), queue.Entry{At: now(), Event: queue.Passed, Recipients: []string{"bob@relay.example"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if generations, ledgers := files(t, dir, "gen-"), files(t, dir, "ledger-"); !slices.Equal(generations, []string{generationName(2)}) || len(ledgers) != 1 {
			t.Errorf("files %s %s", generations, ledgers)
		}
		wantSound(t, s, queue.Account{Passed: 1}, 1)
	})
}

// TestDraftKeepsItsFile: a message that is being received will be written to
// the file in which it began.
func TestDraftKeepsItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		drafts := []queue.Draft{draftOf(t, s, make([]byte, 3*chunkSize)), draftOf(t, s, make([]byte, 3*chunkSize))}
		deliver(t, s, acceptOne(t, s))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if names := files(t, dir, "gen-"); len(names) != 2 {
			t.Fatalf("files %s", names)
		}
		if err := drafts[0].Abort(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if names := files(t, dir, "gen-"); len(names) != 2 {
			t.Fatalf("files %s", names)
		}
		if err := drafts[1].Commit(t.Context(), benchAcceptance(t)); err != nil {
			t.Fatal(err)
		}
		wantContent(t, s, drafts[1].ID(), string(make([]byte, 3*chunkSize)))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if names := files(t, dir, "gen-"); !slices.Equal(names, []string{generationName(2)}) {
			t.Errorf("files %s", names)
		}
		wantContent(t, s, drafts[1].ID(), string(make([]byte, 3*chunkSize)))
		wantSound(t, s, queue.Account{Accepted: 2, Delivered: 1, Queued: 1}, 3)
	})
}

// TestCausesOutliveTheirFile: a notification stays unique.
func TestCausesOutliveTheirFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{LedgerKeep: 240 * time.Hour})
		notification := benchAcceptance(t)
		causes := map[queue.Cause]bool{}
		for i := range 2*pageLength + 1 {
			notification.Envelope.Cause = queue.Cause{ID: "0123456789ab", Attempt: i, Kind: "failure"}
			causes[notification.Envelope.Cause] = true
			deliver(t, s, accept(t, s, notification, nil))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := keys(t, s, bucketCauses); n != 0 {
			t.Fatalf("%d causes are in generations", n)
		}
		check := func(want error) {
			t.Helper()
			for cause := range maps.Keys(causes) {
				notification.Envelope.Cause = cause
				if _, err := tryAccept(s, notification, nil); !errors.Is(err, want) || err == nil {
					t.Fatalf("cause %v: %v", cause, err)
				}
			}
		}
		check(queue.ErrExists)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{LedgerKeep: 240 * time.Hour})
		check(queue.ErrExists)
		time.Sleep(300 * time.Hour) // the ledger has forgotten them, too
		synctest.Wait()
		if _, err := tryAccept(s, notification, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestFullDiskGivesBack: what is done with goes on a disk that takes no mail,
// what would be written first does not.
func TestFullDiskGivesBack(t *testing.T) {
	for _, c := range []struct {
		rule    string
		left    uint64 // of 1000 MiB that are kept free from mail
		waiting int    // of ten messages
		goes    bool
	}{
		{"all is done with", 300, 0, true},
		{"little waits", 300, 1, true},
		{"much waits", 300, 5, false},
		{"much waits, but there is room", 1100, 5, true},
		{"nothing is left", 10, 0, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir, Options{MinFree: 1})
				s.space.min = 1000 << 20
				leave := func(left uint64) { // for a second
					s.space.mu.Lock()
					defer s.space.mu.Unlock()
					s.space.asked, s.space.left = time.Now(), left
				}
				leave(2000 << 20)
				var ids []queue.ID
				for i := range 10 {
					size := 100_000
					if c.waiting == 1 && i == 0 {
						size = 1000
					}
					ids = append(ids, accept(t, s, benchAcceptance(t), make([]byte, size)))
				}
				deliver(t, s, ids[c.waiting:]...)
				due := row(t, s)[0].standing().counters.DoneAt.Add(time.Hour)
				time.Sleep(time.Until(due) - 1)
				leave(c.left << 20)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if gone := !slices.Contains(files(t, dir, "gen-"), generationName(1)); gone != c.goes {
					t.Errorf("gone: %t", gone)
				}
			})
		})
	}
}

func TestRetiredNumberIsNotGivenAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		deliver(t, s, acceptOne(t, s))
		time.Sleep(2 * time.Hour)
	})
	if err := os.Remove(filepath.Join(dir, generationName(2))); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if names := files(t, dir, "gen-"); fmt.Sprint(names) != "["+generationName(2)+"]" {
		t.Errorf("files %s", names)
	}
	wantSound(t, s, queue.Account{Accepted: 1, Delivered: 1}, 2)
}
