package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Before files are changed to a new format they are copied to
// before-format-2-20261125T193000Z, in the same folder, with everything that
// belongs to them: a whole store that the version before can open. What changes,
// or is written to later, is copied; all else gets a second name. The copy has
// its name only when it is complete, synced, and has been compared.

// copyKeep is how long the copy is kept: it has mail that is delivered meanwhile.
const copyKeep = 72 * time.Hour

const copyTime = "20060102T150405Z"

// ErrNoRoom says that the disk has no room for the copy. Nothing was changed.
var ErrNoRoom = errors.New("no room to copy the files before their format is changed")

// beforeFolder begins the name of copies from before a format.
func beforeFolder(n int) string { return fmt.Sprintf("before-format-%d-", n) }

// copyBefore makes the copy, if there is something to change that no copy has.
func (s *Store) copyBefore() error {
	m, err := planMigration(s.dir)
	if err != nil {
		return err
	}
	names := changing(m)
	if len(names) == 0 || s.hasCopy(names) {
		return nil
	}
	name := filepath.Join(s.dir, beforeFolder(format)+time.Now().UTC().Format(copyTime))
	c := copying{Store: s, from: s.dir, to: name + unfinishedSuffix, total: m.Copy}
	begun := time.Now()
	s.options.Log.Info("store.copying", "to", name, "files", len(names), "bytes", m.Copy)
	if err := c.run(m); err != nil {
		return errors.Join(fmt.Errorf("copy of %s: %w", s.dir, err), os.RemoveAll(c.to))
	}
	s.options.step("copied")
	if err := os.Rename(c.to, name); err != nil {
		return err
	}
	s.options.step("named")
	s.options.Log.Info("store.copied", "to", name, "bytes", m.Copy, "shared", c.shared, "took", time.Since(begun))
	return syncFolder(s.dir)
}

// hasCopy reports whether one copy has all these files as they are: the
// process ended after it was made.
func (s *Store) hasCopy(names []string) bool {
	copies, err := filepath.Glob(filepath.Join(s.dir, beforeFolder(format)+"*Z"))
	return err == nil && slices.ContainsFunc(copies, func(path string) bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			is, err := peek(filepath.Join(s.dir, name))
			has, copyErr := peek(filepath.Join(path, name))
			return err != nil || copyErr != nil || is.tx != has.tx || is.size != has.size || is.format != has.format
		})
	})
}

// copying is one copy that is being made.
type copying struct {
	*Store
	from, to    string
	done, total int64
	shared      int64 // bytes of files that share their blocks
}

// run fills the folder.
func (c *copying) run(m queue.Migration) error {
	if err := os.Mkdir(c.to, 0o700); err != nil {
		return err
	}
	var rest []string
	var needs int64
	for _, f := range m.Files {
		if !f.Copied {
			continue
		}
		shares, err := c.share(f.Name)
		if err != nil {
			return err
		}
		if shares {
			c.shared += f.Size
			continue
		}
		rest, needs = append(rest, f.Name), needs+f.Size
	}
	if err := hasRoomFor(needs, m.Free, c.space.min); err != nil {
		return err
	}
	for _, name := range rest {
		if err := c.file(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.options.step("file")
	}
	if err := c.others(); err != nil {
		return err
	}
	return syncFolder(c.to)
}

// hasRoomFor wants as much to be left as is kept free from mail, or half of
// what is free, if that is less.
func hasRoomFor(needs, free int64, least uint64) error {
	if needs <= free-min(int64(least), free/2) {
		return nil
	}
	return fmt.Errorf("%w: it takes %d MiB, and %d MiB are free, of which %d must stay so; nothing was changed, and the version before can be started again",
		ErrNoRoom, needs>>20+1, free>>20, min(int64(least), free/2)>>20)
}

// share makes a file that shares its blocks with the original, where the file system can.
func (c *copying) share(name string) (bool, error) {
	from, to, err := c.open(name)
	if err != nil {
		return false, err
	}
	err = c.options.clone(to, from)
	shares := err == nil
	if shares {
		err = to.Sync()
	} else {
		err = nil // it is copied
	}
	return shares, errors.Join(err, from.Close(), to.Close())
}

func (c *copying) open(name string) (from, to *os.File, err error) {
	if from, err = os.Open(filepath.Join(c.from, name)); err != nil {
		return nil, nil, err
	}
	if to, err = os.OpenFile(filepath.Join(c.to, name), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, nil, errors.Join(err, from.Close())
	}
	return from, to, nil
}

// copyPiece is how much is copied between two words of progress.
const copyPiece = 16 << 20

// file copies a file and compares it with the original.
func (c *copying) file(name string) error {
	from, to, err := c.open(name)
	if err != nil {
		return err
	}
	for err == nil {
		var n int64
		n, err = io.CopyN(to, from, copyPiece)
		c.done += n
		c.options.Progress(c.done, c.total)
	}
	if errors.Is(err, io.EOF) {
		err = to.Sync()
	}
	if err == nil {
		forgetPages(to) // what is compared comes from the disk
		err = c.compare(from, to)
	}
	return errors.Join(err, from.Close(), to.Close())
}

// compare reads both files from their beginnings.
func (c *copying) compare(from, to *os.File) error {
	var ours, theirs [1 << 20]byte
	for at := int64(0); ; at += int64(len(ours)) {
		n, err := from.ReadAt(ours[:], at)
		m, copyErr := to.ReadAt(theirs[:], at)
		if !bytes.Equal(ours[:n], theirs[:m]) {
			return errors.New("the copy differs from the original")
		}
		if at%copyPiece == 0 {
			c.options.Progress(c.done, c.total)
		}
		if err != nil || copyErr != nil {
			return errors.Join(notEnd(err), notEnd(copyErr))
		}
	}
}

func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// others gives what nobody writes to a second name: it is only ever replaced
// as a whole. Where a file cannot have two names it is copied.
func (c *copying) others() error {
	entries, err := os.ReadDir(c.from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		isGeneration := generationName(numberOf(name)) == name
		if !entry.Type().IsRegular() || isGeneration || strings.HasSuffix(name, unfinishedSuffix) {
			continue
		}
		err := c.options.link(filepath.Join(c.from, name), filepath.Join(c.to, name))
		if err == nil || errors.Is(err, os.ErrExist) { // it has been copied
			continue
		}
		if err := c.file(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// loadCopies finds the copies that are there.
func (s *Store) loadCopies() error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "before-format-*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		name := filepath.Base(path)
		at, err := time.Parse(copyTime, name[strings.LastIndex(name, "-")+1:])
		if err != nil {
			continue // not ours
		}
		size, err := ownSize(path)
		if err != nil {
			return err
		}
		s.copies = append(s.copies, queue.Copy{Path: path, At: at, Until: at.Add(copyKeep), Size: size})
	}
	return nil
}

// ownSize is what the files in a folder take that have no other name.
func ownSize(folder string) (sum int64, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		about, err := entry.Info()
		if err != nil {
			return 0, err
		}
		if unix, ok := about.Sys().(*syscall.Stat_t); ok && unix.Nlink == 1 && about.Mode().IsRegular() {
			sum += unix.Blocks * 512
		}
	}
	return sum, nil
}

// Copies lists the copies from before a format was changed, the oldest first.
func (s *Store) Copies() []queue.Copy {
	s.copying.Lock()
	defer s.copying.Unlock()
	return slices.Clone(s.copies)
}

// copyAt is when the next copy is to go; zero if there is none.
func (s *Store) copyAt() (first time.Time) {
	for _, c := range s.Copies() {
		if first.IsZero() || c.Until.Before(first) {
			first = c.Until
		}
	}
	return first
}

// dropCopies removes the copies whose time is over. One that cannot be removed
// stops no mail: it is tried again.
func (s *Store) dropCopies(at time.Time) {
	var rest []queue.Copy
	for _, c := range s.Copies() {
		if c.Until.After(at) {
			rest = append(rest, c)
			continue
		}
		if err := removeCopy(c.Path); err != nil {
			s.options.Log.Error("copy.kept", "path", c.Path, "error", err)
			c.Until = at.Add(time.Hour)
			rest = append(rest, c)
			continue
		}
		s.options.Log.Info("copy.removed", "path", c.Path, "bytes", c.Size)
	}
	s.copying.Lock()
	defer s.copying.Unlock()
	s.copies = rest
}

// removeCopy takes the name away first: what is left of a copy is none.
func removeCopy(path string) error {
	away := path + unfinishedSuffix
	err := os.Rename(path, away)
	if errors.Is(err, os.ErrNotExist) { // a person was faster, or it was tried before
		err = nil
	}
	return errors.Join(err, os.RemoveAll(away))
}
