// Package backup copies what a relay keeps to a folder while it serves, and
// brings it back.
//
// Guarantees: a folder has the name of a backup only when it is complete,
// synced, and has been read back. Every message that was accepted before the
// copy began is in it, or in its ledger as final. A restore never brings back
// what is present, or delivered by the present ledger; killed at any point and
// begun again, it loses nothing and doubles nothing.
//
// A backup is a folder of mode 0700 with files of mode 0600:
//
//	manifest.json  what it is, the size and SHA-256 of each file, what is held
//	queue/         generations, ledger files, and what was set aside
//	state.db       next hops, overrides, pauses: it is no mail
//	history.db     what was observed of the primaries, and incidents; none if it could not be read
//	config.yaml    the text of the configuration
//
// Files that the configuration names, such as keys and certificates, are not in it.
package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Format is the version of the layout of a backup.
const Format = 1

// Schema is that of a manifest.
const Schema = "mxkeep.backup/1"

// Names within a backup.
const (
	manifestName = "manifest.json"
	queueName    = "queue"
	stateName    = "state.db"
	historyName  = "history.db"
	configName   = "config.yaml"
)

const unfinishedSuffix = ".unfinished"

// Errors that people decide on.
var (
	ErrDestination = errors.New("not a place for a backup")
	ErrRoom        = errors.New("not enough room for a backup")
	ErrNone        = errors.New("not a backup")
	ErrNewer       = errors.New("made by a newer version")
	ErrUnsound     = errors.New("the backup is damaged")
	ErrRunning     = errors.New("a relay has the data folder open")
	ErrBusy        = errors.New("another backup is being made")
)

// Manifest says what a backup is.
type Manifest struct {
	Schema      string           `json:"schema"`
	Format      int              `json:"format"`
	Version     string           `json:"version"` // of the product
	Host        string           `json:"host"`
	BeganAt     time.Time        `json:"began_at"` // what was accepted before is in it
	MadeAt      time.Time        `json:"made_at"`
	TookSeconds float64          `json:"took_seconds"`
	Files       []File           `json:"files"`
	Messages    map[string]int64 `json:"messages"` // not final, by state
	Bytes       int64            `json:"message_bytes"`
	Account     Account          `json:"account"` // of recipients
	Ledger      Ledger           `json:"ledger"`
	Damaged     int64            `json:"damaged"` // things that were damaged in the relay already
}

// File is a file of a backup, by its path in it.
type File struct {
	Name string       `json:"name"`
	Size int64        `json:"size_bytes"`
	Sum  queue.Digest `json:"sha256"`
}

// Account counts recipients, as queue.Account does.
type Account struct {
	Accepted  int64 `json:"accepted"`
	Delivered int64 `json:"delivered"`
	Queued    int64 `json:"queued"`
	Held      int64 `json:"held"`
	Refused   int64 `json:"refused"`
	Failed    int64 `json:"failed"`
	Expired   int64 `json:"expired"`
	Deleted   int64 `json:"deleted"`
	SetAside  int64 `json:"set_aside"`
	Passed    int64 `json:"passed"`
}

// Ledger is the end of the chain of the ledger files.
type Ledger struct {
	Files int    `json:"files"`
	Lines int64  `json:"lines"`
	Last  uint64 `json:"last"` // number of the last line
	Head  string `json:"head"` // hash of that line
}

// Size is the sum of the files.
func (m Manifest) Size() (sum int64) {
	for _, f := range m.Files {
		sum += f.Size
	}
	return sum
}

// Held is how many messages of the backup are not final.
func (m Manifest) Held() (sum int64) {
	for _, n := range m.Messages {
		sum += n
	}
	return sum
}

// Read reads the manifest of a backup, and nothing else. ErrNone if there is
// none, ErrNewer if this version cannot read the backup.
func Read(dir string) (m Manifest, err error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%s has no %s: %w", dir, manifestName, ErrNone)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, fmt.Errorf("%s of %s: %w: %w", manifestName, dir, ErrUnsound, err)
	}
	switch {
	case m.Format > Format:
		return m, fmt.Errorf("%s has format %d; this version reads format %d: %w", dir, m.Format, Format, ErrNewer)
	case m.Format < 1 || m.Schema != Schema:
		return m, fmt.Errorf("%s of %s is of another kind: %w", manifestName, dir, ErrNone)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(f.Name) || filepath.Clean(f.Name) != f.Name { // the manifest may come from anywhere
			return m, fmt.Errorf("%s names %q, which is not in it: %w", manifestName, f.Name, ErrUnsound)
		}
	}
	return m, nil
}

// Found is a backup in a folder of backups.
type Found struct {
	Dir      string
	Manifest Manifest
	Err      error // why its manifest cannot be read
}

// List finds the backups in a folder, the newest first. What is none, or was
// never finished, is left out.
func List(dir string) (found []Found, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() || filepath.Ext(path) == unfinishedSuffix {
			continue
		}
		m, err := Read(path)
		if !errors.Is(err, ErrNone) {
			found = append(found, Found{path, m, err})
		}
	}
	slices.SortStableFunc(found, func(a, b Found) int { return b.Manifest.MadeAt.Compare(a.Manifest.MadeAt) })
	return found, nil
}

// rename gives a folder its name, durably. It may be that of an empty folder,
// which os.Rename does not replace.
func rename(from, to string) error {
	if err := syscall.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return syncFolder(filepath.Dir(to))
}

// syncFolder makes names in the folder durable.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
