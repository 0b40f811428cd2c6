//go:build linux

package faultfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// mounted mounts a folder with a file "old" of two pages of "o".
func mounted(t *testing.T, o Options) (d *Disk, folder, point string) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	base := t.TempDir()
	folder, point = filepath.Join(base, "folder"), filepath.Join(base, "point")
	if err := errors.Join(os.Mkdir(folder, 0o700), os.Mkdir(point, 0o700),
		os.WriteFile(filepath.Join(folder, "old"), bytes.Repeat([]byte("o"), 2*pageSize), 0o600)); err != nil {
		t.Fatal(err)
	}
	d, err := Mount(folder, point, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.Unmount(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	return d, folder, point
}

// edited opens a file of the mount until the test ends.
func edited(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault Fault
		want  []error // of five writes of four bytes, each with a sync and a truncation
	}{
		{"none", Fault{}, []error{nil, nil, nil, nil, nil}},
		{"a write", Fault{Write, 2, syscall.EIO, false}, []error{nil, syscall.EIO, nil, nil, nil}},
		{"all writes", Fault{Write, 3, syscall.ENOSPC, true}, []error{nil, nil, syscall.ENOSPC, syscall.ENOSPC, syscall.ENOSPC}},
		{"a sync", Fault{Sync, 1, syscall.EIO, false}, []error{syscall.EIO, nil, nil, nil, nil}},
		{"all syncs", Fault{Sync, 5, syscall.ENOSPC, true}, []error{nil, nil, nil, nil, syscall.ENOSPC}},
		{"a truncation", Fault{Truncate, 4, syscall.EIO, false}, []error{nil, nil, nil, syscall.EIO, nil}},
		{"not reached", Fault{Truncate, 6, syscall.EIO, true}, []error{nil, nil, nil, nil, nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _, point := mounted(t, Options{Fault: c.fault})
			f := edited(t, filepath.Join(point, "new"))
			for i, want := range c.want {
				_, err := f.WriteAt([]byte("text"), int64(4*i))
				err = errors.Join(err, f.Sync(), f.Truncate(int64(4*i+4)))
				if want == nil && err != nil || !errors.Is(err, want) {
					t.Errorf("round %d: %v, want %v", i+1, err, want)
				}
			}
			if got, want := d.Struck(), c.name != "none" && c.name != "not reached"; got != want {
				t.Errorf("struck: %t", got)
			}
			if n := d.Count(Write); n != 5 {
				t.Errorf("%d writes", n)
			}
		})
	}
}

func TestBreak(t *testing.T) {
	d, _, point := mounted(t, Options{})
	f := edited(t, filepath.Join(point, "old"))
	if err := f.Sync(); err != nil || d.Struck() {
		t.Fatal(err)
	}
	d.Break(Fault{Sync, 1, syscall.EIO, true})
	if err := errors.Join(f.Sync(), f.Sync()); !errors.Is(err, syscall.EIO) || !d.Struck() {
		t.Error(err)
	}
}

func TestShortWrite(t *testing.T) {
	_, folder, point := mounted(t, Options{Fault: Fault{Write, 1, Short, true}})
	f := edited(t, filepath.Join(point, "new"))
	if n, err := syscall.Write(int(f.Fd()), []byte("12345678")); n != 4 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "new")); string(text) != "1234" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := f.Write([]byte("12345678")); err == nil { // 4, 2, 1, none
		t.Error("half of one byte was written")
	}
	if _, err := Mount(folder, point, Options{Fault: Fault{Sync, 1, Short, true}}); err == nil {
		t.Error("a short sync")
	}
}

// TestLoseAll: what was synced stays, what was not goes.
func TestLoseAll(t *testing.T) {
	d, folder, point := mounted(t, Options{})
	at := func(name string) string { return filepath.Join(point, name) }
	old, synced, nameless, moved := edited(t, at("old")), edited(t, at("synced")), edited(t, at("nameless")), edited(t, at("moved"))
	root, err := os.Open(point)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	write := func(f *os.File, text string, at int64) {
		t.Helper()
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	write(old, "x", 10)
	write(old, "grown", 3*pageSize)
	write(synced, "first", 0)
	write(nameless, "text", 0)
	write(moved, "text", 0)
	if err := errors.Join(synced.Sync(), moved.Sync(), os.Remove(at("nameless")), root.Sync()); err != nil {
		t.Fatal(err)
	}
	write(synced, "second", 0)
	again := edited(t, at("nameless"))
	write(again, "text", 0)
	if err := errors.Join(again.Sync(), os.Rename(at("moved"), at("synced")), os.Remove(at("old")), os.Mkdir(at("sub"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := d.Lose(nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"old": string(bytes.Repeat([]byte("o"), 2*pageSize)), "synced": "first", "moved": "text"} {
		if text, err := os.ReadFile(filepath.Join(folder, name)); string(text) != want || err != nil {
			t.Errorf("%s is %.40q (%d bytes), %v", name, text, len(text), err)
		}
	}
	for _, name := range []string{"nameless", "sub"} {
		if _, err := os.Stat(filepath.Join(folder, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFailedSyncForgets: a sync that succeeds after one that has failed saves
// only what was written in between.
func TestFailedSyncForgets(t *testing.T) {
	d, folder, point := mounted(t, Options{Fault: Fault{Sync, 1, syscall.EIO, false}})
	f := edited(t, filepath.Join(point, "old"))
	write := func(at int64) {
		if _, err := f.WriteAt(bytes.Repeat([]byte("n"), pageSize), at); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	write(pageSize)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	write(pageSize)
	if err := errors.Join(f.Sync(), d.Lose(nil)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "old"))
	if want := append(bytes.Repeat([]byte("o"), pageSize), bytes.Repeat([]byte("n"), pageSize)...); err != nil || !bytes.Equal(text, want) {
		t.Errorf("first page %.1q, second %.1q, %v", text, text[pageSize:], err)
	}
}

// TestIgnoredSync: nothing is saved.
func TestIgnoredSync(t *testing.T) {
	d, folder, point := mounted(t, Options{IgnoreSync: true})
	f := edited(t, filepath.Join(point, "old"))
	if err := errors.Join(f.Truncate(0), f.Sync(), d.Lose(nil)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "old")); len(text) != 2*pageSize || err != nil {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// TestLoseSome: a page is old, new, or a mixture of whole sectors; all of it happens.
func TestLoseSome(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	for range 30 {
		d, folder, point := mounted(t, Options{})
		f := edited(t, filepath.Join(point, "old"))
		if _, err := f.WriteAt(bytes.Repeat([]byte("n"), pageSize), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Mkdir(filepath.Join(point, "sub"), 0o700), d.Lose(random)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(folder, "old"))
		if err != nil {
			t.Fatal(err)
		}
		for sector := range slices.Chunk(text, sectorSize) {
			if bytes.Count(sector, sector[:1]) != sectorSize {
				t.Fatal("a torn sector")
			}
		}
		switch n := bytes.Count(text[:pageSize], []byte("n")); n {
		case 0:
			seen["old"] = true
		case pageSize:
			seen["new"] = true
		default:
			seen["torn"] = true
		}
		_, err = os.Stat(filepath.Join(folder, "sub"))
		seen["name kept"] = seen["name kept"] || err == nil
		seen["name lost"] = seen["name lost"] || err != nil
	}
	if len(seen) != 5 || !seen["name kept"] || !seen["name lost"] {
		t.Errorf("only %v", seen)
	}
}

// TestCut: from that operation on nothing is answered, and nothing is written.
func TestCut(t *testing.T) {
	d, folder, point := mounted(t, Options{CutAt: 3})
	f := edited(t, filepath.Join(point, "new"))
	ended := make(chan error)
	go func() {
		for i := range int64(5) {
			if _, err := f.WriteAt([]byte("x"), i); err != nil {
				ended <- err
			}
		}
	}()
	<-d.Cut()
	select {
	case err := <-ended:
		t.Fatalf("it was answered: %v", err)
	default:
	}
	d.Release()
	for range 3 {
		if err := <-ended; !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(folder, "new")); string(text) != "xx" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
