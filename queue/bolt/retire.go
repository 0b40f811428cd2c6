package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

const (
	worthIt    = 4 << 20        // bytes of the youngest file for which the next one is begun early
	smallShare = 10             // a remainder of one part in so many is small
	perMessage = 1 << 10        // bytes that a message takes beside its content, about
	linesOnly  = 24 * time.Hour // age at which a file without mail is followed by the next one
	tryAgain   = time.Minute    // after which what could not be given back is looked at again
	batchBytes = 1 << 20        // of one transaction while giving back: others wait for it
	batchPairs = 512            // of the same
	maxSpare   = 32 << 20       // bytes kept free from giving back
	shareSpare = 4              // or one part in so many of what is kept free from mail, if that is less
)

// phase changes when a generation may have become due.
func (st *standing) phase() (phase int) {
	if st.counters.left().Messages == 0 {
		phase |= 1
	}
	if st.isSmall() {
		phase |= 2
	}
	if st.counters.Done > 0 {
		phase |= 4
	}
	if st.lastSeq > 0 {
		phase |= 8
	}
	if st.size >= worthIt {
		phase |= 16
	}
	return phase
}

// isSmall reports whether little of the file is needed any more.
func (st *standing) isSmall() bool {
	left := st.counters.left()
	return left.Bytes+left.Messages*perMessage <= st.size/smallShare
}

// due says when a generation is to go, after its remainder has moved to a
// younger one. ok is false if nothing is gained. Content of mail that is done
// is never there for much longer than age.
func (st *standing) due(created time.Time, youngest bool, age, quiet time.Duration) (at time.Time, ok bool) {
	c := &st.counters
	empty := c.left().Messages == 0
	switch {
	case empty && !youngest:
		return st.lastDone.Add(quiet), true
	case empty && c.Done == 0:
		return created.Add(linesOnly), st.lastSeq > 0
	case c.Done == 0:
		return time.Time{}, false
	}
	at = c.DoneAt.Add(age)
	if soon := st.smallSince.Add(quiet); soon.Before(at) && st.isSmall() && (!youngest || st.size >= worthIt) {
		at = soon
	}
	return at, true
}

// look has the one who gives back look again.
func (s *Store) look() {
	select {
	case s.looking <- struct{}{}:
	default: // there is a token
	}
}

// giveBack gives back the disk of what is done with, until ctx ends or the
// store fails. It sleeps until something is due.
func (s *Store) giveBack(ctx context.Context) {
	defer close(s.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.failed:
			return
		case c := <-s.asked:
			c.run(ctx)
		case <-s.looking:
		case <-timer.C:
		}
		next, err := s.giveBackDue(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			_ = s.fail(fmt.Errorf("give back: %w", err))
			return
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// giveBackDue does all that is due, and says when the next is; zero is never.
func (s *Store) giveBackDue(ctx context.Context) (next time.Time, err error) {
	for {
		g, at := s.nextDue()
		for _, old := range []time.Time{s.ledger.trimDue(time.Now()), s.copyAt()} {
			if !old.IsZero() && (at.IsZero() || old.Before(at)) {
				g, at = nil, old
			}
		}
		if at.IsZero() || at.After(time.Now()) {
			return at, nil
		}
		if err := s.giveBackFirst(ctx, g); err != nil {
			return time.Time{}, err
		}
	}
}

// giveBackFirst gives back a generation, or what is old if it is nil. It
// waits while a backup is made, and lets one begin after each: meanwhile nothing
// may move.
func (s *Store) giveBackFirst(ctx context.Context, g *generation) error {
	if err := s.holdStill(ctx); err != nil {
		return err
	}
	defer s.goOn()
	if g == nil {
		s.dropCopies(time.Now())
		return s.trimLedger()
	}
	return s.giveBackOne(ctx, g)
}

// nextDue is the generation that is due first. What somebody is about to write
// to is passed over: he calls look.
func (s *Store) nextDue() (first *generation, when time.Time) {
	all, err := s.all()
	if err != nil {
		return nil, time.Time{}
	}
	for _, g := range all {
		old := g.old.Load()
		at, ok := g.standing().due(g.created, !old, s.options.GenerationAge, s.options.Quiet)
		if g.wanted {
			at, ok = g.created, true
		}
		if !ok || old && g.users.Load() > 0 {
			continue
		}
		if at.Before(g.again) {
			at = g.again
		}
		if first == nil || at.Before(when) {
			first, when = g, at
		}
	}
	return first, when
}

func (s *Store) trimLedger() error {
	s.filing.Lock()
	defer s.filing.Unlock()
	return s.ledger.trim(s.ledger.believed(time.Now()))
}

// giveBackOne moves what is left of a generation and lets it go.
func (s *Store) giveBackOne(ctx context.Context, g *generation) error {
	if !s.hasRoom(g) {
		g.again = time.Now().Add(tryAgain)
		return nil
	}
	if err := s.succeed(g); err != nil {
		return err
	}
	if g.users.Load() > 0 {
		return nil
	}
	return s.moveAndRetire(ctx, g)
}

// moveAndRetire moves what is left of an old generation that nobody uses, and
// removes it.
func (s *Store) moveAndRetire(ctx context.Context, g *generation) error {
	if err := s.moveRemainder(ctx, g); err != nil {
		return err
	}
	empty, err := g.isEmpty()
	if err != nil {
		return err
	}
	if !empty { // damaged records stay where they are
		g.again = time.Now().Add(s.options.GenerationAge)
		return nil
	}
	return s.retire(ctx, g)
}

// hasRoom reports whether there is room for what giving back writes before
// anything is given back. On a full disk only small remainders move.
func (s *Store) hasRoom(g *generation) bool {
	left, err := s.space.free(time.Now())
	return err == nil && (left >= s.space.min || left >= min(s.space.min/shareSpare, maxSpare) && g.standing().isSmall())
}

// isEmpty looks into the file for messages that still need it.
func (g *generation) isEmpty() (empty bool, err error) {
	err = g.view(func(tx *bbolt.Tx) error {
		live, _ := tx.Bucket(bucketLive).Cursor().First()
		trash, _ := tx.Bucket(bucketTrash).Cursor().First()
		empty = live == nil && trash == nil
		return nil
	})
	return empty, err
}

// retire removes a generation that nobody needs: it is old and empty, and has no users.
func (s *Store) retire(ctx context.Context, g *generation) error {
	g.retired.Store(true)
	g.stop()
	s.options.step("stopped")
	s.filing.Lock()
	defer s.filing.Unlock()
	if err := s.fileLines(ctx, g.standing().lastSeq); err != nil {
		return err
	}
	if err := s.fileCauses(ctx, g); err != nil {
		return err
	}
	if err := s.ledger.absorb(g.number, g.standing().counters.Account); err != nil {
		return err
	}
	s.options.step("absorbed")
	s.forget(g)
	if err := g.closeFile(); err != nil {
		return err
	}
	if err := s.removeFile(g.number); err != nil {
		return err
	}
	s.options.step("removed")
	s.options.Log.Info("generation.removed", "file", g.name(), "bytes", g.standing().size)
	return nil
}

// fileLines copies the lines of all generations up to seq, and those after it
// that are ready, to the ledger files.
func (s *Store) fileLines(ctx context.Context, seq uint64) error {
	end, err := s.readyLines(ctx, seq)
	if err != nil {
		return err
	}
	var batch []line
	size := 0
	write := func() error {
		err := s.ledger.file(batch)
		batch, size = batch[:0], 0
		s.options.step("filed")
		return err
	}
	for p, err := range s.walk(ctx, [][]byte{bucketLedger}, sequenceKey(s.ledger.end()), sequenceKey(end+1)) {
		if err != nil {
			return err
		}
		batch = append(batch, line{sequenceOf(p.key), p.value})
		if size += len(p.value); size >= batchBytes || len(batch) == batchPairs {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return write()
}

// readyLines is a number, at least seq, up to which all lines are in their
// files: numbers are given within transactions, and those end in any order.
func (s *Store) readyLines(ctx context.Context, seq uint64) (end uint64, err error) {
	for {
		end = s.seq.Load()
		all, err := s.all() // after the number: a generation begun later has later lines
		if err != nil {
			return 0, err
		}
		for _, g := range all {
			first := g.writing.Load()
			if first == 0 || first > end {
				continue
			}
			end = first - 1
			if end >= seq {
				continue
			}
			if err := g.do(ctx, func(*batch) error { return nil }); err != nil { // comes after the transaction that runs
				return 0, err
			}
		}
		if end >= seq {
			return end, s.Err() // after a failure it is unknown what the disk has
		}
	}
}

// fileCauses copies the causes of notifications to the ledger.
func (s *Store) fileCauses(ctx context.Context, g *generation) error {
	var after []byte
	for {
		page, _, err := g.page([][]byte{bucketCauses}, after, nil, pageLength)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := errors.Join(ctx.Err(), s.ledger.keepCauses(page)); err != nil {
			return err
		}
		after = bytes.Clone(page[len(page)-1].key)
		s.options.step("causes")
	}
}

// forget takes a generation out of the row and its account into that of the gone.
func (s *Store) forget(g *generation) {
	s.rotation.Lock()
	defer s.rotation.Unlock()
	var rest []*generation // readers have the old row
	for _, other := range s.generations {
		if other != g {
			rest = append(rest, other)
		}
	}
	s.generations = rest
	s.gone = s.ledger.books.Account
	s.layout.Add(1)
}

// removeFile removes the file of a generation.
func (s *Store) removeFile(number int) error {
	if err := forgetSummary(s.dir, number); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, generationName(number))); err != nil {
		return err
	}
	return syncFolder(s.dir)
}

// FileLedger copies what the ledger files do not have yet of the ledger.
func (s *Store) FileLedger(ctx context.Context) error {
	if err := s.takesChanges(ctx); err != nil {
		return err
	}
	s.filing.Lock()
	defer s.filing.Unlock()
	if err := s.fileLines(ctx, s.seq.Load()); err != nil && !errors.Is(err, queue.ErrClosed) && ctx.Err() == nil {
		return s.fail(fmt.Errorf("ledger: %w", err))
	} else if err != nil {
		return err
	}
	return nil
}
