package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/backup"
	"github.com/mxkeep/mxkeep/relay/state"
)

func TestBackupViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		time.Sleep(50 * time.Hour)
		if got := r.terminal(80, "", "backup", "list"); got.out != "No backup is known. To make one: mxkeep backup create DIR\n" {
			t.Errorf("%q", got.out)
		}
		for i := range 2 {
			at := admin.Time{Time: time.Now().Add(-time.Duration(24*i) * time.Hour)}
			r.backups.All = append(r.backups.All, admin.Backup{Schema: admin.SchemaBackup, Dir: fmt.Sprintf("/backup/mxkeep/%d", i), BeganAt: at, MadeAt: at,
				Seconds: 3.14, Files: 12, Size: 827 << 20, Messages: 5724, Bytes: 800 << 20})
		}
		for _, view := range []string{"backup-list backup list", "backup-create backup create /backup/mxkeep/2026-03-12"} {
			words := strings.Fields(view)
			golden(t, words[0]+"-80", r.terminal(80, "", words[1:]...).out)
			golden(t, words[0]+"-pipe", r.run(words[1:]...).out)
			golden(t, words[0]+"-json", r.run(append(words[1:], "--json")...).out)
		}
		heard := make(chan struct{})
		r.backups.Begun = func(_ context.Context, progress func(done, of int64)) error {
			progress(400<<20, 827<<20)
			<-heard
			return nil
		}
		go func() { time.Sleep(300 * time.Millisecond); close(heard) }()
		if got := r.terminal(80, "", "backup", "create", "/backup/1"); got.code != 0 || !strings.Contains(got.errs, "\rcopied 400 MiB of 827 MiB ") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		r.backups.Begun = nil
		r.backups.All[0].Damaged = 1
		if got := r.run("backup", "create", "/backup/1"); got.code != 1 || !strings.Contains(got.errs, "E1505 damage_found: the backup is made, but 1 thing is damaged") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		r.backups.Fail = &admin.Error{Schema: admin.SchemaError, Code: admin.CodeNoRoom, Message: "/backup has 3 MiB left, and 900 MiB are needed"}
		if got := r.run("backup", "create", "/backup/1"); got.code != 1 || !strings.Contains(got.errs, "E1602 no_room: /backup has 3 MiB left") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		for _, args := range [][]string{{"create"}, {"create", "/backup/1", "-n"}, {"inspect"}, {"restore"}, {"restore", "/backup/1"}, {"list", "a", "b"}} {
			if got := r.run(append([]string{"backup"}, args...)...); got.code != 2 {
				t.Errorf("%v: exit %d, %q", args, got.code, got.errs)
			}
		}
	})
}

// copied makes a backup with three messages, and the configuration of a relay
// that has nothing.
func copied(t *testing.T) (dir, config string) {
	t.Helper()
	above := t.TempDir()
	old := filepath.Join(above, "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := state.Open(filepath.Join(old, "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(filepath.Join(old, "queue"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		d, err := store.Create(t.Context())
		if err == nil {
			_, err = io.WriteString(d, "Subject: hello\r\n\r\nbody\r\n")
		}
		if err == nil {
			err = d.Commit(t.Context(), queue.Acceptance{At: time.Now(), MessageID: fmt.Sprintf("<%d@supplier.example>", i), Lifetime: queue.DefaultLifetime,
				Envelope: queue.Envelope{Upstream: "exo", ReversePath: "billing@supplier.example", Recipients: []queue.Recipient{{ForwardPath: "a@corp.example"}}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dir = filepath.Join(above, "backups", "one")
	err = os.Mkdir(filepath.Dir(dir), 0o700)
	if err == nil {
		_, err = backup.Source{Data: old, Store: store, State: file, Version: "0.1.0"}.Make(t.Context(), dir, func(int64, int64) {})
	}
	config = filepath.Join(above, "mxkeep.yaml")
	text := fmt.Sprintf("hostname: mx2.corp.example\ndata: %q\nsocket: %q\ndomain: corp.example\nupstream:\n  name: exo\n  hosts: [mx.corp.example]\n", filepath.Join(above, "data"), filepath.Join(above, "s"))
	if err := errors.Join(err, store.Close(), file.Close(), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir, config
}

func TestBackupInspect(t *testing.T) {
	r := newRig(t)
	dir, _ := copied(t)
	got := r.terminal(80, "", "backup", "inspect", dir)
	for _, words := range []string{"by mxkeep 0.1.0 on ", "3 messages wait", "3 queued", "3 accepted", "All is sound"} {
		if got.code != 0 || !strings.Contains(got.out, words) {
			t.Errorf("no %q: exit %d, %q, %q", words, got.code, got.out, got.errs)
		}
	}
	var report inspection
	if err := json.Unmarshal([]byte(r.run("backup", "inspect", dir, "--json").out), &report); err != nil || !report.Sound || len(report.Manifest.Files) != 4 {
		t.Errorf("report %+v, %v", report, err)
	}
	if got := r.run("backup", "list", filepath.Dir(dir)); got.code != 0 || !strings.Contains(got.out, dir) {
		t.Errorf("exit %d, %q", got.code, got.out)
	}
	if got := r.run("backup", "list", dir+"/none"); got.code != 1 {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	if err := os.Remove(filepath.Join(dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	if got := r.run("backup", "inspect", dir); got.code != 1 || !strings.Contains(got.out, "state.db  is missing") || !strings.Contains(got.errs, "E1607 backup_damaged") {
		t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
	}
	if got := r.run("backup", "inspect", filepath.Dir(dir)); got.code != 1 || !strings.Contains(got.errs, "E1605 not_a_backup") {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"schema":"mxkeep.backup/1","format":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.run("backup", "inspect", dir); got.code != 1 || !strings.Contains(got.errs, "E1606 backup_newer") {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	if got := r.run("backup", "list", filepath.Dir(dir)); got.code != 0 || !strings.Contains(got.errs, "format 2") {
		t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
	}
}

func TestBackupRestore(t *testing.T) {
	r := newRig(t)
	dir, config := copied(t)
	restore := []string{"backup", "restore", dir, "--config", config}
	for _, test := range []struct {
		rule  string
		input string // "" is a script
		args  []string
		code  int
		words string
	}{
		{"a look", "", []string{"-n"}, 0, "Dry run: nothing was restored."},
		{"nobody to ask", "", nil, 2, "restore would bring back 3 messages"},
		{"another number", "", []string{"--confirm=4"}, 2, "3 messages would come back now, not 4"},
		{"a wrong answer", "4\n", nil, 2, "is not the number of messages"},
		{"no configuration", "", []string{"--config", config + ".none"}, 78, ""},
		{"the right answer", "3\n", nil, 0, "Restored 3 messages with 3 recipients"},
		{"once more", "", nil, 0, "3 are here already"},
		{"once more, to be delivered", "", []string{"--as-held=false", "--json"}, 0, `"present":3`},
	} {
		got := r.run(append(restore, test.args...)...)
		if test.input != "" {
			got = r.terminal(80, test.input, append(restore, test.args...)...)
		}
		if got.code != test.code || !strings.Contains(got.out+got.errs, test.words) {
			t.Errorf("%s: exit %d, %q, %q", test.rule, got.code, got.out, got.errs)
		}
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(config), "data")); err != nil {
		t.Fatal(err)
	}
	if got := r.terminal(80, "3\n", append(restore, "--as-held=false")...); got.code != 0 || !strings.Contains(got.errs, "Warning: what was delivered after") {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
}
