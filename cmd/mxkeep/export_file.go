package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/queue/archive"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// partialEnd is what the name of a file ends with until it is whole.
const partialEnd = ".partial"

// exportFile is where an archive is written, under another name until it is whole.
type exportFile struct {
	name string
	file *os.File
	had  *archive.Partial // what was there when it was opened
}

// openExport opens a new file, or what an interrupted export has left, and cuts
// off its torn end.
func openExport(name string) (*exportFile, error) {
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = failure{"file_exists", name + " exists"}
		}
		return nil, err
	}
	f, err := os.OpenFile(name+partialEnd, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	e := &exportFile{name: name, file: f}
	if err := e.begin(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return e, nil
}

// begin finds where to go on.
func (e *exportFile) begin() error {
	found, err := e.file.Stat()
	switch {
	case err != nil:
		return err
	case !found.Mode().IsRegular():
		return failure{"file_exists", e.file.Name() + " is no file"}
	}
	if err := lock(e.file); err != nil {
		return failure{"file_exists", "another export writes " + e.file.Name()}
	}
	if err = e.file.Chmod(0o600); err == nil {
		e.had, err = archive.ReadPartial(e.file)
	}
	if errors.Is(err, archive.ErrArchive) {
		return failure{admin.CodeBadArchive, fmt.Sprintf("%s is no export that was interrupted: %v", e.file.Name(), err)}
	}
	return err
}

// fits refuses to go on with what another selection, or another relay, has begun.
func (e *exportFile) fits(h archive.Head) error {
	had := e.had.Head
	if e.had.End > 0 && (had.Host != h.Host || !slices.Equal(had.Where, h.Where)) {
		return failure{"other_export", fmt.Sprintf("%s was begun on %s with the filters [%s], not on %s with [%s]", e.file.Name(),
			had.Host, strings.Join(had.Where, " "), h.Host, strings.Join(h.Where, " "))}
	}
	return nil
}

// writer goes on writing, or begins.
func (e *exportFile) writer(h archive.Head) (*archive.Writer, error) {
	if err := e.fits(h); err != nil {
		return nil, err
	}
	_, err := e.file.Seek(e.had.End, io.SeekStart)
	if err = errors.Join(err, e.file.Truncate(e.had.End)); err != nil {
		return nil, err
	}
	if e.had.End == 0 {
		return archive.NewWriter(e.file, h)
	}
	return e.had.Writer(e.file), nil
}

// finish gives the file its name, when it is safe on the disk.
func (e *exportFile) finish() error {
	if err := e.file.Sync(); err != nil {
		return err
	}
	// A link, unlike a new name, takes nobody's place.
	if err := os.Link(e.file.Name(), e.name); err != nil {
		return err
	}
	return errors.Join(os.Remove(e.file.Name()), syncFolder(filepath.Dir(e.name)))
}

// syncFolder makes the names in a folder safe on the disk.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
