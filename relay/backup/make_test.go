package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

func TestMake(t *testing.T) {
	r := newRig(t, t.TempDir())
	ids := r.accept(30, 100<<10)
	if err := r.store.Amend(t.Context(), queue.Amendment{ID: ids[0], Event: queue.Hold, Actor: "carol", Reason: "spam"}); err != nil {
		t.Fatal(err)
	}
	if err := r.store.FileLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "one"), 0o755); err != nil { // an empty folder will do
		t.Fatal(err)
	}
	dir, m := r.make("one")
	read, err := Read(dir)
	if err != nil || read.MadeAt.IsZero() || read.MadeAt.Before(read.BeganAt) {
		t.Errorf("manifest %+v, %v", read, err)
	}
	if m.Held() != 30 || m.Messages["held"] != 1 || m.Account.Accepted != 30 || m.Account.Queued != 29 || m.Version != "0.1.0" || m.Host == "" ||
		m.Ledger.Lines != 31 || len(m.Ledger.Head) != 64 || m.Size() < 3_000_000 || m.Damaged != 0 {
		t.Errorf("manifest %+v", m)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		about, statErr := os.Stat(path)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if statErr == nil && about.Mode() != want {
			t.Errorf("%s: mode %s", path, about.Mode())
		}
		return errors.Join(err, statErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil || string(text) != string(r.source.Config) {
		t.Errorf("configuration %q, %v", text, err)
	}
}

func TestMakeNeedsAPlace(t *testing.T) {
	r := newRig(t, t.TempDir())
	full := filepath.Join(r.dir, "full")
	if err := errors.Join(os.Mkdir(full, 0o700), os.WriteFile(filepath.Join(full, "x"), nil, 0o600), os.Mkdir(filepath.Join(r.dir, "strange.unfinished"), 0o700),
		os.WriteFile(filepath.Join(r.dir, "strange.unfinished", "thesis.tex"), nil, 0o600), os.Symlink(r.source.Data, filepath.Join(r.dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for rule, dir := range map[string]string{
		"a folder that is not empty": full,
		"a file":                     filepath.Join(full, "x"),
		"no folder above":            filepath.Join(r.dir, "none", "one"),
		"no whole path":              "one",
		"not a clean path":           r.dir + "/../one",
		"in the data folder":         filepath.Join(r.source.Data, "one"),
		"the data folder":            r.source.Data,
		"in the queue":               filepath.Join(r.source.Data, queueName, "one"),
		"by a link":                  filepath.Join(r.dir, "link", "one"),
		"what others keep there":     filepath.Join(r.dir, "strange"),
		"the root of a disk":         "/dev/shm",
	} {
		if _, err := r.source.Make(t.Context(), dir, nobody); !errors.Is(err, ErrDestination) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	r.source.Reserve = 1 << 60
	if _, err := r.source.Make(t.Context(), filepath.Join(r.dir, "one"), nobody); !errors.Is(err, ErrRoom) {
		t.Errorf("no room: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(r.dir, "one*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %q, %v", left, err)
	}
}

// TestMakeEnds: nothing is left of what was cancelled, and what a kill left is replaced.
func TestMakeEnds(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.accept(3, 100)
	ctx, cancel := context.WithCancel(t.Context())
	dir := filepath.Join(r.dir, "one")
	if _, err := r.source.Make(ctx, dir, func(int64, int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, err := filepath.Glob(dir + "*"); err != nil || len(left) != 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(dir+unfinishedSuffix, queueName), 0o700), os.WriteFile(filepath.Join(dir+unfinishedSuffix, manifestName), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if found, err := List(r.dir); err != nil || len(found) != 0 {
		t.Errorf("found %+v, %v", found, err)
	}
	r.make("one")
	r.make("two")
	found, err := List(r.dir)
	if err != nil || len(found) != 2 || found[0].Dir != filepath.Join(r.dir, "two") || found[1].Manifest.Held() != 3 {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := List(filepath.Join(r.dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	r.close()
	if _, err := r.source.Make(t.Context(), filepath.Join(r.dir, "three"), nobody); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestRead(t *testing.T) {
	good := Manifest{Schema: Schema, Format: Format}
	for rule, test := range map[string]struct {
		text func() []byte
		want error
	}{
		"no JSON":          {func() []byte { return []byte("{") }, ErrUnsound},
		"a newer format":   {func() []byte { m := good; m.Format++; return encoded(t, m) }, ErrNewer},
		"another schema":   {func() []byte { m := good; m.Schema = "x"; return encoded(t, m) }, ErrNone},
		"no format":        {func() []byte { m := good; m.Format = 0; return encoded(t, m) }, ErrNone},
		"a way out of it":  {func() []byte { m := good; m.Files = []File{{Name: "queue/../state.db"}}; return encoded(t, m) }, ErrUnsound},
		"a path out of it": {func() []byte { m := good; m.Files = []File{{Name: "../x"}}; return encoded(t, m) }, ErrUnsound},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, manifestName), test.text(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		t.Errorf("no manifest: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, manifestName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("a manifest that is a folder: %v", err)
	}
}

func encoded(t *testing.T, m Manifest) []byte {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestOpenFindsDamage: any byte of any file, one that is missing, one that is cut off.
func TestOpenFindsDamage(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.accept(3, 100)
	if err := r.store.FileLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir, m := r.make("one")
	for _, f := range m.Files {
		path := filepath.Join(dir, f.Name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flipped := append([]byte(nil), text...)
		flipped[len(text)/3] ^= 1
		for what, change := range map[string]func() error{
			"differs from its SHA-256": func() error { return os.WriteFile(path, flipped, 0o600) },
			"is missing":               func() error { return os.Remove(path) },
			"has":                      func() error { return os.WriteFile(path, text[:len(text)/2], 0o600) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			var found []queue.Finding
			_, err := Open(t.Context(), dir, nil, func(f queue.Finding) error { found = append(found, f); return nil })
			if !errors.Is(err, ErrUnsound) || len(found) != 1 || found[0].File != f.Name || len(found[0].What) < len(what) || found[0].What[:len(what)] != what {
				t.Errorf("%s %s: %+v, %v", f.Name, what, found, err)
			}
			told := errors.New("told")
			if _, err := Open(t.Context(), dir, nil, func(queue.Finding) error { return told }); !errors.Is(err, told) {
				t.Errorf("error %v", err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	verified(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, dir, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
