package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

type answer struct {
	Hosts []string
	At    time.Time
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustOpen(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path, silent())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func put(t *testing.T, f *File, owner, key string, value any) {
	t.Helper()
	if err := f.Put(owner, key, value); err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t *testing.T, f *File, owner, key string, value T) {
	t.Helper()
	var got T
	if ok, err := f.Get(owner, key, &got); err != nil || !ok || got != value {
		t.Fatalf("%s/%s is %v, %t, %v; want %v", owner, key, got, ok, err, value)
	}
}

func wantNone(t *testing.T, f *File, owner, key string) {
	t.Helper()
	got := "untouched"
	if ok, err := f.Get(owner, key, &got); err != nil || ok || got != "untouched" {
		t.Fatalf("%s/%s is %q, %t, %v; want none", owner, key, got, ok, err)
	}
}

func TestPutSurvivesClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	f := mustOpen(t, path)
	stored := answer{Hosts: []string{"mx1.example", "mx2.example"}, At: time.Date(2026, 3, 1, 10, 0, 0, 5, time.UTC)}
	put(t, f, "dns", "relay.example", stored)
	put(t, f, "dns", "count", 1)
	put(t, f, "dns", "count", 2)
	put(t, f, "health", "count", 3)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = mustOpen(t, path)
	var got answer
	if ok, err := f.Get("dns", "relay.example", &got); !ok || err != nil || !got.At.Equal(stored.At) || fmt.Sprint(got.Hosts) != fmt.Sprint(stored.Hosts) {
		t.Fatalf("got %+v, %t, %v", got, ok, err)
	}
	want(t, f, "dns", "count", 2)
	want(t, f, "health", "count", 3)
	wantNone(t, f, "dns", "other")
	wantNone(t, f, "nobody", "count")
}

func TestDelete(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	put(t, f, "dns", "a", 1)
	put(t, f, "dns", "b", 2)
	for _, owner := range []string{"dns", "nobody"} {
		if err := f.Delete(owner, "a"); err != nil {
			t.Fatal(err)
		}
	}
	wantNone(t, f, "dns", "a")
	want(t, f, "dns", "b", 2)
	if err := f.Delete("dns", "a"); err != nil {
		t.Fatalf("second delete: %v", err)
	}
}

func TestErrorsNameOwnerAndKey(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "state.db"), silent())
	if err != nil {
		t.Fatal(err)
	}
	put(t, f, "dns", "a", "text")
	check := func(what string, err error, words ...string) {
		t.Helper()
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: error %v does not say %q", what, err, word)
			}
		}
	}
	check("no JSON", f.Put("dns", "c", func() {}), "dns/c")
	check("no key", f.Put("dns", "", 1), "dns/")
	check("no owner", f.Put("", "a", 1), "/a")
	var number int
	ok, err := f.Get("dns", "a", &number)
	check("value of another type", err, "dns/a")
	if ok {
		t.Error("a value that does not fit was found")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	check("Put after Close", f.Put("dns", "a", 1), "dns/a", "not open")
	check("Delete after Close", f.Delete("dns", "a"), "dns/a", "not open")
	_, err = f.Get("dns", "a", &number)
	check("Get after Close", err, "dns/a", "not open")
}

func TestConcurrentUse(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			owner := fmt.Sprint("owner", i)
			for n := range 10 {
				if err := f.Put(owner, "n", n); err != nil {
					t.Error(err)
				}
				var got int
				if ok, err := f.Get(owner, "n", &got); !ok || err != nil || got != n {
					t.Errorf("%s is %d, %t, %v", owner, got, ok, err)
				}
			}
		})
	}
	group.Wait()
}

// filled makes a closed file of some pages.
func filled(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state.db")
	f, err := Open(path, silent())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(t, f, "dns", fmt.Sprint("key", i), strings.Repeat("x", 1000))
	}
	put(t, f, "health", "state", "up")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func aside(t *testing.T, path string) int {
	t.Helper()
	found, err := filepath.Glob(path + ".damaged-*")
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// TestDamagedFileIsSetAside damages files in ways that bbolt reports, panics
// on, or faults on. Each time a fresh file must take its place.
func TestDamagedFileIsSetAside(t *testing.T) {
	for name, damage := range map[string]func(old []byte) []byte{
		"text":            func([]byte) []byte { return []byte(strings.Repeat("this is not a database\n", 1000)) },
		"too short":       func(old []byte) []byte { return old[:100] },
		"no meta":         func(old []byte) []byte { clear(old[:8192]); return old },
		"cut off":         func(old []byte) []byte { return old[:12<<10] },
		"only meta":       func(old []byte) []byte { clear(old[8192:]); return old },
		"ones after meta": func(old []byte) []byte { fill(old[8192:], 0xff); return old },
		"values changed": func(old []byte) []byte {
			return []byte(strings.ReplaceAll(string(old), `"xxxx`, `xxxxx`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(old), 0o600); err != nil {
				t.Fatal(err)
			}
			f := mustOpen(t, path)
			if n := aside(t, path); n != 1 {
				t.Fatalf("%d files were set aside", n)
			}
			wantNone(t, f, "health", "state")
			put(t, f, "health", "state", "down")
			want(t, f, "health", "state", "down")
		})
	}
}

func fill(bytes []byte, value byte) {
	for i := range bytes {
		bytes[i] = value
	}
}

// TestSetAsideIsLogged tells the logger that was given, and no other.
func TestSetAsideIsLogged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("text", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	f, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil || !strings.Contains(log.String(), "msg=state.damaged file="+path) {
		t.Errorf("%q, %v", log.String(), err)
	}
}

func TestFileInUseIsNotDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	mustOpen(t, path)
	if _, err := open(path, time.Nanosecond); !errors.Is(err, ErrInUse) {
		t.Fatalf("second open: %v, want ErrInUse", err)
	}
	if n := aside(t, path); n != 0 {
		t.Fatal("a file in use was set aside")
	}
}

func TestOpenReportsTheFileSystem(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "missing", "state.db"), silent()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Open(dir, silent()); err == nil || errors.Is(err, errDamaged) {
		t.Errorf("a folder: %v", err)
	}
	if n := aside(t, dir); n != 0 {
		t.Error("the folder was set aside")
	}
}
