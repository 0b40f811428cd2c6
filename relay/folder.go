package relay

import (
	"errors"
	"os"
	"path/filepath"
)

// makeFolder makes the folder and those above it, if need be, so that they
// survive a power cut.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	above := filepath.Dir(dir)
	if err := makeFolder(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	folder, err := os.Open(above)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
