package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// ErrDamagedFile is what Options.Check wraps for a file that must not be
// opened. Any other error says that the file could not be checked.
var ErrDamagedFile = errors.New("damaged file")

// CheckFile reads the structure of a file that nobody has open, first without
// bbolt, then with it. What bbolt does with a damaged file can end the process,
// so this is for a process of its own. nil says that bbolt can use the file; it
// says nothing about messages, which have sums of their own.
func CheckFile(path string) error {
	if err := checkStructure(path); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true, NoStatistics: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamagedFile, plain(err))
	}
	err = db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() { // to its end: a goroutine writes to it
			if first == nil {
				first = err
			}
		}
		return first
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrDamagedFile, plain(err))
	}
	return errors.Join(err, plain(db.Close()))
}

// checkStructure reads every page that can be reached, without bbolt, and holds
// it against the list of free ones.
func checkStructure(path string) error {
	r, err := openRuins(path)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.look()
	if err != nil {
		return err
	}
	w := newWalk(r, h.newest.end)
	if w.free, err = r.free(h.newest); err == nil {
		err = w.tree("", h.newest.root)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamagedFile, err)
	}
	return nil
}

// look reads the meta pages, the size, the list of free pages and the root,
// which is quick. The error is
// ErrDamagedFile, or that of the file system.
func (r *ruins) look() (heads, error) {
	h := r.heads()
	switch {
	case h.valid == 0:
		return h, fmt.Errorf("%w: neither of its two meta pages can be read", ErrDamagedFile)
	case h.newest.end > uint64(r.size/r.pageSize):
		return h, fmt.Errorf("%w: it is cut off: %d bytes of %d", ErrDamagedFile, r.size, int64(h.newest.end)*r.pageSize)
	}
	_, err := r.free(h.newest) // with a wrong one bbolt would write over pages in use
	if err == nil {
		err = r.root(h.newest)
	}
	if err != nil {
		return h, fmt.Errorf("%w: %w", ErrDamagedFile, err)
	}
	return h, nil
}

// root reads the page of the root, and the buckets within it: those bbolt
// copies to the heap, and what points out of them there ends the process.
func (r *ruins) root(h head) error {
	p, err := r.page(h.root, h.end)
	if err != nil || p.flags != flagLeaf {
		return err // of a branch each leaf is read when it is needed
	}
	var wrong error
	r.everyBucket(p, func(err error) { wrong = errors.Join(wrong, err) })
	return wrong
}

// guard turns a panic within bbolt, or within a page that cannot be read, into
// an error: the store takes no further change, and the next start looks at the
// file first. The caller has set debug.SetPanicOnFault.
func (g *generation) guard(err *error) {
	reason := recover()
	if reason == nil {
		return
	}
	*err = fmt.Errorf("%s: %w: %v", g.name(), ErrDamagedFile, reason)
	if !g.opened {
		return // it will be set aside
	}
	g.store.options.Log.Error("file.damaged", "file", g.name(), "error", *err, "stack", string(debug.Stack()))
	*err = g.suspect(*err)
}

// suspect puts the store out of service because of a file, and has the next
// start check it, also if it was not written.
func (g *generation) suspect(why error) error {
	g.remember(why)
	return g.store.fail(why)
}

// remember has the next start check the file.
func (g *generation) remember(why error) {
	words := why.Error()
	g.doubt.Store(&words)
	g.save(g.summary(), (*os.File).Sync)
}

// inspection is what is known of a file before bbolt sees it.
type inspection struct {
	doubt   string // why the last transaction may be missing, "" if it is not
	checked bool   // by Options.Check
	noLater bool   // no page of a later transaction was found
}

// inspect finds out whether a file can be used: always with a short look, and
// with Options.Check if it may have been written since the last clean stop. The
// error is ErrDamagedFile, or that of the file system.
func (s *Store) inspect(number int) (found inspection, err error) {
	path := filepath.Join(s.dir, generationName(number))
	r, err := openRuins(path)
	if err != nil {
		return found, err
	}
	defer r.Close()
	h, err := r.look()
	if err != nil {
		return found, err
	}
	known, _ := readSummary(s.dir, number)
	same := h.newest.tx == known.Tx
	if sum, err := r.freeSum(h.newest); same && (err != nil || sum != known.FreeSum) {
		same = false // it is checked, and bbolt reads nothing else before
	}
	switch {
	case h.newest.tx < known.Tx:
		return found, fmt.Errorf("%w: its last transaction is %d, but there was %d", ErrDamagedFile, h.newest.tx, known.Tx)
	case known.Clean && same && known.Suspect == "":
		return found, nil
	case h.valid < 2 && !(known.Clean && same):
		found.doubt = "one of its two meta pages cannot be read: the changes of its last transaction may be missing"
		found.noLater = !s.hasLater(path, h.newest.tx)
	}
	switch {
	case s.options.Check != nil:
		found.checked = true
		err = s.options.Check(context.Background(), path)
	case known.Suspect != "":
		err = checkStructure(path)
	}
	if err != nil && !errors.Is(err, ErrDamagedFile) {
		s.options.Log.Error("file.unchecked", "file", path, "error", err)
		err = nil
	}
	return found, err
}

// startCheckRest checks in the background what was not checked before, if the
// last stop was not clean.
func (s *Store) startCheckRest(ctx context.Context) {
	var rest []*generation
	for _, g := range s.generations {
		if !g.checked {
			rest = append(rest, g)
		}
	}
	if s.clean || len(rest) == 0 || s.options.Check == nil {
		return
	}
	s.checking.Go(func() { s.checkRest(ctx, rest) })
}

// checkRest reads the structure of the files that were not looked at before
// they were opened, while they are in use.
func (s *Store) checkRest(ctx context.Context, rest []*generation) {
	for _, g := range rest {
		if err := g.checkInUse(ctx); errors.Is(err, ErrDamagedFile) {
			_ = g.suspect(err) // a restart sets it aside
			return
		}
	}
}

// checkInUse reads the structure of a file that is being written: what a
// transaction for reading sees stays as it is until it ends.
func (g *generation) checkInUse(ctx context.Context) error {
	return g.view(func(tx *bbolt.Tx) error { return checkReachable(ctx, filepath.Join(g.store.dir, g.name()), tx) })
}

// checkReachable reads the structure that a transaction for reading sees, without bbolt.
func checkReachable(ctx context.Context, path string, tx *bbolt.Tx) error {
	r, err := openRuins(path)
	if err != nil {
		return err
	}
	defer r.Close()
	r.pageSize = int64(tx.DB().Info().PageSize)
	w := newWalk(r, uint64(tx.Size()/r.pageSize))
	w.visit = func(string, element) error { return ctx.Err() }
	err = w.tree("", uint64(tx.Cursor().Bucket().RootPage()))
	if errors.Is(err, errPage) {
		err = fmt.Errorf("%s: %w: %w", filepath.Base(path), ErrDamagedFile, err)
	}
	return err
}

// edges reads the way to the last element of each bucket of the root.
func (r *ruins) edges(h head) error {
	root, err := r.page(h.root, h.end)
	if err == nil && root.flags != flagLeaf {
		err = wrongPage(root.id, "is no leaf: a root of few buckets is one")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamagedFile, err)
	}
	for e := range root.elements() { // look has read them
		if !e.bucket {
			continue
		}
		if _, id, _ := e.inside(); id != 0 {
			if err := r.edge(id, h.end, maxDepth); err != nil {
				return fmt.Errorf("%w: %w", ErrDamagedFile, err)
			}
		}
	}
	return nil
}

// edge follows the last elements down to a leaf.
func (r *ruins) edge(id, end uint64, depth int) error {
	p, err := r.page(id, end)
	if err != nil {
		return err
	}
	if p.count == 0 && p.flags == flagLeaf {
		return nil
	}
	if p.count == 0 || p.flags == flagFreelist || depth == 0 {
		return wrongPage(id, "leads nowhere")
	}
	last, err := p.element(p.count - 1)
	if err != nil || p.flags == flagLeaf {
		return err
	}
	return r.edge(last.child, end, depth-1)
}
