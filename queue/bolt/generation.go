package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

const unfinishedSuffix = ".unfinished"

// ErrInUse says that another process has the store open.
var ErrInUse = errors.New("in use by another process")

// errMoved stays within the package: a message, or a whole generation, is not
// there any more. Look again.
var errMoved = errors.New("moved to another file")

// Names of buckets, and of keys in meta and counters.
var (
	bucketMeta     = []byte("meta")
	bucketCounters = []byte("counters")
	bucketLive     = []byte("live")
	bucketTrash    = []byte("trash")
	bucketDone     = []byte("done")
	bucketTraces   = []byte("traces")
	bucketContent  = []byte("content")
	bucketDrafts   = []byte("drafts")
	bucketDue      = []byte("due")
	bucketCauses   = []byte("causes")
	bucketLedger   = []byte("ledger")

	keyFormat  = []byte("format")
	keyStore   = []byte("store")
	keyCreated = []byte("created")
	keyLastID  = []byte("last")
	keyMoving  = []byte("moving")
	keyAccount = []byte("account")
	keyBytes   = []byte("b") // the only key of a chunk's bucket
)

func buckets() [][]byte {
	return [][]byte{bucketMeta, bucketCounters, bucketLive, bucketTrash, bucketDone, bucketTraces,
		bucketContent, bucketDrafts, bucketDue, bucketCauses, bucketLedger}
}

// shelves are the buckets with records.
func shelves() [][]byte { return [][]byte{bucketLive, bucketTrash, bucketDone} }

// generation is one file. Its committer is the only one that writes to it.
type generation struct {
	store   *Store
	number  int
	db      *bbolt.DB
	created time.Time
	lastID  queue.ID // given when the file was last written, as of opening

	now     atomic.Pointer[standing]
	doubt   atomic.Pointer[string] // why the file must be checked; nil if it need not be
	writing atomic.Uint64          // 0, or ledger lines from this number on may be in the transaction that runs
	users   atomic.Int64           // drafts and others that will write to it, and must not lose it
	old     atomic.Bool            // there is a younger one
	retired atomic.Bool            // it takes no further change and is about to go
	again   time.Time              // not to be looked at before; for the one who gives back
	wanted  bool                   // to be given back as soon as nobody uses it; for the same one

	sending   sync.RWMutex // held for writing by close alone
	closed    bool
	broken    bool // bbolt panicked: it may hold a lock for ever
	opened    bool // and in use
	checked   bool // before it was opened
	noLater   bool // its last transaction is in doubt, but no page of a later one was found
	changes   chan *change
	committed chan struct{} // closed when the committer has ended

	summarized time.Time  // by the committer
	saving     sync.Mutex // held while the summary is written
}

// standing is what is known of a generation without reading its file.
type standing struct {
	counters   counters
	ids        span
	size       int64 // bytes in use
	tx         uint64
	lastSeq    uint64    // of its ledger lines
	lastDone   time.Time // when a message was last done with, as far as is known since opening
	smallSince time.Time // since when little of it is needed
}

// span is the smallest range with all IDs of a generation.
type span struct{ first, last queue.ID }

func (s span) contains(id queue.ID) bool { return s.first != "" && s.first <= id && id <= s.last }

func (s span) with(id queue.ID) span {
	if s.first == "" {
		return span{id, id}
	}
	return span{min(s.first, id), max(s.last, id)}
}

func (g *generation) name() string { return generationName(g.number) }

func (g *generation) standing() *standing { return g.now.Load() }

func generationName(number int) string { return fmt.Sprintf("gen-%06d.db", number) }

// generationNumbers lists the files in dir, oldest first.
func generationNumbers(dir string) ([]int, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "gen-*.db"))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, path := range paths {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(path), "gen-%d.db", &n); err != nil || generationName(n) != filepath.Base(path) {
			return nil, fmt.Errorf("%s: not the name of a generation", path)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (s *Store) boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: s.options.LockTimeout, FreelistType: bbolt.FreelistMapType, NoStatistics: true, NoSync: s.options.Unsynced,
		// Address space only: a file that outgrows its mapping stops all readers.
		InitialMmapSize: int(2 * s.options.GenerationSize)}
}

// createGeneration makes an empty file.
func createGeneration(s *Store, number int) error {
	return createFile(filepath.Join(s.dir, generationName(number)), *s.boltOptions(), func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Put(keyFormat, []byte{format}), meta.Put(keyStore, inFile(s.identity)), meta.Put(keyLastID, []byte(s.idSoFar())),
			meta.Put(keyCreated, []byte(time.Now().UTC().Format(time.RFC3339Nano))))
	})
}

// createFile makes a file and fills it. It gets its name only when it is
// complete and synced: power lost during bbolt's first writes ruins a file.
func createFile(path string, options bbolt.Options, fill func(*bbolt.Tx) error) error {
	unfinished := path + unfinishedSuffix
	db, err := bbolt.Open(unfinished, 0o600, &options)
	if err != nil {
		return plain(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		return plain(err)
	}
	failpoint.Hit(failpoint.GenerationMade)
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	failpoint.Hit(failpoint.GenerationNamed)
	return syncFolder(filepath.Dir(path))
}

// openGeneration opens a file and starts its committer. It wraps ErrDamagedFile
// for a file that is none of ours any more.
func openGeneration(s *Store, number int) (_ *generation, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil { // bbolt keeps the file; it gets another name
			err = fmt.Errorf("%s: %w: %v", generationName(number), ErrDamagedFile, reason)
		}
	}()
	g := &generation{store: s, number: number, changes: make(chan *change, maxBatch), committed: make(chan struct{})}
	path := filepath.Join(s.dir, g.name())
	if _, err := os.Stat(path); err != nil { // bbolt would make it
		return nil, err
	}
	if g.db, err = bbolt.Open(path, 0o600, s.boltOptions()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, unusable(err))
	}
	if err = g.migrate(); err == nil {
		err = g.db.View(g.load)
	}
	if err == nil {
		err = g.removeDrafts()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(plain(err), g.db.Close()))
	}
	g.opened = true
	go g.commitAll()
	return g, nil
}

// unusable says of an error of bbolt's Open whether the file is damaged.
func unusable(err error) error {
	for _, theirs := range []error{bolterrors.ErrInvalid, bolterrors.ErrVersionMismatch, bolterrors.ErrChecksum} {
		if errors.Is(err, theirs) {
			return fmt.Errorf("%w: %w", ErrDamagedFile, plain(err))
		}
	}
	return plain(err)
}

// load reads what is known of the file without looking at its mail.
func (g *generation) load(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: not a queue file", ErrDamagedFile)
	}
	if f := formatOf(meta); f > format {
		if _, known := readSummary(g.store.dir, g.number); !known { // a newer version would have written that as well
			return newerFormat(filepath.Join(g.store.dir, g.name()), f)
		}
	}
	if err := g.loadMeta(tx, meta); err != nil {
		return fmt.Errorf("%w: %w", ErrDamagedFile, err)
	}
	opened := time.Now()
	now := &standing{size: tx.Size(), tx: uint64(tx.ID()), lastDone: opened, smallSince: opened}
	if k, _ := tx.Bucket(bucketLedger).Cursor().Last(); k != nil {
		now.lastSeq = binary.BigEndian.Uint64(k)
	}
	for _, name := range shelves() {
		c := tx.Bucket(name).Cursor()
		if first, _ := c.First(); first != nil {
			last, _ := c.Last()
			now.ids = now.ids.with(queue.ID(first)).with(queue.ID(last))
		}
	}
	var err error
	if now.counters, err = decodeCounters(tx.Bucket(bucketCounters).Get(keyAccount)); err != nil {
		return fmt.Errorf("%w: %w", ErrDamagedFile, err)
	}
	g.now.Store(now)
	return nil
}

func (g *generation) loadMeta(tx *bbolt.Tx, meta *bbolt.Bucket) (err error) {
	if formatOf(meta) != format {
		return fmt.Errorf("its format is %v, not %d", meta.Get(keyFormat), format)
	}
	for _, name := range buckets() {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("bucket %s is missing", name)
		}
	}
	if g.created, err = time.Parse(time.RFC3339Nano, string(meta.Get(keyCreated))); err != nil {
		return err
	}
	if last := string(meta.Get(keyLastID)); last != "" { // the first file begins without
		g.lastID, err = queue.ParseID(last)
	}
	return err
}

// removeDrafts removes chunks of messages that were never committed: the
// process ended while they were received.
func (g *generation) removeDrafts() error {
	page, _, err := g.page([][]byte{bucketDrafts}, nil, nil, pageLength)
	if err != nil || len(page) == 0 {
		return err
	}
	err = g.update(func(tx *bbolt.Tx) error {
		failpoint.Hit(failpoint.OpenDrafts)
		for _, p := range page {
			if err := removeContent(tx, queue.ID(p.key)); err != nil {
				return err
			}
			if err := tx.Bucket(bucketDrafts).Delete(p.key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.removeDrafts() // the next page
}

// isFull reports whether the next generation should take over. Age alone is no
// reason: mail that is held for days would be spread over as many files.
func (g *generation) isFull() bool { return g.standing().size >= g.store.options.GenerationSize }

// view reads the file. No transaction may be open while a caller is busy.
func (g *generation) view(read func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer g.guard(&err)
	err = plain(g.db.View(read))
	if errors.Is(err, queue.ErrClosed) {
		return g.whyClosed()
	}
	return err
}

// update writes to the file.
func (g *generation) update(write func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	g.broken = true // unless it comes back
	defer g.guard(&err)
	err = g.db.Update(write)
	g.broken = false
	return err
}

// whyClosed is the error of those who come too late.
func (g *generation) whyClosed() error {
	if g.retired.Load() {
		return errMoved
	}
	return queue.ErrClosed
}

// done is called by those who were counted as users. The last one of an old
// generation may have been what it waited for.
func (g *generation) done() {
	if g.users.Add(-1) == 0 && g.old.Load() {
		g.store.look()
	}
}

// has reports whether the message is here.
func (g *generation) has(id queue.ID) (has bool, err error) {
	err = g.view(func(tx *bbolt.Tx) error {
		_, raw := findRecord(tx, id)
		has = raw != nil
		return nil
	})
	return has, err
}

// findRecord returns the shelf and the bytes of a record, which are valid
// within the transaction; nil if there is none.
func findRecord(tx *bbolt.Tx, id queue.ID) (shelf, raw []byte) {
	for _, name := range shelves() {
		if raw := tx.Bucket(name).Get([]byte(id)); raw != nil {
			return name, raw
		}
	}
	return nil, nil
}

// message reads one record.
func (g *generation) message(id queue.ID) (queue.Message, error) {
	var raw []byte
	err := g.view(func(tx *bbolt.Tx) error {
		_, found := findRecord(tx, id)
		raw = bytes.Clone(found)
		return nil
	})
	if err != nil {
		return queue.Message{}, err
	}
	if raw == nil {
		return queue.Message{}, fmt.Errorf("%s: %w", id, errMoved)
	}
	return decodeMessage(id, raw)
}

// stop waits for the changes that were begun. There are no others.
func (g *generation) stop() {
	g.sending.Lock()
	if !g.closed {
		g.closed = true
		close(g.changes)
	}
	g.sending.Unlock()
	<-g.committed
}

func (g *generation) close() error {
	g.stop()
	return g.closeFile()
}

// closeFile waits for the readers.
func (g *generation) closeFile() error {
	if g.broken {
		return nil
	}
	if g.store.options.Unsynced {
		return plain(errors.Join(g.db.Sync(), g.db.Close()))
	}
	return plain(g.db.Close())
}

// plain takes bbolt's types out of an error.
func plain(err error) error {
	var number syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return queue.ErrClosed
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrInUse
	case isOurs(err):
		return err
	case errors.As(err, &number), errors.Is(err, ErrDamagedFile): // of the file system, or of ours
		return err
	}
	text := err.Error()
	for _, number := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if rest, ok := strings.CutSuffix(text, number.Error()); ok { // bbolt writes some of the file system as text
			return fmt.Errorf("%s%w", rest, number)
		}
	}
	return errors.New(text)
}

// isOurs reports whether a caller can decide on the error: such an error of
// one change does not fail the others of its transaction.
func isOurs(err error) bool {
	if errors.Is(err, ErrDamagedFile) {
		return false
	}
	for _, known := range []error{queue.ErrNotFound, queue.ErrStale, queue.ErrExists, queue.ErrState, queue.ErrDamaged, queue.ErrClosed, errMoved} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
