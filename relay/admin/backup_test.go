package admin_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/admin/admintest"
)

// withBackups is a rig that makes backups.
func withBackups() (*rig, *admintest.Backups) {
	r := newRig()
	at := admin.Time{Time: time.Date(2026, 3, 12, 15, 12, 0, 0, time.UTC)}
	backups := &admintest.Backups{All: []admin.Backup{{Schema: admin.SchemaBackup, Dir: "/backup/1", BeganAt: at, MadeAt: at, Seconds: 3.1, Files: 5, Size: 99, Messages: 7, Bytes: 77}}}
	r.server = admin.New(admin.Options{Store: r.store, Backups: backups, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example")}, Inbound: r.inbound.Part(),
		Version: "0.1.0", Started: time.Now(), Ready: func() error { return r.ready }})
	return r, backups
}

func TestMakeBackup(t *testing.T) {
	r, backups := withBackups()
	heard := make(chan struct{})
	backups.Begun = func(_ context.Context, progress func(done, of int64)) error {
		progress(7, 70)
		<-heard
		return nil
	}
	client := serve(t, r.server.Handler())
	first := true
	made, err := client.MakeBackup(t.Context(), "/backup/2", func(p admin.BackupProgress) {
		if p.Done != 7 || p.Of != 70 {
			t.Errorf("progress %+v", p)
		}
		if first {
			close(heard)
		}
		first = false
	})
	want := backups.All[0]
	want.Dir = "/backup/2"
	if err != nil || made != want || first {
		t.Errorf("made %+v, %v", made, err)
	}
	var noted []queue.Entry
	for e, err := range r.store.Ledger(t.Context(), queue.LedgerFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		noted = append(noted, e)
	}
	if len(noted) != 1 || noted[0].Event != queue.Noted || noted[0].Reason != "backup made in /backup/2" {
		t.Errorf("ledger %+v", noted)
	}
	list, err := client.Backups(t.Context())
	if err != nil || len(list.Backups) != 1 || list.Backups[0] != backups.All[0] {
		t.Errorf("list %+v, %v", list, err)
	}
	if st := r.server.Status(t.Context()); !st.BackupAt.Equal(backups.All[0].MadeAt.Time) {
		t.Errorf("the last one is of %s", st.BackupAt)
	}
}

// TestBackupEndsWithItsClient: nobody waits for it any more.
func TestBackupEndsWithItsClient(t *testing.T) {
	r, backups := withBackups()
	ended := make(chan error, 1)
	backups.Begun = func(ctx context.Context, progress func(done, of int64)) error {
		progress(1, 2)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := serve(t, r.server.Handler()).MakeBackup(ctx, "/backup/2", func(admin.BackupProgress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the backup ended with %v", err)
	}
}

func TestBackupRefusals(t *testing.T) {
	r, backups := withBackups()
	for _, test := range []struct {
		rule, request, body string
		fail                error
		status              int
		code                string
	}{
		{"no JSON", "POST /v1/backups", "", nil, 400, admin.CodeBadRequest},
		{"no whole path", "POST /v1/backups", `{"dir":"one"}`, nil, 400, admin.CodeBadDestination},
		{"no room", "POST /v1/backups", `{"dir":"/one"}`, &admin.Error{Schema: admin.SchemaError, Code: admin.CodeNoRoom, Message: "full"}, 507, admin.CodeNoRoom},
		{"busy", "POST /v1/backups", `{"dir":"/one"}`, &admin.Error{Schema: admin.SchemaError, Code: admin.CodeBackupBusy, Message: "busy"}, 409, admin.CodeBackupBusy},
		{"a list that cannot be read", "GET /v1/backups", "", errors.New("no JSON"), 409, admin.CodeRefused},
	} {
		backups.Fail = test.fail
		answer := r.ask(test.request, test.body)
		if e := lastError(t, answer); answer.Code != test.status || e.Code != test.code || e.Message == "" {
			t.Errorf("%s: status %d, %s", test.rule, answer.Code, answer.Body)
		}
	}
	if st := r.server.Status(t.Context()); !st.BackupAt.IsZero() {
		t.Errorf("the last one is of %s", st.BackupAt)
	}
	r = newRig()
	for _, request := range []string{"POST /v1/backups", "GET /v1/backups"} {
		if e := lastError(t, r.ask(request, `{"dir":"/one"}`)); e.Code != admin.CodeBadRequest {
			t.Errorf("%s of a relay without backups: %+v", request, e)
		}
	}
	r, _ = withBackups()
	failed := errors.New("disk")
	r.store.Fail(failed)
	if e := lastError(t, r.ask("POST /v1/backups", `{"dir":"/one"}`)); e.Code != admin.CodeStoreFailed {
		t.Errorf("a ledger that fails: %+v", e)
	}
	cut := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if _, err := cut.MakeBackup(t.Context(), "/one", func(admin.BackupProgress) {}); !errors.Is(err, admin.ErrCutOff) {
		t.Errorf("an answer without an end: %v", err)
	}
}
