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

	head  []byte // hash of that line; for the writer alone, as are the books
	books books
}

// openLedger opens the newest file in dir. There is none before the first line is filed.
func openLedger(dir string, keep time.Duration, log *slog.Logger, options bbolt.Options) (*ledger, error) {
	l := &ledger{dir: dir, keep: keep, log: log, head: make([]byte, sha256.Size)}
	paths, err := filepath.Glob(filepath.Join(dir, "ledger-*.db"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		f, err := newLedgerFile(path)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, f)
	}
	slices.SortFunc(l.files, func(a, b *ledgerFile) int { return a.number - b.number })
	if len(l.files) == 0 {
		return l, nil
	}
	newest := l.files[len(l.files)-1]
	db, err := newest.open(options)
	if err != nil {
		return nil, err
	}
	if err := db.View(l.load); err != nil {
		return nil, fmt.Errorf("%s: %w", newest.path, errors.Join(plain(err), l.close()))
	}
	return l, nil
}

func ledgerOptions() bbolt.Options {
	return bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
}

// load reads the end of the chain and the books from the newest file.
func (l *ledger) load(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if err := decode(meta.Get(keyBooks), &l.books); err != nil {
		return fmt.Errorf("books: %w", err)
	}
	key, value := tx.Bucket(bucketLines).Cursor().Last()
	if key == nil {
		key, value = meta.Get(keyBefore), meta.Get(keyAnchor)
	}
	if len(key) != 8 || len(value) < sha256.Size {
		return fmt.Errorf("end of the chain: %w", queue.ErrDamaged)
	}
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
func (l *ledger) newest(now time.Time) (*bbolt.DB, error) {
	today := now.UTC().Truncate(24 * time.Hour)
	number := 1
	if n := len(l.files); n > 0 {
		last := l.files[n-1]
		if last.day.Equal(today) {
			return last.open(ledgerOptions())
		}
		number = last.number + 1
	}
	path := filepath.Join(l.dir, ledgerName(number, today))
	err := createFile(path, ledgerOptions(), func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketLines, bucketCauses} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Put(keyFormat, []byte{format}), meta.Put(keyAnchor, l.head),
			meta.Put(keyBefore, sequenceKey(l.filed)), meta.Put(keyBooks, encode(l.books)))
	})
	if err != nil {
		return nil, err
	}
	f, err := newLedgerFile(path)
	if err != nil {
		return nil, err
	}
	db, err := f.open(ledgerOptions())
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files = append(l.files, f)
	l.log.Info("ledger.begun", "file", filepath.Base(path))
	return db, nil
}

// update writes one transaction to the file of today.
func (l *ledger) update(write func(*bbolt.Tx) error) error {
	db, err := l.newest(time.Now())
	if err != nil {
		return err
	}
	return plain(db.Update(write))
}

// file adds lines, which must come in order. Lines that are there already are left out.
func (l *ledger) file(lines []line) error {
	filed, head := l.filed, l.head
	err := l.update(func(tx *bbolt.Tx) error {
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
	next.Retired, next.Highest = number, max(next.Highest, number)
	add(&next.Account, account)
	if err := l.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyBooks, encode(next)) }); err != nil {
		return err
	}
	l.books = next
	return nil
}

// trimAt is when the oldest file has been kept for long enough; zero without a file.
func (l *ledger) trimAt() time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.files) == 0 {
		return time.Time{}
	}
	return l.files[0].day.Add(24*time.Hour + l.keep)
}

// trim removes the files whose time is over, the oldest first, so that what
// is left is a chain. The newest carries the books: it has a successor first.
func (l *ledger) trim(now time.Time) error {
	for at := l.trimAt(); !at.IsZero() && !at.After(now); at = l.trimAt() {
		if len(l.files) == 1 {
			if _, err := l.newest(now); err != nil {
				return err
			}
		}
		l.mu.Lock()
		oldest := l.files[0]
		l.files = l.files[1:]
		l.mu.Unlock()
		if err := errors.Join(oldest.close(), os.Remove(oldest.path), syncFolder(l.dir)); err != nil {
			return err
		}
		l.log.Info("ledger.trimmed", "file", filepath.Base(oldest.path))
	}
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
