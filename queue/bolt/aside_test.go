package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// inProcess checks a file here: the tests that use it damage nothing that ends a process.
func inProcess(_ context.Context, path string) error { return CheckFile(path) }

// twoFiles makes a store whose first file has three messages with a recipient
// each, of which one is delivered and one held, and whose second has one. It is closed.
func twoFiles(t *testing.T) (dir string, ids []queue.ID) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, Options{})
	for range 3 {
		ids = append(ids, acceptOne(t, s))
	}
	claimed, err := s.Claim(t.Context(), ids[:1], time.Hour)
	if err == nil {
		err = s.Settle(t.Context(), queue.Settlement{ID: claimed[0].ID, Attempt: 1, Results: map[int]queue.Result{0: {At: now(), Action: queue.Delivered}}})
	}
	if err == nil {
		err = s.Amend(t.Context(), queue.Amendment{ID: ids[1], At: now(), Event: queue.Hold, Actor: "carol", Reason: "spam"})
	}
	if err == nil {
		err = s.Note(t.Context(), queue.Entry{At: now(), Event: queue.Passed, Recipients: []string{"x@relay.example"}})
	}
	if err == nil {
		err = s.succeed(s.generations[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	ids = append(ids, acceptOne(t, s))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, ids
}

// write writes into a file at an offset.
func writeAt(t *testing.T, path string, at int64, text []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteAt(text, at)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stats of a store whose account must be whole.
func statsOf(t *testing.T, s *Store) queue.Stats {
	t.Helper()
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Account.Missing() != 0 {
		t.Fatalf("stats %+v, %v", stats, err)
	}
	return stats
}

// TestDamagedFileIsSetAside damages the first of two files in different ways.
func TestDamagedFileIsSetAside(t *testing.T) {
	put := func(bucket, key, value []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, value) })
		}
	}
	var first string // the name of the first file
	for _, c := range []struct {
		rule   string
		damage func(t *testing.T, path string)
		says   string
	}{
		{"no format", put(bucketMeta, keyFormat, nil), "its format is []"},
		{"a format that was another", put(bucketMeta, keyFormat, []byte{format + 1}), "its format is [3]"},
		{"a wrong instant of creation", put(bucketMeta, keyCreated, []byte("yesterday")), "yesterday"},
		{"a wrong last ID", put(bucketMeta, keyLastID, []byte("last")), `message id "last"`},
		{"damaged counters", put(bucketCounters, keyAccount, []byte("none")), "counters"},
		{"another database", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) })
		}, "not a queue file"},
		{"a missing bucket", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketDue) })
		}, "bucket due is missing"},
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("text"), 10_000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "neither of its two meta pages"},
		{"an empty file", func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}, "neither of its two meta pages"},
		{"a file that is cut off", func(t *testing.T, path string) {
			if err := os.Truncate(path, 5*int64(os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
		}, "it is cut off: 20480 bytes of "},
		{"a file of yesterday", func(t *testing.T, path string) {
			known, found := readSummary(filepath.Dir(path), 1)
			known.Tx += 10
			if !found || writeJSON(filepath.Join(filepath.Dir(path), summaryName(1)), known, (*os.File).Sync) != nil {
				t.Fatal("no summary")
			}
		}, "its last transaction is "},
		{"a list of free pages that is none, of a file that was closed", func(t *testing.T, path string) {
			r, err := openRuins(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			writeAt(t, path, int64(r.heads().newest.freelist)*r.pageSize+8, []byte{flagLeaf})
		}, "freelist"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir, ids := twoFiles(t)
			first = generationName(1)
			c.damage(t, filepath.Join(dir, first))
			s := open(t, dir, Options{Check: inProcess})
			stats := statsOf(t, s)
			if len(stats.Aside) != 1 || stats.Aside[0].Recipients != 2 || stats.Aside[0].Certainty != queue.Exact || !strings.Contains(stats.Aside[0].Why, c.says) {
				t.Fatalf("aside %+v does not say %q", stats.Aside, c.says)
			}
			if want := (queue.Account{Accepted: 4, Delivered: 1, Queued: 1, SetAside: 2, Passed: 1}); stats.Account != want {
				t.Errorf("account %+v, want %+v", stats.Account, want)
			}
			if name := stats.Aside[0].File; !strings.HasPrefix(name, first+asideInfix) {
				t.Errorf("it is called %s", name)
			} else if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
			wantContent(t, s, ids[3], "kept")
			if id := acceptOne(t, s); id < ids[3] {
				t.Errorf("ID %s comes before %s", id, ids[3])
			}
			if events := eventsOf(t, s, ""); !strings.Contains(events, "damaged") {
				t.Errorf("ledger: %s", events)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, dir, Options{Check: inProcess})
			if stats := statsOf(t, again); len(stats.Aside) != 1 || stats.Account.SetAside != 2 {
				t.Errorf("after another start: %+v", stats)
			}
			if events := eventsOf(t, again, ""); strings.Count(events, "damaged") != 1 {
				t.Errorf("ledger: %s", events)
			}
		})
	}
}

// TestYoungestIsSetAside damages the file for new mail: another one is begun,
// and no number, ID or ledger line is given twice.
func TestYoungestIsSetAside(t *testing.T) {
	dir, ids := twoFiles(t)
	if err := os.Truncate(filepath.Join(dir, generationName(2)), 0); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if g := s.generations[len(s.generations)-1]; g.number != 3 {
		t.Errorf("the youngest has number %d", g.number)
	}
	if id := acceptOne(t, s); id <= ids[3] {
		t.Errorf("ID %s does not come after %s", id, ids[3])
	}
	last := uint64(0)
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Event == queue.Damaged && e.Seq < last+seqGap {
			t.Errorf("line %d comes after %d: some of the lost ones may be given again", e.Seq, last)
		}
		last = e.Seq
	}
	if stats := statsOf(t, s); stats.Account.SetAside != 1 || stats.Account.Accepted != 5 {
		t.Errorf("account %+v", stats.Account)
	}
}

// TestAllFilesAreSetAside: the store begins anew, and says so.
func TestAllFilesAreSetAside(t *testing.T) {
	dir, _ := twoFiles(t)
	for n := range 2 {
		if err := os.Truncate(filepath.Join(dir, generationName(n+1)), 100); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, Options{})
	if stats := statsOf(t, s); len(stats.Aside) != 2 || stats.Account.SetAside != 3 || len(s.generations) != 1 || s.generations[0].number != 3 {
		t.Errorf("%d files, stats %+v", len(s.generations), stats)
	}
}

func TestMissingFileIsTold(t *testing.T) {
	dir, _ := twoFiles(t)
	if err := os.Remove(filepath.Join(dir, generationName(1))); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is told once
		s := open(t, dir, Options{})
		stats := statsOf(t, s)
		if len(stats.Aside) != 1 || !stats.Aside[0].Gone || stats.Aside[0].Why != "the file is missing" || stats.Account.SetAside != 2 {
			t.Fatalf("stats %+v", stats)
		}
		if _, err := s.Salvage(t.Context(), stats.Aside[0].File, "carol", false); !errors.Is(err, queue.ErrState) {
			t.Errorf("salvage: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFileComesBack: what is put back under its name is in use again.
func TestFileComesBack(t *testing.T) {
	for _, missing := range []bool{true, false} {
		dir, ids := twoFiles(t)
		path, away := filepath.Join(dir, generationName(1)), filepath.Join(t.TempDir(), "away")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if missing {
			err = os.Rename(path, away)
		} else {
			err = os.Truncate(path, 100)
		}
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{})
		name := statsOf(t, s).Aside[0].File
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !missing {
			err = os.Remove(filepath.Join(dir, name))
		}
		if err := errors.Join(err, os.WriteFile(path, whole, 0o600)); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		stats := statsOf(t, s)
		if want := (queue.Account{Accepted: 4, Delivered: 1, Queued: 2, Held: 1, Passed: 1}); len(stats.Aside) != 0 || stats.Account != want {
			t.Errorf("stats %+v", stats)
		}
		wantContent(t, s, ids[1], "kept")
	}
}

// TestSummaryOfNothing: a file that held nothing may go.
func TestSummaryOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := writeJSON(filepath.Join(dir, summaryName(1)), summary{Format: format}, (*os.File).Sync); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gen-one.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if stats := statsOf(t, s); len(stats.Aside) != 0 {
		t.Errorf("stats %+v", stats)
	}
	if there, err := exists(filepath.Join(dir, summaryName(1))); there || err != nil {
		t.Errorf("the summary is there: %t, %v", there, err)
	}
}

// TestHalfSetAside ends the process between the steps of setting a file aside.
func TestHalfSetAside(t *testing.T) {
	renamed := generationName(1) + asideInfix + "20260122T193000Z"
	rename := func(t *testing.T, dir string) {
		if err := os.Rename(filepath.Join(dir, generationName(1)), filepath.Join(dir, renamed)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		rule string
		left func(t *testing.T, dir string)
	}{
		{"it is renamed only", rename},
		{"it is described, and the summary is still there", func(t *testing.T, dir string) {
			before, err := os.ReadFile(filepath.Join(dir, summaryName(1)))
			if err != nil {
				t.Fatal(err)
			}
			rename(t, dir)
			s := open(t, dir, Options{})
			if err := errors.Join(s.Close(), os.WriteFile(filepath.Join(dir, summaryName(1)), before, 0o600)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir, _ := twoFiles(t)
			c.left(t, dir)
			s := open(t, dir, Options{})
			stats := statsOf(t, s)
			if len(stats.Aside) != 1 || stats.Aside[0].File != renamed || stats.Account.SetAside != 2 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

// TestAsideWithoutSummary estimates from what is left of the file, or cannot.
func TestAsideWithoutSummary(t *testing.T) {
	for _, c := range []struct {
		rule      string
		damage    func(t *testing.T, path string)
		waiting   int64
		certainty queue.Certainty
	}{
		{"the counters are found, and they are of the last transaction", func(t *testing.T, path string) {
			r, err := openRuins(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			writeAt(t, path, int64(r.heads().newest.freelist)*r.pageSize+8, []byte{flagLeaf})
		}, 2, queue.Exact},
		{"the counters are found, but not of the last transaction", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyCreated, nil) })
		}, 2, queue.About},
		{"the counters are found, but whether they are the last is not known", func(t *testing.T, path string) {
			writeAt(t, path, 0, make([]byte, 2*os.Getpagesize()))
		}, 2, queue.About},
		{"nothing is found", func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}, 0, queue.Unknown},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir, _ := twoFiles(t)
			c.damage(t, filepath.Join(dir, generationName(1)))
			if err := os.Remove(filepath.Join(dir, summaryName(1))); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir, Options{})
			stats := statsOf(t, s)
			if len(stats.Aside) != 1 || stats.Aside[0].Recipients != c.waiting || stats.Aside[0].Certainty != c.certainty || stats.Account.SetAside != c.waiting {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

// TestOldSummary: what was accepted after the summary is found in the ruins, or
// the number is said to be uncertain.
func TestOldSummary(t *testing.T) {
	dir, ruined, emptied := t.TempDir(), t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		acceptOne(t, s)
		synctest.Wait() // the summary is written, and the next is due in a second
		for range 4 {
			acceptOne(t, s)
		}
		copyFiles(t, dir, ruined)
		copyFiles(t, dir, emptied)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	writeAt(t, filepath.Join(ruined, generationName(1)), 0, make([]byte, 2*os.Getpagesize())) // both meta pages
	if stats := statsOf(t, open(t, ruined, Options{})); stats.Aside[0].Recipients != 5 || stats.Aside[0].Certainty != queue.About {
		t.Errorf("with ruins: %+v", stats.Aside)
	}
	if err := os.Truncate(filepath.Join(emptied, generationName(1)), 0); err != nil {
		t.Fatal(err)
	}
	if stats := statsOf(t, open(t, emptied, Options{})); stats.Aside[0].Recipients != 1 || stats.Aside[0].Certainty != queue.About {
		t.Errorf("without: %+v", stats.Aside)
	}
}

// TestOneMetaPage damages the newer and the older meta page, after a clean stop
// and after another.
func TestOneMetaPage(t *testing.T) {
	for _, c := range []struct {
		rule         string
		newer, clean bool
		aside, doubt int
	}{
		{"the newer one after a clean stop: a transaction is missing", true, true, 1, 0},
		{"the older one after a clean stop: nothing is missing", false, true, 0, 0},
		{"the newer one after another stop", true, false, 0, 1},
		{"the older one after another stop: nothing is missing, and that is found out", false, false, 0, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			ids := []queue.ID{acceptOne(t, s), acceptOne(t, s), acceptOne(t, s)}
			dir := t.TempDir()
			if c.clean {
				dir = s.dir
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				copyFiles(t, s.dir, dir)
			}
			path := filepath.Join(dir, generationName(1))
			r, err := openRuins(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			page := int64(r.heads().newest.tx) % 2
			if !c.newer {
				page = 1 - page
			}
			writeAt(t, path, page*r.pageSize+pageHeader+40, []byte{0xFF})
			for range 2 {
				again := open(t, dir, Options{Check: inProcess})
				again.checking.Wait()
				var aside, doubt int
				for _, a := range statsOf(t, again).Aside {
					if a.InUse {
						doubt++
					} else {
						aside++
					}
				}
				if aside != c.aside || doubt != c.doubt {
					t.Errorf("%d aside, %d in doubt", aside, doubt)
				}
				if c.aside == 0 {
					wantContent(t, again, ids[0], "kept")
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
