package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
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
