package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

// endLeases ends the leases that the last process left behind: nobody else has
// the store open, so nobody is at work on these messages. Only a generation
// that counts active messages is read, and only until they have been found.
func (s *Store) endLeases() error {
	if s.options.Interrupted < 0 {
		return nil
	}
	ctx := context.Background()
	for _, g := range s.generations {
		left := g.standing().counters.Messages[queue.StateActive]
		if left == 0 {
			continue
		}
		for p, err := range g.pairs(ctx, [][]byte{bucketLive}) {
			if err != nil {
				return err
			}
			m, err := decodeMessage(queue.ID(p.key), p.value)
			if err != nil || m.State() != queue.StateActive { // what is damaged is told when it is claimed
				continue
			}
			if err := g.endLease(ctx, m.ID); err != nil {
				return err
			}
			if left--; left == 0 {
				break
			}
		}
	}
	return nil
}

func (g *generation) endLease(ctx context.Context, id queue.ID) error {
	return g.do(ctx, func(b *batch) error {
		before, err := b.record(id)
		if err != nil {
			return err
		}
		failpoint.Hit(failpoint.OpenLeases)
		after, entry := before.Interrupted(now(), b.generation.store.options.Interrupted)
		return errors.Join(b.replace(before, after), b.note(entry))
	})
}

// leases are those that attempts of this process have.
type leases struct {
	mu  sync.Mutex
	ids map[queue.ID]struct{}
}

func (l *leases) add(id queue.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids = map[queue.ID]struct{}{}
	}
	l.ids[id] = struct{}{}
}

func (l *leases) remove(id queue.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ids, id)
}

func (l *leases) has(id queue.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, has := l.ids[id]
	return has
}

// errDeadLease stays within the package.
var errDeadLease = fmt.Errorf("the lease is of an attempt that died with its process: %w", queue.ErrState)

// isDead reports whether the lease of a message is not ours. Such a message was
// held, or in the trash, when the last process died: it was not active, so
// endLeases has passed it by. Its lease ends when the message comes back, and
// not when the store is opened, because nobody knows how many are held.
func (s *Store) isDead(m queue.Message) bool {
	return s.options.Interrupted >= 0 && !m.LeasedUntil.IsZero() && !s.leases.has(m.ID)
}

// endDeadLease ends the lease of a message if it is dead.
func (s *Store) endDeadLease(ctx context.Context, id queue.ID) error {
	err := s.change(ctx, id, func(m queue.Message) (queue.Message, queue.Entry, error) {
		if !s.isDead(m) {
			return m, queue.Entry{}, queue.ErrState
		}
		after, entry := m.Interrupted(now(), s.options.Interrupted)
		return after, entry, nil
	})
	if errors.Is(err, queue.ErrState) { // somebody was faster
		return nil
	}
	return err
}
