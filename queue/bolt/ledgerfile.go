package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// Buckets and keys of a ledger file, beside bucketMeta, bucketCauses and keyFormat.
var (
	bucketLines = []byte("lines")

	keyAnchor = []byte("anchor") // hash of the line before the first one
	keyBefore = []byte("before") // its sequence number
	keyBooks  = []byte("books")
	keyBroken = []byte("broken") // in words, which files are missing before this one
)

const ledgerDay = "20060102"

// linesPerView is how many lines of a ledger file one transaction looks at.
const linesPerView = 4096

// ledgerFile holds the ledger lines that were filed on one day:
//
//	meta    format, anchor, books, and what is missing before it
//	lines   hash and record, by sequence number
//	causes  notifications by cause, of retired generations
//
// The hash of a line is SHA-256 of the hash before it, its sequence number and
// its record. The first line of a file goes on from the last one of the file before.
// If files between them have been set aside, the words that say so are linked
// like a record, and the file goes on from that.
type ledgerFile struct {
	number  int
	day     time.Time // begins, in UTC
	path    string
	spoiled func(*ledgerFile, error) // is told that the file is damaged; may be told again

	proven atomic.Bool // what it points to has been read
	broken bool        // bbolt panicked while it wrote: it may hold a lock for ever; for the writer

	mu   sync.Mutex
	db   *bbolt.DB // opened when it is needed
	gone bool
}

// books are what is known of the generations that are gone.
type books struct {
	Account queue.Account `json:"account"`
	Retired int           `json:"retired"`        // number of the last one
	Highest int           `json:"highest"`        // of all their numbers: they are not given again
	Known   time.Time     `json:"known,omitzero"` // up to which the clock was believed when they were written
}

// line is a ledger line as it is in a generation.
type line struct {
	seq    uint64
	record []byte
}

func ledgerName(number int, day time.Time) string {
	return fmt.Sprintf("ledger-%06d-%s.db", number, day.Format(ledgerDay))
}

// newLedgerFile reads what the name says.
func newLedgerFile(path string) (*ledgerFile, error) {
	f := &ledgerFile{path: path}
	var day int
	_, err := fmt.Sscanf(filepath.Base(path), "ledger-%d-%d.db", &f.number, &day)
	if err == nil {
		f.day, err = time.Parse(ledgerDay, fmt.Sprintf("%08d", day))
	}
	if err != nil || ledgerName(f.number, f.day) != filepath.Base(path) {
		return nil, fmt.Errorf("%s: not the name of a ledger file", path)
	}
	return f, nil
}

// open opens the file, once. Only the newest is opened for writing. The error is
// ErrDamagedFile, or that of the file system.
func (f *ledgerFile) open(options bbolt.Options) (_ *bbolt.DB, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.guard(&err)
	if f.db != nil || f.gone {
		return f.db, nil
	}
	if _, err := f.inspect(); err != nil { // bbolt would make it, or trust it
		return nil, err
	}
	db, err := bbolt.Open(f.path, 0o600, &options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, unusable(err))
	}
	if err := db.View(f.check); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, errors.Join(plain(err), db.Close()))
	}
	f.db = db
	return db, nil
}

// inspect reads what bbolt reads when it opens the file, and the way to its last
// line. doubt is why the last transaction may be missing, "" if it is not.
func (f *ledgerFile) inspect() (doubt string, err error) {
	r, err := openRuins(f.path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h, err := r.look()
	if err == nil {
		err = r.edges(h.newest)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(f.path), err)
	}
	if h.valid < 2 {
		doubt = "one of its two meta pages cannot be read: the lines of its last transaction may be missing"
	}
	return doubt, nil
}

// check wants a ledger file of a format that can be read: a chain is never
// written anew, so that files of every format stay.
func (f *ledgerFile) check(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || tx.Bucket(bucketLines) == nil || tx.Bucket(bucketCauses) == nil {
		return fmt.Errorf("%w: not a ledger file", ErrDamagedFile)
	}
	if err := checkFormat(f.path, meta); err != nil {
		return fmt.Errorf("%w: %w", ErrDamagedFile, err)
	}
	return nil
}

// view reads the file; it does nothing when the file has been trimmed. That the
// file is damaged is told.
func (f *ledgerFile) view(read func(*bbolt.Tx) error) error {
	err := f.read(read)
	if errors.Is(err, ErrDamagedFile) {
		f.spoiled(f, err)
	}
	return err
}

func (f *ledgerFile) read(read func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.guard(&err)
	db, err := f.open(bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil || db == nil {
		return err
	}
	err = plain(db.View(func(tx *bbolt.Tx) error {
		if err := f.prove(tx); err != nil {
			return err
		}
		return read(tx)
	}))
	if errors.Is(err, queue.ErrClosed) { // closed meanwhile
		return nil
	}
	return err
}

// update writes to the file.
func (f *ledgerFile) update(write func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.guard(&err)
	db, err := f.open(ledgerOptions())
	if err != nil {
		return err
	}
	if err := plain(db.View(f.prove)); err != nil {
		return err
	}
	f.broken = true // unless it comes back
	err = plain(db.Update(write))
	f.broken = false
	return err
}

// prove reads, once for each process and before bbolt does, all that can be
// reached from the root: pages that point to each other in a circle would end
// the process.
func (f *ledgerFile) prove(tx *bbolt.Tx) error {
	if f.proven.Load() {
		return nil
	}
	if err := checkReachable(context.Background(), f.path, tx); err != nil {
		return err
	}
	f.proven.Store(true)
	return nil
}

// guard turns a panic of bbolt over a damaged page into an error. The caller
// has set debug.SetPanicOnFault.
func (f *ledgerFile) guard(err *error) {
	if reason := recover(); reason != nil {
		*err = fmt.Errorf("%s: %w: %v", filepath.Base(f.path), ErrDamagedFile, reason)
	}
}

// close waits for the readers. Nobody opens the file again.
func (f *ledgerFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	if f.db == nil || f.broken {
		return nil
	}
	return plain(f.db.Close())
}

// isGone reports whether the file has been trimmed or set aside.
func (f *ledgerFile) isGone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

// link is the hash that the line after the given one goes on from.
func link(before, key, record []byte) []byte {
	h := sha256.New()
	h.Write(before)
	h.Write(key)
	h.Write(record)
	return h.Sum(nil)
}

// page reads records of lines after one sequence number and up to another,
// that may be wanted. It returns how far it has looked: up to the end means all.
func (f *ledgerFile) page(after, end uint64, wants func(record []byte) bool) (page []pair, seen uint64, err error) {
	seen = end
	err = f.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLines).Cursor()
		looked := 0
		for k, v := c.Seek(sequenceKey(after + 1)); k != nil; k, v = c.Next() {
			seq := binary.BigEndian.Uint64(k)
			if seq > end {
				return nil
			}
			if looked == linesPerView || len(page) == pageLength {
				seen = seq - 1
				return nil
			}
			looked++
			v = v[min(len(v), sha256.Size):]
			if len(v) == 0 || wants(v) { // without a record it is told as damaged
				page = append(page, pair{bytes.Clone(k), bytes.Clone(v)})
			}
		}
		return nil
	})
	return page, seen, err
}

// lines calls each for the records up to end that may be wanted, until it returns false.
func (f *ledgerFile) lines(ctx context.Context, after, end uint64, wants func([]byte) bool, each func(pair) bool) (goOn bool, err error) {
	for after < end {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		page, seen, err := f.page(after, end, wants)
		if err != nil {
			return false, err
		}
		for _, p := range page {
			if !each(p) {
				return false, nil
			}
		}
		after = seen
	}
	return true, nil
}
