package bolt

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets an ordinary run keep its stores in memory, where a sync costs
// nothing: no test can tell it from a sync that does something, and there are
// tens of thousands of them. With MXKEEP_TORTURE=ci or MXKEEP_SOAK=1, and with
// TMPDIR set, they are where temporary files are.
func TestMain(m *testing.M) {
	if os.Getenv("MXKEEP_TORTURE") != "" || os.Getenv("MXKEEP_SOAK") != "" || os.Getenv("TMPDIR") != "" {
		os.Exit(m.Run())
	}
	folder, err := inMemory()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if folder != "" {
		os.RemoveAll(folder)
	}
	os.Exit(code)
}
