package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/state"
)

// Source is what a backup is made of.
type Source struct {
	Data    string // folder of the relay
	Store   *bolt.Store
	State   *state.File
	History func(io.Writer) error // writes the whole history; nil is none
	Config  []byte                // text of the configuration
	Version string
	Reserve int64 // bytes that the disk of the data must keep
	Check   func(ctx context.Context, path string) error
}

// Make copies everything to dir, which must not exist, or be an empty folder.
// ErrDestination or ErrRoom, and nothing is there, if it cannot be made there.
// progress is told how much of how many bytes has been copied.
func (s Source) Make(ctx context.Context, dir string, progress func(done, of int64)) (m Manifest, err error) {
	began := time.Now().UTC().Truncate(time.Millisecond)
	if err := s.suits(dir); err != nil {
		return m, err
	}
	if err := s.hasRoom(ctx, filepath.Dir(dir)); err != nil {
		return m, err
	}
	work := dir + unfinishedSuffix
	if err := clear(work); err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	if m, err = s.fill(ctx, work, progress); err != nil {
		return m, err
	}
	m.BeganAt = began
	if err = s.count(ctx, work, &m); err != nil {
		return m, err
	}
	m.MadeAt = time.Now().UTC().Truncate(time.Millisecond)
	m.TookSeconds = m.MadeAt.Sub(began).Seconds()
	if err = writeManifest(work, m); err != nil {
		return m, err
	}
	return m, rename(work, dir)
}

// suits reports whether a backup can have the name.
func (s Source) suits(dir string) error {
	refuse := func(why string) error { return fmt.Errorf("%s %s: %w", dir, why, ErrDestination) }
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return refuse("is not a whole path")
	}
	above, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return errors.Join(refuse("is not in a folder that there is"), err)
	}
	data, err := filepath.EvalSymlinks(s.Data)
	if err != nil {
		return err
	}
	if inside, err := filepath.Rel(data, filepath.Join(above, filepath.Base(dir))); err == nil && filepath.IsLocal(inside) {
		return refuse("is in the data folder, and would be lost with it")
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return refuse("is a file")
	case err != nil:
		return err
	case len(entries) > 0:
		return refuse("is not empty")
	}
	here, there := syscall.Stat_t{}, syscall.Stat_t{}
	if err := errors.Join(syscall.Stat(dir, &here), syscall.Stat(above, &there)); err != nil {
		return err
	}
	if here.Dev != there.Dev {
		return refuse("is the root of a disk: name a folder in it")
	}
	return nil
}

// clear makes an empty folder of what an interrupted run may have left.
func clear(work string) error {
	entries, err := os.ReadDir(work)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case manifestName, manifestName + unfinishedSuffix, queueName, stateName, historyName, configName:
		default:
			return fmt.Errorf("%s has %q in it, which no backup left there: %w", work, e.Name(), ErrDestination)
		}
	}
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(work, 0o700), os.Mkdir(filepath.Join(work, queueName), 0o700))
}

// hasRoom wants room for the copy, and on the disk of the data for mail besides.
func (s Source) hasRoom(ctx context.Context, dir string) error {
	need, err := s.Store.BackupSize(ctx)
	if err != nil {
		return err
	}
	there, here := syscall.Statfs_t{}, syscall.Statfs_t{}
	if err := errors.Join(syscall.Statfs(dir, &there), syscall.Statfs(s.Data, &here)); err != nil {
		return err
	}
	if there.Fsid == here.Fsid {
		need += s.Reserve
	}
	if free := int64(there.Bavail) * int64(there.Bsize); free < need {
		return fmt.Errorf("%s has %d MiB left, and %d MiB are needed: %w", dir, free>>20, need>>20+1, ErrRoom)
	}
	return nil
}

// fill writes everything but the manifest.
func (s Source) fill(ctx context.Context, work string, progress func(done, of int64)) (m Manifest, err error) {
	m = Manifest{Schema: Schema, Format: Format, Version: s.Version, Messages: map[string]int64{}}
	if m.Host, err = os.Hostname(); err != nil {
		return m, err
	}
	files, err := s.Store.Backup(ctx, filepath.Join(work, queueName), progress)
	if err != nil {
		return m, err
	}
	for _, f := range files {
		m.Files = append(m.Files, File{queueName + "/" + f.Name, f.Size, f.Sum})
	}
	for _, part := range []struct {
		name string
		copy func(io.Writer) error
	}{
		{stateName, s.State.Copy},
		{configName, func(w io.Writer) error { _, err := bytes.NewReader(s.Config).WriteTo(w); return err }},
	} {
		f, err := writeFile(filepath.Join(work, part.name), part.copy)
		if err != nil {
			return m, err
		}
		f.Name = part.name
		m.Files = append(m.Files, f)
	}
	if s.History == nil {
		return m, nil
	}
	path := filepath.Join(work, historyName)
	f, err := writeFile(path, s.History)
	if err != nil { // it is evidence, not mail: a backup without it is better than none
		return m, os.Remove(path)
	}
	m.Files = append(m.Files, f)
	return m, nil
}

// writeFile makes a file of mode 0600, and syncs it.
func writeFile(path string, write func(io.Writer) error) (File, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return File{}, err
	}
	sum := sha256.New()
	size := &counter{}
	err = write(io.MultiWriter(out, sum, size))
	return File{filepath.Base(path), size.n, queue.Digest(sum.Sum(nil))}, errors.Join(err, out.Sync(), out.Close())
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// count reads the copy back: every byte of it is held against its sum, and the
// content of every message against its digest. It says what is in it.
func (s Source) count(ctx context.Context, work string, m *Manifest) error {
	b := &Backup{Manifest: *m, dir: work}
	defer b.Close()
	check, err := b.verify(ctx, s.Check, func(queue.Finding) error { return nil })
	if err != nil {
		return err
	}
	stats, err := b.snapshot.Stats(ctx)
	if err != nil {
		return err
	}
	chain, err := b.snapshot.Chain(ctx)
	if err != nil {
		return err
	}
	for state, n := range stats.Messages {
		m.Messages[state.String()] = n
	}
	a := stats.Account
	m.Bytes, m.Damaged = stats.Bytes, check.Damaged
	m.Account = Account{Accepted: a.Accepted, Delivered: a.Delivered, Queued: a.Queued, Held: a.Held, Refused: a.Refused, Failed: a.Failed,
		Expired: a.Expired, Deleted: a.Deleted, SetAside: a.SetAside, Passed: a.Passed}
	m.Ledger = Ledger{Files: chain.Files, Lines: chain.Lines, Last: chain.Last, Head: chain.Head}
	return nil
}

func writeManifest(work string, m Manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(work, manifestName)
	_, err = writeFile(path+unfinishedSuffix, func(w io.Writer) error {
		_, err := io.Copy(w, strings.NewReader(string(text)+"\n"))
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(os.Rename(path+unfinishedSuffix, path), syncFolder(work))
}
