package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
)

// Backup is a backup that has been verified. Close it.
type Backup struct {
	Manifest Manifest
	Checked  queue.Checked

	dir      string
	snapshot *bolt.Snapshot
}

// Open reads all of a backup: each file is held against its size and SHA-256,
// and found is told what is damaged within. ErrUnsound if a file is not as it
// was written; what was damaged in the relay already is only told. check reads
// the structure of a file in a process of its own, see bolt.Options.
func Open(ctx context.Context, dir string, check func(ctx context.Context, path string) error, found func(queue.Finding) error) (*Backup, error) {
	m, err := Read(dir)
	if err != nil {
		return nil, err
	}
	b := &Backup{Manifest: m, dir: dir}
	if b.Checked, err = b.verify(ctx, check, found); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close closes the files.
func (b *Backup) Close() error {
	if b.snapshot == nil {
		return nil
	}
	return b.snapshot.Close()
}

// verify reads every file, and then what is in them.
func (b *Backup) verify(ctx context.Context, check func(ctx context.Context, path string) error, found func(queue.Finding) error) (sum queue.Checked, err error) {
	differ := 0
	for _, f := range b.Manifest.Files {
		what, err := f.differs(ctx, b.dir)
		if err != nil {
			return sum, err
		}
		if what == "" {
			continue
		}
		differ++
		if err := found(queue.Finding{File: f.Name, What: what}); err != nil {
			return sum, err
		}
	}
	if differ > 0 {
		return sum, fmt.Errorf("%s: %d of %d files are not as they were written: %w", b.dir, differ, len(b.Manifest.Files), ErrUnsound)
	}
	if b.snapshot, err = bolt.OpenSnapshot(ctx, filepath.Join(b.dir, queueName), check); err != nil {
		return sum, err
	}
	return b.snapshot.Audit(ctx, found)
}

// differs says how a file differs from what was written; "" if it does not.
func (f File) differs(ctx context.Context, dir string) (what string, err error) {
	file, err := os.Open(filepath.Join(dir, f.Name))
	if errors.Is(err, os.ErrNotExist) {
		return "is missing", nil
	}
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, reader{ctx, file})
	if err := errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	switch {
	case n != f.Size:
		return fmt.Sprintf("has %d bytes, not %d", n, f.Size), nil
	case queue.Digest(sum.Sum(nil)) != f.Sum:
		return "differs from its SHA-256", nil
	}
	return "", nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
