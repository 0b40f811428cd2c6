package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// stepVariable says at which step a child process of TestMigrationKilled dies.
const stepVariable = "BOLT_TEST_STEP"

// oldFolders are the stores of testdata that have an older format.
func oldFolders(t *testing.T) []string {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join("testdata", "format-1*"))
	if err != nil || len(folders) != 2 {
		t.Fatal(folders, err)
	}
	return folders
}

// oldStore copies a store of testdata, and says what it has.
func oldStore(t *testing.T, folder string) (dir, want string) {
	t.Helper()
	dir = t.TempDir()
	copyFiles(t, folder, dir)
	text, err := os.ReadFile(filepath.Join(folder, "contents"))
	if err := errors.Join(err, os.Remove(filepath.Join(dir, "contents"))); err != nil {
		t.Fatal(err)
	}
	return dir, string(text)
}

// still are options with which nothing of a store goes because of its age.
func still() Options {
	ages := 100 * 365 * 24 * time.Hour
	return Options{Check: inProcess, Interrupted: -1, GenerationAge: ages, Quiet: ages, LedgerKeep: ages}
}

// wantContents opens a store and compares everything in it.
func wantContents(t *testing.T, dir, want string) *Store {
	t.Helper()
	s := open(t, dir, still())
	if got := asJSON(t, contentsOf(t, s)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("found %q", found)
	}
	sameCounters(t, s)
	sameHoldings(t, s)
	return s
}

// formats are the formats of the generations in a folder, the oldest first.
func formats(t *testing.T, dir string) (all []int) {
	t.Helper()
	for _, name := range files(t, dir, "gen-") {
		seen, err := peek(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, seen.format)
	}
	return all
}

// copies are the folders with copies, finished or not.
func copiesIn(t *testing.T, dir string) (done, unfinished []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "before-format-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if strings.HasSuffix(path, unfinishedSuffix) {
			unfinished = append(unfinished, path)
		} else {
			done = append(done, path)
		}
	}
	return done, unfinished
}

// sameBytes wants every file of a folder to be in another, as it is.
func sameBytes(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range append(files(t, from, "gen-"), files(t, from, "ledger-")...) {
		want, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from the original: %v", filepath.Join(to, name), err)
		}
	}
}

// TestMigrationKilled kills a process at each step of the change, twice,
// and lets the next start go on: nothing is lost, nothing counts twice, and the
// one copy is a whole store of the format before.
func TestMigrationKilled(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		dieAtStep(t, dir)
		return
	}
	for _, folder := range oldFolders(t) {
		steps := 0
		for killed := true; killed; {
			steps, killed = steps+1, false
			dir, want := oldStore(t, folder)
			for range 2 {
				child := exec.Command(os.Args[0], "-test.run=^TestMigrationKilled$")
				child.Env = append(os.Environ(), childVariable+"="+dir, stepVariable+"="+strconv.Itoa(steps))
				output, err := child.CombinedOutput()
				status := child.ProcessState.Sys().(syscall.WaitStatus)
				died := status.Signaled() && status.Signal() == syscall.SIGKILL
				killed = killed || died
				if !died && err != nil {
					t.Fatalf("step %d: %v\n%s", steps, err, output)
				}
				// The version before opens the oldest first: it can go on as long as that is as it was.
				if all := formats(t, dir); !slices.IsSortedFunc(all, func(a, b int) int { return b - a }) {
					t.Errorf("step %d: formats %v", steps, all)
				}
			}
			s := wantContents(t, dir, want)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			done, unfinished := copiesIn(t, dir)
			if len(done) != 1 || len(unfinished) != 0 || slices.Contains(formats(t, dir), 1) || slices.Contains(formats(t, done[0]), 2) {
				t.Fatalf("step %d: copies %q, %q; formats %v", steps, done, unfinished, formats(t, dir))
			}
			sameBytes(t, folder, done[0])
			if !killed {
				wantContents(t, done[0], want)
			}
		}
		if steps < 10 {
			t.Errorf("only %d steps", steps)
		}
	}
}

// dieAtStep opens a store and dies at a step, if it comes so far.
func dieAtStep(t *testing.T, dir string) {
	left, err := strconv.Atoi(os.Getenv(stepVariable))
	if err != nil {
		t.Fatal(err)
	}
	o := still()
	o.step = func(string) {
		if left--; left == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	open(t, dir, o)
}

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

// TestDamagedOldFile: one that cannot be changed is set aside; the others are changed.
func TestDamagedOldFile(t *testing.T) {
	for rule, damage := range map[string]func(*bbolt.Tx) error{
		"counters":              func(tx *bbolt.Tx) error { return tx.Bucket(bucketCounters).Put(keyAccount, []byte("none")) },
		"no bucket of counters": func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketCounters) },
		"no bucket of records":  func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketTrash) },
	} {
		dir, _ := oldStore(t, oldFolders(t)[1])
		edit(t, filepath.Join(dir, generationName(1)), damage)
		s := open(t, dir, still())
		if all := formats(t, dir); len(s.asides) != 1 || !slices.Equal(all, []int{format}) {
			t.Errorf("%s: %d set aside, formats %v", rule, len(s.asides), all)
		}
		copied := formats(t, s.Copies()[0].Path)
		if !slices.Equal(copied, []int{1, 1}) {
			t.Errorf("%s: copied %v", rule, copied)
		}
	}
}

// TestUnreadableRecordStaysInTheAccount: counters are counted anew without it.
func TestUnreadableRecordStaysInTheAccount(t *testing.T) {
	dir, _ := oldStore(t, oldFolders(t)[1])
	edit(t, filepath.Join(dir, generationName(1)), func(tx *bbolt.Tx) error {
		key, _ := tx.Bucket(bucketLive).Cursor().First()
		return tx.Bucket(bucketLive).Put(slices.Clone(key), []byte("none"))
	})
	s := open(t, dir, still())
	stats := statsOf(t, s)
	var held queue.Held
	for _, h := range stats.Upstreams {
		held.Add(h)
	}
	var live int64
	for _, n := range stats.Messages {
		live += n
	}
	if stats.Account.Accepted != 16 || held.Messages != live-1 {
		t.Errorf("%+v", stats)
	}
}

// TestPlanMigration says what would be done, and changes nothing.
func TestPlanMigration(t *testing.T) {
	for i, recount := range []bool{false, true} {
		dir, _ := oldStore(t, oldFolders(t)[i])
		before := snapshot(t, dir)
		m, err := PlanMigration(dir)
		if err != nil {
			t.Fatal(err)
		}
		if after := snapshot(t, dir); after != before {
			t.Errorf("changed: %s\n%s", before, after)
		}
		if len(m.Files) != 3-i || m.Reads != 1 || m.Writes != 2 || m.Copy != int64(262144+(1-i)*65536) || m.Free == 0 || m.About <= 0 {
			t.Errorf("%+v", m)
		}
		for _, f := range m.Files {
			isLedger := strings.HasPrefix(f.Name, "ledger-")
			if f.Format != 1 || !f.Copied || f.Changes == isLedger || f.Recount != (recount && !isLedger) {
				t.Errorf("%+v", f)
			}
		}
		s := open(t, dir, still())
		if _, err := PlanMigration(dir); !errors.Is(err, ErrInUse) {
			t.Errorf("in use: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if m, err := PlanMigration(dir); err != nil || m.Copy != 0 || len(changing(m)) != 0 {
			t.Errorf("nothing to do: %+v, %v", m, err)
		}
	}
}

func TestPlanMigrationRefuses(t *testing.T) {
	empty := t.TempDir()
	newer, _ := oldStore(t, oldFolders(t)[0])
	if err := writeJSON(filepath.Join(newer, identityName), identity{Format: format + 1, Identity: queue.Identity{ID: strings.Repeat("0f", 16)}}, (*os.File).Sync); err != nil {
		t.Fatal(err)
	}
	wrong := t.TempDir()
	if err := os.WriteFile(filepath.Join(wrong, "gen-1.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, generationName(1)), 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{
		empty:                           "has no files of a queue",
		newer:                           "written by a newer version",
		wrong:                           "not the name of a generation",
		folder:                          "not a regular file",
		filepath.Join(empty, "nothing"): "no such file",
	} {
		if _, err := PlanMigration(dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

// toFormat1 gives a store that is closed the form of the first version.
func toFormat1(t testing.TB, dir string) {
	t.Helper()
	for _, name := range files(t, dir, "gen-") {
		db, err := bbolt.Open(filepath.Join(dir, name), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			c, err := decodeCounters(tx.Bucket(bucketCounters).Get(keyAccount))
			c.Upstreams = nil
			meta := tx.Bucket(bucketMeta)
			return errors.Join(err, meta.Put(keyFormat, []byte{1}), meta.Delete(keyStore), tx.Bucket(bucketCounters).Put(keyAccount, encodeCounters(c)))
		})
		if err := errors.Join(err, db.Close(), os.Remove(filepath.Join(dir, summaryName(numberOf(name))))); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkMigrate changes one file of 256 MiB of messages of 4 or 75 KiB,
// which is copied before and counted anew.
func BenchmarkMigrate(b *testing.B) {
	for _, size := range []int{4 << 10, 75 << 10} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			template := b.TempDir()
			s := open(b, template, Options{})
			a, body := benchAcceptance(b), make([]byte, size)
			messages := (250 << 20) / (size + 1500)
			var group sync.WaitGroup
			for range 64 {
				group.Go(func() {
					for range messages / 64 {
						if _, err := tryAccept(s, a, body); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			toFormat1(b, template)
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				if err := os.CopyFS(filepath.Join(dir, "queue"), os.DirFS(template)); err != nil {
					b.Fatal(err)
				}
				syscall.Sync()
				b.StartTimer()
				s, err := Open(filepath.Join(dir, "queue"), Options{Interrupted: -1})
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
				if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(messages/64*64), "messages")
		})
	}
}
