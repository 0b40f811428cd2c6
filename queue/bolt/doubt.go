package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// When one of the two meta pages of a file cannot be read, it may have been the
// newer one, and the changes of the last transaction are missing. But every
// transaction that changes something writes the counters with its number before
// its meta page; so if no page of the file has counters of a later transaction,
// there was none. Then the file is read as a whole, and if all in it fits, the
// doubt is cleared.

// hasLater reports whether a page of the file was written by a transaction after
// the one that its meta page knows.
func (s *Store) hasLater(path string, tx uint64) bool {
	newest, _, found := s.countersIn(path)
	return !found || newest.Tx > tx
}

// startClearDoubts looks in the background at the files in doubt of which no
// later page was found.
func (s *Store) startClearDoubts(ctx context.Context) {
	var whole []*generation
	for _, a := range s.asides {
		if !a.NoLater || !a.Closed.IsZero() {
			continue
		}
		for _, g := range s.generations {
			if g.name() == a.Name {
				whole = append(whole, g)
			}
		}
	}
	if len(whole) == 0 {
		return
	}
	s.checking.Go(func() {
		for _, g := range whole {
			if err := s.clearDoubt(ctx, g); err != nil && ctx.Err() == nil {
				s.options.Log.Warn("file.doubtful", "file", g.name(), "error", err)
			}
		}
	})
}

// clearDoubt closes the doubt about a file if everything in it proves whole.
func (s *Store) clearDoubt(ctx context.Context, g *generation) error {
	found := 0
	run := &audit{store: s, found: func(queue.Finding) error { found++; return nil }}
	if err := run.file(ctx, g); err != nil {
		return err
	}
	if found > 0 {
		return fmt.Errorf("%d things in it are damaged", found)
	}
	if err := g.view(func(tx *bbolt.Tx) error { return s.provesWhole(tx) }); err != nil {
		return err
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	a, closed, err := s.findAside(g.name())
	if err != nil {
		return err
	}
	closed.Closed, closed.Reason = now(), "nothing is missing: no later transaction was written, and all in it was read and fits"
	line := queue.Entry{At: closed.Closed, Event: queue.Noted, Actor: "relay", Reason: "the doubt about " + g.name() + " is cleared: " + closed.Reason}
	if err := s.Note(ctx, line); err != nil {
		return err
	}
	return s.replaceAside(a, closed)
}

// provesWhole holds the counters of a file against a recount, and looks for
// numbers that are missing among its ledger lines.
func (s *Store) provesWhole(tx *bbolt.Tx) error {
	is, err := decodeCounters(tx.Bucket(bucketCounters).Get(keyAccount))
	if err != nil {
		return err
	}
	return errors.Join(fits(tx, is), s.withoutGap(tx))
}

// fits holds counters against a recount.
func fits(tx *bbolt.Tx, is counters) error {
	var fresh counters
	for _, name := range shelves() {
		c := tx.Bucket(name).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			m, err := decodeMessage(queue.ID(k), v)
			if err != nil {
				return err
			}
			fresh.count(m, 1)
		}
	}
	if is.Messages != fresh.Messages || is.Bytes != fresh.Bytes || is.Trash != fresh.Trash || is.Account.Queued != fresh.Account.Queued ||
		is.Account.Held != fresh.Account.Held || is.Account.Refused != fresh.Account.Refused {
		return errors.New("its counters differ from a recount")
	}
	return nil
}

// withoutGap wants the ledger lines that are not filed to follow each other, and
// the last one that is, if there is no other file with lines between them.
func (s *Store) withoutGap(tx *bbolt.Tx) error {
	all, err := s.all()
	if err != nil || len(all) > 1 {
		return err
	}
	last := s.ledger.end()
	c := tx.Bucket(bucketLedger).Cursor()
	for k, _ := c.Seek(sequenceKey(last + 1)); k != nil; k, _ = c.Next() {
		seq := sequenceOf(k)
		if seq != last+1 && seq-last < seqGap { // what is left out on purpose is as long as that
			return fmt.Errorf("between its ledger lines %d and %d some are missing", last, seq)
		}
		last = seq
	}
	return nil
}
