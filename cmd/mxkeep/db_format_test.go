package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// oldData makes a data folder with a store of format 1.
func oldData(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	from := filepath.Join("..", "..", "queue", "bolt", "testdata", "format-1")
	if err := os.CopyFS(filepath.Join(dir, "queue"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDBMigrate asks about a data folder and about the files alone.
func TestDBMigrate(t *testing.T) {
	r := newRig(t)
	data := oldData(t)
	config := filepath.Join(t.TempDir(), "mxkeep.yaml")
	text := "hostname: mx2.corp.example\ndata: " + data + "\ninbound:\n  min_free: 4MiB\ndomain: corp.example\nupstream:\n  name: exo\n  hosts: [mx.corp.example]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{data}, {filepath.Join(data, "queue")}, {"--config", config}} {
		got := r.run(append([]string{"db", "migrate", "-n"}, args...)...)
		if got.code != 0 || !strings.Contains(got.out, "128 KiB       1  copied, changed to 2\n") ||
			!strings.Contains(got.out, "Would copy 320 KiB, in about 1s") || !strings.Contains(got.out, "There is room: ") {
			t.Errorf("%q: exit %d, %s%s", args, got.code, got.out, got.errs)
		}
	}
	var d migrationDocument
	if got := r.run("db", "migrate", "-n", data, "--json"); json.Unmarshal([]byte(got.out), &d) != nil || len(d.Files) != 3 || !d.Fits || d.Writes != 2 || *d.Files[0].Format != 1 {
		t.Errorf("%+v", d)
	}
	open, err := bolt.Open(filepath.Join(data, "queue"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inUse := r.run("db", "migrate", "-n", data)
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	for rule, c := range map[string]struct {
		got  result
		code int
		says string
	}{
		"without -n":         {r.run("db", "migrate", data), exitUsage, "say --dry-run"},
		"no folder":          {r.run("db", "migrate", "-n", filepath.Join(data, "x")), exitNotFound, "E1406"},
		"no configuration":   {r.run("db", "migrate", "-n"), exitUsage, "no data folder"},
		"a bad one":          {r.run("db", "migrate", "-n", "--config", data), exitConfig, "directory"},
		"a relay that runs":  {inUse, exitFailed, "E2205 already_running"},
		"it is done already": {r.run("db", "migrate", "-n", data), 0, ""},
		"not a folder":       {r.run("db", "migrate", "-n", config), exitFailed, "E1001"},
	} {
		if c.got.code != c.code || !strings.Contains(c.got.errs, c.says) {
			t.Errorf("%s: exit %d, %s", rule, c.got.code, c.got.errs)
		}
		if rule == "it is done already" && !strings.Contains(c.got.out, "Nothing to do: this version reads formats 1 to 2.") {
			t.Errorf("%s: %s", rule, c.got.out)
		}
	}
}

// TestDBMigrateWords writes each kind of file.
func TestDBMigrateWords(t *testing.T) {
	m := queue.Migration{Folder: "/data/queue", Reads: 1, Writes: 2, Copy: 600 << 20, Free: 900 << 20, Files: []queue.MigratedFile{
		{Name: "gen-000001.db", Format: 1, Size: 256 << 20, Changes: true, Copied: true, Recount: true},
		{Name: "gen-000002.db", Format: 1, Size: 256 << 20, Changes: true, Copied: true},
		{Name: "gen-000003.db", Size: 64 << 20, Copied: true},
		{Name: "gen-000004.db", Format: 2, Size: 64 << 20},
		{Name: "ledger-000001-20260122.db", Format: 1, Size: 24 << 20, Copied: true}}}
	a := &app{env: func(string) string { return "" }, screen: screen{out: true, width: 80, utf8: true}}
	var out bytes.Buffer
	a.showMigration(&out, migrationOf(m, 0))
	golden(t, "db-migrate", out.String())
	out.Reset()
	a.showMigration(&out, migrationOf(queue.Migration{Reads: 1, Writes: 2, Files: []queue.MigratedFile{{Name: "gen-000003.db"}}}, 0))
	golden(t, "db-migrate-nothing", out.String())
}

func TestWhyNotStartedOrPlanned(t *testing.T) {
	for _, err := range []error{bolt.ErrNewer, bolt.ErrNoRoom} {
		p := lookup(whyNotStarted(errors.Join(io.EOF, err)))
		if want := map[error]int{bolt.ErrNewer: exitConfig, bolt.ErrNoRoom: exitFailed}[err]; p.exit != want || !strings.Contains(p.hint, "mxkeep help upgrade") {
			t.Errorf("%v: %+v", err, p)
		}
	}
	if code := whyNotPlanned(bolt.ErrNewer); lookup(code).exit != exitConfig {
		t.Errorf("newer: %s", code)
	}
}

// TestReusableWords: a word only if much is reusable.
func TestReusableWords(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		size, reusable int64
		words          string
	}{
		{2 * gib, 19 * gib / 10, "The files take 2.0 GiB, of which 1.9 GiB are for mail that has left: normal after an outage."},
		{2 * gib, gib / 2, ""},
		{1 << 20, 1 << 20, ""},
	} {
		got := reusableWords([]admin.File{{Size: c.size / 2}, {Size: c.size / 2, Reusable: c.reusable}})
		if !strings.HasPrefix(got, c.words) || (got == "") != (c.words == "") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestCompactionWords: nothing to gain is said, and so is an outcome of a newer relay.
func TestCompactionWords(t *testing.T) {
	a := &app{env: func(string) string { return "" }, screen: screen{out: true, width: 80, utf8: true}}
	var out bytes.Buffer
	a.showCompaction(&out, admin.Compaction{Before: 5 << 20, After: 5 << 20, Files: []admin.CompactedFile{{Name: "gen-000001.db", Before: 5 << 20, After: 5 << 20, Outcome: "moved\x1b"}}})
	if words := out.String(); !strings.Contains(words, "Nothing to gain: the files take 5.0 MiB.") || strings.Contains(words, "\x1b") {
		t.Errorf("%q", words)
	}
	a.showStore(&out, nil) // of a relay without files
}

// TestVersionSaysFormats: which files this binary reads, and which it writes.
func TestVersionSaysFormats(t *testing.T) {
	r := newRig(t)
	if got := r.terminal(80, "", "version"); !strings.Contains(got.out, "files: reads formats 1 to 2, writes 2") {
		t.Errorf("%q", got.out)
	}
	if got := r.run("version", "--json"); !strings.Contains(got.out, `"reads_format_from":1,"writes_format":2`) {
		t.Errorf("%q", got.out)
	}
}
