package bolt

import (
	"syscall"

	"go.etcd.io/bbolt"
)

// readOn has the kernel read on behind pages that are not in memory, or not.
// bbolt tells it not to, which is right for single messages; a listing would
// wait for the disk at every page. It is only advice: without it all goes on.
func readOn(tx *bbolt.Tx, yes bool) {
	advice := syscall.MADV_RANDOM
	if yes {
		advice = syscall.MADV_NORMAL
	}
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, tx.DB().Info().Data, uintptr(tx.Size()), uintptr(advice))
}
