package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailedDiskWhileGivingBack breaks one file after each of the steps: the
// store fails, unless the file is not needed any more, and opens as after a crash.
func TestFailedDiskWhileGivingBack(t *testing.T) {
	template := t.TempDir()
	m := mixedFiles(t, template)
	broken := map[string]func(t *testing.T, dir string) error{
		"the oldest generation": func(t *testing.T, dir string) error { return readOnly(dir, files(t, dir, "gen-")[0]) },
		"the youngest generation": func(t *testing.T, dir string) error {
			names := files(t, dir, "gen-")
			return readOnly(dir, names[len(names)-1])
		},
		"the ledger": func(_ *testing.T, dir string) error { return readOnly(dir, "ledger-000001-20000101.db") },
		"the folder": func(t *testing.T, dir string) error { // a file that cannot be removed
			path := filepath.Join(dir, files(t, dir, "gen-")[0])
			return errors.Join(os.Rename(path, path+".away"), os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "x"), nil, 0o600))
		},
	}
	mend := func(t *testing.T, dir string) {
		away, err := filepath.Glob(filepath.Join(dir, "*.away"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range away {
			if err := errors.Join(os.RemoveAll(path[:len(path)-5]), os.Rename(path, path[:len(path)-5])); err != nil {
				t.Fatal(err)
			}
		}
	}
	failures := 0
	for what, act := range broken {
		for after := 1; ; after++ {
			more := true
			t.Run(fmt.Sprintf("%s, step %d", what, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dir := t.TempDir()
					copyFiles(t, template, dir)
					steps := 0
					watched := mixedOptions()
					watched.step = func(string) {
						if steps++; steps != after {
							return
						}
						if err := act(t, dir); err != nil && !errors.Is(err, os.ErrNotExist) {
							t.Error(err)
						}
					}
					s, err := Open(dir, watched)
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(3 * time.Hour)
					synctest.Wait()
					more = steps >= after
					if s.Err() != nil {
						failures++
						if _, err := s.Create(context.Background()); !errors.Is(err, s.Err()) || isOurs(err) {
							t.Errorf("after a failure: %v", err)
						}
					}
					if err := s.Close(); err != nil && s.Err() == nil {
						t.Error(err)
					}
					mend(t, dir)
					s = open(t, dir, mixedOptions())
					m.check(t, s)
					time.Sleep(3 * time.Hour)
					synctest.Wait()
					m.checkEnd(t, s)
				})
			})
			if !more {
				break
			}
		}
	}
	if failures < 20 {
		t.Errorf("only %d failures", failures)
	}
}

// readOnly makes every later write to an open file fail.
func readOnly(dir, name string) error { return reopened(filepath.Join(dir, name), syscall.O_RDONLY) }
