package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// ledger is the row of ledger files. One goroutine at a time may write.
type ledger struct {
	dir  string
	keep time.Duration
	log  *slog.Logger

	mu    sync.RWMutex
	files []*ledgerFile // oldest first; the last one is written to
	filed uint64        // sequence number of the last line in them

	head  []byte // hash of that line; for the writer alone, as is what follows
	books books

	opened time.Time // and known is what was known of the time then; zero without a file
	known  time.Time

	broken  string // which files are missing after the newest, in words; "" if none is
	least   int    // number of the next file, at least
	spoiled func(*ledgerFile, error)
}

// newLedger lists the files in dir. None is opened.
func newLedger(dir string, keep time.Duration, log *slog.Logger, spoiled func(*ledgerFile, error)) (*ledger, error) {
	l := &ledger{dir: dir, keep: keep, log: log, head: make([]byte, sha256.Size), spoiled: spoiled, opened: time.Now()}
	paths, err := filepath.Glob(filepath.Join(dir, "ledger-*.db"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		f, err := l.newFile(path)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, f)
	}
	slices.SortFunc(l.files, func(a, b *ledgerFile) int { return a.number - b.number })
	return l, nil
}

func (l *ledger) newFile(path string) (*ledgerFile, error) {
	f, err := newLedgerFile(path)
	if err == nil {
		f.spoiled = l.spoiled
	}
	return f, err
}

// begin opens the file that is written to and reads the end of the chain from it. It wraps
// ErrDamagedFile if that cannot be done.
func (l *ledger) begin(f *ledgerFile, options bbolt.Options) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.guard(&err)
	db, err := f.open(options)
	if err != nil {
		return err
	}
	if err := db.View(l.load); err != nil {
		return fmt.Errorf("%s: %w", f.path, errors.Join(plain(err), f.close()))
	}
	return nil
}

func ledgerOptions() bbolt.Options {
	return bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
}

// load reads the end of the chain and the books from the newest file.
func (l *ledger) load(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	var known books
	if err := decode(meta.Get(keyBooks), &known); err != nil {
		return fmt.Errorf("%w: books: %w", ErrDamagedFile, err)
	}
	key, value := tx.Bucket(bucketLines).Cursor().Last()
	if key == nil {
		key, value = meta.Get(keyBefore), meta.Get(keyAnchor)
	}
	if len(key) != 8 || len(value) < sha256.Size {
		return fmt.Errorf("%w: the end of the chain cannot be read", ErrDamagedFile)
	}
	l.books, l.known = known, known.Known
	l.filed, l.head = binary.BigEndian.Uint64(key), bytes.Clone(value[:sha256.Size])
	return nil
}

// end is the sequence number of the last line that is in a file.
func (l *ledger) end() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.filed
}

// row are the files of this moment and the last line in them.
func (l *ledger) row() ([]*ledgerFile, uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.files), l.filed
}

// newest is the file of today. It is begun if there is none.
func (l *ledger) newest(now time.Time) (*ledgerFile, error) {
	today := now.UTC().Truncate(24 * time.Hour)
	number := max(1, l.least)
	if n := len(l.files); n > 0 {
		last := l.files[n-1]
		if last.day.Equal(today) && l.broken == "" {
			return last, nil
		}
		number = max(number, last.number+1)
	}
	anchor := l.head
	if l.broken != "" {
		anchor = link(l.head, sequenceKey(l.filed), []byte(l.broken))
	}
	l.books.Known = l.believed(now)
	path := filepath.Join(l.dir, ledgerName(number, today))
	err := createFile(path, ledgerOptions(), func(tx *bbolt.Tx) error { return l.fill(tx, anchor) })
	if err != nil {
		return nil, err
	}
	f, err := l.newFile(path)
	if err != nil {
		return nil, err
	}
	if _, err := f.open(ledgerOptions()); err != nil {
		return nil, err
	}
	f.proven.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files, l.head, l.broken = append(l.files, f), anchor, ""
	l.log.Info("ledger.begun", "file", filepath.Base(path))
	return f, nil
}

// fill writes what a file begins with.
func (l *ledger) fill(tx *bbolt.Tx, anchor []byte) error {
	for _, name := range [][]byte{bucketMeta, bucketLines, bucketCauses} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	err := errors.Join(meta.Put(keyFormat, []byte{format}), meta.Put(keyAnchor, anchor),
		meta.Put(keyBefore, sequenceKey(l.filed)), meta.Put(keyBooks, encode(l.books)))
	if l.broken != "" {
		err = errors.Join(err, meta.Put(keyBroken, []byte(l.broken)))
	}
	return err
}

// update writes one transaction to the file of today.
func (l *ledger) update(write func(*bbolt.Tx) error) error {
	f, err := l.newest(time.Now())
	if err != nil {
		return err
	}
	return f.update(write)
}

// file adds lines, which must come in order. Lines that are there already are left out.
func (l *ledger) file(lines []line) error {
	var filed uint64
	var head []byte
	err := l.update(func(tx *bbolt.Tx) error {
		filed, head = l.filed, l.head // a new file may have another
		bucket := tx.Bucket(bucketLines)
		bucket.FillPercent = 1 // keys come in order
		for _, one := range lines {
			if one.seq <= filed {
				continue
			}
			key := sequenceKey(one.seq)
			head = link(head, key, one.record)
			if err := bucket.Put(key, append(slices.Clip(head), one.record...)); err != nil {
				return err
			}
			filed = one.seq
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filed, l.head = filed, head
	return nil
}

// keepCauses writes causes of notifications; once more is the same.
func (l *ledger) keepCauses(causes []pair) error {
	return l.update(func(tx *bbolt.Tx) error {
		for _, p := range causes {
			if err := tx.Bucket(bucketCauses).Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// knows reports whether a notification of the cause was in a generation that
// is gone. A file that cannot be read is told and passed over: a notification
// too many does less harm than none.
func (l *ledger) knows(cause []byte) (found bool) {
	files, _ := l.row()
	for _, f := range files {
		err := f.view(func(tx *bbolt.Tx) error {
			found = found || tx.Bucket(bucketCauses).Get(cause) != nil
			return nil
		})
		if err != nil {
			l.log.Error("ledger.damaged", "file", filepath.Base(f.path), "error", err)
		}
	}
	return found
}

// absorb takes a generation into the books. From then on its file counts for
// nothing; each file is absorbed once.
func (l *ledger) absorb(number int, account queue.Account) error {
	next := l.books
	next.Known = l.believed(time.Now())
	next.Retired, next.Highest = number, max(next.Highest, number)
	add(&next.Account, account)
	if err := l.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyBooks, encode(next)) }); err != nil {
		return err
	}
	l.books = next
	return nil
}

// used is what the files take of the disk.
func (l *ledger) used() (sum int64, err error) {
	files, _ := l.row()
	for _, f := range files {
		used, err := diskUsed(f.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // trimmed meanwhile
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

func (l *ledger) close() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}
