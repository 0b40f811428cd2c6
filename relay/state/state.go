// Package state keeps small things on disk that are not mail: last good
// answers, overrides, windows, caches.
//
// Guarantee: what Put wrote survives the end of the process and a power cut.
// It is never needed to keep mail: a file that cannot be read is set aside
// under a name with a time stamp, and a fresh one is begun.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is how long Open waits for another process to let go.
const lockTimeout = 5 * time.Second

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("in use by another process")

// errDamaged is found by reading the whole file.
var errDamaged = errors.New("damaged")

// File is an open file. Its methods may be called concurrently.
type File struct {
	db *bbolt.DB
}

// Open opens the file, or begins one. If it is damaged it is renamed to
// path.damaged-<time>, which log is told, and a fresh one is begun. ErrInUse if
// another process has it open; other errors are those of the file system.
func Open(path string, log *slog.Logger) (*File, error) {
	db, err := open(path, lockTimeout)
	if errors.Is(err, errDamaged) {
		aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
		if err := os.Rename(path, aside); err != nil {
			return nil, err
		}
		log.Warn("state.damaged", "file", path, "aside", aside, "error", err)
		db, err = open(path, lockTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, plain(db.Close()))
	}
	return &File{db: db}, nil
}

// syncFolder makes names in the folder durable.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// open opens the file and reads all of it: bbolt does not checksum its pages,
// and panics, or even faults, on some that are wrong.
func open(path string, patience time.Duration) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil {
			// The file stays open and locked, but it gets another name, and a new one is begun.
			db, err = nil, fmt.Errorf("%w: %v", errDamaged, reason)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: patience, FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	case err != nil:
		return nil, plain(err)
	}
	if err := db.View(readAll); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %v", errDamaged, err), plain(db.Close()))
	}
	return db, nil
}

func readAll(tx *bbolt.Tx) error {
	return tx.ForEach(func(owner []byte, bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(key, value []byte) error {
			if !json.Valid(value) {
				return fmt.Errorf("%s %s is not JSON", owner, key)
			}
			return nil
		})
	})
}

// Put stores value as JSON under the owner's key. Neither may be empty.
func (f *File) Put(owner, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("state %s/%s: %w", owner, key, err)
	}
	return f.named(owner, key, f.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(owner))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(key), text)
	}))
}

// Get reads the owner's key into what into points to. It reports false, and
// leaves into alone, if there is none. The error is that of the file, or of a
// value that does not fit.
func (f *File) Get(owner, key string, into any) (bool, error) {
	found := false
	err := f.db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(owner))
		if bucket == nil {
			return nil
		}
		text := bucket.Get([]byte(key))
		if text == nil {
			return nil
		}
		found = true
		return json.Unmarshal(text, into)
	})
	if err != nil {
		return false, f.named(owner, key, err)
	}
	return found, nil
}

// Delete removes the owner's key, if there is one.
func (f *File) Delete(owner, key string) error {
	return f.named(owner, key, f.db.Update(func(tx *bbolt.Tx) error {
		if bucket := tx.Bucket([]byte(owner)); bucket != nil {
			return bucket.Delete([]byte(key))
		}
		return nil
	}))
}

// Close waits for what was begun and closes the file.
func (f *File) Close() error { return plain(f.db.Close()) }

func (f *File) named(owner, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("state %s/%s: %w", owner, key, plain(err))
}

// plain takes bbolt's sentinels out of an error; those of the file system and of JSON stay.
func plain(err error) error {
	for _, theirs := range []error{bolterrors.ErrDatabaseNotOpen, bolterrors.ErrBucketNameRequired, bolterrors.ErrKeyRequired, bolterrors.ErrKeyTooLarge} {
		if errors.Is(err, theirs) {
			return errors.New(theirs.Error())
		}
	}
	return err
}
