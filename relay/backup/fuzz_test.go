package backup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzRead: a manifest may come from anywhere. What is taken names nothing
// outside of the backup.
func FuzzRead(f *testing.F) {
	f.Add(`{"schema":"mxkeep.backup/1","format":1,"files":[{"name":"queue/gen-000001.db","size_bytes":1,"sha256":"` + strings.Repeat("ab", 32) + `"}]}`)
	f.Add(`{"schema":"mxkeep.backup/1","format":1,"files":[{"name":"../../etc/passwd"}]}`)
	f.Add(`{"schema":"mxkeep.backup/1","format":2}`)
	f.Add(`{"schema":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Read(dir)
		if err != nil {
			if !errors.Is(err, ErrUnsound) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrNone) {
				t.Errorf("error %v", err)
			}
			return
		}
		for _, file := range m.Files {
			if path := filepath.Join(dir, file.Name); !strings.HasPrefix(path, dir) {
				t.Errorf("it names %s", path)
			}
		}
	})
}
