package bolt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// folder is a closed store: its files by name.
type folder map[string][]byte

func readFolder(t *testing.T, dir string) folder {
	t.Helper()
	all := folder{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// put writes the files anew, one of them changed.
func (f folder) put(t *testing.T, name string, changed []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for other, text := range f {
		if other == name {
			text = changed
		}
		if err := os.WriteFile(filepath.Join(dir, other), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// old are options under which nothing of an old sample goes by itself.
func old(check func(context.Context, string) error) Options {
	const ages = 100 * 365 * day
	return Options{Check: check, Interrupted: -1, GenerationAge: ages, Quiet: ages, LedgerKeep: ages}
}

// ledgerSample is a closed store with three ledger files, and lines in a
// generation of which some are filed; and all its lines.
func ledgerSample(t *testing.T) (all folder, lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		days(t, s, 3)
		acceptOne(t, s)
		if err := s.FileLedger(t.Context()); err != nil {
			t.Fatal(err)
		}
		acceptOne(t, s)
		lines, _ = allLines(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		all = readFolder(t, dir)
	})
	return all, lines
}

// allLines lists the lines about messages, without their numbers, and counts
// what is told to be missing.
func allLines(t *testing.T, s *Store) (lines []string, told int) {
	t.Helper()
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{}) {
		switch {
		case err != nil:
			told++
		case e.ID != "":
			lines = append(lines, fmt.Sprint(e.Event, e.ID, e.At, e.Recipients, e.Actor))
		}
	}
	return lines, told
}

// judgeLedger opens a copy with a damaged ledger file and wants that no line is
// lost in silence.
func (f folder) judgeLedger(t *testing.T, what, name string, changed []byte, lines []string, sum *verdict) {
	t.Helper()
	dir := f.put(t, name, changed)
	defer os.RemoveAll(dir)
	fmt.Println("  ", what)
	s, err := Open(dir, old(inProcess))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer s.Close()
	got, told := allLines(t, s)
	found := 0
	if s.Err() == nil {
		if _, err := s.Audit(t.Context(), "", func(queue.Finding) error { found++; return nil }); err != nil && s.Err() == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if errors.Is(s.Err(), ErrDamagedFile) { // the next start sets it aside
		sum.broken++
		next := t.TempDir()
		defer os.RemoveAll(next)
		copyFiles(t, dir, next)
		if s, err = Open(next, old(inProcess)); err != nil {
			t.Errorf("%s: the next start: %v", what, err)
			return
		}
		defer s.Close()
		if asides, err := s.Aside(t.Context()); err != nil || len(asides) != 1 || asides[0].InUse {
			t.Errorf("%s: the next start: %+v, %v", what, asides, err)
		}
	}
	asides, err := s.Aside(t.Context())
	switch {
	case err != nil || len(asides) > 1:
		t.Errorf("%s: %+v, %v", what, asides, err)
	case len(asides) == 1 && asides[0].InUse:
		sum.doubt++
	case len(asides) == 1:
		sum.aside++
		salvageLedger(t, what, s, asides[0].File, lines)
	case found > 0 || told > 0:
		sum.broken++
	case slices.Equal(got, lines):
		sum.whole++
	default:
		t.Errorf("%s: lines are missing in silence", what)
	}
}

// salvageLedger brings back what can be read. If that is all, nothing is missing.
func salvageLedger(t *testing.T, what string, s *Store, name string, lines []string) {
	t.Helper()
	did, err := s.Salvage(t.Context(), name, "carol", false)
	if err != nil {
		t.Errorf("%s: salvage: %v", what, err)
		return
	}
	got, told := allLines(t, s)
	slices.Sort(got)
	want := slices.Sorted(slices.Values(lines))
	if twice := len(slices.Compact(slices.Clone(got))); twice != len(got) {
		t.Errorf("%s: %d lines are there twice", what, len(got)-twice)
	}
	if did.Certainty == queue.Exact && (!slices.Equal(got, want) || told > 0) {
		t.Errorf("%s: %+v, and of %d lines there are %d, %d told", what, did, len(want), len(got), told)
	}
	if did.Certainty != queue.Exact && told == 0 {
		t.Errorf("%s: %+v, and nothing tells that lines may be missing", what, did)
	}
}

// TestFlippedLedger changes bytes of the newest and of an older ledger file, one
// at a time, and cuts the files off. With MXKEEP_SOAK=1 it changes every byte in use.
func TestFlippedLedger(t *testing.T) {
	if !inChild(t) {
		return
	}
	all, lines := ledgerSample(t)
	names := slices.DeleteFunc(sortedKeys(all), func(name string) bool { return !strings.HasPrefix(name, "ledger-") })
	if len(names) != 4 {
		t.Fatalf("files %q", names)
	}
	random := rand.New(rand.NewPCG(3, flipSeed))
	for _, clean := range []bool{true, false} {
		if !clean {
			delete(all, cleanMark)
		}
		for _, name := range []string{names[1], names[3]} {
			var sum verdict
			text := all[name]
			flip := func(at int) {
				changed := slices.Clone(text)
				changed[at] ^= byte(1 + random.IntN(255))
				all.judgeLedger(t, fmt.Sprintf("%s: byte %d is %#x, clean %t", name, at, changed[at], clean), name, changed, lines, &sum)
			}
			for range 40 {
				flip(random.IntN(len(text)))
			}
			for at := 0; at < len(text) && os.Getenv("MXKEEP_SOAK") != ""; at++ {
				flip(at)
			}
			for at := 0; at < len(text); at += 1 + at/2 {
				all.judgeLedger(t, fmt.Sprintf("%s: cut to %d bytes, clean %t", name, at, clean), name, text[:at], lines, &sum)
			}
			t.Logf("figures: seed %d, clean %t, %s: %v", flipSeed, clean, name, sum)
		}
	}
}

// TestDamagedLedgerIsSetAside damages the newest file: the store opens, says
// so, goes on in a new file, and a person closes it.
func TestDamagedLedgerIsSetAside(t *testing.T) {
	for _, c := range []struct {
		rule   string
		damage func(t *testing.T, path string)
		says   string
	}{
		{"a format that nobody wrote", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, []byte{format + 1}) })
		}, "this version reads formats 1 to 2"},
		{"another database", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) })
		}, "not a ledger file"},
		{"damaged books", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyBooks, []byte("none")) })
		}, "books"},
		{"a damaged end", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketLines).Put(sequenceKey(7), []byte("none")) })
		}, "end of the chain"},
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("text", 10_000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "neither of its two meta pages can be read"},
		{"nothing in it", func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}, "neither of its two meta pages can be read"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			acceptOne(t, s)
			if err := errors.Join(s.FileLedger(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
			c.damage(t, filepath.Join(dir, files(t, dir, "ledger-")[0]))
			var name string
			for round := range 2 { // it is set aside once
				s = open(t, dir, Options{})
				stats := statsOf(t, s)
				if len(stats.Aside) != 1 || !stats.Aside[0].Ledger || stats.Aside[0].Recipients != 0 || !strings.Contains(stats.Aside[0].Why, c.says) {
					t.Fatalf("start %d: %+v does not say %q", round, stats.Aside, c.says)
				}
				name = stats.Aside[0].File
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s = open(t, dir, Options{})
			if err := s.FileLedger(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := files(t, dir, "ledger-000002"); len(got) != 1 {
				t.Errorf("files %q", got)
			}
			if got, told := allLines(t, s); len(got) != 1 || told != 1 {
				t.Errorf("lines %q, %d told", got, told)
			}
			if found := findings(t, s); len(found) != 1 || !strings.Contains(found[0], "the chain of the ledger is broken after line 0") {
				t.Errorf("found %q", found)
			}
			if _, err := s.AcceptLoss(t.Context(), name, "carol", "seen", false); err != nil {
				t.Fatal(err)
			}
			if found := findings(t, s); len(found) != 0 {
				t.Errorf("found %q", found)
			}
			chain, err := s.Verify(t.Context())
			if err != nil || len(chain.Breaks) != 1 || chain.Breaks[0] != (Break{name, 0, false}) {
				t.Errorf("%+v, %v", chain, err)
			}
			if _, told := allLines(t, s); told != 0 {
				t.Errorf("%d told", told)
			}
		})
	}
}

// damageRoot damages the root page of a file.
func damageRoot(t *testing.T, path string) {
	t.Helper()
	r, err := openRuins(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	writeAt(t, path, int64(r.heads().newest.root)*r.pageSize, make([]byte, 16))
}

// TestNewestLedgerFileInUse: a page that is wrong puts the store out of service,
// whoever meets it, and the next start sets the file aside.
func TestNewestLedgerFileInUse(t *testing.T) {
	for rule, act := range map[string]func(*testing.T, *Store) error{
		"a reader": func(t *testing.T, s *Store) error { return lastError(s.Ledger(t.Context(), queue.LedgerFilter{})) },
		"a writer": func(t *testing.T, s *Store) error { return s.FileLedger(t.Context()) },
	} {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		acceptOne(t, s)
		if err := errors.Join(s.FileLedger(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		acceptOne(t, s)
		damageRoot(t, filepath.Join(dir, files(t, dir, "ledger-")[0]))
		if err := act(t, s); !errors.Is(err, ErrDamagedFile) {
			t.Errorf("%s: %v", rule, err)
		}
		<-s.Failed()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		next := t.TempDir()
		copyFiles(t, dir, next)
		s = open(t, next, Options{})
		if got, told := allLines(t, s); len(got) != 2 || told != 1 {
			t.Errorf("%s: lines %q, %d told", rule, got, told)
		}
	}
}

// TestLedgerSetAsideHalfWay ends the process after the file was renamed.
func TestLedgerSetAsideHalfWay(t *testing.T) {
	all, lines := ledgerSample(t)
	names := slices.DeleteFunc(sortedKeys(all), func(name string) bool { return !strings.HasPrefix(name, "ledger-") })
	dir := all.put(t, "", nil)
	renamed := names[3] + asideInfix + "20000105T000000Z"
	if err := os.Rename(filepath.Join(dir, names[3]), filepath.Join(dir, renamed)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, old(nil))
	asides, err := s.Aside(t.Context())
	if err != nil || len(asides) != 1 || asides[0].File != renamed || asides[0].Why != setAsideUnsaid {
		t.Fatalf("%+v, %v", asides, err)
	}
	if found := findings(t, s); len(found) != 1 { // before the next file is begun
		t.Errorf("found %q", found)
	}
	salvageLedger(t, "half way", s, renamed, lines)
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("found %q", found)
	}
}

// TestCausesComeBack: a notification stays unique when the ledger file that knew
// of it has been salvaged.
func TestCausesComeBack(t *testing.T) {
	dir := t.TempDir()
	var notification queue.Acceptance
	synctest.Test(t, func(t *testing.T) {
		notification = benchAcceptance(t)
		notification.Envelope.Cause = queue.Cause{ID: "0123456789ab", Attempt: 3, Kind: "failure"}
		s := open(t, dir, old(nil))
		deliver(t, s, accept(t, s, notification, nil))
		if err := s.succeed(s.generations[0]); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.retire(t.Context(), s.generations[0]), s.Close()); err != nil {
			t.Fatal(err)
		}
	})
	damageRoot(t, filepath.Join(dir, files(t, dir, "ledger-")[0]))
	s := open(t, dir, old(nil))
	asides, err := s.Aside(t.Context())
	if err != nil || len(asides) != 1 {
		t.Fatalf("%+v, %v", asides, err)
	}
	for _, dry := range []bool{true, false} {
		if _, err := s.Salvage(t.Context(), asides[0].File, "carol", dry); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tryAccept(s, notification, nil); !errors.Is(err, queue.ErrExists) {
		t.Errorf("a second one: %v", err)
	}
}

// TestBooksComeBack: the account of generations that are gone is in the newest
// ledger file, and read from its ruins.
func TestBooksComeBack(t *testing.T) {
	all, lines := ledgerSample(t)
	names := slices.DeleteFunc(sortedKeys(all), func(name string) bool { return !strings.HasPrefix(name, "ledger-") })
	newest := names[len(names)-1]
	sound := open(t, all.put(t, "", nil), old(nil))
	want := accountOf(t, sound)
	dir := all.put(t, newest, all[newest])
	path := filepath.Join(dir, newest)
	leaf, size := pageOf(t, path, func(p page) bool { return p.flags == flagLeaf && p.count == 3 })
	writeAt(t, path, int64(leaf)*size+8, []byte{0x77}) // the root is of no kind
	s := open(t, dir, old(nil))
	if got := accountOf(t, s); got != want {
		t.Errorf("account %+v, want %+v", got, want)
	}
	asides, err := s.Aside(t.Context())
	if err != nil || len(asides) != 1 {
		t.Fatalf("%+v, %v", asides, err)
	}
	salvageLedger(t, "the root", s, asides[0].File, lines)
}
