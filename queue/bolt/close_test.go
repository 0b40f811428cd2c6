package bolt

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// TestCloseAmongSenders closes while many accept, claim, settle and read. Each
// gets nil or ErrClosed, and what got nil is there when the store is opened again.
func TestCloseAmongSenders(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{GenerationSize: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	a := benchAcceptance(t)
	var promised, settled sync.Map
	var count atomic.Int64
	enough := make(chan struct{})
	var group sync.WaitGroup
	for sender := range 16 {
		group.Go(func() {
			for {
				id, err := tryAccept(s, a, make([]byte, sender*9000))
				if closed(t, err) {
					return
				}
				promised.Store(id, sender*9000)
				if count.Add(1) == 300 {
					close(enough)
				}
			}
		})
	}
	group.Go(func() { deliverUntilClosed(t, s, &settled) })
	<-enough
	for range 2 { // the second waits for the first
		group.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if _, err := s.Create(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Create after Close: %v", err)
	}
	again := open(t, dir, Options{})
	queuetest.Balanced(t, again)
	for id, size := range promised.Range {
		wantContent(t, again, id.(queue.ID), string(make([]byte, size.(int))))
	}
	for id := range settled.Range {
		if m, err := again.Message(t.Context(), id.(queue.ID)); err != nil || m.State() != queue.StateDelivered {
			t.Errorf("%s is %s, %v", id, m.State(), err)
		}
	}
}

// closed reports whether the store is, and wants no other error.
func closed(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && !errors.Is(err, queue.ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	return err != nil
}

// deliverUntilClosed does what a dispatcher does, and notes what it has settled.
func deliverUntilClosed(t *testing.T, s *Store, settled *sync.Map) {
	ctx := context.Background()
	for {
		var ids []queue.ID
		for summary, err := range s.Due(ctx, "primary", time.Now()) {
			if closed(t, err) {
				return
			}
			if ids = append(ids, summary.ID); len(ids) == 5 {
				break
			}
		}
		claimed, err := s.Claim(ctx, ids, time.Hour)
		if closed(t, err) {
			return
		}
		for _, m := range claimed {
			if r, err := s.Content(ctx, m.ID); !closed(t, err) {
				_, err = io.Copy(io.Discard, r)
				closed(t, err)
			}
			if !closed(t, s.Settle(ctx, queue.Settlement{ID: m.ID, Attempt: 1, Results: map[int]queue.Result{0: {Action: queue.Delivered}}})) {
				settled.Store(m.ID, true)
			}
		}
	}
}

// TestDraftAfterClose ends drafts of a store that has been closed.
func TestDraftAfterClose(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	small, large, aborted := draftOf(t, s, []byte("small")), draftOf(t, s, make([]byte, 3*chunkSize)), draftOf(t, s, make([]byte, 3*chunkSize))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := large.Write([]byte("more")); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
	for _, d := range []queue.Draft{small, large} {
		if err := d.Commit(t.Context(), benchAcceptance(t)); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Commit: %v", err)
		}
	}
	if err := aborted.Abort(); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Abort: %v", err)
	}
	again := open(t, dir, Options{})
	if n := keys(t, again, bucketContent); n != 0 {
		t.Errorf("%d chunks are left", n)
	}
}

// TestCancelledWait cancels a commit that waits because the committer has its
// hands full: nothing of it is left.
func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		g := row(t, s)[0]
		goOn := make(chan struct{})
		busy := newChange(func(*batch) error { <-goOn; return nil })
		if err := g.send(t.Context(), busy); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the committer has taken it
		for range cap(g.changes) {
			if err := g.send(t.Context(), newChange(func(*batch) error { return nil })); err != nil {
				t.Fatal(err)
			}
		}
		d := draftOf(t, s, []byte("late"))
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- d.Commit(ctx, benchAcceptance(t)) }()
		synctest.Wait() // it waits
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Commit: %v", err)
		}
		close(goOn)
		if err := <-busy.result; err != nil {
			t.Error(err)
		}
		if _, err := s.Message(t.Context(), d.ID()); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("the message: %v", err)
		}
	})
}

// TestCommitterTakesAllThatWait counts transactions: what came during one goes
// into the next, up to the most of one.
func TestCommitterTakesAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		g := row(t, s)[0]
		goOn := make(chan struct{})
		busy := newChange(func(*batch) error { <-goOn; return nil })
		if err := g.send(t.Context(), busy); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		transactions := map[*bbolt.Tx]int{}
		var refused int
		var waiting []*change
		for i := range maxBatch + 10 {
			c := newChange(func(b *batch) error {
				transactions[b.tx]++
				if i%3 == 0 { // fails alone
					return queue.ErrState
				}
				return nil
			})
			waiting = append(waiting, c)
			go func() {
				if err := g.send(t.Context(), c); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		close(goOn)
		for _, c := range append(waiting, busy) {
			if err := <-c.result; errors.Is(err, queue.ErrState) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
		}
		if len(transactions) != 2 || refused != (maxBatch+10+2)/3 {
			t.Errorf("transactions %v, %d refused", slices.Collect(maps.Values(transactions)), refused)
		}
	})
}
