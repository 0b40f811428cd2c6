package bolt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// syncEvery is how much of a copy is written before the disk is waited for: a
// commit that comes then finds little in its way.
const syncEvery = 4 << 20

// CopiedFile is a file of a backup.
type CopiedFile struct {
	Name string
	Size int64
	Sum  queue.Digest // SHA-256 of the file
}

// holdStill waits until nothing gives back, and keeps it so until goOn.
func (s *Store) holdStill(ctx context.Context) error {
	select {
	case s.giving <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) goOn() { <-s.giving }

// Backup copies the store to dir, which must be an empty folder, while it is in
// use: the ledger files, the generations, and what is set aside. progress is
// told how many bytes of about how many have been copied.
//
// Each file is copied as it is at one instant, but not all at the same. The
// ledger files come first, and nothing moves from one file to another meanwhile,
// so that every message that was accepted before Backup was called is in the
// copy, once, with its ledger lines: as it was at an instant between beginning
// and end of the call, or as final in the ledger. In the account of the copy
// nothing is missing. The copy does not say that it was closed in order: who
// opens it has each file checked.
//
// No commit waits for it, but a file may grow while it is copied. The files have
// mode 0600 and are synced, as is dir. What was copied before an error stays.
func (s *Store) Backup(ctx context.Context, dir string, progress func(done, of int64)) ([]CopiedFile, error) {
	if _, err := s.all(); err != nil {
		return nil, err
	}
	s.closing.Lock() // nothing is brought back from what is set aside
	defer s.closing.Unlock()
	if err := s.holdStill(ctx); err != nil {
		return nil, err
	}
	defer s.goOn()
	run := &backup{store: s, ctx: ctx, dir: dir, progress: progress}
	var err error
	if run.of, err = s.backupSize(); err != nil {
		return nil, err
	}
	if err := errors.Join(run.identity(), run.ledger(), run.generations(), run.asides()); err != nil {
		return nil, err
	}
	return run.files, syncFolder(dir)
}

// BackupSize is about how many bytes Backup would write.
func (s *Store) BackupSize(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if _, err := s.all(); err != nil {
		return 0, err
	}
	return s.backupSize()
}

func (s *Store) backupSize() (sum int64, err error) {
	for _, kind := range []string{"gen-*.db", "ledger-*.db", "*" + asideInfix + "*"} {
		paths, err := filepath.Glob(filepath.Join(s.dir, kind))
		if err != nil {
			return 0, err
		}
		for _, path := range paths {
			about, err := os.Stat(path)
			if errors.Is(err, os.ErrNotExist) { // it went meanwhile
				continue
			}
			if err != nil {
				return 0, err
			}
			sum += about.Size()
		}
	}
	return sum, nil
}

// backup is one run of Backup.
type backup struct {
	store    *Store
	ctx      context.Context
	dir      string
	progress func(done, of int64)
	done, of int64
	files    []CopiedFile
	failed   error // of a part: the others are left out
}

// identity copies what says which store it is.
func (b *backup) identity() error {
	return b.file(identityName, func(w io.Writer) error { return copyFrom(w, filepath.Join(b.store.dir, identityName)) })
}

// ledger copies the ledger files. Who wants to add lines to them waits.
func (b *backup) ledger() error {
	b.store.filing.Lock()
	defer b.store.filing.Unlock()
	files, _ := b.store.ledger.row()
	for _, f := range files {
		if err := b.file(filepath.Base(f.path), func(w io.Writer) error { return f.view(writeTo(w)) }); err != nil {
			return err
		}
	}
	return nil
}

// generations copies the generations of this moment. One that is begun later
// has only mail that came later.
func (b *backup) generations() error {
	all, err := b.store.all()
	if err != nil {
		return err
	}
	for _, g := range all {
		if err := b.file(g.name(), func(w io.Writer) error { return g.view(writeTo(w)) }); err != nil {
			return err
		}
	}
	return nil
}

// writeTo writes a whole file as a transaction sees it.
func writeTo(w io.Writer) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	}
}

// asides copies what is set aside, with its descriptions. Nobody writes to it.
func (b *backup) asides() error {
	paths, err := filepath.Glob(filepath.Join(b.store.dir, "*"+asideInfix+"*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, unfinishedSuffix) {
			continue
		}
		if err := b.file(filepath.Base(path), func(w io.Writer) error { return copyFrom(w, path) }); err != nil {
			return err
		}
	}
	return nil
}

func copyFrom(w io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return errors.Join(err, file.Close())
}

// file writes one file of the copy.
func (b *backup) file(name string, write func(io.Writer) error) error {
	if b.failed != nil {
		return nil
	}
	out, err := os.OpenFile(filepath.Join(b.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		c := &copyWriter{run: b, file: out, sum: sha256.New()}
		err = plain(write(c))
		if c.err != nil { // bbolt may have made a text of it
			err = c.err
		}
		err = errors.Join(err, out.Sync(), out.Close())
		b.files = append(b.files, CopiedFile{name, c.size, queue.Digest(c.sum.Sum(nil))})
	}
	if err != nil {
		b.failed = fmt.Errorf("copy of %s: %w", name, err)
	}
	return b.failed
}

// copyWriter is a file that is being written.
type copyWriter struct {
	run      *backup
	file     *os.File
	sum      hash.Hash
	size     int64
	unsynced int
	err      error // the first
}

func (c *copyWriter) Write(p []byte) (n int, err error) {
	if c.err == nil {
		c.err = c.run.ctx.Err()
	}
	if c.err == nil {
		n, c.err = c.file.Write(p)
	}
	if c.err != nil {
		return n, c.err
	}
	c.sum.Write(p)
	c.size += int64(n)
	if c.unsynced += n; c.unsynced >= syncEvery {
		c.unsynced, c.err = 0, c.file.Sync()
	}
	c.run.done += int64(n)
	c.run.progress(c.run.done, max(c.run.of, c.run.done))
	return n, c.err
}
