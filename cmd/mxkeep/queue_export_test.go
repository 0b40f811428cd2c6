package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/archive"
)

// envelopes reads an archive; its contents are held against their digests.
func envelopes(t testing.TB, text []byte) (all []archive.Envelope, m archive.Manifest) {
	t.Helper()
	read, err := archive.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := read.Next()
		if errors.Is(err, io.EOF) {
			return all, read.Manifest()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, read)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

func contentOf(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tars is a folder of archives. Its name changes with each run, so that it is
// put into command lines and taken out of answers.
type tars string

func (folder tars) path(name string) string { return filepath.Join(string(folder), name) }

// ask runs a command line in which names of archives are those of the folder.
func (folder tars) ask(r *rig, s screen, input string, args ...string) result {
	for i, word := range args {
		if strings.HasSuffix(word, ".tar") {
			args[i] = folder.path(word)
		}
	}
	got := r.with(s, input, args...)
	got.out, got.errs = strings.ReplaceAll(got.out, string(folder)+"/", ""), strings.ReplaceAll(got.errs, string(folder)+"/", "")
	return got
}

func (folder tars) run(r *rig, args ...string) result {
	return folder.ask(r, screen{width: 80, utf8: true}, "", args...)
}

func (folder tars) terminal(r *rig, input string, args ...string) result {
	return folder.ask(r, screen{out: true, in: true, width: 80, utf8: true}, input, args...)
}

// TestExportAndImportWords moves a population from one relay to another, at a
// time that is always the same.
func TestExportAndImportWords(t *testing.T) {
	in := tars(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		population(r)
		damaged := r.accept("broken@supplier.example", "a.meyer@corp.example")
		r.store.Damage(damaged)
		r.serveInBubble()
		told := func(name string, code int, got result) {
			t.Helper()
			if got.code != code {
				t.Errorf("%s: exit %d, %q", name, got.code, got.errs)
			}
			golden(t, name, got.out+"--- errors\n"+got.errs)
		}
		told("export-dry", 0, in.run(r, "queue", "export", "-O", "x.tar", "-n"))
		told("export", 3, in.terminal(r, "", "queue", "export", "-O", "x.tar"))
		told("export-stdout", 3, result{3, "", in.run(r, "queue", "export", "-O", "-").errs})
		told("export-again", 2, in.terminal(r, "", "queue", "export", "-O", "x.tar"))
		told("export-json", 0, in.run(r, "queue", "export", "-O", "y.tar", "--state", "held", "--json"))
		if found, err := os.Stat(in.path("x.tar")); err != nil || found.Mode() != 0o600 {
			t.Errorf("%v %v", found, err)
		}
		all, m := envelopes(t, contentOf(t, in.path("x.tar")))
		if len(all) != 4 || m.Failed != 1 || m.Skipped[0].ID != damaged {
			t.Errorf("%d messages, %+v", len(all), m)
		}
		accesses := 0
		for _, e := range r.ledger(queue.Noted) {
			if e.Reason == "read content: export" && e.Actor != "" && e.ID != "" {
				accesses++
			}
		}
		if accesses != 5+5+1 {
			t.Errorf("%d accesses are in the ledger", accesses)
		}

		time.Sleep(time.Minute) // the other relay gives other ids
		there := newRig(t)
		there.accept("other@b.example", "c@corp.example")
		there.serveInBubble()
		before := snapshot(there)
		told("import-dry", 0, in.terminal(there, "", "queue", "import", "x.tar", "-n"))
		told("import-script", 2, in.run(there, "queue", "import", "x.tar"))
		told("import-wrong-number", 2, in.run(there, "queue", "import", "x.tar", "--confirm", "3"))
		told("import-refused", 2, in.terminal(there, "5\n", "queue", "import", "x.tar"))
		told("import-stdin-script", 2, in.run(there, "queue", "import", "-"))
		told("import-upstream", 2, in.run(there, "queue", "import", "x.tar", "--upstream", "nobody"))
		if snapshot(there) != before {
			t.Error("something was changed")
		}
		told("import", 0, in.terminal(there, "4\n", "queue", "import", "x.tar"))
		told("import-again", 0, in.run(there, "queue", "import", "x.tar"))
		told("import-json", 0, in.run(there, "queue", "import", "x.tar", "--json"))
		told("import-home", 0, in.run(r, "queue", "import", "x.tar"))
		for id, state := range there.states() {
			if state != "held" && state != "queued" && state != "refused" {
				t.Errorf("%s is %s", id, state)
			}
		}
		if len(there.states()) != 5 {
			t.Errorf("%v", there.states())
		}
		for _, e := range all {
			m, err := there.store.Message(context.Background(), e.ID)
			if err != nil || !strings.HasPrefix(m.Held, "imported from x.tar, exported by mx2.corp.example at 2000-") {
				t.Errorf("%+v, %v", m, err)
			}
		}
	})
}

func TestExportUsage(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	r.accept("a@b.example", "c@corp.example")
	r.serve()
	if err := os.Symlink("/dev/null", in.path("link.tar.partial")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(in.path("folder.tar.partial"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in.path("other.tar.partial"), bytes.Repeat([]byte("not a tar at all\n"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(in.path("pipe.tar.partial"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		terminal bool
		args     []string
		code     int
		says     string
	}{
		{false, nil, 2, "name the file"},
		{true, []string{"-O", "-"}, 2, "not written to a terminal"},
		{false, []string{"-O", "-", "--json"}, 2, "exclude each other"},
		{false, []string{"-O", "missing/x.tar"}, 1, "no such file"},
		{false, []string{"-O", "link.tar"}, 1, "symbolic links"},
		{false, []string{"-O", "folder.tar"}, 1, "is a directory"},
		{false, []string{"-O", "pipe.tar"}, 2, "pipe.tar.partial is no file"},
		{false, []string{"-O", "other.tar"}, 1, "E1506 bad_archive: other.tar.partial is no export"},
		{false, []string{"-O", "x.tar", "--from", "/(/"}, 2, "E1101"},
		{false, []string{"-O", "x.tar", "zzz"}, 5, "not_found"},
		{false, []string{"-O", "x.tar", "--socket", "nowhere"}, 4, "same command goes on"},
		{true, []string{"-O", "x.tar", "--socket", "nowhere"}, 4, "E1203"},
		{false, []string{"-O", "x.tar", "-n", "--socket", "nowhere"}, 4, "E1203"},
	} {
		got := in.ask(r, screen{out: test.terminal, width: 80}, "", append([]string{"queue", "export"}, test.args...)...)
		if got.code != test.code || !strings.Contains(got.errs, test.says) {
			t.Errorf("%v: exit %d, %q", test.args, got.code, got.errs)
		}
	}
	if got := in.run(r, "queue", "import", "nowhere.tar", "--socket", "nowhere"); got.code != 1 {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
}

// TestExportGoesOn: an export whose store fails on the way leaves what was
// whole; the same command adds the rest, and another one is refused.
func TestExportGoesOn(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	for range 200 {
		r.accept("a@b.example", "c@corp.example")
	}
	r.serve()
	var broken atomic.Bool
	var read atomic.Int64
	broken.Store(true)
	r.store.OnContent = func(queue.ID) error {
		if read.Add(1) > 150 && broken.Load() {
			return errors.New("the disk has gone")
		}
		return nil
	}
	got := in.run(r, "queue", "export", "-O", "x.tar")
	if got.code != 1 || !strings.Contains(got.errs, "E1501 store_failed") || !strings.Contains(got.errs, "x.tar.partial has what is whole so far") {
		t.Fatalf("exit %d, %q", got.code, got.errs)
	}
	if _, err := os.Stat(in.path("x.tar")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has its name: %v", err)
	}
	broken.Store(false)
	if got := in.run(r, "queue", "export", "-O", "x.tar", "--state", "queued"); got.code != 2 || !strings.Contains(got.errs, "E1112 other_export: x.tar.partial was begun on mx2.corp.example with the filters [], not") {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	file, err := openExport(in.path("x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 2 || !strings.Contains(got.errs, "another export writes x.tar.partial") {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	if err := file.file.Close(); err != nil {
		t.Fatal(err)
	}
	accesses := len(r.ledger(queue.Noted))
	got = in.run(r, "queue", "export", "-O", "x.tar")
	if got.code != 0 || !strings.Contains(got.out, "200 messages") || !strings.Contains(got.out, "were there from an export that was interrupted") {
		t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
	}
	if again := len(r.ledger(queue.Noted)) - accesses; again > 80 {
		t.Errorf("%d ledger lines: most messages were read again", again)
	}
	if all, m := envelopes(t, contentOf(t, in.path("x.tar"))); len(all) != 200 || m.Messages != 200 {
		t.Errorf("%d messages, %+v", len(all), m)
	}
}

func TestExportFilesThatFail(t *testing.T) {
	in := tars(t.TempDir())
	file, err := openExport(in.path("x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in.path("x.tar"), nil, 0o600); err != nil { // meanwhile
		t.Fatal(err)
	}
	if err := file.finish(); !errors.Is(err, os.ErrExist) {
		t.Errorf("it took the place of another file: %v", err)
	}
	if err := os.Remove(in.path("x.tar.partial")); err != nil {
		t.Fatal(err)
	}
	if err := file.finish(); err == nil {
		t.Error("a file that is not there was finished")
	}
	if err := file.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.finish(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if _, err := file.writer(archive.Head{}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := file.begin(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := syncFolder(in.path("missing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	read, err := os.Open(in.path("x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	file = &exportFile{name: "y.tar", file: read, had: &archive.Partial{}}
	if _, err := file.writer(archive.Head{}); err == nil {
		t.Error("a file that cannot be written was")
	}
}

// TestExportAnswersThatAreNone: a relay that says something else, or dies.
func TestExportAnswersThatAreNone(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	r.accept("a@b.example", "c@corp.example")
	r.serve()
	whole := r.run("queue", "export", "-O", "-").out
	for name, text := range map[string]string{"something else": "hello", "nothing": "", "half of it": whole[:len(whole)/2]} {
		other := newRig(t)
		listener, err := net.Listen("unix", other.socket)
		if err != nil {
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })}}
		server.Start()
		if got := in.run(other, "queue", "export", "-O", "x.tar"); got.code != 1 || !strings.Contains(got.errs, "E1205 answer_cut_off") {
			t.Errorf("%s: exit %d, %q", name, got.code, got.errs)
		}
		server.Close()
	}
	if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
}

func TestExportTellsWhatLeft(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	id := r.accept("a@b.example", "c@corp.example")
	r.accept("a@b.example", "c@corp.example")
	r.store.OnContent = func(one queue.ID) error {
		if one == id {
			return queue.ErrNotFound
		}
		return nil
	}
	r.serve()
	if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 || !strings.Contains(got.out, "1 message left the queue before they were read") {
		t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
	}
}

// TestReportsThatNobodyReads: what was done is done.
func TestReportsThatNobodyReads(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	r.accept("a@b.example", "c@corp.example")
	r.serve()
	for _, args := range [][]string{{"export", "-O", in.path("x.tar")}, {"import", in.path("x.tar")}} {
		var errs bytes.Buffer
		a := &app{out: failing{}, errs: &errs, now: time.Now(), screen: screen{width: 80}, env: func(name string) string { return map[string]string{"MXKEEP_SOCKET": r.socket}[name] }}
		if code := a.run(context.Background(), append([]string{"queue"}, args...)); code != 1 {
			t.Errorf("%v: exit %d, %q", args, code, errs.String())
		}
		if _, err := os.Stat(in.path("x.tar")); err != nil {
			t.Error(err)
		}
	}
}

// TestAnInterruptEndsAnExport: what was whole until then stays.
func TestAnInterruptEndsAnExport(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	for range 100 {
		r.accept("a@b.example", "c@corp.example")
	}
	r.serve()
	ctx, interrupt := context.WithCancel(context.Background())
	var n atomic.Int64 // the relay may be at it still when the next export comes
	r.store.OnContent = func(queue.ID) error {
		if n.Add(1) == 80 {
			interrupt()
		}
		return nil
	}
	var out, errs bytes.Buffer
	a := &app{out: &out, errs: &errs, now: time.Now(), screen: screen{width: 80}, env: func(string) string { return r.socket }}
	if code := a.run(ctx, []string{"queue", "export", "-O", in.path("x.tar"), "-o", "tsv"}); code != 130 {
		t.Errorf("exit %d, %q", code, errs.String())
	}
	if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
}
