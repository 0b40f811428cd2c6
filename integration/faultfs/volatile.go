//go:build linux

package faultfs

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
)

const (
	pageSize   = 4096
	sectorSize = 512 // is written whole or not at all
)

// volatile is what a power cut would bring back. It is not safe for concurrent use.
type volatile struct {
	files map[uint64]*file // by inode number
	names []change         // oldest first
	kept  int              // files in limbo so far
}

// file is what has not been synced of a file.
type file struct {
	behind *os.File
	pages  map[int64]*page // by number
	size   int64           // that is durable, if the file was changed
	sized  bool
}

// page is a page that was changed.
type page struct {
	before []byte // shorter than a page at the end of the file, and empty behind it
	gone   bool   // it was taken for synced, and was not
}

// change is that of a name.
type change struct {
	folder uint64
	undo   func() error
}

// aside is a fresh name in limbo.
func (v *volatile) aside(limbo string) string {
	v.kept++
	return filepath.Join(limbo, fmt.Sprint(v.kept))
}

func (v *volatile) renamed(folder uint64, undo func() error) {
	v.names = append(v.names, change{folder, undo})
}

// find returns what is known of the file, whose size was durable if nothing was.
func (v *volatile) find(ino uint64, path string) (*file, syscall.Errno) {
	f := v.files[ino]
	if f == nil {
		behind, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, fs.ToErrno(err)
		}
		f = &file{behind: behind, pages: map[int64]*page{}}
		v.files[ino] = f
	}
	if !f.sized {
		about, err := f.behind.Stat()
		if err != nil {
			return nil, fs.ToErrno(err)
		}
		f.size, f.sized = about.Size(), true
	}
	return f, 0
}

// overwrite is called before length bytes are written.
func (v *volatile) overwrite(ino uint64, path string, at, length int64) syscall.Errno {
	f, errno := v.find(ino, path)
	if errno != 0 {
		return errno
	}
	for number := at / pageSize; number*pageSize < at+length; number++ {
		if errno := f.remember(number); errno != 0 {
			return errno
		}
	}
	return 0
}

// resize is called before the size of a file is changed.
func (v *volatile) resize(ino uint64, path string, size int64) syscall.Errno {
	f, errno := v.find(ino, path)
	if errno != 0 {
		return errno
	}
	about, err := f.behind.Stat()
	if err != nil {
		return fs.ToErrno(err)
	}
	for number := size / pageSize; number*pageSize < about.Size(); number++ { // they are cut off
		if errno := f.remember(number); errno != 0 {
			return errno
		}
	}
	return 0
}

// remember keeps what a page is before it is changed for the first time.
func (f *file) remember(number int64) syscall.Errno {
	if p := f.pages[number]; p != nil {
		p.gone = false // it is written again
		return 0
	}
	before := make([]byte, pageSize)
	n, err := f.behind.ReadAt(before, number*pageSize)
	if err != nil && err != io.EOF {
		return fs.ToErrno(err)
	}
	f.pages[number] = &page{before: before[:n]}
	return 0
}

// sync makes durable what was changed since the sync before, unless that has
// failed and taken it for done.
func (v *volatile) sync(ino uint64) {
	if f := v.files[ino]; f != nil {
		for number, p := range f.pages {
			if !p.gone {
				delete(f.pages, number)
			}
		}
		f.sized = len(f.pages) > 0
	}
	v.names = slices.DeleteFunc(v.names, func(c change) bool { return c.folder == ino })
}

// forsake is a sync that has failed. Names and sizes stay as they are: a journal
// that fails takes nothing for done.
func (v *volatile) forsake(ino uint64) {
	if f := v.files[ino]; f != nil {
		for _, p := range f.pages {
			p.gone = true
		}
	}
}

// lose does what the power cut does; a nil random loses all.
func (v *volatile) lose(random *rand.Rand) error {
	var errs []error
	for _, f := range v.files {
		errs = append(errs, f.lose(random))
	}
	last := 0
	if random != nil {
		last = random.IntN(len(v.names) + 1)
	}
	for _, c := range slices.Backward(v.names[last:]) {
		errs = append(errs, c.undo())
	}
	return errors.Join(errs...)
}

// lose brings back pages and the size.
func (f *file) lose(random *rand.Rand) error {
	if !f.sized { // nothing has changed
		return nil
	}
	about, err := f.behind.Stat()
	if err != nil {
		return err
	}
	size := f.size
	if random != nil && random.IntN(2) == 0 {
		size = about.Size()
	}
	for number, p := range f.pages {
		if err := f.bringBack(number, p.before, random); err != nil {
			return err
		}
	}
	return f.behind.Truncate(size)
}

// bringBack writes what the page was, or some of its sectors, or nothing.
func (f *file) bringBack(number int64, before []byte, random *rand.Rand) error {
	before = append(before, make([]byte, pageSize-len(before))...)
	fate := 0
	if random != nil {
		fate = random.IntN(3)
	}
	for at := 0; at < pageSize && fate < 2; at += sectorSize {
		if fate == 1 && random.IntN(2) == 0 { // torn
			continue
		}
		if _, err := f.behind.WriteAt(before[at:at+sectorSize], number*pageSize+int64(at)); err != nil {
			return err
		}
	}
	return nil
}

// close closes the files behind.
func (v *volatile) close() error {
	var errs []error
	for _, f := range v.files {
		errs = append(errs, f.behind.Close())
	}
	return errors.Join(errs...)
}
