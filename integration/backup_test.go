package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestBackupAndRestore makes a backup while the relay serves, and brings it back
// to a relay that has delivered meanwhile, to one that has lost its queue, and
// to one that has nothing.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	w := newWreck(t, "first", "second", "third")
	dir := filepath.Join(w.folder, "backups", "one")
	if out, code := w.exit("backup", "create", dir); code != 2 || !strings.Contains(out, "bad_destination") {
		t.Errorf("no such folder: exit %d: %s", code, out)
	}
	if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if out := w.cli("backup", "create", dir); !strings.Contains(out, "while serving; verified; mode 0600\nrestore on a stopped relay:  mxkeep backup restore "+dir) {
		t.Errorf("create: %s", out)
	}
	if st := w.until("a backup is known", time.Second, func(st admin.Status) bool { return !st.BackupAt.IsZero() }); time.Since(st.BackupAt.Time) > time.Minute {
		t.Errorf("the last backup is of %s", st.BackupAt)
	}
	for _, args := range [][]string{{"backup", "list"}, {"backup", "list", filepath.Dir(dir)}} {
		if out := w.cli(args...); !strings.Contains(out, dir) {
			t.Errorf("%v: %s", args, out)
		}
	}
	var report struct {
		Sound    bool
		Manifest struct {
			Messages map[string]int64
			Account  struct{ Accepted, Queued int64 }
		}
	}
	if err := json.Unmarshal([]byte(w.cli("backup", "inspect", dir, "--json")), &report); err != nil || !report.Sound || report.Manifest.Account.Accepted != 3 {
		t.Errorf("inspect: %+v, %v", report, err)
	}
	config := filepath.Join(w.folder, "mxkeep.yaml")
	if out, code := w.exit("backup", "restore", dir, "--config", config, "--confirm=3"); code != 2 || !strings.Contains(out, "relay_running") {
		t.Errorf("restore under a running relay: exit %d: %s", code, out)
	}

	w.send("later")
	w.play("healthy")
	w.until("all is delivered", 30*time.Second, func(st admin.Status) bool { return st.Account.Delivered == 4 })
	w.stop()
	if out := w.cli("backup", "restore", dir, "--config", config); !strings.Contains(out, "Restored 0 messages") {
		t.Errorf("restore of what is delivered: %s", out)
	}

	// The queue is lost, with what the ledger knew of it.
	if err := os.RemoveAll(filepath.Join(w.folder, "data")); err != nil {
		t.Fatal(err)
	}
	if out, code := w.exit("backup", "restore", dir, "--config", config); code != 2 || !strings.Contains(out, "restore would bring back 3 messages") {
		t.Errorf("nobody confirmed: exit %d: %s", code, out)
	}
	if out := w.cli("backup", "restore", dir, "--config", config, "-n"); !strings.Contains(out, "Would restore 3 messages") || !strings.Contains(out, "Dry run: nothing was restored.") {
		t.Errorf("a dry run: %s", out)
	}
	if _, err := os.Stat(filepath.Join(w.folder, "data")); !os.IsNotExist(err) {
		t.Errorf("a dry run has made the data folder: %v", err)
	}
	w.cli("backup", "restore", dir, "--config", config, "--confirm=3")
	w.start()
	st := w.until("three are held", 20*time.Second, func(st admin.Status) bool { return st.Queue != nil && st.Queue.ByState["held"] == 3 })
	if !st.NothingLost || st.Account.Accepted != 3 || st.Account.Missing != 0 {
		t.Errorf("status %+v", st)
	}
	ids := strings.Fields(w.cli("queue", "list", "--state", "held", "-o", "id"))
	if out := w.cli("trace", ids[0]); !strings.Contains(out, "accepted") || !strings.Contains(out, "restored from backup of") {
		t.Errorf("trace: %s", out)
	}
	if out := w.cli("db", "check"); strings.Contains(out, "damage") {
		t.Errorf("check: %s", out)
	}
	w.cli("queue", "release", "--all")
	w.until("they are delivered again", 30*time.Second, func(st admin.Status) bool { return st.Account.Delivered == 3 })
	if got := w.received(); got["first"] != 2 || got["later"] != 1 {
		t.Errorf("the primary got %v", got)
	}
	w.stop()

	// Another relay has nothing of it, but mail of its own.
	if err := os.RemoveAll(filepath.Join(w.folder, "data")); err != nil {
		t.Fatal(err)
	}
	w.play("down")
	w.start()
	w.send("own")
	w.stop()
	w.cli("backup", "restore", dir, "--config", config, "--confirm=3", "--as-held=false")
	if out := w.cli("backup", "restore", dir, "--config", config, "--as-held=false"); !strings.Contains(out, "Restored 0 messages") || !strings.Contains(out, "3 are here already") {
		t.Errorf("once more: %s", out)
	}
	w.play("healthy")
	w.start()
	if out := w.cli("trace", "<first@client.example>"); !strings.Contains(out, "\tadopted\t") || !strings.Contains(out, ": from backup of ") {
		t.Errorf("trace: %s", out)
	}
	st = w.until("all is delivered", 30*time.Second, func(st admin.Status) bool { return st.Account != nil && st.Account.Delivered == 4 })
	if got := w.received(); !st.NothingLost || got["own"] != 1 || got["first"] != 3 {
		t.Errorf("the primary got %v; status %+v", got, st)
	}

	name := filepath.Join(dir, "queue", "gen-000001.db")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := w.exit("backup", "inspect", dir); code != 1 || !strings.Contains(out, "queue/gen-000001.db") || !strings.Contains(out, "backup_damaged") {
		t.Errorf("inspect of a damaged one: exit %d: %s", code, out)
	}
}
