package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	doubts := map[int]string{}
	for _, n := range numbers {
		if n == s.ledger.books.Retired { // the process ended before it was removed
			if err := s.removeFile(n); err != nil {
				return err
			}
			continue
		}
		if doubts[n], err = s.openOrSetAside(n); err != nil {
			return err
		}
	}
	if err := errors.Join(s.findMissing(), s.loadAsides(doubts)); err != nil {
		return err
	}
	if n := len(s.generations); n > 0 && s.generations[n-1].number == numbers[len(numbers)-1] {
		return nil
	}
	g, err := s.beginGeneration(s.nextNumber())
	if err == nil {
		s.append(g)
	}
	return err
}

// openOrSetAside opens a file, or sets it aside if it is damaged. doubt is why
// the last transaction may be missing of one that can be used.
func (s *Store) openOrSetAside(number int) (doubt string, err error) {
	found, err := s.inspect(number)
	var g *generation
	if err == nil {
		g, err = openGeneration(s, number)
	}
	if errors.Is(err, ErrDamagedFile) {
		return "", s.setAside(number, err)
	}
	if err != nil {
		return "", err
	}
	g.checked, g.noLater = found.checked, found.noLater
	s.append(g)
	s.lastID = max(s.lastID, g.lastID, g.standing().ids.last)
	s.seq.Store(max(s.seq.Load(), g.standing().lastSeq))
	return found.doubt, nil
}

// nextNumber is greater than that of every file there was.
func (s *Store) nextNumber() int {
	last := s.ledger.books.Highest
	for _, g := range s.generations {
		last = max(last, g.number)
	}
	for _, a := range s.asides {
		last = max(last, numberOf(a.Name))
	}
	return last + 1
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
	g.save(g.summary(), (*os.File).Sync) // it is complete
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
