package relay

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestMakeFolder(t *testing.T) {
	base := t.TempDir()
	deep := filepath.Join(base, "a", "b", "c")
	for range 2 {
		if err := makeFolder(deep); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{filepath.Join(base, "a"), deep} {
		if about, err := os.Stat(dir); err != nil || about.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", dir, about.Mode(), err)
		}
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(file, "a"), filepath.Join(file, "a", "b")} {
		if err := makeFolder(dir); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("below a file: %v", err)
		}
	}
}
