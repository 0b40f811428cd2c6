package queuetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Memory is a Store that forgets everything with the process. It starts no
// goroutine and reads only time.Now, so it works inside a synctest bubble.
type Memory struct {
	mu       sync.Mutex
	last     queue.ID
	drafts   map[queue.ID]bool // that have not ended
	messages map[queue.ID]*held
	causes   map[queue.Cause]bool
	ledger   []queue.Entry
	wakes    map[string]chan struct{}
	accepted int64
	passed   int64
	failure  error
	full     bool
	limits   queue.Limits
	closed   bool
}

type held struct {
	message  queue.Message
	trace    []byte
	received []byte
}

var _ queue.Store = (*Memory)(nil)

// New returns an empty store with the default times of keeping.
func New() *Memory {
	return &Memory{drafts: map[queue.ID]bool{}, messages: map[queue.ID]*held{}, causes: map[queue.Cause]bool{}, wakes: map[string]chan struct{}{}}
}

// Fail makes every change fail with err, as a disk does. nil ends that.
func (s *Memory) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// Fill makes Create answer ErrFull until the next call of Empty.
func (s *Memory) Fill() { s.setFull(true) }

// Empty ends what Fill began.
func (s *Memory) Empty() { s.setFull(false) }

func (s *Memory) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// Limit bounds what is held from now on.
func (s *Memory) Limit(l queue.Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// Damage changes the content of a message, which must not be empty, behind the store's back.
func (s *Memory) Damage(id queue.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.messages[id]
	h.received = slices.Clone(h.received)
	h.received[len(h.received)/2] ^= 1
}

// lock takes the lock for a change, unless there can be none.
func (s *Memory) lock(ctx context.Context) error {
	if err := s.lockToRead(ctx); err != nil {
		return err
	}
	if s.failure != nil {
		s.mu.Unlock()
		return s.failure
	}
	return nil
}

func (s *Memory) lockToRead(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return queue.ErrClosed
	}
	return nil
}

// Create starts a message.
func (s *Memory) Create(ctx context.Context) (queue.Draft, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if s.full {
		return nil, queue.ErrFull
	}
	s.last = queue.NextID(s.last, time.Now())
	s.drafts[s.last] = true
	return &draft{store: s, id: s.last}, nil
}

// Room reports whether a message would be taken.
func (s *Memory) Room(ctx context.Context, upstream string, size int64) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.full {
		return queue.ErrFull
	}
	return s.room(upstream, size)
}

// room counts anew. The caller holds the lock.
func (s *Memory) room(upstream string, size int64) error {
	if s.limits.All == (queue.Limit{}) && len(s.limits.Upstreams) == 0 {
		return nil
	}
	var all queue.Held
	of := s.held()
	for _, one := range of {
		all.Add(one)
	}
	return s.limits.Room(all, of[upstream], upstream, size)
}

// held counts what is not final. The caller holds the lock.
func (s *Memory) held() map[string]queue.Held {
	of := map[string]queue.Held{}
	for _, h := range s.messages {
		if m := h.message; !m.State().Final() {
			one := of[m.Envelope.Upstream]
			one.Add(queue.Held{Messages: 1, Bytes: m.Size})
			of[m.Envelope.Upstream] = one
		}
	}
	return of
}

// Due lists what is due, earliest first.
func (s *Memory) Due(ctx context.Context, upstream string, now time.Time) iter.Seq2[queue.Summary, error] {
	return func(yield func(queue.Summary, error) bool) {
		if err := s.lockToRead(ctx); err != nil {
			yield(queue.Summary{}, err)
			return
		}
		var due []queue.Summary
		for _, h := range s.messages {
			if h.message.Envelope.Upstream == upstream && h.message.Due(now) {
				due = append(due, queue.Summarize(h.message))
			}
		}
		s.mu.Unlock()
		yieldFirst(ctx, due, yield)
	}
}

// Claim postpones what is due and returns it.
func (s *Memory) Claim(ctx context.Context, ids []queue.ID, lease time.Duration) ([]queue.Message, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	now := now()
	var claimed []queue.Message
	for _, id := range ids {
		h := s.messages[id]
		if h == nil || !h.message.Due(now) {
			continue
		}
		m, interrupted := h.message.Claimed(now, lease)
		if interrupted != nil {
			s.write(*interrupted)
		}
		h.message = m
		claimed = append(claimed, clone(m))
	}
	return claimed, nil
}

// Content reads a message.
func (s *Memory) Content(ctx context.Context, id queue.ID) (io.ReadCloser, error) {
	if err := s.lockToRead(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	h := s.messages[id]
	if h == nil || h.message.Purged {
		return nil, fmt.Errorf("content of %s: %w", id, queue.ErrNotFound)
	}
	r := &reader{rest: slices.Concat(h.trace, h.received), end: io.EOF}
	if sha256.Sum256(h.received) != h.message.Digest {
		r.end = fmt.Errorf("content of %s: %w", id, queue.ErrDamaged)
	}
	return r, nil
}

// Settle writes the outcome of an attempt.
func (s *Memory) Settle(ctx context.Context, settlement queue.Settlement) error {
	return s.change(ctx, settlement.ID, func(m queue.Message) (queue.Message, queue.Entry, error) {
		return m.Settled(settlement, now())
	})
}

// Amend writes an operator's act.
func (s *Memory) Amend(ctx context.Context, a queue.Amendment) error {
	return s.change(ctx, a.ID, func(m queue.Message) (queue.Message, queue.Entry, error) {
		return m.Amended(a)
	})
}

func (s *Memory) change(ctx context.Context, id queue.ID, next func(queue.Message) (queue.Message, queue.Entry, error)) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	h := s.messages[id]
	if h == nil {
		return fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	m, entry, err := next(h.message)
	if err != nil {
		return err
	}
	h.message = clone(m)
	s.write(entry)
	s.wake(m)
	return nil
}

// Message returns one message.
func (s *Memory) Message(ctx context.Context, id queue.ID) (queue.Message, error) {
	if err := s.lockToRead(ctx); err != nil {
		return queue.Message{}, err
	}
	defer s.mu.Unlock()
	h := s.messages[id]
	if h == nil {
		return queue.Message{}, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	return clone(h.message), nil
}

// Messages lists what matches.
func (s *Memory) Messages(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		if err := s.lockToRead(ctx); err != nil {
			yield(queue.Message{}, err)
			return
		}
		var found []queue.Message
		for id, h := range s.messages {
			if (len(f.IDs) == 0 || slices.Contains(f.IDs, id)) && f.Match(h.message, time.Now()) {
				found = append(found, clone(h.message))
			}
		}
		s.mu.Unlock()
		slices.SortFunc(found, func(a, b queue.Message) int { return cmp.Compare(a.ID, b.ID) })
		if f.Limit > 0 && len(found) > f.Limit {
			found = found[:f.Limit]
		}
		yieldAll(ctx, found, yield)
	}
}

// Note adds a ledger line.
func (s *Memory) Note(ctx context.Context, e queue.Entry) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if e.Event == queue.Passed {
		s.passed += int64(len(e.Recipients))
	}
	s.write(e)
	return nil
}

// Ledger lists lines as they were written.
func (s *Memory) Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error] {
	return func(yield func(queue.Entry, error) bool) {
		if err := s.lockToRead(ctx); err != nil {
			yield(queue.Entry{}, err)
			return
		}
		var found []queue.Entry
		for _, e := range s.ledger {
			if f.Match(e) {
				found = append(found, e)
			}
		}
		s.mu.Unlock()
		yieldAll(ctx, found, yield)
	}
}

// Purge removes trash and refusals whose time is over.
func (s *Memory) Purge(ctx context.Context, now time.Time) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	removed := 0
	for _, id := range slices.Sorted(maps.Keys(s.messages)) {
		h := s.messages[id]
		m, entry, act := h.message.PurgedBy(queue.DefaultKeep(), now)
		if !act {
			continue
		}
		h.message = m
		s.write(entry)
		if m.Purged {
			h.received, h.trace = nil, nil
			removed++
		}
	}
	return removed, nil
}

// Stats counts.
func (s *Memory) Stats(ctx context.Context) (queue.Stats, error) {
	if err := s.lockToRead(ctx); err != nil {
		return queue.Stats{}, err
	}
	defer s.mu.Unlock()
	stats := queue.Stats{Account: queue.Account{Accepted: s.accepted, Passed: s.passed}, Messages: map[queue.State]int64{}, Upstreams: s.held()}
	var first queue.ID
	for id, h := range s.messages {
		for state, n := range h.message.Tally() {
			stats.Account.Add(state, n)
		}
		stats.DiskUsed += int64(len(h.received) + len(h.trace))
		state := h.message.State()
		if state.Final() {
			continue
		}
		stats.Messages[state]++
		stats.Bytes += h.message.Size
		if h.message.Damaged {
			stats.Damaged++
		}
		if first == "" || id < first {
			first, stats.Oldest = id, h.message.AcceptedAt
		}
	}
	return stats, nil
}

// Wake returns the channel of an upstream.
func (s *Memory) Wake(upstream string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token(upstream)
}

func (s *Memory) token(upstream string) chan struct{} {
	if s.wakes[upstream] == nil {
		s.wakes[upstream] = make(chan struct{}, 1)
	}
	return s.wakes[upstream]
}

func (s *Memory) wake(m queue.Message) {
	if !m.Waits() {
		return
	}
	select {
	case s.token(m.Envelope.Upstream) <- struct{}{}:
	default:
	}
}

func (s *Memory) write(e queue.Entry) {
	e.Seq = uint64(len(s.ledger) + 1)
	s.ledger = append(s.ledger, e)
}

// Close ends the store.
func (s *Memory) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func clone(m queue.Message) queue.Message {
	m.Envelope.Recipients = slices.Clone(m.Envelope.Recipients)
	return m
}

func yieldAll[T any](ctx context.Context, all []T, yield func(T, error) bool) {
	for _, one := range all {
		if err := ctx.Err(); err != nil {
			yield(one, err)
			return
		}
		if !yield(one, nil) {
			return
		}
	}
}
