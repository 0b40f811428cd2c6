package bolt

import (
	"context"
	"errors"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

// now is an instant as it comes back from disk.
func now() time.Time { return time.Now().UTC().Round(0) }

// Claim postpones each message that is due and returns it.
func (s *Store) Claim(ctx context.Context, ids []queue.ID, lease time.Duration) ([]queue.Message, error) {
	if err := s.takesChanges(ctx); err != nil {
		return nil, err
	}
	at := now()
	claimed := map[queue.ID]queue.Message{}
	for look := ids; len(look) > 0; {
		byHome, err := s.homes(look)
		if err != nil {
			return inOrder(ids, claimed), err
		}
		look = nil
		for g, some := range byHome {
			// Not to be broken off between two files: what is claimed has to be returned.
			here, moved, err := g.claim(context.WithoutCancel(ctx), some, at, lease)
			if err != nil {
				return inOrder(ids, claimed), err
			}
			for _, m := range here {
				claimed[m.ID] = m
			}
			look = append(look, moved...)
		}
	}
	return inOrder(ids, claimed), nil
}

// homes finds the generation of each message that has one.
func (s *Store) homes(ids []queue.ID) (map[*generation][]queue.ID, error) {
	byHome := map[*generation][]queue.ID{}
	for _, id := range ids {
		g, err := s.homeForChange(id)
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		byHome[g] = append(byHome[g], id)
	}
	return byHome, nil
}

// claim claims messages of one generation. What has moved since it was found is to be looked for again.
func (g *generation) claim(ctx context.Context, ids []queue.ID, at time.Time, lease time.Duration) (claimed []queue.Message, moved []queue.ID, err error) {
	err = g.do(ctx, func(b *batch) error {
		for _, id := range ids {
			m, ok, err := b.claim(id, at, lease)
			switch {
			case errors.Is(err, errMoved):
				moved = append(moved, id)
			case err != nil:
				return err
			case ok:
				claimed = append(claimed, m)
			}
		}
		return nil
	})
	if errors.Is(err, errMoved) { // the generation takes no change any more
		return nil, ids, nil
	}
	return claimed, moved, err
}

// inOrder lists the claimed messages in the order in which they were asked for.
func inOrder(ids []queue.ID, claimed map[queue.ID]queue.Message) (list []queue.Message) {
	for _, id := range ids {
		if m, ok := claimed[id]; ok {
			list = append(list, m)
			delete(claimed, id)
		}
	}
	return list
}

func (b *batch) claim(id queue.ID, at time.Time, lease time.Duration) (m queue.Message, ok bool, err error) {
	before, err := b.record(id)
	switch {
	case errors.Is(err, queue.ErrDamaged): // it must not keep others from being delivered
		return m, false, b.mend(id, err)
	case err != nil:
		return m, false, err
	case !before.Due(at):
		return m, false, b.reschedule(before)
	}
	m, interrupted := before.Claimed(at, lease)
	if interrupted != nil {
		if err := b.note(*interrupted); err != nil {
			return m, false, err
		}
	}
	b.generation.store.leases.add(id)
	failpoint.Hit(failpoint.StoreClaiming)
	return m, true, b.replace(before, m)
}

// Settle writes the outcome of an attempt and its ledger line.
func (s *Store) Settle(ctx context.Context, settlement queue.Settlement) error {
	err := s.change(ctx, settlement.ID, func(m queue.Message) (queue.Message, queue.Entry, error) {
		failpoint.Hit(failpoint.StoreSettling)
		return m.Settled(settlement, now())
	})
	failpoint.Hit(failpoint.StoreSettled)
	if err == nil {
		s.leases.remove(settlement.ID)
	}
	return err
}

// Amend writes an operator's act and its ledger line.
func (s *Store) Amend(ctx context.Context, a queue.Amendment) error {
	amend := func() error {
		return s.change(ctx, a.ID, func(m queue.Message) (queue.Message, queue.Entry, error) {
			if (a.Event == queue.Release || a.Event == queue.Undelete) && s.isDead(m) {
				return m, queue.Entry{}, errDeadLease
			}
			return m.Amended(a)
		})
	}
	err := amend()
	if errors.Is(err, errDeadLease) {
		if err = s.endDeadLease(ctx, a.ID); err == nil {
			err = amend()
		}
	}
	return err
}

// change replaces one message and adds the ledger line.
func (s *Store) change(ctx context.Context, id queue.ID, next func(queue.Message) (queue.Message, queue.Entry, error)) error {
	if err := s.takesChanges(ctx); err != nil {
		return err
	}
	for {
		g, err := s.homeForChange(id)
		if err != nil {
			return err
		}
		err = g.do(ctx, func(b *batch) error {
			before, err := b.record(id)
			if err != nil {
				return err
			}
			after, entry, err := next(before)
			if err != nil {
				return err
			}
			if after.Waits() {
				b.wakes[after.Envelope.Upstream] = true
			}
			return errors.Join(b.replace(before, after), b.note(entry))
		})
		if !errors.Is(err, errMoved) {
			return err
		}
	}
}

// Note adds a ledger line that belongs to no held message.
func (s *Store) Note(ctx context.Context, e queue.Entry) error {
	if err := s.takesChanges(ctx); err != nil {
		return err
	}
	g, err := s.youngest()
	if err != nil {
		return err
	}
	defer g.done()
	return g.do(ctx, func(b *batch) error {
		if e.Event == queue.Passed {
			b.now.counters.Account.Passed += int64(len(e.Recipients))
		}
		return b.note(e)
	})
}

// Purge removes the content of trash whose time is over and moves refusals
// whose time is over into the trash.
func (s *Store) Purge(ctx context.Context, at time.Time) (int, error) {
	if err := s.takesChanges(ctx); err != nil {
		return 0, err
	}
	removed := 0
	for {
		layout := s.layout.Load()
		all, err := s.all()
		if err != nil {
			return removed, err
		}
		for _, g := range all {
			n, err := g.purge(ctx, at)
			removed += n
			if err != nil && !errors.Is(err, errMoved) {
				return removed, err
			}
		}
		if s.layout.Load() == layout { // nothing moved past us
			return removed, nil
		}
	}
}

func (g *generation) purge(ctx context.Context, at time.Time) (removed int, err error) {
	candidates := [][]byte{bucketTrash}
	if g.standing().counters.Messages[queue.StateRefused] > 0 {
		candidates = append(candidates, bucketLive)
	}
	for p, err := range g.pairs(ctx, candidates) {
		if err != nil {
			return removed, err
		}
		id := queue.ID(p.key)
		m, err := decodeMessage(id, p.value)
		if err != nil { // it must not keep others from being purged
			g.store.options.Log.Error("record.damaged", "id", id, "error", err)
			continue
		}
		if trash, remove := g.store.options.Keep.Purge(m, at); !trash && !remove {
			continue
		}
		var purged bool
		err = g.do(ctx, func(b *batch) (err error) {
			purged, err = b.purge(id, at)
			return err
		})
		if err != nil && !errors.Is(err, errMoved) {
			return removed, err
		}
		if purged {
			removed++
		}
	}
	return removed, nil
}

// purge does to one message what is due, as this transaction sees it.
func (b *batch) purge(id queue.ID, at time.Time) (removed bool, err error) {
	before, err := b.record(id)
	if err != nil {
		return false, err
	}
	after, entry, act := before.PurgedBy(b.generation.store.options.Keep, at)
	if !act {
		return false, nil
	}
	if after.Purged {
		if err := removeContent(b.tx, id); err != nil {
			return false, err
		}
	}
	return after.Purged, errors.Join(b.replace(before, after), b.note(entry))
}
