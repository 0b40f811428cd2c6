package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// adopting is what those share who bring in messages from elsewhere.
type adopting struct {
	alone sync.RWMutex // held for writing by a salvage, which brings in messages as well
	known known

	mu      sync.Mutex
	running map[queue.ID]chan struct{} // closed when the adoption of that message ends
}

// begin makes others wait who adopt the same message.
func (a *adopting) begin(ctx context.Context, id queue.ID) (end func(), err error) {
	for {
		a.mu.Lock()
		other := a.running[id]
		if other == nil {
			if a.running == nil {
				a.running = map[queue.ID]chan struct{}{}
			}
			mine := make(chan struct{})
			a.running[id] = mine
			a.mu.Unlock()
			return func() { a.end(id, mine) }, nil
		}
		a.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (a *adopting) end(id queue.ID, mine chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, id)
	close(mine)
}

// Adopt brings in a message that was accepted elsewhere. While part of the
// ledger is missing nobody knows what has been delivered: then it is held.
func (s *Store) Adopt(ctx context.Context, a queue.Adoption, content io.Reader) (queue.ID, error) {
	if err := s.takesChanges(ctx); err != nil {
		return "", err
	}
	if err := a.Check(); err != nil {
		return "", err
	}
	if err := s.space.check(time.Now()); err != nil {
		return "", err
	}
	s.adopting.alone.RLock()
	defer s.adopting.alone.RUnlock()
	end, err := s.adopting.begin(ctx, a.Message.ID)
	if err != nil {
		return "", err
	}
	defer end()
	id, err := s.idFor(ctx, a.Message)
	if err == nil {
		a.Held = s.heldInDoubt(a.Held)
		_, err = s.adopt(ctx, id, a, content, false)
	}
	if err != nil {
		return "", err
	}
	return id, nil
}

// heldInDoubt is the reason to hold what is adopted: nobody knows what has been
// delivered while part of the ledger is missing.
func (s *Store) heldInDoubt(held string) string {
	if s.adopting.known.missing() == nil {
		return held
	}
	return strings.TrimPrefix(held+"; part of the ledger here is missing: it may have been delivered already", "; ")
}

// idFor is the ID under which a message is adopted; ErrExists if there is
// nothing to adopt.
func (s *Store) idFor(ctx context.Context, m queue.Message) (queue.ID, error) {
	for _, id := range []queue.ID{m.ID, m.Alias()} {
		taken, err := s.isTaken(ctx, id, m)
		if err != nil {
			return "", err
		}
		if !taken {
			return id, nil
		}
	}
	return "", fmt.Errorf("%s and its alias are those of other messages: %w", m.ID, queue.ErrState)
}

// isTaken reports whether another message has the ID, or may get it; ErrExists
// if this one has it.
func (s *Store) isTaken(ctx context.Context, id queue.ID, m queue.Message) (taken bool, err error) {
	if s.mayGive(id, time.Now()) {
		return true, nil
	}
	var here queue.Message
	g, err := s.home(id)
	if err == nil {
		here, err = g.message(id)
	}
	switch {
	case errors.Is(err, errMoved), errors.Is(err, queue.ErrNotFound): // the ledger knows what has left
	case err != nil && !errors.Is(err, queue.ErrDamaged):
		return false, err
	case err == nil && !here.Same(m):
		return true, nil
	case err != nil: // it cannot be compared
		return false, fmt.Errorf("%s is damaged here: %w", id, queue.ErrExists)
	default:
		return false, fmt.Errorf("%s is %s here: %w", id, here.State(), queue.ErrExists)
	}
	found, other, err := s.adopting.known.find(ctx, s, id, m)
	if found && !other {
		return false, fmt.Errorf("%s was here, says the ledger: %w", id, queue.ErrExists)
	}
	return found, err
}

// mayGive reports whether the ID is that of a draft, or one of the future, that
// will be given here. One that has passed unused is counted as given: a clock
// that steps back must not come to it.
func (s *Store) mayGive(id queue.ID, now time.Time) bool {
	s.ids.Lock()
	defer s.ids.Unlock()
	if _, given := s.drafts[id]; given || id.Time().After(now) {
		return true
	}
	if id > s.lastID {
		s.lastID = id
		s.gaveID.Store(true)
	}
	return false
}

// adopt writes the message: content first, the record last. lost says that it
// was here before: then its cause is known, too.
func (s *Store) adopt(ctx context.Context, id queue.ID, a queue.Adoption, content io.Reader, lost bool) (damaged bool, err error) {
	d := newDraft(s, id)
	defer d.Abort() // after the record it does nothing
	_, err = io.Copy(d, io.LimitReader(content, a.Message.Size))
	longer := false
	if err == nil {
		longer, err = hasMore(content)
	}
	if err != nil {
		return false, fmt.Errorf("content of %s: %w", id, err)
	}
	damaged = d.size != a.Message.Size || queue.Digest(d.sum.Sum(nil)) != a.Message.Digest
	if longer || damaged && !a.Message.Damaged {
		return false, fmt.Errorf("content of %s: %w", id, queue.ErrDamaged)
	}
	m, lines := a.Adopt(id, damaged, now())
	record := d.recordOf(m, encodeTrace(a.Trace), lines[0])
	s.space.take(len(record.chunk) + len(record.record) + len(record.entry))
	if len(record.cause) > 0 && !lost {
		s.causes.Lock()
		defer s.causes.Unlock()
		if err := s.isNew(record.cause); err != nil {
			return false, fmt.Errorf("the cause of %s: %w", id, err)
		}
	}
	return damaged, d.finish(ctx, func(b *batch) error {
		err := record.put(b)
		for _, line := range lines[1:] {
			err = errors.Join(err, b.note(line))
		}
		return err
	})
}

// hasMore reports whether there is something left to read.
func hasMore(r io.Reader) (bool, error) {
	var one [1]byte
	switch n, err := io.ReadFull(r, one[:]); {
	case n > 0:
		return true, nil
	case errors.Is(err, io.EOF):
		return false, nil
	default:
		return false, err
	}
}
