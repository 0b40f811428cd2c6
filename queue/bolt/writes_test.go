package bolt

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// diskWrites is how many bytes this process has sent to a disk, so far as the
// system tells.
func diskWrites(t testing.TB) (written int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &written); err == nil {
			return written
		}
	}
	return 0
}
