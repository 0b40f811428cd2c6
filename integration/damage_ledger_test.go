package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestDamagedLedgerIsSalvaged damages the newest ledger file while the relay is
// down: the relay starts, says so, and goes on; what can be read comes back, and
// an export says where the chain is broken.
func TestDamagedLedgerIsSalvaged(t *testing.T) {
	t.Parallel()
	w := newWreck(t, "one", "two")
	export := filepath.Join(w.folder, "ledger.jsonl")
	w.cli("db", "export-ledger", "-O", export) // files what is pending
	if out := w.cli("db", "check", export); !strings.Contains(out, "is whole: ") {
		t.Errorf("db check: %s", out)
	}
	w.kill()
	paths, err := filepath.Glob(filepath.Join(w.folder, "data", "queue", "ledger-*.db"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	if err := overwrite(paths[0], 0, make([]byte, 2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	w.start()
	st := w.until("it is told", 20*time.Second, func(st admin.Status) bool { return len(st.Aside) == 1 })
	name := filepath.Base(paths[0]) + ".damaged-"
	if st.NothingLost || st.Account.SetAside != 0 || st.Account.Missing != 0 || st.Account.Queued != 2 || !strings.HasPrefix(st.Todo[0].Command, "mxkeep db salvage "+name) {
		t.Errorf("status %+v", st)
	}
	if out, code := w.exit("status", "--exit-code"); code != 2 || !strings.Contains(out, "lines of the ledger are set aside") {
		t.Errorf("exit %d: %s", code, out)
	}
	id := strings.Fields(w.cli("queue", "list", "-o", "id"))[0]
	if out, code := w.exit("trace", id); code != 1 || !strings.Contains(out, "accepted") || !strings.Contains(out, "E1507 ledger_incomplete") {
		t.Errorf("trace: exit %d: %s", code, out)
	}
	if out, code := w.exit("db", "check"); code != 1 || !strings.Contains(out, "the chain of the ledger is broken") {
		t.Errorf("db check: exit %d: %s", code, out)
	}
	w.cli("db", "salvage", st.Aside[0].File)
	w.cli("db", "accept-loss", st.Aside[0].File, "--reason", "seen", "--yes")
	w.until("it is closed", 20*time.Second, func(st admin.Status) bool { return len(st.Aside) == 0 && st.NothingLost })
	if out, code := w.exit("trace", id); code != 0 || strings.Count(out, "\taccepted\t") != 1 {
		t.Errorf("trace: exit %d: %s", code, out)
	}
	again := export + "2"
	w.cli("db", "export-ledger", "-O", again)
	if out, code := w.exit("db", "check", again); code != 0 {
		t.Errorf("db check: exit %d: %s", code, out)
	}
	if out, code := w.exit("db", "check"); code != 0 {
		t.Errorf("db check: exit %d: %s", code, out)
	}
	w.play("healthy")
	w.until("all is delivered", 20*time.Second, func(st admin.Status) bool { return st.Account.Delivered == 2 })
}
