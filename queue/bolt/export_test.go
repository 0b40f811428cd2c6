package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// exported is an export, verified.
func exported(t *testing.T, s *Store, since, until time.Time) (text []byte, x queue.Export) {
	t.Helper()
	var out bytes.Buffer
	if err := s.ExportLedger(t.Context(), since, until, &out); err != nil {
		t.Fatal(err)
	}
	x, err := queue.VerifyExport(bytes.NewReader(out.Bytes()), nil)
	if err != nil || len(x.Faults) > 0 {
		t.Fatalf("%q, %v\n%s", x.Faults, err, out.Bytes())
	}
	return out.Bytes(), x
}

// TestExport writes stretches of a ledger, also after a part of it was trimmed.
func TestExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := now()
		s := open(t, t.TempDir(), Options{LedgerKeep: 3 * day})
		if _, x := exported(t, s, time.Time{}, time.Time{}); x.Lines != 0 || x.Head.Anchor != (queue.Digest{}) || x.End.Head != x.Head.Anchor {
			t.Errorf("of nothing: %+v", x)
		}
		days(t, s, 3)
		acceptOne(t, s) // is pending
		for _, c := range []struct {
			rule         string
			since, until time.Time
			first, last  uint64
		}{
			{"all", time.Time{}, time.Time{}, 1, 7},
			{"since", start.Add(day), time.Time{}, 3, 7},
			{"until", time.Time{}, start.Add(2 * day), 1, 4},
			{"a day", start.Add(day), start.Add(2 * day), 3, 4},
			{"before all", time.Time{}, start, 0, 7},
			{"after all", start.Add(99 * day), time.Time{}, 0, 7},
		} {
			_, x := exported(t, s, c.since, c.until)
			want := int64(0)
			if c.first > 0 {
				want = int64(c.last - c.first + 1)
			}
			if x.First != c.first || x.End.Last != c.last || x.Lines != want || !x.Head.Since.Equal(c.since) || !x.Head.Until.Equal(c.until) {
				t.Errorf("%s: %+v", c.rule, x)
			}
		}
		chain, err := s.Verify(t.Context())
		if _, x := exported(t, s, time.Time{}, time.Time{}); err != nil || x.End.Head.String() != chain.Head {
			t.Errorf("head %s, want %s, %v", x.End.Head, chain.Head, err)
		}
		days(t, s, 4)
		if _, x := exported(t, s, time.Time{}, time.Time{}); x.First < 3 || x.Head.After != x.First-1 || x.Head.Anchor == (queue.Digest{}) {
			t.Errorf("trimmed: %+v", x)
		}
	})
}

// TestExportByTheRule verifies an export by the words of the documentation
// alone: SHA-256 of the hash before, the number, the prefix, and the line.
func TestExportByTheRule(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	acceptOne(t, s)
	acceptOne(t, s)
	text, _ := exported(t, s, time.Time{}, time.Time{})
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := ""
	for i, line := range lines {
		var x struct {
			Anchor, Hash, Prefix, Line, Head string
			Seq                              uint64
			Lines                            int
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err)
		}
		switch {
		case i == 0:
			last = x.Anchor
		case i == len(lines)-1:
			if x.Head != last || x.Lines != i-1 {
				t.Errorf("end %s", line)
			}
		default:
			before, _ := hex.DecodeString(last)
			prefix, _ := hex.DecodeString(x.Prefix)
			bytes := slices.Concat(before, binary.BigEndian.AppendUint64(nil, x.Seq), prefix, []byte(x.Line))
			sum := sha256.Sum256(bytes)
			if last = hex.EncodeToString(sum[:]); last != x.Hash || !json.Valid([]byte(x.Line)) {
				t.Errorf("line %s", line)
			}
		}
	}
}

// TestExportOfDamage: a damaged line is in the export, and the verification
// finds it; so is a place where a file is missing.
func TestExportOfDamage(t *testing.T) {
	all, _ := ledgerSample(t)
	names := slices.DeleteFunc(sortedKeys(all), func(name string) bool { return !strings.HasPrefix(name, "ledger-") })
	dir := all.put(t, "", nil)
	edit(t, filepath.Join(dir, names[1]), func(tx *bbolt.Tx) error {
		k, v := tx.Bucket(bucketLines).Cursor().First()
		changed := bytes.Clone(v)
		changed[len(v)-3] ^= 0xF0 // no text any more
		return tx.Bucket(bucketLines).Put(bytes.Clone(k), changed)
	})
	var out bytes.Buffer
	s := open(t, dir, old(nil))
	if err := s.ExportLedger(t.Context(), time.Time{}, time.Time{}, &out); err != nil {
		t.Fatal(err)
	}
	if x, err := queue.VerifyExport(&out, nil); err != nil || len(x.Faults) != 1 || !strings.Contains(x.Faults[0], "does not go on") {
		t.Errorf("%q, %v", x.Faults, err)
	}
	dir = all.put(t, names[1], all[names[1]][:8000])
	s = open(t, dir, old(nil))
	if err := s.ExportLedger(t.Context(), time.Time{}, time.Time{}, io.Discard); !errors.Is(err, ErrDamagedFile) || s.Err() != nil {
		t.Errorf("a file that is found to be damaged: %v, %v", err, s.Err())
	}
	_, x := exported(t, s, time.Time{}, time.Time{})
	if len(x.Missing) != 1 || !strings.Contains(x.Missing[0], "set aside: "+names[1]) {
		t.Errorf("missing %q", x.Missing)
	}
	if found := findings(t, s); len(found) != 1 || !strings.Contains(found[0], "is broken after line 2") {
		t.Errorf("found %q", found)
	}
}

// TestExportEndsEarly: what keeps it from its end is told.
func TestExportEndsEarly(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	acceptOne(t, s)
	broken := errors.New("broken")
	for n := range 3 {
		w := &shortWriter{left: n, err: broken}
		if err := s.ExportLedger(t.Context(), time.Time{}, time.Time{}, w); !errors.Is(err, broken) {
			t.Errorf("after %d writes: %v", n, err)
		}
	}
	for n := range 5 {
		if err := s.ExportLedger(&patience{t.Context(), n}, time.Time{}, time.Time{}, io.Discard); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d looks: %v", n, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.ExportLedger(t.Context(), time.Time{}, time.Time{}, io.Discard); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestExportWhileTrimmed: a file that goes meanwhile is an error.
func TestExportWhileTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		days(t, s, 2)
		trim := writerFunc(func(p []byte) (int, error) {
			s.filing.Lock()
			defer s.filing.Unlock()
			return len(p), s.ledger.trim(time.Now().Add(90 * day))
		})
		if err := s.ExportLedger(t.Context(), time.Time{}, time.Time{}, trim); err == nil || !strings.Contains(err.Error(), "trimmed while") {
			t.Errorf("%v", err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type shortWriter struct {
	left int
	err  error
}

func (w *shortWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, w.err
	}
	return len(p), nil
}

// TestHeadIsFound: a head that was noted is in the chain, also as its anchor.
func TestHeadIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{LedgerKeep: 3 * day})
		days(t, s, 1)
		audit := func(head string) queue.Chain {
			t.Helper()
			sum, err := s.Audit(t.Context(), head, func(queue.Finding) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			return sum.Chain
		}
		first := audit("").Head
		for range 2 { // until it is the anchor
			if c := audit(first); !c.Found || c.FoundAt != 2 {
				t.Errorf("%+v", c)
			}
			days(t, s, 3)
		}
		days(t, s, 1)
		if c := audit(first); c.Found || c.First <= 3 {
			t.Errorf("trimmed: %+v", c)
		}
		if c := audit(strings.Repeat("ab", 32)); c.Found {
			t.Errorf("%+v", c)
		}
		if _, err := s.Audit(t.Context(), "no hash", func(queue.Finding) error { return nil }); err == nil {
			t.Error("no error for what is no hash")
		}
	})
}

func TestTrimTime(t *testing.T) {
	known := time.Date(2026, 1, 22, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rule    string
		now     time.Duration // since known
		running time.Duration
		want    time.Duration
	}{
		{"a clock that runs", time.Hour, time.Hour, time.Hour},
		{"a night without power", 12 * time.Hour, 0, 12 * time.Hour},
		{"a week without power", 7 * day, 0, day},
		{"a week without power, a day later", 8 * day, day, 2 * day},
		{"a clock set far ahead", 20_000 * day, time.Hour, day + time.Hour},
		{"a clock far ahead that has run for a week is believed", 20_000 * day, 7 * day, 20_000 * day},
		{"a clock that went back", -day, time.Hour, -day},
	} {
		if got := trimTime(known.Add(c.now), known, c.running).Sub(known); got != c.want {
			t.Errorf("%s: %s, want %s", c.rule, got, c.want)
		}
	}
}

// TestClockFarAhead starts with a clock years ahead: the ledger stays, and the
// time goes on to be doubted by the next start.
func TestClockFarAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := Options{LedgerKeep: 10 * day}
		s := open(t, dir, o)
		days(t, s, 3)
		before := len(files(t, dir, "ledger-"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5000 * day) // nothing runs meanwhile, which looks the same
		for range 2 {
			s = open(t, dir, o)
			time.Sleep(time.Hour)
			synctest.Wait()
			if got := len(files(t, dir, "ledger-")); got < before {
				t.Fatalf("%d of %d files are left", got, before)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, dir, o)
		time.Sleep(9 * day)
		synctest.Wait()
		if chain, err := s.Verify(t.Context()); err != nil || chain.Lines != 0 {
			t.Errorf("after it has run for long: %+v, %v", chain, err)
		}
	})
}
