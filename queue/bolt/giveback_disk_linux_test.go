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
	broken := map[string]func(t *testing.T, s *Store) error{
		"the oldest generation": func(t *testing.T, s *Store) error { return readOnly(filepath.Join(s.dir, s.generations[0].name())) },
		"the youngest generation": func(t *testing.T, s *Store) error {
			return readOnly(filepath.Join(s.dir, s.generations[len(s.generations)-1].name()))
		},
		"the ledger": func(t *testing.T, s *Store) error { return readOnly(filepath.Join(s.dir, "ledger-000001-20000101.db")) },
		"the folder": func(t *testing.T, s *Store) error { // a file that cannot be removed
			path := filepath.Join(s.dir, s.generations[0].name())
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
					var s *Store
					watched := mixedOptions()
					watched.step = func(string) {
						if steps++; steps != after {
							return
						}
						if err := act(t, s); err != nil && !errors.Is(err, os.ErrNotExist) {
							t.Error(err)
						}
					}
					var err error
					if s, err = Open(dir, watched); err != nil {
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
func readOnly(path string) error { return reopened(path, syscall.O_RDONLY) }
