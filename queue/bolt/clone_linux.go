package bolt

import (
	"os"
	"syscall"
)

const (
	ficlone     = 0x40049409 // _IOW(0x94, 9, int), see ioctl_ficlone(2)
	adviseForgo = 4          // POSIX_FADV_DONTNEED
)

// cloneFile makes a file share the blocks of another, if the file system can:
// Btrfs and XFS do, ext4 does not.
func cloneFile(to, from *os.File) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, to.Fd(), ficlone, from.Fd()); errno != 0 {
		return errno
	}
	return nil
}

// forgetPages has the system forget what it keeps in memory of a file that is
// synced. That it does not do so harms nothing.
func forgetPages(file *os.File) {
	_, _, _ = syscall.Syscall6(syscall.SYS_FADVISE64, file.Fd(), 0, 0, adviseForgo, 0, 0)
}
