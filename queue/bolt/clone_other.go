//go:build !linux

package bolt

import (
	"errors"
	"os"
)

// cloneFile cannot share blocks here.
func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }

// forgetPages does nothing.
func forgetPages(*os.File) {}
