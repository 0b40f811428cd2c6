package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// restless gives back at once whatever is done with.
func restless() Options {
	return Options{GenerationSize: 200 << 10, GenerationAge: time.Nanosecond, Quiet: time.Nanosecond, Interrupted: -1}
}

// TestHeldMailPinsNothing: delivered mail goes from the disk within about an
// hour although a message that came with it is held for days.
func TestHeldMailPinsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		held := accept(t, s, benchAcceptance(t), []byte("held"))
		amend(t, s, held, queue.Hold)
		trash := accept(t, s, benchAcceptance(t), make([]byte, 3*chunkSize))
		amend(t, s, trash, queue.Delete)
		for range 48 {
			secret := accept(t, s, benchAcceptance(t), []byte("secret"))
			deliver(t, s, secret)
			time.Sleep(time.Hour)
			synctest.Wait()
			for _, g := range row(t, s) {
				if chunk, err := g.chunk(secret, 0, nil); len(chunk) > 0 || err != nil {
					t.Fatalf("after an hour %s has %q, %v", g.name(), chunk, err)
				}
			}
			if n := len(row(t, s)); n > 1 {
				t.Errorf("%d files", n)
			}
		}
		wantContent(t, s, held, "held")
		amend(t, s, trash, queue.Undelete)
		wantContent(t, s, trash, string(make([]byte, 3*chunkSize)))
		amend(t, s, trash, queue.Delete)
		wantSound(t, s, queue.Account{Accepted: 50, Delivered: 48, Held: 1, Deleted: 1}, 50+48+4)
		if n, err := s.Purge(t.Context(), now().Add(73*time.Hour)); n != 1 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, err := s.Message(t.Context(), trash); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("trash: %v", err)
		}
		wantSound(t, s, queue.Account{Accepted: 50, Delivered: 48, Held: 1, Deleted: 1}, 50+48+5)
	})
}

// TestBacklogThatLeavesSlowly: what is delivered from a large file goes hour by
// hour, and the rest is not lost on the way.
func TestBacklogThatLeavesSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		const messages = 20
		var ids []queue.ID
		for i := range messages {
			ids = append(ids, accept(t, s, benchAcceptance(t), fmt.Appendf(make([]byte, 300_000), "%d", i)))
		}
		for i, id := range ids {
			time.Sleep(61 * time.Minute)
			synctest.Wait()
			for n, waiting := range ids[i:] {
				wantContent(t, s, waiting, string(fmt.Appendf(make([]byte, 300_000), "%d", i+n)))
			}
			if stats, err := s.Stats(t.Context()); err != nil || stats.DiskUsed > int64(messages-i)*400_000+1<<20 {
				t.Errorf("%d bytes for %d messages, %v", stats.DiskUsed, messages-i, err)
			}
			deliver(t, s, id)
			queuetest.Balanced(t, s)
		}
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		wantSound(t, s, queue.Account{Accepted: messages, Delivered: messages}, 2*messages)
	})
}

// TestMovesDuringAnAttempt: the content is read, and the outcome settled, where
// the message then is.
func TestMovesDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		body := make([]byte, 5*chunkSize)
		for i := range body {
			body[i] = byte(i / chunkSize)
		}
		id := accept(t, s, benchAcceptance(t), body)
		deliver(t, s, acceptOne(t, s))
		claimed, err := s.Claim(t.Context(), []queue.ID{id}, 24*time.Hour)
		if err != nil || len(claimed) != 1 {
			t.Fatal(claimed, err)
		}
		r, err := s.Content(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		trace := benchAcceptance(t).Trace
		start := make([]byte, len(trace)+chunkSize+100)
		if _, err := io.ReadFull(r, start); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if names := files(t, dir, "gen-"); !slices.Equal(names, []string{generationName(2)}) {
			t.Fatalf("files %s", names)
		}
		rest, err := io.ReadAll(iotest.HalfReader(r))
		if got := string(start) + string(rest); err != nil || got != string(trace)+string(body) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if again, err := s.Claim(t.Context(), []queue.ID{id}, time.Hour); len(again) != 0 || err != nil {
			t.Errorf("claimed twice: %v, %v", again, err)
		}
		if err := s.Settle(t.Context(), queue.Settlement{ID: id, Attempt: 1, Results: map[int]queue.Result{0: {Action: queue.Delivered}}}); err != nil {
			t.Error(err)
		}
		wantSound(t, s, queue.Account{Accepted: 2, Delivered: 2}, 4)
		late, err := s.Content(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if _, err := io.ReadAll(late); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("content of a message that is done with: %v", err)
		}
	})
}

// TestDamageStays: what cannot be read is not removed, and does not keep the
// rest from moving. What is missing of a content stays missing.
func TestDamageStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		damaged, hollow, held := acceptOne(t, s), accept(t, s, benchAcceptance(t), make([]byte, 3*chunkSize)), acceptOne(t, s)
		deliver(t, s, acceptOne(t, s))
		if err := row(t, s)[0].db.Update(func(tx *bbolt.Tx) error {
			return errors.Join(tx.Bucket(bucketLive).Put([]byte(damaged), []byte("damaged")), tx.Bucket(bucketContent).DeleteBucket(chunkKey(hollow, 1)))
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Hour)
		synctest.Wait()
		if names := files(t, dir, "gen-"); !slices.Equal(names, []string{generationName(1), generationName(2)}) {
			t.Errorf("files %s", names)
		}
		if _, err := s.Message(t.Context(), damaged); !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("damaged: %v", err)
		}
		wantContent(t, s, held, "kept")
		r, err := s.Content(t.Context(), hollow)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("hollow: %v", err)
		}
		for number, want := range []int{chunkSize, 0, chunkSize} {
			if chunk, err := row(t, s)[1].chunk(hollow, number, nil); len(chunk) != want || err != nil {
				t.Errorf("chunk %d has %d bytes, %v", number, len(chunk), err)
			}
		}
		if account := accountOf(t, s); account != (queue.Account{Accepted: 4, Delivered: 1, Queued: 3}) {
			t.Errorf("account %+v", account)
		}
	})
}

// TestDoneWhileItsContentMoves settles a message between the copy of its
// content and that of its record.
func TestDoneWhileItsContentMoves(t *testing.T) {
	var settle atomic.Pointer[func()] // once
	step := func(name string) {
		if act := settle.Load(); name == "content" && act != nil {
			settle.Store(nil)
			(*act)()
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{step: step})
		deliver(t, s, acceptOne(t, s))
		id := claimedOne(t, s)
		act := func() {
			if err := s.Settle(context.Background(), queue.Settlement{ID: id, Attempt: 1, Results: map[int]queue.Result{0: {Action: queue.Delivered}}}); err != nil {
				t.Error(err)
			}
		}
		settle.Store(&act)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for _, bucket := range [][]byte{bucketContent, bucketDrafts, bucketTraces, bucketLive} {
			if n := keys(t, s, bucket); n != 0 {
				t.Errorf("%d keys are left in %s", n, bucket)
			}
		}
		wantSound(t, s, queue.Account{Accepted: 2, Delivered: 2}, 4)
	})
}

// wantGone wants some of the files that were begun to have gone.
func wantGone(t *testing.T, s *Store) {
	t.Helper()
	names := files(t, s.dir, "gen-")
	if last := row(t, s)[len(row(t, s))-1].number; len(names) > last-3 {
		t.Errorf("of %d files there are still %s", last, names)
	}
}

// TestManyActsWhileMessagesMove: readers miss nothing and nobody gets anything
// twice while messages go from file to file.
func TestManyActsWhileMessagesMove(t *testing.T) {
	s := open(t, t.TempDir(), restless())
	const messages, rounds = 60, 8
	var waiting []queue.ID
	for range messages {
		waiting = append(waiting, accept(t, s, benchAcceptance(t), make([]byte, 5000)))
		deliver(t, s, acceptOne(t, s))
	}
	var acting, reading sync.WaitGroup
	for worker := range 4 {
		acting.Go(func() { // attempts that end in deferrals, and mail that comes and goes
			for range rounds {
				for _, id := range waiting[worker*15 : worker*15+15] {
					if err := attempt(s, id, queue.Deferred); err != nil {
						t.Error(err)
					}
				}
				id, err := tryAccept(s, benchAcceptance(t), make([]byte, 20_000))
				if err == nil {
					err = attempt(s, id, queue.Delivered)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	reading.Go(func() { readUntil(t, s, waiting, done) })
	acting.Wait()
	close(done)
	reading.Wait()
	for _, id := range waiting {
		if m, err := s.Message(t.Context(), id); err != nil || m.Attempts != rounds {
			t.Errorf("%s: %d attempts, %v", id, m.Attempts, err)
		}
	}
	wantSound(t, s, queue.Account{Accepted: 2*messages + 4*rounds, Queued: messages, Delivered: messages + 4*rounds}, 3*messages+messages*rounds+8*rounds)
	wantGone(t, s)
}

// attempt claims one message and settles it.
func attempt(s *Store, id queue.ID, action queue.Action) error {
	ctx := context.Background()
	claimed, err := s.Claim(ctx, []queue.ID{id}, time.Hour)
	if err != nil || len(claimed) != 1 {
		return fmt.Errorf("claimed %v, %w", claimed, err)
	}
	return s.Settle(ctx, queue.Settlement{ID: id, Attempt: claimed[0].Attempts, NextAttempt: now(), Results: map[int]queue.Result{0: {Action: action}}})
}

// readUntil wants each list to have all that waits, each message once.
func readUntil(t *testing.T, s *Store, waiting []queue.ID, done chan struct{}) {
	ctx := context.Background()
	for round := 0; ; round++ {
		select {
		case <-done:
			return
		default:
		}
		found := 0
		last := queue.ID("")
		for m, err := range s.Messages(ctx, queue.Filter{}) {
			if err != nil || m.ID <= last {
				t.Errorf("%s after %s, %v", m.ID, last, err)
				return
			}
			last = m.ID
			if _, ok := slices.BinarySearch(waiting, m.ID); ok {
				found++
			}
		}
		if found != len(waiting) {
			t.Errorf("%d of %d are listed", found, len(waiting))
		}
		id := waiting[round%len(waiting)]
		r, err := s.Content(ctx, id)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			t.Errorf("content of %s: %v", id, err)
		}
		if stats, err := s.Stats(ctx); err != nil || stats.Account.Missing() != 0 || stats.Account.Queued < int64(len(waiting)) || stats.Account.Queued > int64(len(waiting))+4 {
			t.Errorf("stats %+v, %v", stats.Account, err)
		}
	}
}
