package backup

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const secret = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY\n-----END EC PRIVATE KEY-----\n"

// keyFiles are the files in the data folder that hold keys: those of an
// authority's account and certificate, and our own.
var keyFiles = []string{"acme/acme/ca.example-dir/users/postmaster@corp.example/postmaster.key",
	"acme/certificates/ca.example-dir/mx2.corp.example/mx2.corp.example.key", "self-signed.key"}

// giveKeys puts keys into a data folder.
func giveKeys(t *testing.T, data string, at time.Time) {
	t.Helper()
	for _, name := range keyFiles {
		path := filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// holdsSecret names the files below a folder in which the secret is.
func holdsSecret(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("PRIVATE KEY")) {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestKeysStayWhereTheyAre: a backup has no key, so whoever gets it is not us;
// and a restore touches none that is there, and brings none.
func TestKeysStayWhereTheyAre(t *testing.T) {
	r := newRig(t, t.TempDir())
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	giveKeys(t, r.source.Data, at)
	r.accept(3, 1000)
	dir, m := r.make("one")
	for _, f := range m.Files {
		if f.Name != stateName && f.Name != configName && filepath.Dir(f.Name) != queueName {
			t.Errorf("%s is in the backup", f.Name)
		}
	}
	if found := holdsSecret(t, dir); len(found) > 0 {
		t.Errorf("keys in %v", found)
	}
	b := verified(t, dir)
	r.close()
	fresh, keyed := filepath.Join(r.dir, "fresh"), filepath.Join(r.dir, "keyed")
	giveKeys(t, keyed, at)
	for _, data := range []string{fresh, keyed, r.source.Data} { // nothing there, keys alone, and all
		if _, err := b.Restore(t.Context(), Target{Data: data, Actor: "carol"}); err != nil {
			t.Fatal(err)
		}
		if data == fresh {
			if found := holdsSecret(t, data); len(found) > 0 {
				t.Errorf("keys in %v", found)
			}
			continue
		}
		for _, name := range keyFiles {
			text, err := os.ReadFile(filepath.Join(data, name))
			info, err2 := os.Stat(filepath.Join(data, name))
			if err != nil || err2 != nil || string(text) != secret || !info.ModTime().Equal(at) || info.Mode() != 0o600 {
				t.Errorf("%s: %q, %v, %v", name, text, err, err2)
			}
		}
	}
}
