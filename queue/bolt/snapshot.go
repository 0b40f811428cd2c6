package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"runtime/debug"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// Snapshot is a backup that is read. Nothing is written to it. Its methods may
// be called concurrently.
type Snapshot struct {
	store   *Store
	unsound []queue.Finding // files that cannot be read
}

// OpenSnapshot opens a folder that Backup has written. Files that are damaged
// are left out, and told by Audit. check is as in Options; without it the
// structure of each file is read in this process. It fails if a newer version
// has written the folder.
func OpenSnapshot(ctx context.Context, dir string, check func(ctx context.Context, path string) error) (*Snapshot, error) {
	if check == nil {
		check = func(_ context.Context, path string) error { return checkStructure(path) }
	}
	s := &Store{dir: dir, options: Options{Check: check}.withDefaults(), copied: true}
	snapshot := &Snapshot{store: s}
	if err := snapshot.open(ctx); err != nil {
		return nil, errors.Join(err, snapshot.Close())
	}
	return snapshot, nil
}

func (n *Snapshot) open(ctx context.Context) (err error) {
	s := n.store
	options := ledgerOptions()
	options.ReadOnly = true
	if err := n.checkLedger(ctx); err != nil {
		return err
	}
	if s.ledger, err = newLedger(s.dir, s.options.LedgerKeep, s.options.Log, func(*ledgerFile, error) {}); err != nil {
		return err
	}
	if files := s.ledger.files; len(files) > 0 {
		if err := s.ledger.begin(files[len(files)-1], options); err != nil {
			return err
		}
	}
	s.gone = s.ledger.books.Account
	s.seq.Store(s.ledger.end())
	numbers, err := generationNumbers(s.dir)
	if err != nil {
		return err
	}
	for _, number := range numbers {
		g, err := n.generation(ctx, number)
		if errors.Is(err, ErrDamagedFile) {
			n.unsound = append(n.unsound, queue.Finding{File: generationName(number), What: err.Error()})
			continue
		}
		if err != nil {
			return err
		}
		s.generations = append(s.generations, g)
		s.seq.Store(max(s.seq.Load(), g.standing().lastSeq))
	}
	return s.loadAsides(nil)
}

// checkLedger reads the structure of the ledger files: without them nothing
// else of the copy can be judged.
func (n *Snapshot) checkLedger(ctx context.Context) error {
	paths, err := filepath.Glob(filepath.Join(n.store.dir, "ledger-*.db"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := n.store.options.Check(ctx, path); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// generation opens a file for reading, after its structure has been checked.
func (n *Snapshot) generation(ctx context.Context, number int) (_ *generation, err error) {
	path := filepath.Join(n.store.dir, generationName(number))
	if err := n.store.options.Check(ctx, path); err != nil {
		return nil, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	g := &generation{store: n.store, number: number}
	defer g.guard(&err)
	options := n.store.boltOptions()
	options.ReadOnly, options.InitialMmapSize = true, 0
	if g.db, err = bbolt.Open(path, 0o600, options); err != nil {
		return nil, fmt.Errorf("%s: %w", path, unusable(err))
	}
	if err := g.db.View(g.load); err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(plain(err), g.db.Close()))
	}
	return g, nil
}

// Close closes the files.
func (n *Snapshot) Close() error {
	var errs []error
	for _, g := range n.store.generations {
		errs = append(errs, g.closeFile())
	}
	if n.store.ledger != nil {
		errs = append(errs, n.store.ledger.close())
	}
	return errors.Join(errs...)
}

// Messages lists what matches, as Store.Messages does.
func (n *Snapshot) Messages(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return n.store.Messages(ctx, f)
}

// Ledger lists lines, as Store.Ledger does.
func (n *Snapshot) Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error] {
	return n.store.Ledger(ctx, f)
}

// Stats reads the counters. DiskFree is that of the disk of the copy.
func (n *Snapshot) Stats(ctx context.Context) (queue.Stats, error) {
	n.store.space.dir = n.store.dir
	return n.store.Stats(ctx)
}

// Chain follows the chain of hashes through the ledger files, as Store.Verify does.
func (n *Snapshot) Chain(ctx context.Context) (Chain, error) { return n.store.Verify(ctx) }

// Audit reads everything, as Store.Audit does.
func (n *Snapshot) Audit(ctx context.Context, found func(queue.Finding) error) (queue.Checked, error) {
	for _, f := range n.unsound {
		if err := found(f); err != nil {
			return queue.Checked{}, err
		}
	}
	sum, err := n.store.Audit(ctx, "", found)
	sum.Files += int64(len(n.unsound))
	sum.Damaged += int64(len(n.unsound))
	return sum, err
}

// Sound reports whether the structure of every file can be used.
func (n *Snapshot) Sound() bool { return len(n.unsound) == 0 }

// content returns the trace of a message, and its content as it was received.
func (n *Snapshot) content(id queue.ID) (trace []byte, content io.Reader, err error) {
	g, err := n.store.home(id)
	if err != nil {
		return nil, nil, err
	}
	r, err := g.content(id)
	if err != nil {
		return nil, nil, err
	}
	body := r.(*contentReader)
	trace, body.rest = slices.Clone(body.rest), nil
	return trace, body, nil
}
