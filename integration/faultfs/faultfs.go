//go:build linux

// Package faultfs is a disk for tests that fails, or loses power, when it is
// told to: a folder seen through FUSE.
//
// What is written goes into the folder behind the mount at once; the fault is
// in what is answered. A Fault makes the n-th operation of a kind fail, once or
// for good. Beside it the disk keeps what a power cut would bring back: of each
// page that was written since its file was last synced what was there before,
// and of each name that was made, moved or removed since its folder was synced
// how to undo it. Lose undoes some or all of it.
//
// A failed sync is as bad as on Linux: the kernel takes the pages for written
// and forgets about them, so that a later sync, which succeeds, does not help
// those that were not written again.
//
// Nothing is synced for real: it is the disk that fails here, not the machine.
// Data that is mapped into memory is that of the kernel's cache, as on a disk.
package faultfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Op is a kind of operation that can fail.
type Op uint8

// The operations. Sync is that of files and folders, Truncate every change of
// a file's size other than by writing.
const (
	Write Op = iota
	Sync
	Truncate
	ops
)

func (o Op) String() string { return [...]string{"write", "fsync", "truncate"}[o] }

// Short is the error of a write that is not refused, but takes only the first
// half of its bytes.
const Short = syscall.Errno(0)

// Fault says which operation fails. The zero Fault is none.
type Fault struct {
	Op      Op
	Number  int // counted from 1 at the mount
	Error   syscall.Errno
	Lasting bool // so do all later ones of its kind
}

// Options say how the disk behaves. The zero Options are a good disk.
type Options struct {
	Fault      Fault
	CutAt      int  // the power is cut when so many operations have begun, of all kinds together; 0 is never
	IgnoreSync bool // syncs are answered, but do nothing
}

// Disk is a folder that is mounted. Its methods may be called concurrently.
type Disk struct {
	folder  string // behind the mount
	point   string // where it is mounted
	limbo   string // for files that were removed but would come back
	options Options
	server  *fuse.Server

	mu       sync.Mutex
	counts   [ops]int
	begun    int
	volatile volatile

	cut      chan struct{} // closed when the power is
	released chan struct{} // closed by Release
	release  sync.Once
	unmount  sync.Once
}

// Available says why nothing can be mounted here; nil if it can.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("mounting needs root")
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return device.Close()
}

// Mount shows folder at point; both exist. The process that mounts must not
// use the mount itself: it would wait for its own answers.
func Mount(folder, point string, o Options) (*Disk, error) {
	if o.Fault.Error == Short && o.Fault.Number > 0 && o.Fault.Op != Write {
		return nil, fmt.Errorf("no %s is short", o.Fault.Op)
	}
	d := &Disk{folder: folder, point: point, options: o, volatile: volatile{files: map[uint64]*file{}},
		cut: make(chan struct{}), released: make(chan struct{})}
	var err error
	if d.limbo, err = os.MkdirTemp(filepath.Dir(folder), "limbo-"); err != nil {
		return nil, err
	}
	root, err := fs.NewLoopbackRoot(folder)
	if err != nil {
		return nil, errors.Join(err, os.Remove(d.limbo))
	}
	known := time.Hour // nobody else changes the folder
	d.server, err = fs.Mount(point, &node{root.(*fs.LoopbackNode), d}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "faultfs", Name: "faultfs", DisableXAttrs: true},
		EntryTimeout: &known, AttrTimeout: &known})
	if err != nil {
		return nil, errors.Join(err, os.Remove(d.limbo))
	}
	return d, nil
}

// Unmount ends the mount, and returns when nobody has files open there any more:
// a process that was killed may have left a child that ends a little later. The
// folder stays, as do the methods that do not need the mount. A second call does nothing.
func (d *Disk) Unmount() (err error) {
	d.unmount.Do(func() {
		d.Release()
		if err = syscall.Unmount(d.point, syscall.MNT_DETACH); err == nil {
			d.server.Wait()
		}
	})
	return err
}

// Break sets a fault, counted from now; the one before it is forgotten.
func (d *Disk) Break(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.Number += d.counts[f.Op]
	d.options.Fault = f
}

// Struck reports whether the fault was reached.
func (d *Disk) Struck() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.options.Fault.Number > 0 && d.counts[d.options.Fault.Op] >= d.options.Fault.Number
}

// Count is how many operations of a kind there were.
func (d *Disk) Count(o Op) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[o]
}

// Cut is closed when the power is cut: the operation of Options.CutAt and those
// after it get no answer. Kill who waits for one, call Release, and wait for its end.
func (d *Disk) Cut() <-chan struct{} { return d.cut }

// Release answers the operations that hang since the power was cut. Their
// processes must have been killed: they are told that it failed.
func (d *Disk) Release() { d.release.Do(func() { close(d.released) }) }

// Lose does to the folder what a power cut does. Of each page that was not
// synced random decides whether it is old, new, or torn at a sector; and how
// many of the last changes of names are gone. With a nil random all that was
// not synced is gone. Nobody may use the folder meanwhile. It may be called once.
func (d *Disk) Lose(random *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.volatile.lose(random)
}

// Close forgets what Lose would need. The mount has ended.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.volatile.close(), os.RemoveAll(d.limbo))
}

// begin counts an operation, and says whether it fails and with what. The
// caller holds mu, which it gives up for good if the power is cut.
func (d *Disk) begin(o Op) (fails bool, errno syscall.Errno) {
	d.begun++
	if d.options.CutAt > 0 && d.begun >= d.options.CutAt {
		if d.begun == d.options.CutAt {
			close(d.cut)
		}
		d.mu.Unlock()
		<-d.released
		d.mu.Lock()
		return true, syscall.EIO
	}
	d.counts[o]++
	f := d.options.Fault
	if f.Number == 0 || f.Op != o || d.counts[o] < f.Number || d.counts[o] > f.Number && !f.Lasting {
		return false, 0
	}
	return true, f.Error
}
