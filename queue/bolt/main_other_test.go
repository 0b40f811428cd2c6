//go:build !linux

package bolt

// inMemory makes no folder: where memory for files is, differs.
func inMemory() (folder string, err error) { return "", nil }
