package bolt

import (
	"context"
	"errors"
	"fmt"

	"github.com/mxkeep/mxkeep/queue"
)

// AcceptLoss closes what was set aside, or a message whose record cannot be read
// and that the ledger cannot make anew: a person gives it up. Its recipients
// then count as Deleted, and a line of the ledger says so. The file stays where
// it is; content of a message goes with its file. A dry run changes nothing.
// ErrNoFile or ErrState if there is nothing to give up.
func (s *Store) AcceptLoss(ctx context.Context, name, actor, reason string, dry bool) (queue.Aside, error) {
	if err := s.takesChanges(ctx); err != nil {
		return queue.Aside{}, err
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	if id, err := queue.ParseID(name); err == nil {
		return s.giveUpMessage(ctx, id, actor, reason, dry)
	}
	a, closed, err := s.findAside(name)
	if err != nil {
		return queue.Aside{}, err
	}
	given := closed.shown()
	if !given.Open() {
		return queue.Aside{}, fmt.Errorf("nothing of %s is set aside any more: %w", name, queue.ErrState)
	}
	if dry {
		return given, nil
	}
	return s.giveUpFile(ctx, a, closed, actor, reason)
}

// giveUpFile closes an aside, of which closed is a copy. The caller holds closing.
func (s *Store) giveUpFile(ctx context.Context, a *aside, closed aside, actor, reason string) (queue.Aside, error) {
	given := closed.shown()
	rest := given.Recipients
	line := queue.Entry{At: now(), Event: queue.Noted, Actor: actor,
		Reason: fmt.Sprintf("gave up %s recipients set aside in %s: %s", number(rest, closed.Certainty), given.File, reason)}
	if closed.Ledger {
		line.Reason = fmt.Sprintf("gave up the lines of the ledger that are missing in %s: %s", given.File, reason)
	}
	if err := s.Note(ctx, line); err != nil {
		return queue.Aside{}, err
	}
	closed.Account.SetAside -= rest
	closed.Account.Deleted += rest
	closed.Waiting -= rest
	closed.Closed, closed.Reason = now(), reason
	given.Closed, given.Reason = closed.Closed, reason
	return given, s.replaceAside(a, closed)
}

// giveUpMessage gives up a message whose record cannot be read.
func (s *Store) giveUpMessage(ctx context.Context, id queue.ID, actor, reason string, dry bool) (queue.Aside, error) {
	for {
		g, err := s.homeForChange(id)
		if errors.Is(err, queue.ErrNotFound) {
			return queue.Aside{}, fmt.Errorf("%s: %w", id, queue.ErrNoFile)
		}
		if err != nil {
			return queue.Aside{}, err
		}
		given := queue.Aside{File: string(id), Gone: true, At: now()}
		err = g.do(ctx, func(b *batch) error {
			loss, err := b.loss(id)
			if err != nil {
				return err
			}
			given.Why, given.Recipients, given.Certainty = loss.why, waiting(loss.waited), loss.certainty
			if dry {
				return nil
			}
			return b.giveUp(id, loss, queue.Entry{At: given.At, Event: queue.Noted, ID: id, Actor: actor,
				Reason: fmt.Sprintf("gave up a message with %s recipients, whose record cannot be read: %s", number(given.Recipients, given.Certainty), reason)})
		})
		if errors.Is(err, errMoved) {
			continue
		}
		if err == nil && !dry {
			given.Closed, given.Reason = given.At, reason
		}
		return given, err
	}
}

// loss is what goes with a message whose record cannot be read.
type loss struct {
	shelf     []byte
	why       string
	waited    queue.Account // by what the counters say of those that cannot be read
	certainty queue.Certainty
	others    int64 // messages in the file that cannot be read either
}

// loss finds out what would be given up. The recipients of a message are those
// that the counters have and the other records do not. If there are several such
// messages, one counts for each but the last to be given up.
func (b *batch) loss(id queue.ID) (l loss, err error) {
	shelf, raw := findRecord(b.tx, id)
	if raw == nil {
		return l, fmt.Errorf("%s: %w", id, errMoved)
	}
	_, damage := decodeMessage(id, raw)
	if damage == nil {
		return l, fmt.Errorf("%s can be read: delete it instead: %w", id, queue.ErrState)
	}
	if _, ok := b.fromLedger(id); ok && b.isScheduled(id) {
		return l, fmt.Errorf("%s: the next attempt makes its record anew from the ledger: %w", id, queue.ErrState)
	}
	l.shelf, l.why = shelf, damage.Error()
	var fresh counters
	c := b.bucket(bucketLive).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		switch m, err := decodeMessage(queue.ID(k), v); {
		case err == nil:
			fresh.count(m, 1)
		case string(k) != string(id):
			l.others++
		}
	}
	if &shelf[0] != &bucketLive[0] {
		return l, nil // nobody of it waits
	}
	is, others := b.now.counters.Account, fresh.Account
	l.waited = queue.Account{Queued: max(0, is.Queued-others.Queued), Held: max(0, is.Held-others.Held), Refused: max(0, is.Refused-others.Refused)}
	if l.others > 0 {
		l.certainty = queue.About
		l.waited = oneOf(l.waited)
	}
	return l, nil
}

// oneOf is one of those who wait.
func oneOf(a queue.Account) queue.Account {
	switch {
	case a.Queued > 0:
		return queue.Account{Queued: 1}
	case a.Held > 0:
		return queue.Account{Held: 1}
	}
	return queue.Account{Refused: min(a.Refused, 1)}
}

// isScheduled reports whether the message stands in the due index.
func (b *batch) isScheduled(id queue.ID) bool {
	c := b.bucket(bucketDue).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) >= idSize && string(k[len(k)-idSize:]) == string(id) {
			return true
		}
	}
	return false
}

// giveUp takes the record out and counts its recipients as deleted.
func (b *batch) giveUp(id queue.ID, l loss, line queue.Entry) error {
	if _, err := b.unschedule(id, nil); err != nil {
		return err
	}
	if err := b.bucket(l.shelf).Delete([]byte(id)); err != nil {
		return err
	}
	c := &b.now.counters
	c.Account.Queued -= l.waited.Queued
	c.Account.Held -= l.waited.Held
	c.Account.Refused -= l.waited.Refused
	c.Account.Deleted += waiting(l.waited)
	c.Unreadable = min(c.Unreadable, l.others)
	if &l.shelf[0] == &bucketLive[0] {
		c.Done++ // its content goes with the file
	}
	if l.others == 0 { // what is left can be counted
		b.recount()
	}
	return b.note(line)
}
