package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// TestIdentity: a store keeps its identity, also when the file that says it is
// lost, and has it in every file.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 1, Version: "1.2.3"})
	is := s.Identity()
	acceptOne(t, s)
	acceptOne(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !isStoreID(is.ID) || is.CreatedAt.IsZero() || open(t, t.TempDir(), Options{}).Identity().ID == is.ID {
		t.Errorf("identity %+v", is)
	}
	path := filepath.Join(dir, identityName)
	for rule, spoil := range map[string]func() error{
		"it is there":      func() error { return nil },
		"it is lost":       func() error { return os.Remove(path) },
		"it is no JSON":    func() error { return os.WriteFile(path, []byte("{"), 0o600) },
		"it is another ID": func() error { return os.WriteFile(path, []byte(`{"format":2,"id":"0123"}`), 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{Version: "1.2.4"})
		if got := s.Identity(); got != is {
			t.Errorf("%s: identity %+v, want %+v", rule, got, is)
		}
		if by := writerOf(dir); by != "1.2.4" {
			t.Errorf("%s: written by %q", rule, by)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range files(t, dir, "gen-") {
		if seen, err := peek(filepath.Join(dir, name)); err != nil || !strings.Contains(seen.store, is.ID) {
			t.Errorf("%s: %+v, %v", name, seen, err)
		}
	}
}

// TestNewerStoreIsLeftAlone: nothing is touched, and the error says how to go on.
func TestNewerStoreIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	acceptOne(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	is, err := readIdentity(dir)
	is.Format, is.Version = format+1, "9.1.0"
	copied := filepath.Join(dir, beforeFolder(format+1)+"20260122T193000Z")
	err = errors.Join(err, writeJSON(filepath.Join(dir, identityName), is, (*os.File).Sync), os.MkdirAll(copied, 0o700), os.Mkdir(copied+unfinishedSuffix, 0o700))
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	_, err = Open(dir, Options{})
	for _, words := range []string{"it has format 3; this version reads formats 1 to 2; mxkeep 9.1.0 has written it. Start that version, or a newer one",
		"To go back to the files from before: mxkeep help upgrade, and " + copied} {
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), unfinishedSuffix) {
			t.Errorf("error %v, want %q", err, words)
		}
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("changed: %s\n%s", before, after)
	}
}

// TestNewerGenerationIsLeftAlone: one file of a newer format, and none is changed.
func TestNewerGenerationIsLeftAlone(t *testing.T) {
	dir, _ := oldStore(t, oldFolders(t)[1])
	edit(t, filepath.Join(dir, generationName(2)), func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(keyFormat, []byte{format + 1})
	})
	before := snapshot(t, dir)
	if _, err := Open(dir, still()); !errors.Is(err, ErrNewer) {
		t.Errorf("error %v", err)
	}
	if _, err := PlanMigration(dir); !errors.Is(err, ErrNewer) {
		t.Errorf("plan: %v", err)
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("changed: %s\n%s", before, after)
	}
}

func TestIdentityReportsTheFileSystem(t *testing.T) {
	for rule, spoil := range map[string]func(dir string) error{
		"a folder in the place of the file": func(dir string) error { return os.Mkdir(filepath.Join(dir, identityName), 0o700) },
		"a folder in the place of a generation": func(dir string) error {
			return os.Mkdir(filepath.Join(dir, generationName(1)), 0o700)
		},
		"a name that is none": func(dir string) error { return os.WriteFile(filepath.Join(dir, "gen-x.db"), nil, 0o600) },
		"a folder in the place of the next file": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, identityName+unfinishedSuffix), 0o700)
		},
	} {
		dir := t.TempDir()
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if err := (&Store{dir: dir, options: Options{}.withDefaults()}).identify(); err == nil {
			t.Errorf("%s: no error", rule)
		}
		if rule == "a folder in the place of the file" && writerOf(dir) != "" {
			t.Error("it has a writer")
		}
	}
}

// TestPeekAtManyKeys looks up keys in trees of one page and of several.
func TestPeekAtManyKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	key := func(i int) []byte { return sequenceKey(uint64(2 * i)) }
	edit(t, path, func(tx *bbolt.Tx) error {
		var errs []error
		for _, name := range []string{"few", "many"} {
			bucket, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for i := range map[string]int{"few": 3, "many": 3000}[name] {
				errs = append(errs, bucket.Put(key(i), []byte(name)))
			}
			_, err = bucket.CreateBucket([]byte("inner"))
			errs = append(errs, err)
		}
		for i := range 300 { // so that the root has a branch
			_, err := tx.CreateBucket(append([]byte("x"), key(i)...))
			errs = append(errs, err)
		}
		return errors.Join(append(errs, tx.DeleteBucket(append([]byte("x"), key(7)...)))...)
	})
	r, err := openRuins(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := r.heads().newest
	for name, n := range map[string]int{"few": 3, "many": 3000} {
		for i := range n + 1 {
			value, err := r.lookup(h, []byte(name), key(i))
			if err != nil || (string(value) == name) != (i < n) {
				t.Fatalf("%s %d: %q, %v", name, i, value, err)
			}
			if value, err := r.lookup(h, []byte(name), sequenceKey(uint64(2*i+1))); err != nil || value != nil {
				t.Fatalf("%s, after %d: %q, %v", name, i, value, err)
			}
		}
		if value, err := r.lookup(h, []byte(name), []byte("inner")); err != nil || value != nil {
			t.Errorf("a bucket has the value %q, %v", value, err)
		}
	}
	if value, err := r.lookup(h, []byte("none"), key(0)); err != nil || value != nil {
		t.Errorf("no bucket: %q, %v", value, err)
	}
}

// FuzzPeek: whatever bytes a file has, looking at it ends, and harms nothing.
func FuzzPeek(f *testing.F) {
	for _, name := range []string{"format-1/gen-000001.db", "format-1-early/gen-000002.db", "format-2/gen-000001.db"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		page := os.Getpagesize()
		for at := range len(text) / page { // an empty page says nothing
			f.Add(at, text[at*page:(at+1)*page])
		}
	}
	whole, err := os.ReadFile(filepath.Join("testdata", "format-2", "gen-000001.db"))
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "file")
	f.Fuzz(func(t *testing.T, at int, page []byte) {
		changed := append([]byte(nil), whole...)
		if at = at % (len(changed) / 4096) * 4096; at < 0 {
			at = -at
		}
		copy(changed[at:], page)
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		seen, err := peek(path)
		if err != nil {
			t.Error(err)
		}
		_, _, _ = completeCounters(seen.counters)
	})
}
