package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// damageConfig is a relay in front of one host without TLS.
const damageConfig = `hostname: mx2.corp.example
dns: {servers: ["127.0.0.9:1"]}
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  min_free: 64MiB
  timeouts:
    greeting: 0s
domain: corp.example
upstream:
  name: exo
  hosts: [%q]
  tls:
    policy: none
  probe:
    every: 200ms
    every_bad: 100ms
  health:
    bad: 1
    good: 1
    quiet: 1
    trials: 1
  delivery:
    start_rate: 1000000
    wait: 50ms
    max_wait: 200ms
queue:
  interrupted: 10ms
`

// wreck is a relay whose files are damaged while it is down.
type wreck struct {
	t       *testing.T
	folder  string
	config  string
	address string
	primary *primary.Server
	*daemon
}

// newWreck starts a relay whose primary is down, and gives it messages.
func newWreck(t *testing.T, subjects ...string) *wreck {
	t.Helper()
	exo, err := primary.Start(context.Background(), primary.Options{Addresses: []string{"127.0.0.27:0"}, Domains: []string{"corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exo.Close() })
	w := &wreck{t: t, folder: t.TempDir(), primary: exo, address: unusedAt(t, "127.0.0.28:0")}
	w.play("down")
	w.config = fmt.Sprintf(damageConfig, filepath.Join(w.folder, "data"), filepath.Join(w.folder, "admin.sock"), w.address, exo.Addrs()[0])
	w.start()
	w.until("the primary is down", 20*time.Second, func(st admin.Status) bool { return st.Upstreams[0].State == "down" })
	w.send(subjects...)
	return w
}

func (w *wreck) play(name string) {
	w.t.Helper()
	scenario, err := primary.Named(name)
	if err == nil {
		err = w.primary.Play(scenario)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wreck) start() { w.daemon = serve(w.t, w.folder, w.config) }

// send sends one message for each subject.
func (w *wreck) send(subjects ...string) {
	w.t.Helper()
	s, err := connect(w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, subject := range subjects {
		text := "From: alice@client.example\r\nMessage-ID: <" + subject + "@client.example>\r\nSubject: " + subject + "\r\n\r\n" + strings.Repeat("body of "+subject+"\r\n", 200) + ".\r\n"
		if err := s.send(dialogue{{[]byte(mailCommand), 1}, {[]byte(rcptCommand), 1}, {[]byte(dataCommand), 1}, {[]byte(text), 1}}); err != nil {
			w.t.Fatal(err)
		}
	}
	crowd{s}.leave(w.t)
}

// kill ends the relay as a power cut would.
func (w *wreck) kill() {
	_ = w.cmd.Process.Kill() // fails only if it has ended
	_ = w.cmd.Wait()         // it was killed
}

// file is the only generation.
func (w *wreck) file() string {
	w.t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.folder, "data", "queue", "gen-*.db"))
	if err != nil || len(paths) != 1 {
		w.t.Fatal(paths, err)
	}
	return paths[0]
}

// exit runs a command and returns its output and exit code.
func (w *wreck) exit(args ...string) (string, int) {
	w.t.Helper()
	out, err := exec.Command(binary, append([]string{"--socket", filepath.Join(w.folder, "admin.sock")}, args...)...).CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		w.t.Fatal(err)
	}
	if ended != nil {
		return string(out), ended.ExitCode()
	}
	return string(out), 0
}

// received counts what the primary took, by subject.
func (w *wreck) received() map[string]int {
	got := map[string]int{}
	for _, d := range w.primary.Received() {
		got[strings.TrimSuffix(strings.TrimPrefix(d.MessageID, "<"), "@client.example>")]++
	}
	return got
}

// TestDamagedContentIsKept changes one byte of a message on disk: it is held,
// told, and neither delivered nor deleted; the others go.
func TestDamagedContentIsKept(t *testing.T) {
	t.Parallel()
	w := newWreck(t, "first", "victim", "last")
	w.stop()
	raw, err := os.ReadFile(w.file())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(raw, []byte("body of victim\r\nbody of victim")) == 0 {
		t.Fatal("the content is not in the file")
	}
	raw = bytes.Replace(raw, []byte("body of victim\r\nbody of victim"), []byte("body of victim\r\nbody of vactim"), 1)
	if err := os.WriteFile(w.file(), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	w.play("healthy")
	w.start()
	st := w.until("a damaged message is held", 30*time.Second, func(st admin.Status) bool {
		return st.Queue != nil && st.Queue.Damaged == 1 && st.Account.Delivered == 2
	})
	if st.NothingLost || st.Severity != admin.SeverityCritical || st.Queue.ByState["held"] != 1 || st.Account.Missing != 0 ||
		st.Trouble[0] != "DAMAGED: the content of 1 message differs from what was received." || st.Todo[0].Command != "mxkeep queue list --state held" {
		t.Errorf("status %+v", st)
	}
	if out, code := w.exit("status", "--exit-code"); code != 2 || !strings.Contains(out, "DAMAGED: the content of 1 message") {
		t.Errorf("exit %d: %s", code, out)
	}
	id := strings.TrimSpace(w.cli("queue", "list", "--state", "held", "-o", "id"))
	if out := w.cli("trace", id); !strings.Contains(out, "\tdamaged\t") {
		t.Errorf("trace: %s", out)
	}
	if out, code := w.exit("db", "check"); code != 1 || !strings.Contains(out, id) || !strings.Contains(out, "differs from its digest") {
		t.Errorf("db check: exit %d: %s", code, out)
	}
	w.cli("queue", "release", id)
	w.until("it is held again", 20*time.Second, func(st admin.Status) bool { return st.Queue.ByState["held"] == 1 })
	if got := w.received(); got["victim"] != 0 || got["first"] != 1 || got["last"] != 1 {
		t.Errorf("the primary got %v", got)
	}
	w.cli("queue", "delete", id, "--reason", "asked for it again", "--confirm", "1")
	if st := w.until("a person has decided", 20*time.Second, func(st admin.Status) bool { return st.Queue.Damaged == 0 }); !st.NothingLost || st.Account.Deleted != 1 {
		t.Errorf("status %+v", st)
	}
}

// TestDamagedFileIsSalvaged damages the file while the relay is down, in ways
// that end a process that opens it: the relay starts, says so, takes mail, and
// brings back, as held, what can be read.
func TestDamagedFileIsSalvaged(t *testing.T) {
	page := int64(os.Getpagesize())
	for _, c := range []struct {
		rule   string
		damage func(path string) error
		all    bool // everything can be brought back
	}{
		{"both meta pages are zero", func(path string) error { return overwrite(path, 0, make([]byte, 2*page)) }, true},
		{"page numbers are wrong", func(path string) error {
			for id := int64(2); id < 12; id++ {
				if err := overwrite(path, id*page+4, []byte{1}); err != nil {
					return err
				}
			}
			return nil
		}, false},
		{"it is cut off", func(path string) error { return os.Truncate(path, 9*page) }, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			w := newWreck(t, "one", "two", "three", "four", "five", "six", "seven")
			w.kill()
			if err := c.damage(w.file()); err != nil {
				t.Fatal(err)
			}
			w.start()
			st := w.until("it is told", 20*time.Second, func(st admin.Status) bool { return len(st.Aside) == 1 })
			if st.NothingLost || st.Account.SetAside == 0 || st.Account.Missing != 0 || !strings.HasPrefix(st.Todo[0].Command, "mxkeep db salvage gen-000001.db.damaged-") {
				t.Errorf("status %+v", st)
			}
			if out, code := w.exit("status", "--exit-code"); code != 2 || !strings.Contains(out, " set aside.") {
				t.Errorf("exit %d: %s", code, out)
			}
			t.Log(st.Headline, st.Todo[0].Text)
			w.send("eight")
			var did admin.Salvage
			if err := json.Unmarshal([]byte(w.cli("db", "salvage", st.Aside[0].File, "--json")), &did); err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", did)
			if whole := did.Messages - did.Damaged; whole < 0 || c.all && whole != 7 { // how much else is left depends on which pages were hit
				t.Errorf("salvaged %+v", did)
			}
			w.play("healthy")
			w.until("the fresh one is delivered", 20*time.Second, func(st admin.Status) bool { return st.Account.Delivered == 1 })
			if got := w.received(); len(got) != 1 || got["eight"] != 1 {
				t.Errorf("the primary got %v", got)
			}
			if did.Messages > 0 {
				w.cli("queue", "release", "--all")
			}
			st = w.until("what is whole is delivered", 20*time.Second, func(st admin.Status) bool {
				return st.Account.Delivered == 1+did.Recipients-did.Damaged && st.Queue.ByState["active"] == 0
			})
			if len(st.Aside) == 1 {
				w.cli("db", "accept-loss", st.Aside[0].File, "--reason", "the senders know", "--yes")
			}
			if st := w.until("it is closed", 20*time.Second, func(st admin.Status) bool { return len(st.Aside) == 0 }); st.Account.SetAside != 0 || st.Account.Missing != 0 {
				t.Errorf("status %+v", st)
			}
			w.stop()
			w.start()
			if st := w.until("it is ready", 20*time.Second, func(st admin.Status) bool { return st.Ready }); len(st.Aside) != 0 || st.Account.Missing != 0 {
				t.Errorf("after a restart: %+v", st)
			}
		})
	}
}

func overwrite(path string, at int64, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(text, at)
	return errors.Join(err, file.Close())
}
