package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// A damaged ledger file is set aside like a generation. If it is the newest, the
// next one is begun, and says that the chain is broken there; lines that are
// still in generations are filed once more. An older one is set aside when
// somebody has read it. What else was in it comes back by a salvage.

// openLedger opens the newest file, or sets it aside and takes the one before.
func (s *Store) openLedger() (err error) {
	if s.ledger, err = newLedger(s.dir, s.options.LedgerKeep, s.options.Log, s.ledgerSpoiled); err != nil {
		return err
	}
	clean, err := exists(filepath.Join(s.dir, cleanMark))
	if err != nil {
		return err
	}
	l := s.ledger
	for len(l.files) > 0 {
		newest := l.files[len(l.files)-1]
		err := s.beginLedger(newest, clean)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrDamagedFile) {
			return err
		}
		if err := s.renameLedger(newest, err); err != nil {
			return err
		}
		l.files = l.files[:len(l.files)-1]
	}
	return s.breakLedger()
}

// beginLedger opens the newest file. Unless the last stop was clean, its
// structure is checked first.
func (s *Store) beginLedger(f *ledgerFile, clean bool) error {
	if err := s.refuseNewerLedger(f); err != nil {
		return err
	}
	doubt, err := f.inspect()
	if err != nil {
		return err
	}
	if !clean {
		if err := s.checkLedger(f.path); err != nil {
			return err
		}
	}
	if err := s.ledger.begin(f, ledgerOptions()); err != nil {
		return err
	}
	s.ledgerDoubt = doubt
	return nil
}

// checkLedger reads the structure of a file that nobody has open.
func (s *Store) checkLedger(path string) error {
	check := s.options.Check
	if check == nil {
		check = func(_ context.Context, path string) error { return checkStructure(path) }
	}
	err := check(context.Background(), path)
	if err != nil && !errors.Is(err, ErrDamagedFile) {
		s.options.Log.Error("file.unchecked", "file", path, "error", err)
		return nil
	}
	return err
}

// refuseNewerLedger refuses what a newer version has written: it would have
// written the summaries of the generations as well.
func (s *Store) refuseNewerLedger(f *ledgerFile) error {
	known, err := filepath.Glob(filepath.Join(s.dir, "gen-*.json"))
	if err != nil {
		return err
	}
	for _, path := range known {
		if _, found := readSummary(s.dir, numberOf(strings.TrimSuffix(filepath.Base(path), ".json")+".db")); found {
			return nil
		}
	}
	r, err := openRuins(f.path)
	if err != nil {
		return err
	}
	defer r.Close()
	if has := r.inMeta(keyFormat); len(has) == 1 && has[0] > format {
		return newerFormat(f.path, int(has[0]))
	}
	return nil
}

// inMeta reads a value of the meta bucket, nil if it cannot be found.
func (r *ruins) inMeta(key []byte) (value []byte) {
	h := r.heads()
	if h.valid == 0 {
		return nil
	}
	w := newWalk(r, h.newest.end)
	w.broken = func(error) error { return nil }
	w.visit = func(top string, e element) error {
		if top == string(bucketMeta) && string(e.key) == string(key) {
			value = slices.Clone(e.value)
		}
		return nil
	}
	_ = w.tree("", h.newest.root) // nothing ends it
	return value
}

// renameLedger takes a ledger file out of the row and describes it.
func (s *Store) renameLedger(f *ledgerFile, why error) error {
	renamed := filepath.Base(f.path) + asideInfix + time.Now().UTC().Format("20060102T150405Z")
	if err := os.Rename(f.path, filepath.Join(s.dir, renamed)); err != nil {
		return err
	}
	if err := syncFolder(s.dir); err != nil {
		return err
	}
	_, err := s.describeLedger(renamed, reason(why), 0)
	return err
}

// describeLedger writes down what is known of a ledger file that has been
// renamed. Lines after that number are missing.
func (s *Store) describeLedger(renamed, why string, after uint64) (*aside, error) {
	a := &aside{Format: format, Name: nameOf(renamed), File: renamed, Why: why, At: now(), Ledger: true, After: after}
	a.path = filepath.Join(s.dir, renamed+".json")
	a.Certainty = queue.About
	if found, ok := booksIn(filepath.Join(s.dir, renamed)); ok {
		a.Books, a.Certainty = &found, queue.Exact
	}
	if err := a.save(); err != nil {
		return nil, err
	}
	s.options.Log.Error("ledger.aside", "file", a.Name, "now", a.File, "why", a.Why)
	return a, nil
}

// booksIn finds the books in what is left of a ledger file: those in use, or else
// the ones that know of most.
func booksIn(path string) (found books, ok bool) {
	r, err := openRuins(path)
	if err != nil {
		return found, false
	}
	defer r.Close()
	if decode(r.inMeta(keyBooks), &found) == nil {
		return found, true
	}
	found = books{}
	r.everyPage(func(p page) {
		r.everyElement(p, func(e element) {
			var other books
			if string(e.key) == string(keyBooks) && decode(e.value, &other) == nil && (!ok || other.Highest >= found.Highest && other.Account.Accepted >= found.Account.Accepted) {
				found, ok = other, true
			}
		})
	})
	return found, ok
}

// breakLedger takes from what was set aside after the newest file that there is:
// the books, and the words for the next file.
func (s *Store) breakLedger() error {
	paths, err := s.descriptions("ledger-*")
	if err != nil {
		return err
	}
	l, last := s.ledger, 0
	if n := len(l.files); n > 0 {
		last = l.files[n-1].number
	}
	var missing []string
	for _, path := range paths { // in order of their numbers
		a, err := readAside(path)
		if err != nil {
			return err
		}
		was, err := newLedgerFile(filepath.Join(s.dir, a.Name))
		if err != nil || was.number <= last || a.InUse {
			continue
		}
		missing = append(missing, a.File)
		l.least = max(l.least, was.number+1)
		if a.Books != nil {
			l.books = *a.Books
		}
		if a.After != l.filed {
			a.After = l.filed
			if err := a.save(); err != nil {
				return err
			}
		}
	}
	if len(missing) > 0 {
		l.broken = "set aside: " + strings.Join(missing, ", ")
	}
	return nil
}

// ledgerSpoiled takes an older file out of the row, in which a damaged page was
// met. If it is the newest, the store goes out of service: the next start sets it aside.
func (s *Store) ledgerSpoiled(f *ledgerFile, why error) {
	s.filing.Lock()
	a, err := s.ledgerOut(f, why)
	s.filing.Unlock()
	switch {
	case err != nil:
		_ = s.fail(err)
	case a != nil:
		if err := s.noteAside(a); err != nil { // the next start does it
			s.options.Log.Error("ledger.unnoted", "file", a.File, "error", err)
		}
	}
}

// ledgerOut is nil if somebody was faster. The caller holds filing.
func (s *Store) ledgerOut(f *ledgerFile, why error) (*aside, error) {
	l := s.ledger
	files, _ := l.row()
	at := slices.Index(files, f)
	switch {
	case at < 0:
		return nil, nil
	case at == len(files)-1:
		return nil, why
	}
	l.mu.Lock()
	l.files = slices.Delete(slices.Clone(files), at, at+1)
	l.mu.Unlock()
	_ = f.close() // it is of no use any more
	renamed := filepath.Base(f.path) + asideInfix + time.Now().UTC().Format("20060102T150405Z")
	if err := errors.Join(os.Rename(f.path, filepath.Join(s.dir, renamed)), syncFolder(s.dir)); err != nil {
		return nil, err
	}
	a, err := s.describeLedger(renamed, reason(why), lastLine(files[:at]))
	if err != nil {
		return nil, err
	}
	s.asiding.Lock()
	defer s.asiding.Unlock()
	s.asides = append(s.asides, a)
	return a, nil
}

// lastLine is the number of the last line in the files, 0 if it cannot be known.
func lastLine(files []*ledgerFile) (seq uint64) {
	if len(files) == 0 {
		return 0
	}
	_ = files[len(files)-1].read(func(tx *bbolt.Tx) error { // it is only to be told
		if key, _ := tx.Bucket(bucketLines).Cursor().Last(); len(key) == 8 {
			seq = sequenceOf(key)
		}
		return nil
	})
	return seq
}

// describeLedgerRest describes the ledger files that were renamed, but not
// described since the process ended in between.
func (s *Store) describeLedgerRest() error {
	files, err := s.undescribed("ledger-*")
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := s.describeLedger(file, setAsideUnsaid, 0); err != nil {
			return err
		}
	}
	return nil
}

// gap is a ledger file that is missing in the row.
type gap struct {
	*ledgerFile
	aside queue.Aside
	after uint64
}

// gaps are the ledger files that are set aside, in order of their numbers.
func (s *Store) gaps() (gaps []gap) {
	s.asiding.Lock()
	defer s.asiding.Unlock()
	for _, a := range s.asides {
		if !a.Ledger || a.InUse {
			continue
		}
		if f, err := newLedgerFile(filepath.Join(s.dir, a.Name)); err == nil {
			gaps = append(gaps, gap{f, a.shown(), a.After})
		}
	}
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(a.number, b.number) })
	return gaps
}

// missing says what of the ledger cannot be read. It wraps queue.ErrDamaged.
func (g gap) missing() error {
	return fmt.Errorf("the ledger after line %d, filed on %s: %w: %s", g.after, g.day.Format(time.DateOnly), errSetAside, g.aside.File)
}

// errSetAside says why lines are missing in a listing, which goes on behind them.
var errSetAside = fmt.Errorf("set aside (%w)", queue.ErrDamaged)
