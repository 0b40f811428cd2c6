package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/state"
)

// restoringName is the folder in which a queue is put together.
const restoringName = "queue.restoring"

// Target is where a backup comes back, and how.
type Target struct {
	Data   string // folder of a relay that is stopped; it may be missing
	Store  bolt.Options
	AsHeld bool
	Actor  string
	DryRun bool
	Watch  func(done int64) // told how many messages are done; nil is nobody
}

// Restored is what came back, or would.
type Restored struct {
	bolt.Restored
	Whole bool // there was no queue: that of the backup is here now, with its ledger
	State bool // there was no state: that of the backup is here now
}

// Restore brings a backup back. Where there is no queue, that of the backup
// takes its place, with its ledger and its account; otherwise each message that
// is missing is adopted, and the ledger that is there goes on. ErrRunning if a
// relay has the folder open, ErrUnsound if a file cannot be used.
func (b *Backup) Restore(ctx context.Context, t Target) (did Restored, err error) {
	if !b.snapshot.Sound() {
		return did, fmt.Errorf("%s has files whose structure is damaged: %w", b.dir, ErrUnsound)
	}
	empty, err := isEmpty(filepath.Join(t.Data, queueName))
	if err != nil {
		return did, err
	}
	did.Whole = empty
	if did.State, err = t.lacksState(); err != nil {
		return did, err
	}
	if empty && t.DryRun {
		did.Restored, err = b.all(ctx)
		return did, err
	}
	unlock, err := b.lock(t, did.State)
	if err != nil {
		return did, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if empty {
		did.Restored, err = b.place(ctx, t)
		return did, err
	}
	store, err := bolt.Open(filepath.Join(t.Data, queueName), t.Store)
	if err != nil {
		return did, err
	}
	how := bolt.Restoring{Actor: t.Actor, Source: b.source(), DryRun: t.DryRun, Progress: func(r bolt.Restored) { t.watch(r.Messages + r.Present + r.Final) }}
	if t.AsHeld {
		how.Held = b.reason()
	}
	did.Restored, err = store.Restore(ctx, b.snapshot, how)
	return did, errors.Join(err, store.Close())
}

func (t Target) watch(done int64) {
	if t.Watch != nil {
		t.Watch(done)
	}
}

func (b *Backup) reason() string {
	return "restored from backup of " + b.Manifest.BeganAt.Format(time.RFC3339)
}

func (b *Backup) source() string {
	return fmt.Sprintf("from backup of %s, made on %s", b.Manifest.BeganAt.Format(time.RFC3339), b.Manifest.Host)
}

// isEmpty reports whether a folder is missing, or has nothing in it.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return err == nil && len(entries) == 0, err
}

func (t Target) lacksState() (bool, error) {
	_, err := os.Lstat(filepath.Join(t.Data, stateName))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// lock takes the data folder as a relay does: with the file of its state, which
// is brought back if there is none.
func (b *Backup) lock(t Target, bring bool) (unlock func() error, err error) {
	path := filepath.Join(t.Data, stateName)
	if bring && !t.DryRun {
		if err := os.MkdirAll(t.Data, 0o700); err != nil {
			return nil, err
		}
		if err := b.bringFile(stateName, path); err != nil {
			return nil, err
		}
		if err := b.bringHistory(filepath.Join(t.Data, historyName)); err != nil {
			return nil, err
		}
	}
	if bring && t.DryRun {
		return func() error { return nil }, nil // the queue has a lock of its own
	}
	log := t.Store.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	file, err := state.Open(path, log)
	if errors.Is(err, state.ErrInUse) {
		return nil, errors.Join(ErrRunning, err)
	}
	if err != nil {
		return nil, err
	}
	return file.Close, nil
}

// bringHistory brings the history back, if the backup has one and there is none.
func (b *Backup) bringHistory(to string) error {
	if !slices.ContainsFunc(b.Manifest.Files, func(f File) bool { return f.Name == historyName }) {
		return nil
	}
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return b.bringFile(historyName, to)
}

// bringFile copies a file of the backup. It has its name when it is complete.
func (b *Backup) bringFile(name, to string) error {
	unfinished := to + unfinishedSuffix
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	from, err := os.Open(filepath.Join(b.dir, name))
	if err != nil {
		return err
	}
	f, err := writeFile(unfinished, func(w io.Writer) error { _, err := io.Copy(w, from); return err })
	if err := errors.Join(err, from.Close()); err != nil {
		return err
	}
	for _, want := range b.Manifest.Files {
		if want.Name == name && (want.Size != f.Size || want.Sum != f.Sum) {
			return fmt.Errorf("%s has changed since it was verified: %w", name, ErrUnsound)
		}
	}
	return errors.Join(os.Rename(unfinished, to), syncFolder(filepath.Dir(to)))
}

// all counts what a whole queue brings.
func (b *Backup) all(ctx context.Context) (sum bolt.Restored, err error) {
	for m, err := range b.snapshot.Messages(ctx, queue.Filter{}) {
		switch {
		case errors.Is(err, queue.ErrDamaged):
			sum.Unreadable++
		case err != nil:
			return sum, err
		default:
			sum.Messages++
			sum.Recipients += int64(len(m.Pending()))
			sum.Bytes += m.Size
		}
	}
	return sum, nil
}

// place puts the queue of the backup where there is none. It is put together,
// and its messages are held, under another name: until it gets its own nothing
// has happened, and whoever begins again begins anew.
func (b *Backup) place(ctx context.Context, t Target) (sum bolt.Restored, err error) {
	work := filepath.Join(t.Data, restoringName)
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700)); err != nil {
		return sum, err
	}
	for _, f := range b.Manifest.Files {
		name, ok := strings.CutPrefix(f.Name, queueName+"/")
		if !ok {
			continue
		}
		if err := errors.Join(ctx.Err(), b.bringFile(f.Name, filepath.Join(work, name))); err != nil {
			return sum, err
		}
	}
	if sum, err = b.all(ctx); err != nil {
		return sum, err
	}
	if err := b.settle(ctx, work, t); err != nil {
		return sum, err
	}
	return sum, rename(work, filepath.Join(t.Data, queueName))
}

// settle opens the queue once, holds what waits, and says in the ledger where it comes from.
func (b *Backup) settle(ctx context.Context, work string, t Target) error {
	store, err := bolt.Open(work, t.Store)
	if err != nil {
		return err
	}
	if t.AsHeld {
		_, err = store.HoldAll(ctx, t.Actor, b.reason(), t.watch)
	}
	if err == nil {
		err = store.Note(ctx, queue.Entry{At: time.Now().UTC(), Event: queue.Noted, Actor: t.Actor, Reason: "this queue was restored as a whole " + b.source()})
	}
	return errors.Join(err, store.Close())
}
