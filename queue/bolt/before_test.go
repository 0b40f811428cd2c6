package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// TestCopyGoesByItself: the copy is told, and gone after 72 hours, also when
// the relay was down then.
func TestCopyGoesByItself(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir, _ := oldStore(t, oldFolders(t)[0])
			s := open(t, dir, still())
			told := s.Copies()
			done, _ := copiesIn(t, dir)
			if len(told) != 1 || len(done) != 1 || told[0].Path != done[0] || told[0].Size < 100_000 || !told[0].Until.Equal(told[0].At.Add(copyKeep)) {
				t.Fatalf("copies %+v, folders %q", told, done)
			}
			time.Sleep(copyKeep - time.Minute)
			synctest.Wait()
			if len(s.Copies()) != 1 {
				t.Error("it went too early")
			}
			if down {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Minute)
			if down {
				s = open(t, dir, still())
			}
			synctest.Wait()
			if done, unfinished := copiesIn(t, dir); len(done)+len(unfinished)+len(s.Copies()) != 0 {
				t.Errorf("still there: %q %q %+v", done, unfinished, s.Copies())
			}
		})
	}
}

// TestCopyThatCannotGo is told again, and tried again; what is not ours stays.
func TestCopyThatCannotGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		name := beforeFolder(format) + time.Now().UTC().Format(copyTime)
		blocked := filepath.Join(dir, name+unfinishedSuffix, "x")
		theirs := filepath.Join(dir, "before-format-2-lunch")
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, name), 0o700), os.Mkdir(theirs, 0o700)); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, still())
		if err := os.MkdirAll(blocked, 0o700); err != nil { // a folder with something in it is not replaced
			t.Fatal(err)
		}
		time.Sleep(copyKeep)
		synctest.Wait()
		if told := s.Copies(); len(told) != 1 || !told[0].Until.After(time.Now()) {
			t.Fatalf("copies %+v", told)
		}
		time.Sleep(2 * time.Hour) // what was in the way went with the first try
		synctest.Wait()
		if told := s.Copies(); len(told) != 0 {
			t.Errorf("copies %+v", told)
		}
		if _, err := os.Stat(theirs); err != nil {
			t.Error(err)
		}
	})
}

// snapshot is every name in a folder with what it has.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.Walk(dir, func(path string, about os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(&all, path, about.Mode(), about.Size(), about.ModTime())
		if about.Mode().IsRegular() && about.Size() < 1<<20 {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&all, "%x\n", text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// makeHuge makes a file long, but not large.
func makeHuge(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 1<<42); err != nil {
		t.Fatal(err)
	}
}

func TestNoRoomForTheCopy(t *testing.T) {
	dir, _ := oldStore(t, oldFolders(t)[0])
	makeHuge(t, filepath.Join(dir, generationName(1)))
	before := snapshot(t, dir)
	s, err := Open(dir, still())
	if !errors.Is(err, ErrNoRoom) || s != nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Fatal(s, err)
	}
	// The folder was written to meanwhile, but has what it had.
	if after := snapshot(t, dir); after[strings.Index(after, "\n"):] != before[strings.Index(before, "\n"):] {
		t.Error("something was changed")
	}
}

func TestRoomForTheCopy(t *testing.T) {
	for _, c := range []struct {
		needs, free int64
		least       uint64
		fits        bool
	}{
		{0, 0, 512, true},
		{500, 1000, 512, true}, // half of what is free, if that is less than 512
		{501, 1000, 512, false},
		{1488, 2000, 512, true},
		{1489, 2000, 512, false},
		{1, 1, 512, true},
		{2, 1, 512, false},
	} {
		if err := hasRoomFor(c.needs, c.free, c.least); (err == nil) != c.fits || err != nil && !errors.Is(err, ErrNoRoom) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestSharedCopy: where the file system can share blocks, the copy needs no room.
func TestSharedCopy(t *testing.T) {
	dir, want := oldStore(t, oldFolders(t)[1])
	o := still()
	shared := 0
	o.clone = func(to, from *os.File) error { shared++; _, err := io.Copy(to, from); return err }
	o.Progress = func(done, _ int64) { t.Errorf("%d bytes were copied", done) }
	s := open(t, dir, o)
	if err := s.Close(); err != nil || shared != 2 {
		t.Fatalf("%d files are shared, %v", shared, err)
	}
	wantContents(t, dir, want)
	wantContents(t, s.Copies()[0].Path, want)
}

// TestCopyWithoutSecondNames: where a file cannot have two names, all is copied.
func TestCopyWithoutSecondNames(t *testing.T) {
	dir, want := oldStore(t, oldFolders(t)[0])
	o := still()
	o.link = func(string, string) error { return syscall.EPERM }
	var last, all int64
	o.Progress = func(done, total int64) { last, all = done, total }
	s := open(t, dir, o)
	if err := s.Close(); err != nil || last < all || all < 100_000 {
		t.Fatalf("%d of %d bytes, %v", last, all, err)
	}
	for _, name := range []string{"clean", summaryName(1), summaryName(2)} {
		if _, err := os.Stat(filepath.Join(s.Copies()[0].Path, name)); err != nil {
			t.Error(err)
		}
	}
	wantContents(t, s.Copies()[0].Path, want)
}

// TestFailedCopy: what cannot be copied ends Open, and leaves no part of a copy.
func TestFailedCopy(t *testing.T) {
	taken := func(names ...string) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) {
			for _, name := range names {
				if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for rule, spoil := range map[string]func(t *testing.T, folder string){
		"a generation": taken(generationName(2)),
		"another file": taken("clean"),
	} {
		dir, want := oldStore(t, oldFolders(t)[0])
		o := still()
		spoiled := false
		o.link = func(string, string) error { return syscall.EPERM }
		o.clone = func(to, _ *os.File) error {
			if !spoiled {
				spoiled = true
				spoil(t, filepath.Dir(to.Name()))
			}
			return syscall.EOPNOTSUPP
		}
		if s, err := Open(dir, o); err == nil || s != nil || !errors.Is(err, syscall.EISDIR) {
			t.Fatalf("%s: %v, %v", rule, s, err)
		}
		if done, unfinished := copiesIn(t, dir); len(done)+len(unfinished) != 0 || !slices.Equal(formats(t, dir), []int{1, 1}) {
			t.Errorf("%s: %q, %q", rule, done, unfinished)
		}
		wantContents(t, dir, want)
	}
}

func TestCopyIsCompared(t *testing.T) {
	dir := t.TempDir()
	open := func(name string, size int) *os.File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	c := copying{Store: &Store{options: Options{}.withDefaults()}}
	a, same, short, other := open("a", 3<<20+7), open("b", 3<<20+7), open("c", 3<<20+6), open("d", 3<<20+7)
	if _, err := other.WriteAt([]byte{1}, 2<<20+5); err != nil {
		t.Fatal(err)
	}
	if err := c.compare(a, same); err != nil {
		t.Error(err)
	}
	for _, file := range []*os.File{short, other} {
		if err := c.compare(a, file); err == nil {
			t.Errorf("%s is the same", file.Name())
		}
	}
	a.Close()
	if err := c.compare(a, same); err == nil {
		t.Error("what cannot be read is the same")
	}
}

// TestCopyOfChangedFiles: when the version before has been in use again, its
// files are copied again.
func TestCopyOfChangedFiles(t *testing.T) {
	dir, _ := oldStore(t, oldFolders(t)[0])
	o := still()
	o.step = func(name string) {
		if name == "named" {
			panic("the end")
		}
	}
	func() {
		defer func() { _ = recover() }()
		s := &Store{dir: dir, options: o.withDefaults()}
		t.Errorf("went on: %v", s.copyBefore())
	}()
	edit(t, filepath.Join(dir, generationName(2)), func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("x"), nil) })
	if done, _ := copiesIn(t, dir); len(done) != 1 {
		t.Fatalf("copies %q", done)
	} else if err := os.Rename(done[0], filepath.Join(dir, beforeFolder(format)+"20250101T000000Z")); err != nil {
		t.Fatal(err)
	}
	s := &Store{dir: dir, options: still().withDefaults()}
	if err := s.copyBefore(); err != nil {
		t.Fatal(err)
	}
	if done, _ := copiesIn(t, dir); len(done) != 2 {
		t.Errorf("copies %q", done)
	}
}
