package bolt

import (
	"context"
	"errors"

	"github.com/mxkeep/mxkeep/queue"
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
		after, entry := before.Interrupted(now(), b.generation.store.options.Interrupted)
		return errors.Join(b.replace(before, after), b.note(entry))
	})
}
