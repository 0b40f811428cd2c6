//go:build linux

package faultfs

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or a folder.
type node struct {
	*fs.LoopbackNode
	disk *Disk
}

var _ interface {
	fs.NodeWrapChilder
	fs.NodeOpener
	fs.NodeCreater
	fs.NodeMkdirer
	fs.NodeRenamer
	fs.NodeUnlinker
	fs.NodeSetattrer
	fs.NodeOpendirHandler
} = (*node)(nil)

// WrapChild makes nodes of ours of those that the library makes.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{child.(*fs.LoopbackNode), n.disk}
}

// behind is the path in the folder behind the mount.
func (n *node) behind(name string) string {
	return filepath.Join(n.disk.folder, n.Path(n.Root()), name)
}

func (n *node) ino() uint64 { return n.StableAttr().Ino }

// Open opens the file. The kernel must not go past us to the one behind.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	opened, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return newHandle(n, opened), 0, 0
}

// Create makes a file, whose name is gone after a power cut until its folder is synced.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, opened, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	n.made(name)
	return inode, newHandle(inode.Operations().(*node), opened), 0, 0
}

// Mkdir makes a folder.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	inode, errno := n.LoopbackNode.Mkdir(ctx, name, mode, out)
	if errno == 0 {
		n.made(name)
	}
	return inode, errno
}

// made remembers that a name is new.
func (n *node) made(name string) {
	path := n.behind(name) // after the mount it cannot be asked for
	n.renamed(func() error { return os.RemoveAll(path) })
}

// Unlink removes a name.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	restore, errno := n.keep(name)
	if errno != 0 {
		return errno
	}
	errno = n.LoopbackNode.Unlink(ctx, name)
	if errno == 0 {
		n.renamed(restore)
	}
	return errno
}

// Rename moves a name, within a folder or between two, of which the new one
// counts. What had the new name before comes back when it is undone.
func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok || flags != 0 {
		return syscall.ENOTSUP
	}
	restore := func() error { return nil }
	if _, err := os.Lstat(to.behind(newName)); err == nil {
		var errno syscall.Errno
		if restore, errno = to.keep(newName); errno != 0 {
			return errno
		}
	}
	before, after := n.behind(name), to.behind(newName)
	errno := n.LoopbackNode.Rename(ctx, name, newParent, newName, flags)
	if errno == 0 {
		to.renamed(func() error {
			if err := os.Rename(after, before); err != nil {
				return err
			}
			return restore()
		})
	}
	return errno
}

// keep gives the file another name, from which it can be restored.
func (n *node) keep(name string) (restore func() error, errno syscall.Errno) {
	d := n.disk
	d.mu.Lock()
	aside := d.volatile.aside(d.limbo)
	d.mu.Unlock()
	path := n.behind(name)
	if err := os.Link(path, aside); err != nil {
		return nil, fs.ToErrno(err)
	}
	return func() error { return os.Rename(aside, path) }, 0
}

// renamed remembers how to undo a change of a name in the folder.
func (n *node) renamed(undo func() error) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.disk.volatile.renamed(n.ino(), undo)
}

// Setattr changes attributes, of which only the size matters here.
func (n *node) Setattr(ctx context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		n.disk.mu.Lock()
		defer n.disk.mu.Unlock()
		if fails, errno := n.disk.begin(Truncate); fails {
			return errno
		}
		if errno := n.disk.volatile.resize(n.ino(), n.behind(""), int64(size)); errno != 0 {
			return errno
		}
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

// OpendirHandle opens the folder.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	opened, _, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &folder{opened.(listing), n}, 0, 0
}

// sync syncs a file or a folder.
func (n *node) sync() syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if fails, errno := n.disk.begin(Sync); fails {
		n.disk.volatile.forsake(n.ino())
		return errno
	}
	if !n.disk.options.IgnoreSync {
		n.disk.volatile.sync(n.ino())
	}
	return 0
}

// listing is an open folder of the library.
type listing interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
}

// folder is an open folder.
type folder struct {
	listing
	node *node
}

var _ fs.FileFsyncdirer = (*folder)(nil)

// Fsyncdir syncs the names in the folder.
func (f *folder) Fsyncdir(context.Context, uint32) syscall.Errno { return f.node.sync() }

// handle is an open file.
type handle struct {
	node   *node
	opened fs.FileReleaser // of the library
	fd     int
}

var _ interface {
	fs.FileReader
	fs.FileWriter
	fs.FileFsyncer
	fs.FileReleaser
} = (*handle)(nil)

func newHandle(n *node, opened fs.FileHandle) *handle {
	fd, _ := opened.(fs.FilePassthroughFder).PassthroughFd()
	return &handle{n, opened.(fs.FileReleaser), fd}
}

// Read reads from the file behind.
func (h *handle) Read(_ context.Context, buffer []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultFd(uintptr(h.fd), at, len(buffer)), 0
}

// Write writes to the file behind.
func (h *handle) Write(_ context.Context, data []byte, at int64) (uint32, syscall.Errno) {
	d := h.node.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if fails, errno := d.begin(Write); fails {
		if errno != Short {
			return 0, errno
		}
		data = data[:len(data)/2]
	}
	if errno := d.volatile.overwrite(h.node.ino(), h.node.behind(""), at, int64(len(data))); errno != 0 {
		return 0, errno
	}
	n, err := syscall.Pwrite(h.fd, data, at)
	return uint32(max(0, n)), fs.ToErrno(err)
}

// Fsync makes durable what was written.
func (h *handle) Fsync(context.Context, uint32) syscall.Errno { return h.node.sync() }

// Release closes the file behind.
func (h *handle) Release(ctx context.Context) syscall.Errno { return h.opened.Release(ctx) }
