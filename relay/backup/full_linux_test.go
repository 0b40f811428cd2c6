package backup

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFullDestination: a disk that is too small is refused at once; one that
// fills meanwhile is an error, and the relay goes on.
func TestFullDestination(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	r := newRig(t, t.TempDir())
	r.accept(20, 100<<10)
	small := filepath.Join(r.dir, "small")
	if err := errors.Join(os.Mkdir(small, 0o700), syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.source.Make(t.Context(), small, nobody); !errors.Is(err, ErrDestination) {
		t.Errorf("the root of a disk: %v", err)
	}
	if _, err := r.source.Make(t.Context(), filepath.Join(small, "one"), nobody); !errors.Is(err, ErrRoom) {
		t.Errorf("a small disk: %v", err)
	}
	if _, err := r.store.Backup(t.Context(), small, nobody); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a disk that fills: %v", err)
	}
	if err := r.store.Err(); err != nil {
		t.Error(err)
	}
	r.accept(1, 100)
	dir, _ := r.make("one")
	verified(t, dir)
}
