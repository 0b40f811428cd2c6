package bolt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

func (s *Store) openGenerations() error {
	numbers, err := generationNumbers(s.dir)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n == s.ledger.books.Retired { // the process ended before it was removed
			if err := s.removeFile(n); err != nil {
				return err
			}
			continue
		}
		g, err := openGeneration(s, n)
		if err != nil {
			return err
		}
		s.append(g)
		s.lastID = max(s.lastID, g.lastID, g.standing().ids.last)
		s.seq.Store(max(s.seq.Load(), g.standing().lastSeq))
	}
	if len(s.generations) > 0 {
		return nil
	}
	g, err := s.beginGeneration(s.ledger.books.Highest + 1)
	if err == nil {
		s.append(g)
	}
	return err
}

// append adds the youngest generation.
func (s *Store) append(g *generation) {
	if n := len(s.generations); n > 0 {
		s.generations[n-1].old.Store(true)
	}
	s.generations = append(s.generations, g)
}

// beginGeneration makes a file and opens it.
func (s *Store) beginGeneration(number int) (*generation, error) {
	if err := createGeneration(s, number); err != nil {
		return nil, err
	}
	g, err := openGeneration(s, number)
	if err != nil {
		return nil, err
	}
	s.options.Log.Info("generation.begun", "file", g.name())
	failpoint.Hit(failpoint.GenerationBegun)
	return g, nil
}

// youngest is the generation for new mail. It begins the next one when the
// time has come. The caller is counted as a user, and calls done: meanwhile
// the generation is not given back.
func (s *Store) youngest() (*generation, error) {
	g, err := s.useYoungest()
	if err != nil {
		return nil, err
	}
	// Without room a new file would fail, and what is left is needed to settle.
	if !g.isFull() || s.space.check(time.Now()) != nil {
		return g, nil
	}
	err = s.succeed(g)
	g.done()
	if err != nil {
		return nil, err
	}
	return s.useYoungest()
}

func (s *Store) useYoungest() (*generation, error) {
	s.rotation.RLock()
	defer s.rotation.RUnlock()
	if s.closed {
		return nil, queue.ErrClosed
	}
	g := s.generations[len(s.generations)-1]
	g.users.Add(1)
	return g, nil
}

// succeed begins the generation after g, unless somebody was faster. The files
// are made while the others go on.
func (s *Store) succeed(g *generation) error {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if g.old.Load() {
		return nil
	}
	if err := s.takesChanges(context.Background()); err != nil {
		return err
	}
	next, err := s.beginGeneration(g.number + 1)
	if err != nil {
		return s.fail(fmt.Errorf("begin generation %d: %w", g.number+1, err))
	}
	s.rotation.Lock()
	if !s.closed {
		s.append(next)
		s.rotation.Unlock()
		s.look() // what is old now may be due
		return nil
	}
	s.rotation.Unlock()
	return errors.Join(queue.ErrClosed, next.close())
}

// all are the generations of this moment, oldest first.
func (s *Store) all() ([]*generation, error) {
	s.rotation.RLock()
	defer s.rotation.RUnlock()
	if s.closed {
		return nil, queue.ErrClosed
	}
	return slices.Clone(s.generations), nil
}

// accounts are the generations of this moment and the account of those that are gone.
func (s *Store) accounts() ([]*generation, queue.Account, error) {
	s.rotation.RLock()
	defer s.rotation.RUnlock()
	if s.closed {
		return nil, queue.Account{}, queue.ErrClosed
	}
	return slices.Clone(s.generations), s.gone, nil
}
