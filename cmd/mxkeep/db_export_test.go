package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// exportOf is an export of some lines of a ledger.
func exportOf(t *testing.T) string {
	t.Helper()
	s, err := bolt.Open(t.TempDir(), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = s.Note(t.Context(), queue.Entry{At: time.Now(), Event: queue.Noted, Actor: "carol", Reason: "a <b> & \u2028 ä"})
	if err == nil {
		err = s.Note(t.Context(), queue.Entry{At: time.Now(), Event: queue.Noted, Actor: "carol", Reason: "second"})
	}
	if err == nil {
		err = s.ExportLedger(t.Context(), time.Time{}, time.Time{}, &out)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// entriesOf lists what is in a folder.
func entriesOf(t *testing.T, dir string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

func TestExportLedger(t *testing.T) {
	text := exportOf(t)
	inFiles(t, func(r *rig) {
		dir := t.TempDir()
		path := filepath.Join(dir, "day.jsonl")
		r.files.Exported = text
		got := r.run("db", "export-ledger", "--since", "2026-01-22", "--until", "2026-01-23T10:00:00+02:00", "-O", path)
		if got.code != 0 || !strings.Contains(got.out, "day.jsonl is whole: 2 ledger lines.\nlines 1 to 2, after 0000") {
			t.Fatalf("exit %d, %q, %q", got.code, got.out, got.errs)
		}
		about, err := os.Stat(path)
		written, readErr := os.ReadFile(path)
		if err := errors.Join(err, readErr); err != nil || about.Mode().Perm() != 0o600 || string(written) != text {
			t.Errorf("%v, %v", about, err)
		}
		if b := r.files.Bounds; b[0].Format(time.RFC3339) != "2026-01-22T00:00:00Z" || b[1].UTC().Format(time.RFC3339) != "2026-01-23T08:00:00Z" {
			t.Errorf("bounds %s", b)
		}
		for _, c := range []struct {
			rule string
			set  func()
			args []string
			code int
			says string
		}{
			{"it exists", nil, []string{"-O", path}, 1, "file already exists"},
			{"no folder", nil, []string{"-O", filepath.Join(dir, "none", "x")}, 1, "no such file"},
			{"no file", nil, nil, 2, "-O FILE"},
			{"no time", nil, []string{"--since", "yesterday", "-O", path + "2"}, 2, `"yesterday" is no time`},
			{"cut off", func() { r.files.Exported = text[:len(text)-100] }, []string{"-O", path + "2"}, 1, "E1505 damage_found"},
			{"a disk that fails", func() { r.files.Fail = errors.New("read: input/output error") }, []string{"-O", path + "2"}, 1, "E1501"},
		} {
			if c.set != nil {
				c.set()
			}
			got := r.run(append([]string{"db", "export-ledger"}, c.args...)...)
			if got.code != c.code || !strings.Contains(got.errs, c.says) {
				t.Errorf("%s: exit %d, %q", c.rule, got.code, got.errs)
			}
			if left := entriesOf(t, dir); len(left) != 1 {
				t.Errorf("%s: left %q", c.rule, left)
			}
		}
	})
}

func TestInstantOf(t *testing.T) {
	now := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "2026-01-20": time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC), "2026-01-20T05:06:07Z": time.Date(2026, 1, 20, 5, 6, 7, 0, time.UTC),
		"36h": now.Add(-36 * time.Hour), "7d": now.Add(-168 * time.Hour),
	} {
		if got, err := instantOf(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// TestCheckExport verifies a file without a relay.
func TestCheckExport(t *testing.T) {
	text := exportOf(t)
	lines := strings.SplitAfter(text, "\n")
	r := newRig(t) // nobody answers
	dir := t.TempDir()
	check := func(content string, args ...string) result {
		t.Helper()
		path := filepath.Join(dir, "x.jsonl")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return r.run(append([]string{"db", "check", path}, args...)...)
	}
	if got := check(text); got.code != 0 || !strings.Contains(got.out, "is whole: 2 ledger lines") {
		t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
	}
	_, rest, _ := strings.Cut(lines[1], `"hash":"`)
	head := rest[:64]
	if got := check(text, "--head", head); got.code != 0 || !strings.Contains(got.out, "is that of line 1:") {
		t.Errorf("a head: exit %d, %q, %q", got.code, got.out, got.errs)
	}
	if got := check(text, "--head", head, "--json"); got.code != 0 || !strings.Contains(got.out, `"found_at":1`) {
		t.Errorf("as JSON: exit %d, %q, %q", got.code, got.out, got.errs)
	}
	broken := strings.Join(lines[:2], "") + fmt.Sprintf(`{"seq":1,"hash":%q,"missing":"set aside: y"}`+"\n", head) + strings.Join(lines[2:], "")
	if got := check(broken); got.code != 0 || !strings.Contains(got.out, "The chain is broken after line 1: set aside: y") {
		t.Errorf("a break: exit %d, %q, %q", got.code, got.out, got.errs)
	}
	for rule, c := range map[string]struct {
		content string
		args    []string
		code    int
		says    string
	}{
		"changed":             {strings.Replace(text, "carol", "Carol", 1), nil, 1, "E1505 damage_found: x.jsonl: line 1 does not go on"},
		"cut off":             {strings.Join(lines[:3], ""), nil, 1, "was cut off"},
		"another head":        {text, []string{"--head", strings.Repeat("ab", 32)}, 1, "E1508 head_not_found"},
		"a head that is none": {text, []string{"--head", "ab"}, 2, "is no head"},
	} {
		if got := check(c.content, c.args...); got.code != c.code || !strings.Contains(got.errs, c.says) {
			t.Errorf("%s: exit %d, %q", rule, got.code, got.errs)
		}
	}
	if got := r.run("db", "check", filepath.Join(dir, "none")); got.code != 1 {
		t.Errorf("no file: %+v", got)
	}
	if got := r.run("db", "check", dir); got.code != 1 {
		t.Errorf("a folder: %+v", got)
	}
}

// TestCheckTellsTheHead prints what a person notes, and finds it later.
func TestCheckTellsTheHead(t *testing.T) {
	inFiles(t, func(r *rig) {
		head := strings.Repeat("5f", 32)
		r.files.Sum = queue.Checked{Files: 3, Messages: 7, Lines: 9, Chain: queue.Chain{First: 1, Last: 9, Anchor: strings.Repeat("0", 64), Head: head, Breaks: 1}}
		got := r.terminal(120, "", "db", "check", "--head", head)
		for _, words := range []string{"head " + head, "is that of line 9", "where 1 file was set aside"} {
			if got.code != 0 || !strings.Contains(got.errs, words) {
				t.Errorf("exit %d, %q has no %q", got.code, got.errs, words)
			}
		}
		r.files.Sum.Chain.Breaks = 2
		if got := r.terminal(120, "", "db", "check"); !strings.Contains(got.errs, "where 2 files were set aside") {
			t.Errorf("%q", got.errs)
		}
		if got := r.run("db", "check", "--head", strings.Repeat("ab", 32)); got.code != 1 || !strings.Contains(got.errs, "E1508 head_not_found") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		if got := r.run("db", "check", "--head", "xy"); got.code != 2 || !strings.Contains(got.errs, "is no head") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
	})
}

// TestLedgerFileWords shows a file of the ledger that was set aside.
func TestLedgerFileWords(t *testing.T) {
	inFiles(t, func(r *rig) {
		name := "ledger-000003-20260122.db.damaged-x"
		r.files.Damaged = []queue.Aside{{File: name, Ledger: true, At: time.Now(), Why: "page 7 is of no kind"}}
		if got := r.run("db", "stats"); !strings.Contains(got.out, "lines of the ledger, no mail") {
			t.Errorf("%q", got.out)
		}
		r.files.Brought = queue.Salvage{Ledger: true, Lines: 1}
		for _, c := range []struct {
			certainty queue.Certainty
			args      []string
			says      string
		}{
			{queue.Exact, nil, "Brought back, under new numbers: 1 ledger line.\nNothing of the file is missing."},
			{queue.About, []string{"-n"}, "Would be brought back: 1 ledger line.\nNot all of the file could be read. To give up the rest: mxkeep db accept-loss " + name},
		} {
			r.files.Brought.Certainty = c.certainty
			if got := r.run(append([]string{"db", "salvage", name}, c.args...)...); got.code != 0 || !strings.Contains(got.out, c.says) {
				t.Errorf("exit %d, %q", got.code, got.out)
			}
		}
		if got := r.run("db", "accept-loss", name, "--reason", "x", "-n"); !strings.Contains(got.out, "would give up what may be missing of "+name) {
			t.Errorf("%q", got.out)
		}
	})
}

// TestTraceOfAnIncompleteLedger shows what there is, and says what is missing.
func TestTraceOfAnIncompleteLedger(t *testing.T) {
	r := newRig(t)
	id := r.accept("a@supplier.example", "b@corp.example")
	r.store.OnLedger = func(nth int) error {
		if nth == 0 {
			return nil
		}
		return fmt.Errorf("the ledger after line 3: %w", queue.ErrDamaged)
	}
	r.serve()
	for _, args := range [][]string{{"trace", string(id)}, {"trace", string(id), "--json"}, {"queue", "show", string(id)}} {
		for _, wide := range []int{0, 120} {
			got := r.run(args...)
			if wide > 0 {
				got = r.terminal(wide, "", args...)
			}
			if got.code != 1 || !strings.Contains(got.errs, "E1507") || !strings.Contains(got.errs, "after line 3") || !strings.Contains(got.out, string(id)) {
				t.Errorf("%v: exit %d, %q, %q", args, got.code, got.out, got.errs)
			}
		}
	}
	var gap *admin.Gap
	if incomplete(gap) != nil {
		t.Error("nothing is missing")
	}
}
