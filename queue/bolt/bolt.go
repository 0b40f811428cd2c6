// Package bolt is a queue.Store on bbolt.
//
// Guarantee: once a method has returned nil, what it wrote survives the end of
// the process and a power cut. A transaction that fails is indeterminate: its
// callers get the error, the store takes no further change, Failed is closed,
// and only opening the store again shows what the disk has kept.
//
// Mail is kept in a row of generation files. New mail goes to the youngest; at
// a certain size or age the next one is begun. What is settled or purged is
// written where the message is:
//
//	meta      format, the instant of creation, the last ID given
//	counters  the account of the generation
//	live      records of messages that are not final
//	trash     records of deleted messages whose content can still be brought back
//	done      all other records
//	traces    header lines to prepend, by ID
//	content   one bucket for each chunk, by ID and number
//	drafts    IDs with chunks but no record yet
//	due       summaries by upstream, time and ID
//	causes    notifications by cause
//	ledger    lines by sequence number
//
// Settling marks and does not delete: content goes with its generation.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Options are the settings of a store. Zero fields take the default.
type Options struct {
	GenerationSize int64         // bytes at which the next generation file is begun; 256 MiB
	GenerationAge  time.Duration // age at which a file with mail in it is followed by the next one; 1 h
	Keep           queue.Keep    // queue.DefaultKeep
	MinFree        uint64        // bytes that the file system must have left for Create; 512 MiB
	Limits         queue.Limits  // of what is held; none
	// Interrupted is the wait, times its attempts, of a message whose attempt the
	// last process did not end; 1 min. A negative one lets such leases run out by themselves.
	Interrupted time.Duration
	LockTimeout time.Duration // how long Open waits for another process to let go; 5 s
	Log         *slog.Logger  // nil is silence
}

func (o Options) withDefaults() Options {
	if o.GenerationSize <= 0 {
		o.GenerationSize = 256 << 20
	}
	if o.GenerationAge <= 0 {
		o.GenerationAge = time.Hour
	}
	if o.Keep == (queue.Keep{}) {
		o.Keep = queue.DefaultKeep()
	}
	if o.MinFree == 0 {
		o.MinFree = 512 << 20
	}
	if o.Interrupted == 0 {
		o.Interrupted = time.Minute
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is a queue.Store. Its methods may be called concurrently.
type Store struct {
	dir      string
	options  Options
	lock     *os.File // the folder, locked
	space    space
	holdings holdings
	buffers  buffers
	seq      atomic.Uint64 // of the last ledger line
	causes   sync.Mutex    // held while a message with a cause is committed

	ids    sync.Mutex
	lastID queue.ID
	gaveID atomic.Bool // since Open

	rotation    sync.RWMutex
	generations []*generation // oldest first; the last one takes new mail
	closed      bool

	waking sync.Mutex
	wakes  map[string]chan struct{}

	failing sync.Once
	failure atomic.Pointer[error]
	failed  chan struct{}
}

var _ queue.Store = (*Store)(nil)

// Open opens the store in dir, or begins one. It fails if another process has
// it open, or if a newer version has written it.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, options: o.withDefaults(), wakes: map[string]chan struct{}{}, failed: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	s.space = space{dir: dir, min: s.options.MinFree}
	s.holdings.limits = s.options.Limits
	var err error
	if s.lock, err = lockFolder(dir, s.options.LockTimeout); err != nil {
		return nil, err
	}
	if err := s.openGenerations(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.endLeases(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) openGenerations() error {
	unfinished, err := filepath.Glob(filepath.Join(s.dir, "gen-*"+unfinishedSuffix))
	if err != nil {
		return err
	}
	for _, path := range unfinished { // never held mail: a file gets its name when it is ready
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	numbers, err := generationNumbers(s.dir)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		g, err := openGeneration(s, n)
		if err != nil {
			return err
		}
		s.generations = append(s.generations, g)
		s.lastID = max(s.lastID, g.lastID, g.standing().ids.last)
		s.seq.Store(max(s.seq.Load(), g.lastSeq))
	}
	s.holdings.recount(s.generations)
	if len(numbers) == 0 {
		return s.beginGeneration(1)
	}
	return nil
}

// beginGeneration makes the next file and opens it.
func (s *Store) beginGeneration(number int) error {
	if err := createGeneration(s, number); err != nil {
		return err
	}
	g, err := openGeneration(s, number)
	if err != nil {
		return err
	}
	s.generations = append(s.generations, g)
	s.options.Log.Info("generation.begun", "file", g.name())
	return nil
}

// youngest is the generation for new mail. It begins the next one when the
// time has come.
func (s *Store) youngest() (*generation, error) {
	s.rotation.RLock()
	if s.closed {
		s.rotation.RUnlock()
		return nil, queue.ErrClosed
	}
	g := s.generations[len(s.generations)-1]
	s.rotation.RUnlock()
	// Without room a new file would fail, and what is left is needed to settle.
	if at := time.Now(); !g.isFull(at) || s.space.check(at) != nil {
		return g, nil
	}
	s.rotation.Lock()
	defer s.rotation.Unlock()
	if s.closed {
		return nil, queue.ErrClosed
	}
	if g == s.generations[len(s.generations)-1] { // nobody was faster
		if err := s.beginGeneration(g.number + 1); err != nil {
			return nil, s.fail(fmt.Errorf("begin generation %d: %w", g.number+1, err))
		}
	}
	return s.generations[len(s.generations)-1], nil
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

// home finds the generation that holds the message. Where an ID is in two, the younger file wins.
func (s *Store) home(id queue.ID) (*generation, error) {
	all, err := s.all()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(g *generation) bool { return !g.standing().ids.contains(id) })
	for i := len(all) - 1; i >= 0; i-- {
		has, err := all[i].has(id)
		if has || err != nil {
			return all[i], err
		}
	}
	return nil, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
}

// Create starts a message under a fresh ID.
func (s *Store) Create(ctx context.Context) (queue.Draft, error) {
	if err := s.takesChanges(ctx); err != nil {
		return nil, err
	}
	if err := s.space.check(time.Now()); err != nil {
		return nil, err
	}
	return newDraft(s, s.nextID()), nil
}

// Room reports whether a message of that size for the upstream would be taken now.
func (s *Store) Room(ctx context.Context, upstream string, size int64) error {
	if err := s.takesChanges(ctx); err != nil {
		return err
	}
	if err := s.space.check(time.Now()); err != nil {
		return err
	}
	return s.holdings.room(upstream, size)
}

// takesChanges is what every change asks first.
func (s *Store) takesChanges(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := s.all(); err != nil {
		return err
	}
	return s.Err()
}

func (s *Store) nextID() queue.ID {
	s.ids.Lock()
	defer s.ids.Unlock()
	s.lastID = queue.NextID(s.lastID, time.Now())
	s.gaveID.Store(true)
	return s.lastID
}

// idSoFar is the last ID given.
func (s *Store) idSoFar() queue.ID {
	s.ids.Lock()
	defer s.ids.Unlock()
	return s.lastID
}

// Wake gets a token whenever something may have become due for the upstream.
func (s *Store) Wake(upstream string) <-chan struct{} { return s.token(upstream) }

func (s *Store) token(upstream string) chan struct{} {
	s.waking.Lock()
	defer s.waking.Unlock()
	if s.wakes[upstream] == nil {
		s.wakes[upstream] = make(chan struct{}, 1)
	}
	return s.wakes[upstream]
}

func (s *Store) wake(upstream string) {
	select {
	case s.token(upstream) <- struct{}{}:
	default: // there is one
	}
}

// Failed is closed when a transaction has failed: the store takes no further
// change, and the process should end so that a restart shows what was kept.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err says why Failed is closed; nil before.
func (s *Store) Err() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// fail puts the store out of service and returns the reason, the first one.
func (s *Store) fail(err error) error {
	s.failing.Do(func() {
		err = fmt.Errorf("the store takes no further change: %w", plain(err))
		s.failure.Store(&err)
		s.options.Log.Error("store.failed", "error", err)
		close(s.failed)
	})
	return s.Err()
}

// Close waits for what was begun and closes every file.
func (s *Store) Close() error {
	s.rotation.Lock()
	defer s.rotation.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if s.gaveID.Load() && s.Err() == nil { // every transaction writes the last ID
		youngest := s.generations[len(s.generations)-1]
		errs = append(errs, youngest.do(context.Background(), func(*batch) error { return nil }))
	}
	for _, g := range s.generations {
		if err := g.close(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := s.lock.Close(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lockFolder takes the folder for this process alone. It waits up to patience.
func lockFolder(dir string, patience time.Duration) (*os.File, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; {
		err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || !time.Now().Before(end) {
			break
		}
		time.Sleep(min(50*time.Millisecond, patience))
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), folder.Close())
	}
	return folder, nil
}

// syncFolder makes names in the folder durable.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
