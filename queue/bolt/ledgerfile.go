package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
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
)

const ledgerDay = "20060102"

// linesPerView is how many lines of a ledger file one transaction looks at.
const linesPerView = 4096

// ledgerFile holds the ledger lines that were filed on one day:
//
//	meta    format, anchor, books
//	lines   hash and record, by sequence number
//	causes  notifications by cause, of retired generations
//
// The hash of a line is SHA-256 of the hash before it, its sequence number and
// its record. The first line of a file goes on from the last one of the file before.
type ledgerFile struct {
	number int
	day    time.Time // begins, in UTC
	path   string

	mu   sync.Mutex
	db   *bbolt.DB // opened when it is needed
	gone bool
}

// books are what is known of the generations that are gone.
type books struct {
	Account queue.Account `json:"account"`
	Retired int           `json:"retired"` // number of the last one
	Highest int           `json:"highest"` // of all their numbers: they are not given again
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

// open opens the file, once. Only the newest is opened for writing.
func (f *ledgerFile) open(options bbolt.Options) (_ *bbolt.DB, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.guard(&err)
	if f.db != nil || f.gone {
		return f.db, nil
	}
	if _, err := os.Stat(f.path); err != nil { // bbolt would make it
		return nil, err
	}
	db, err := bbolt.Open(f.path, 0o600, &options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, plain(err))
	}
	if err := db.View(f.check); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, errors.Join(plain(err), db.Close()))
	}
	f.db = db
	return db, nil
}

// check wants a ledger file of a format that can be read: a chain is never
// written anew, so that files of every format stay.
func (f *ledgerFile) check(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || tx.Bucket(bucketLines) == nil || tx.Bucket(bucketCauses) == nil {
		return errors.New("not a ledger file")
	}
	return checkFormat(f.path, meta)
}

// view reads the file; it does nothing when the file has been trimmed.
func (f *ledgerFile) view(read func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.guard(&err)
	db, err := f.open(bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil || db == nil {
		return err
	}
	if err := plain(db.View(read)); !errors.Is(err, queue.ErrClosed) {
		return err
	}
	return nil // closed meanwhile
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
	if f.db == nil {
		return nil
	}
	return plain(f.db.Close())
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
			if len(v) < sha256.Size {
				return fmt.Errorf("ledger line %d: %w", seq, queue.ErrDamaged)
			}
			if v = v[sha256.Size:]; wants(v) {
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
