package queuetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// other is an upstream with a limit of its own.
const other = "other"

// RunLimits tests that a store keeps to its limits. open returns an empty store
// that has them; RunLimits closes it.
func RunLimits(t *testing.T, open func(t *testing.T, l queue.Limits) queue.Store) {
	messages := queue.Limits{All: queue.Limit{Messages: 6}, Upstreams: map[string]queue.Limit{upstream: {Messages: 4}}}
	bytes := queue.Limits{All: queue.Limit{Bytes: 1000}, Upstreams: map[string]queue.Limit{upstream: {Bytes: 800}}}
	for _, r := range []struct {
		name   string
		limits queue.Limits
		test   func(*bench)
	}{
		{"messages are limited of one upstream and in all", messages, limitedMessages},
		{"bytes are limited of one upstream and in all", bytes, limitedBytes},
		{"what leaves makes room, and what comes back takes it", messages, roomAgain},
		{"deliveries and operators go on without room", messages, settlingGoesOn},
		{"a message of our own needs no room", messages, ownMessages},
		{"a message that is not committed takes no room", messages, noRoomForNothing},
		{"many at once keep to the limits", messages, limitedAtOnce},
	} {
		t.Run(r.name, func(t *testing.T) {
			r.test(newBench(t, func(t *testing.T) queue.Store { return open(t, r.limits) }))
		})
	}
}

// try accepts a message of that size, or tells why not.
func (b *bench) try(to string, size int) error {
	b.Helper()
	room := b.store.Room(b.ctx, to, int64(size))
	d, err := b.store.Create(b.ctx)
	b.must(err)
	_, err = d.Write(content(size))
	b.must(err)
	a := acceptance()
	a.Envelope.Upstream = to
	err = d.Commit(b.ctx, a)
	if (room == nil) != (err == nil) {
		b.Fatalf("Room said %v, and Commit %v", room, err)
	}
	if err != nil {
		_, gone := b.store.Message(b.ctx, d.ID())
		b.wantErr(gone, queue.ErrNotFound)
	}
	b.balanced()
	return err
}

// wantLimit wants an error that names the limit.
func (b *bench) wantLimit(err error, want queue.LimitError) {
	b.Helper()
	var limit *queue.LimitError
	if !errors.As(err, &limit) || *limit != want || !errors.Is(err, queue.ErrFull) {
		b.Fatalf("error is %v, want %v", err, &want)
	}
}

func limitedMessages(b *bench) {
	for range 4 {
		b.must(b.try(upstream, 10))
	}
	b.wantLimit(b.try(upstream, 10), queue.LimitError{Upstream: upstream, Most: 4})
	b.must(b.store.Room(b.ctx, "", 10)) // for the others
	b.must(b.try(other, 1<<20))
	b.must(b.try(other, 0))
	b.wantLimit(b.try(other, 10), queue.LimitError{Most: 6})
	b.wantLimit(b.try(upstream, 10), queue.LimitError{Most: 6})
	b.wantLimit(b.store.Room(b.ctx, "", 0), queue.LimitError{Most: 6})
}

func limitedBytes(b *bench) {
	b.must(b.try(upstream, 500))
	b.wantLimit(b.try(upstream, 301), queue.LimitError{Upstream: upstream, Bytes: true, Most: 800})
	b.must(b.try(upstream, 300))
	b.wantLimit(b.store.Room(b.ctx, upstream, 0), queue.LimitError{Upstream: upstream, Bytes: true, Most: 800})
	b.wantLimit(b.try(other, 201), queue.LimitError{Bytes: true, Most: 1000})
	b.must(b.try(other, 200))
	b.wantLimit(b.store.Room(b.ctx, "", 0), queue.LimitError{Bytes: true, Most: 1000})
}

// full accepts what the limit of one upstream allows.
func (b *bench) full() (ids []queue.ID) {
	b.Helper()
	ids = b.some(4)
	b.wantErr(b.store.Room(b.ctx, upstream, 1), queue.ErrFull)
	return ids
}

func roomAgain(b *bench) {
	ids := b.full()
	b.attempt(ids[0], now(), queue.Deferred)
	b.wantErr(b.store.Room(b.ctx, upstream, 1), queue.ErrFull) // it is still here
	b.attempt(ids[1], now(), queue.Delivered)
	b.must(b.try(upstream, 10))
	b.wantErr(b.store.Room(b.ctx, upstream, 1), queue.ErrFull)
	b.amend(act(ids[2], queue.Delete))
	b.must(b.try(upstream, 10))
	b.amend(act(ids[2], queue.Undelete)) // nothing an operator does is kept out
	b.attempt(ids[3], now(), queue.Failed)
	b.wantErr(b.try(upstream, 10), queue.ErrFull)
}

func settlingGoesOn(b *bench) {
	ids := b.full()
	if due := b.due(upstream, now()); len(due) != len(ids) {
		b.Fatalf("%d are due", len(due))
	}
	b.amend(act(ids[0], queue.Hold))
	b.amend(act(ids[0], queue.Release))
	b.amend(act(ids[0], queue.Extend))
	b.must(b.store.Note(b.ctx, queue.Entry{At: now(), Event: queue.Noted}))
	for _, id := range ids {
		b.attempt(id, now().Add(-time.Second), queue.Deferred)
		b.attempt(id, now(), queue.Delivered)
	}
	b.must(b.store.Room(b.ctx, upstream, 1))
}

func ownMessages(b *bench) {
	ids := b.full()
	notification := acceptance()
	notification.Envelope.Cause = queue.Cause{ID: ids[0], Attempt: 1, Kind: "failure"}
	first := b.accept(notification, content(10))
	b.wantErr(b.draft(nil).Commit(b.ctx, notification), queue.ErrExists)
	b.attempt(ids[0], now(), queue.Failed)
	b.wantErr(b.try(upstream, 1), queue.ErrFull) // it counts all the same
	b.attempt(first, now(), queue.Delivered)
	b.must(b.try(upstream, 1))
}

func noRoomForNothing(b *bench) {
	b.some(3)
	cancelled, cancel := context.WithCancel(b.ctx)
	cancel()
	for range 5 {
		b.must(b.draft(content(200_000)).Abort())
		b.wantErr(b.draft(content(10)).Commit(cancelled, acceptance()), context.Canceled)
	}
	b.must(b.try(upstream, 10))
}

func limitedAtOnce(b *bench) {
	var accepted, refused atomic.Int64
	var group sync.WaitGroup
	for range 20 {
		d := b.draft(content(70_000))
		group.Go(func() {
			switch err := d.Commit(b.ctx, acceptance()); {
			case err == nil:
				accepted.Add(1)
			case errors.Is(err, queue.ErrFull):
				refused.Add(1)
			default:
				b.Error(err)
			}
		})
	}
	group.Wait()
	if accepted.Load() != 4 || refused.Load() != 16 {
		b.Fatalf("%d were accepted, %d refused", accepted.Load(), refused.Load())
	}
	b.balanced()
}
