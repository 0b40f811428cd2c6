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
//	meta      format, the store, the instant of creation, the last ID given
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
// Beside each file, gen-000003.json says what it holds, and whether it is as we
// left it. A file that cannot be used is renamed to gen-000003.db.damaged-<time>
// and described beside it: see Aside. A damaged page that is met in use puts the
// store out of service, like a failed transaction.
//
// Settling marks and does not delete: content goes with its generation, when
// nobody needs that any more. If little of it is needed, or content of mail that
// is done with has been there for an hour, the remainder moves to the youngest
// first. Ledger lines go to the ledger files, one a day, in the order of their
// numbers and chained by their hashes; the oldest are removed as a whole.
//
// Giving back is a row of transactions, each in one file. What a crash leaves
// after each of them:
//
//	step                             after a crash
//	a parcel's chunks -> youngest    removed when opened, as those of drafts
//	its records -> youngest          in both; the younger wins, and the older are taken out when opened
//	its records taken out            it has moved
//	lines -> ledger, in batches      those in the ledger are not filed again; readers pass over the generation's
//	causes -> ledger                 in both, which is the same
//	account -> books, with the       its file is removed when opened, unread: nothing counts twice
//	number of the generation
//	file removed, folder synced      it is gone
//
// What moves is written to the younger file while the committer of the older
// one waits: no change of a message falls between the two. Who finds that a
// message, or a generation, is not where it was looks again.
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
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

// Options are the settings of a store. Zero fields take the default.
type Options struct {
	GenerationSize int64         // bytes at which the next generation file is begun; 256 MiB
	GenerationAge  time.Duration // how long mail that is done with may stay in a file that other mail needs; 1 h
	Quiet          time.Duration // how long a file of which little or nothing is needed waits for the rest to go by itself; 20 s
	LedgerKeep     time.Duration // how long ledger lines are kept after they were filed; 90 days
	Keep           queue.Keep    // queue.DefaultKeep
	MinFree        uint64        // bytes that the file system must have left for Create; 512 MiB
	Limits         queue.Limits  // of what is held; none
	// Stops are the times in which the clock of an upstream's mail stands still, for
	// Message.Stops. Called concurrently, and must be quick; nil: there are none.
	Stops func(upstream string) queue.Stops
	// Interrupted is the wait, times its attempts, of a message whose attempt the
	// last process did not end; 1 min. A negative one lets such leases run out by themselves.
	Interrupted time.Duration
	LockTimeout time.Duration // how long Open waits for another process to let go; 5 s
	// Check reads the structure of a file that may be damaged, before it is opened,
	// by calling CheckFile in a process of its own. It wraps ErrDamagedFile if the
	// file must not be opened. nil is no check.
	Check func(ctx context.Context, path string) error
	// Progress is called while files are copied before their format is changed,
	// which may take longer than all else that Open does: bytes done, of all. nil is nobody.
	Progress func(done, all int64)
	Version  string       // of the program, for who reads the files later
	Log      *slog.Logger // nil is silence
	// Unsynced waits for the disk only in Close: a power cut before it ruins the
	// files. It is for tests that need a large store soon, and never for mail.
	Unsynced bool

	step  func(string)                  // called between the steps of giving back, and of changing the format
	clone func(to, from *os.File) error // cloneFile
	link  func(from, to string) error   // os.Link
}

func (o Options) withDefaults() Options {
	if o.GenerationSize <= 0 {
		o.GenerationSize = 256 << 20
	}
	if o.GenerationAge <= 0 {
		o.GenerationAge = time.Hour
	}
	if o.Quiet <= 0 {
		o.Quiet = 20 * time.Second
	}
	if o.LedgerKeep <= 0 {
		o.LedgerKeep = 90 * 24 * time.Hour
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
	if o.step == nil {
		o.step = func(string) {}
	}
	if o.clone == nil {
		o.clone = cloneFile
	}
	if o.link == nil {
		o.link = os.Link
	}
	if o.Stops == nil {
		o.Stops = func(string) queue.Stops { return nil }
	}
	if o.Progress == nil {
		o.Progress = func(_, _ int64) {}
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
	clean    bool     // the last stop was clean
	identity queue.Identity
	copied   bool // dir is a backup: nothing is written to it
	space    space
	holdings holdings
	buffers  buffers
	values   values
	seq      atomic.Uint64 // of the last ledger line
	causes   sync.Mutex    // held while a message with a cause is committed
	leases   leases        // given since Open and not settled
	adopting adopting      // what comes in from elsewhere
	ledger   *ledger       // what has left the generations
	filing   sync.Mutex    // held by the one who writes to it

	ledgerDoubt string // why lines may be missing at its end; "" if none are

	ids    sync.Mutex
	lastID queue.ID
	drafts map[queue.ID]struct{} // IDs given to drafts that have not ended
	gaveID atomic.Bool           // since Open

	beginning sync.Mutex // held by the one who begins a generation

	rotation    sync.RWMutex
	generations []*generation // oldest first; the last one takes new mail
	gone        queue.Account // of generations that are not among them any more
	closed      bool

	closing sync.Mutex // held by those who change what is set aside, from beginning to end
	asiding sync.Mutex // held while asides are read or written
	asides  []*aside

	copying sync.Mutex // held while copies are read or written
	copies  []queue.Copy

	checking sync.WaitGroup // of checkRest

	layout  atomic.Uint64 // counts what makes readers look again: messages that have moved, generations that have gone
	moving  sync.RWMutex  // held while messages count in two generations
	looking chan struct{} // a token: something may be due to go
	asked   chan *compaction
	giving  chan struct{} // has a token while somebody gives back, or keeps others from it
	stop    context.CancelFunc
	stopped chan struct{} // closed when nothing gives back any more

	waking sync.Mutex
	wakes  map[string]chan struct{}

	failing sync.Once
	failure atomic.Pointer[error]
	failed  chan struct{}
}

var _ queue.Store = (*Store)(nil)

// ErrFailed is what every change gets after a transaction has failed. It wraps
// the reason.
var ErrFailed = errors.New("the store takes no further change")

// Open opens the store in dir, or begins one. It fails with ErrInUse if another
// process has it open, and with ErrNewer if a newer version has written it.
// Files of an older format are copied and then changed, see Copies; without
// room for that it fails with ErrNoRoom. Files that are damaged are set
// aside, see Aside; after a stop that was not clean, those that were written
// before it are checked first, and the others while the store is in use.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, options: o.withDefaults(), wakes: map[string]chan struct{}{}, drafts: map[queue.ID]struct{}{}, failed: make(chan struct{}),
		looking: make(chan struct{}, 1), asked: make(chan *compaction), giving: make(chan struct{}, 1), stopped: make(chan struct{})}
	if err := errors.Join(os.MkdirAll(dir, 0o700), syncFolder(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	s.space = space{dir: dir, min: s.options.MinFree}
	s.holdings.limits = s.options.Limits
	var err error
	if s.lock, err = lockFolder(dir, s.options.LockTimeout); err != nil {
		return nil, err
	}
	if err := s.openFiles(); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.startCheckRest(ctx)
	s.startClearDoubts(ctx)
	go s.giveBack(ctx)
	return s, nil
}

func (s *Store) openFiles() error {
	for _, step := range []func() error{s.refuseNewer, s.removeUnfinished, s.copyBefore, s.identify, s.loadCopies, s.describeLedgerRest, s.openLedger} {
		if err := step(); err != nil {
			return err
		}
	}
	s.gone = s.ledger.books.Account
	s.seq.Store(s.ledger.end())
	for _, step := range []func() error{s.takeMark, s.describeRest, s.forgetReturned, s.openGenerations, s.countHoldings, s.finishMoves, s.endLeases, s.noteAsides} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// countHoldings begins to count what is held. What is in two files counts
// twice, until finishMoves takes one out.
func (s *Store) countHoldings() error {
	s.holdings.recount(s.generations)
	return nil
}

// removeUnfinished removes files that never held mail: a file gets its name when
// it is ready. So do copies.
func (s *Store) removeUnfinished() error {
	for kind, remove := range map[string]func(string) error{"gen-*": os.Remove, "ledger-*": os.Remove, identityName: os.Remove, "before-format-*": os.RemoveAll} {
		unfinished, err := filepath.Glob(filepath.Join(s.dir, kind+unfinishedSuffix))
		if err != nil {
			return err
		}
		for _, path := range unfinished {
			if err := remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// home finds the generation that holds the message. Where an ID is in two, the
// younger file wins. The message may move at any time: who then gets errMoved looks again.
func (s *Store) home(id queue.ID) (*generation, error) {
	for {
		layout := s.layout.Load()
		all, err := s.all()
		if err != nil {
			return nil, err
		}
		for _, g := range slices.Backward(all) {
			if !g.standing().ids.contains(id) {
				continue
			}
			has, err := g.has(id)
			if has || err != nil && !errors.Is(err, errMoved) {
				return g, err
			}
		}
		if s.layout.Load() == layout { // it did not slip by from an old file to a younger one
			return nil, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
		}
	}
}

// homeForChange is home for those who want to change the message. What is in a
// generation that is about to go is final and as good as forgotten.
func (s *Store) homeForChange(id queue.ID) (*generation, error) {
	for {
		g, err := s.home(id)
		if err != nil || !g.retired.Load() {
			return g, err
		}
		has, err := g.has(id) // it may have moved before the generation was retired
		switch {
		case has:
			return nil, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
		case err != nil && !errors.Is(err, errMoved):
			return nil, err
		}
	}
}

// Create starts a message under a fresh ID.
func (s *Store) Create(ctx context.Context) (queue.Draft, error) {
	if err := s.takesChanges(ctx); err != nil {
		return nil, err
	}
	if err := s.space.check(time.Now()); err != nil {
		return nil, err
	}
	return newDraft(s, s.draftID()), nil
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

// draftID gives a draft its ID.
func (s *Store) draftID() queue.ID {
	s.ids.Lock()
	defer s.ids.Unlock()
	s.lastID = queue.NextID(s.lastID, time.Now())
	s.drafts[s.lastID] = struct{}{}
	s.gaveID.Store(true)
	return s.lastID
}

// forgetDraft is called when a draft has ended: its message, if there is one, is found by its ID.
func (s *Store) forgetDraft(id queue.ID) {
	s.ids.Lock()
	defer s.ids.Unlock()
	delete(s.drafts, id)
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
		err = fmt.Errorf("%w: %w", ErrFailed, plain(err))
		s.failure.Store(&err)
		s.options.Log.Error("store.failed", "error", err)
		close(s.failed)
	})
	return s.Err()
}

// Close waits for what was begun and closes every file.
func (s *Store) Close() error {
	s.stop()
	<-s.stopped
	s.checking.Wait()
	s.adopting.known.forget()
	return s.closeFiles()
}

func (s *Store) closeFiles() error {
	s.rotation.Lock()
	defer s.rotation.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	failpoint.Hit(failpoint.StoreClosing)
	var errs []error
	if s.gaveID.Load() && s.Err() == nil { // every transaction writes the last ID
		youngest := s.generations[len(s.generations)-1]
		errs = append(errs, youngest.do(context.Background(), func(*batch) error { return nil }))
	}
	for _, g := range s.generations {
		if err := g.close(); err != nil {
			errs = append(errs, err)
		}
		failpoint.Hit(failpoint.GenerationClosed)
	}
	if errors.Join(errs...) == nil && s.Err() == nil && len(s.generations) > 0 {
		errs = append(errs, s.leaveClean())
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.close())
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
		err = ErrInUse
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
