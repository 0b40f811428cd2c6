package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func TestWhatImportCannotTakeIn(t *testing.T) {
	in := tars(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		population(r)
		r.accept("a@b.example", "c@elsewhere.example")
		r.accept("a@b.example", "c@corp.example", func(a *queue.Acceptance) { a.Envelope.Upstream = "old" })
		r.serveInBubble()
		if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 {
			t.Fatalf("exit %d, %q", got.code, got.errs)
		}
		text := contentOf(t, in.path("x.tar"))
		body := bytes.Index(text, []byte("Body "))
		text[body] = 'b'
		for name, content := range map[string][]byte{"cut.tar": text[:len(text)-4096], "flipped.tar": text, "other.tar": []byte(strings.Repeat("no tar\n", 200))} {
			if err := os.WriteFile(in.path(name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		there := newRig(t)
		there.serveInBubble()
		for _, test := range []struct {
			name string
			code int
			args []string
		}{
			{"import-other", 1, []string{"other.tar", "-n"}},
			{"import-missing", 1, []string{"missing.tar"}},
			{"import-cut", 3, []string{"cut.tar", "-n"}},
			{"import-flipped", 3, []string{"flipped.tar", "-n", "--upstream", "exo"}},
			{"import-deliver", 3, []string{"x.tar", "--as-held=false", "--confirm", "4"}},
			{"import-more", 3, []string{"x.tar", "--upstream", "exo", "--confirm", "1"}},
		} {
			got := in.run(there, append([]string{"queue", "import"}, test.args...)...)
			if got.code != test.code {
				t.Errorf("%s: exit %d, %q", test.name, got.code, got.errs)
			}
			golden(t, test.name, got.out+"--- errors\n"+got.errs)
		}
	})
}

func TestImportFromStandardInput(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	population(r)
	r.serve()
	archived := in.run(r, "queue", "export", "-O", "-")
	if archived.code != 0 {
		t.Fatalf("exit %d, %q", archived.code, archived.errs)
	}
	there := newRig(t)
	there.serve()
	script := screen{width: 80}
	if got := in.ask(there, script, archived.out, "queue", "import", "-", "-n"); got.code != 0 || len(there.states()) != 0 || !strings.Contains(got.out, "Would be taken in: 4 messages") {
		t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
	}
	if got := in.ask(there, script, archived.out, "queue", "import", "-", "--confirm", "3"); got.code != 2 || len(there.states()) != 3 || !strings.Contains(got.errs, "there are more than 3 messages") {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	if got := in.ask(there, script, archived.out, "queue", "import", "-", "--confirm", "4"); got.code != 0 || len(there.states()) != 4 {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
}

// TestAnImportThatFailsOnTheWay: the second time, after a dry run that went well.
func TestAnImportThatFailsOnTheWay(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	population(r)
	r.serve()
	if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 {
		t.Fatal(got)
	}
	there := newRig(t)
	var broken atomic.Bool
	broken.Store(true)
	there.store.OnNote = func(queue.Entry) error {
		if broken.Load() {
			return errors.New("the disk has gone")
		}
		return nil
	}
	there.serve()
	if got := in.run(there, "queue", "import", "x.tar", "--confirm", "4"); got.code != 1 || !strings.Contains(got.errs, "4 messages were imported before this: the disk has gone") {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	broken.Store(false)
	if got := in.run(there, "queue", "import", "x.tar"); got.code != 0 || !strings.Contains(got.out, "4 are here already") {
		t.Errorf("exit %d, %q", got.code, got.out)
	}
}

func TestAnImportHasABar(t *testing.T) {
	in := tars(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		population(r)
		r.serveInBubble()
		if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 {
			t.Fatal(got)
		}
		there := newRig(t)
		there.store.OnAdopt = func(queue.Adoption) error { time.Sleep(time.Second); return nil }
		there.serveInBubble()
		if got := in.terminal(there, "", "queue", "import", "x.tar", "-n"); got.code != 0 || !strings.Contains(got.errs, "[####################] 100%") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
	})
}

func TestAnImportReportIsOneDocument(t *testing.T) {
	in := tars(t.TempDir())
	r := newRig(t)
	population(r)
	r.serve()
	if got := in.run(r, "queue", "export", "-O", "x.tar"); got.code != 0 {
		t.Fatal(got)
	}
	there := newRig(t)
	there.serve()
	got := in.run(there, "queue", "import", "x.tar", "--confirm", "4", "--json")
	var report importReport
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || report.Messages != 4 || report.Lines == nil {
		t.Errorf("%+v, %v", report, err)
	}
	if fmt.Sprint(report.Schema) != "mxkeep.queue.import/1" {
		t.Errorf("schema %q", report.Schema)
	}
}
