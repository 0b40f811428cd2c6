package bolt

import (
	"os"
	"syscall"
)

// memoryNeeded is what must be free of the memory for files.
const memoryNeeded = 2 << 30

// inMemory makes a folder in memory that is used for all temporary files, or
// none if there is little room for it, as in many containers.
func inMemory() (folder string, err error) {
	const shared = "/dev/shm"
	var about syscall.Statfs_t
	if err := syscall.Statfs(shared, &about); err != nil || int64(about.Bavail)*about.Bsize < memoryNeeded {
		return "", nil
	}
	if folder, err = os.MkdirTemp(shared, "mxkeep-bolt-"); err != nil {
		return "", nil
	}
	return folder, os.Setenv("TMPDIR", folder)
}
