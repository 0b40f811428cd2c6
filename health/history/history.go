// Package history keeps what was observed of the primaries, in one bbolt file:
// samples (every signal, verbatim), changes of what was thought of them, and incidents.
//
// Guarantees: who reports a signal or a change never waits for the disk; there
// is one writer, Run, and what it cannot keep up with is counted and left out.
// An incident is on disk when PutIncident returns. The file is bounded by age
// and size: see Options.
//
// On failure: the file is evidence, not mail, and nobody has to wait for it. A
// file that cannot be read is set aside under a name with a time stamp and a
// fresh one is begun; if even that is impossible, nothing is recorded. Trouble
// says so.
package history

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mxkeep/mxkeep/health"
)

// The defaults of Options.
const (
	DefaultKeep  = 90 * 24 * time.Hour
	DefaultFine  = 3 * 24 * time.Hour
	DefaultBytes = 64 << 20
)

const (
	lockTimeout   = 5 * time.Second
	keepIncidents = 2 * 365 * 24 * time.Hour // since they were closed
	maxIncidents  = 1000                     // closed ones
	maxWaiting    = 4096                     // signals and changes that wait for the writer
)

// ErrOff says that there is no file to read from or write to: see Trouble.
var ErrOff = errors.New("the history cannot be used")

// errDamaged is found by reading the file.
var errDamaged = errors.New("damaged")

// Options bound a File. Fields that are zero have their default.
type Options struct {
	Keep  time.Duration // age of samples and changes after which they go
	Fine  time.Duration // age of samples after which good ones, outside of incidents, are thinned out
	Bytes int64         // that the file may use; the oldest samples go first
	Log   *slog.Logger  // nil is silence
}

// File is the history on disk. Its methods may be called concurrently.
type File struct {
	options Options
	db      *bbolt.DB  // nil if there is no file
	events  chan event // never closed
	writer  writer
	lost    atomic.Int64

	mu      sync.Mutex
	aside   string // what was set aside by Open, and why
	failure string // why nothing can be read or written now
	dead    bool   // the file turned out to be damaged
}

// event is a signal or a change on its way to the writer.
type event struct {
	signal health.Signal
	change *health.Change
}

var (
	bucketMeta      = []byte("meta")
	bucketSamples   = []byte("samples") // a bucket for each upstream; by time
	bucketChanges   = []byte("changes") // by time
	bucketIncidents = []byte("incidents")
	keyBegun        = []byte("begun")
)

// Open opens the file, or begins one. It always returns a File: if there can be
// none on disk, it keeps nothing, and Trouble says why.
func Open(path string, o Options) *File {
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Fine <= 0 {
		o.Fine = DefaultFine
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &File{options: o, events: make(chan event, maxWaiting)}
	f.writer = writer{file: f, good: map[string]time.Time{}}
	db, err := open(path)
	if errors.Is(err, errDamaged) {
		aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
		f.aside = fmt.Sprintf("it was damaged, set aside as %s, and begun anew: %v", filepath.Base(aside), err)
		o.Log.Warn("history.damaged", "file", path, "aside", aside, "error", err)
		if err = os.Rename(path, aside); err == nil {
			db, err = open(path)
		}
	}
	if err != nil {
		f.failure = plain(err).Error()
		o.Log.Error("history.off", "file", path, "error", err)
		return f
	}
	f.db = db
	return f
}

// open opens the file and reads all of it: bbolt does not checksum its pages,
// and panics, or even faults, on some that are wrong.
func open(path string) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil {
			// The file stays open and locked, but it gets another name, and a new one is begun.
			db, err = nil, fmt.Errorf("%w: %v", errDamaged, reason)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	case err != nil:
		return nil, err
	}
	if err := db.View(readAll); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %v", errDamaged, err), db.Close())
	}
	if err := db.Update(begin); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// readAll reads everything; what is not a sample has to be whole as well.
func readAll(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(key, value []byte) error {
			switch {
			case value == nil: // the samples of an upstream
				return bucket.Bucket(key).ForEach(func(_, _ []byte) error { return nil })
			case !json.Valid(value):
				return fmt.Errorf("%s %x is not JSON", name, key)
			}
			return nil
		})
	})
}

// begin makes what every file has.
func begin(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketSamples, bucketChanges, bucketIncidents} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if meta := tx.Bucket(bucketMeta); meta.Get(keyBegun) == nil {
		text, err := json.Marshal(time.Now().UTC())
		if err != nil {
			return err
		}
		return meta.Put(keyBegun, text)
	}
	return nil
}

// Begun is when the file was begun: nothing is known of before. Zero if there is no file.
func (f *File) Begun() (begun time.Time) {
	_ = f.do(f.viewing(func(tx *bbolt.Tx) error { return json.Unmarshal(tx.Bucket(bucketMeta).Get(keyBegun), &begun) }))
	return begun
}

// Trouble says what is wrong with the history, in sentences without a full stop; nil if nothing is.
func (f *File) Trouble() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.aside != "" {
		all = append(all, f.aside)
	}
	if f.failure != "" {
		all = append(all, "nothing is recorded: "+f.failure)
	}
	if lost := f.lost.Load(); lost > 0 {
		all = append(all, fmt.Sprintf("%d signals were not recorded: they came too fast, or the disk was too slow", lost))
	}
	return all
}

// viewing and updating make transactions that do runs.
func (f *File) viewing(read func(*bbolt.Tx) error) func() error {
	return func() error { return f.db.View(read) }
}

func (f *File) updating(write func(*bbolt.Tx) error) func() error {
	return func() error { return f.db.Update(write) }
}

// do runs a transaction, and finds out if the file is damaged: it is not touched
// again then, and the next Open sets it aside.
func (f *File) do(transaction func() error) (err error) {
	f.mu.Lock()
	dead := f.dead || f.db == nil
	f.mu.Unlock()
	if dead {
		return ErrOff
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		reason := recover()
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case reason != nil:
			f.dead, f.failure = true, fmt.Sprintf("the file is damaged, and will be begun anew at the next start: %v", reason)
			f.options.Log.Error("history.damaged", "error", reason)
			err = ErrOff
		case err != nil:
			err = plain(err)
		}
	}()
	return transaction()
}

// noted remembers whether the last writing went well.
func (f *File) noted(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.failure = ""
	case !errors.Is(err, ErrOff):
		if f.failure == "" {
			f.options.Log.Error("history.unwritten", "error", err)
		}
		f.failure = err.Error()
	}
}

// Close writes what is left and closes the file. Run must have returned.
func (f *File) Close() error {
	for f.db != nil && f.writer.take() {
		f.writer.flush()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db == nil || f.dead { // a damaged one may not let itself be closed
		return nil
	}
	f.dead = true
	return plain(f.db.Close())
}

// timeKey sorts by time; n tells apart what has the same.
func timeKey(at time.Time, n uint64) []byte {
	key := binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))
	return binary.BigEndian.AppendUint64(key, n)
}

// plain takes bbolt's sentinels out of an error; those of the file system and of JSON stay.
func plain(err error) error {
	for _, theirs := range []error{bolterrors.ErrTimeout, bolterrors.ErrDatabaseNotOpen} {
		if errors.Is(err, theirs) {
			return errors.New(theirs.Error())
		}
	}
	return err
}
