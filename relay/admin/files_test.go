package admin_test

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

const asideName = "gen-000003.db.damaged-20260122T193000Z"

// damaged is a rig with files, of which one is set aside.
func damaged(certainty queue.Certainty) *rig {
	r := newRig()
	at := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	r.files.Used = []queue.File{{Name: "gen-000004.db", CreatedAt: at, Size: 4096, Used: 1024, Youngest: true, Bytes: 77, Oldest: at,
		Messages: map[queue.State]int64{queue.StateHeld: 2, queue.StateQueued: 3}, Account: queue.Account{Accepted: 5, Queued: 3, Held: 2}}}
	r.files.Damaged = []queue.Aside{{File: asideName, At: at, Why: "page 7 is of no kind", Recipients: 1200, Certainty: certainty}}
	r.store.OnStats = func(s *queue.Stats) error {
		for _, a := range r.files.Damaged {
			if a.Open() {
				s.Aside = append(s.Aside, a)
				s.Account.SetAside += a.Recipients
				s.Account.Accepted += a.Recipients
			}
		}
		return nil
	}
	return r
}

func TestFileStats(t *testing.T) {
	r := damaged(queue.Exact)
	report, err := serve(t, r.server.Handler()).FileStats(t.Context())
	if err != nil || len(report.Files) != 1 || len(report.Aside) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	f, a := report.Files[0], report.Aside[0]
	if f.Name != "gen-000004.db" || f.Messages != 5 || f.ByState["held"] != 2 || f.ByState["deferred"] != 0 || f.Account.Accepted != 5 || !f.Youngest {
		t.Errorf("file %+v", f)
	}
	if a.File != asideName || a.Recipients != 1200 || a.Certainty != "exact" || !a.Open || !a.SalvagedAt.IsZero() {
		t.Errorf("aside %+v", a)
	}
}

func TestFileCheck(t *testing.T) {
	r := damaged(queue.Exact)
	r.files.Findings = []queue.Finding{{File: "gen-000004.db", ID: "374kdrw00000", What: "content differs"}, {File: "gen-000004.db", What: "page 9"}}
	r.files.Sum = queue.Checked{Files: 1, Messages: 5, Lines: 12, Bytes: 77, Damaged: 2}
	client := serve(t, r.server.Handler())
	var found []string
	sum, err := client.Check(t.Context(), func(f admin.Finding) error {
		found = append(found, f.File+" "+f.ID+" "+f.What)
		return nil
	})
	if err != nil || sum.Damaged != 2 || sum.Messages != 5 || sum.Files != 1 || sum.Lines != 12 || sum.Bytes != 77 {
		t.Errorf("sum %+v, %v", sum, err)
	}
	if want := []string{"gen-000004.db 374kdrw00000 content differs", "gen-000004.db  page 9"}; !slices.Equal(found, want) {
		t.Errorf("found %q", found)
	}
	r.files.Fail = errors.New("read: input/output error")
	refusal := &admin.Error{}
	if _, err := client.Check(t.Context(), func(admin.Finding) error { return nil }); !errors.As(err, &refusal) || refusal.Code != admin.CodeStoreFailed {
		t.Errorf("a disk that fails: %v", err)
	}
	cut := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if _, err := cut.Check(t.Context(), func(admin.Finding) error { return nil }); !errors.Is(err, admin.ErrCutOff) {
		t.Errorf("an answer without an end: %v", err)
	}
}

func TestSalvageAndLoss(t *testing.T) {
	r := damaged(queue.About)
	r.files.Brought = queue.Salvage{Messages: 800, Recipients: 1100, Bytes: 99, Damaged: 1, Rebuilt: 2, Final: 3, Present: 4, Lines: 5, Rest: 100, Certainty: queue.About}
	client := serve(t, r.server.Handler())
	for _, dry := range []bool{true, false} {
		did, err := client.Salvage(t.Context(), admin.SalvageRequest{File: asideName, DryRun: dry})
		want := admin.Salvage{Schema: admin.SchemaSalvage, File: asideName, DryRun: dry, Messages: 800, Recipients: 1100, Bytes: 99, Damaged: 1, Rebuilt: 2,
			Final: 3, Present: 4, Lines: 5, Rest: 100, Certainty: "about"}
		if err != nil || did != want {
			t.Errorf("did %+v, %v", did, err)
		}
	}
	if len(r.files.Salvaged) != 1 || !strings.HasPrefix(r.files.Salvaged[0], asideName+" by ") {
		t.Errorf("salvaged %q", r.files.Salvaged)
	}
	for _, dry := range []bool{true, false} {
		loss, err := client.AcceptLoss(t.Context(), admin.AcceptRequest{File: asideName, Reason: "ticket 7", DryRun: dry})
		if err != nil || loss.DryRun != dry || loss.Aside.Recipients != 1200 || loss.Aside.Open != dry {
			t.Errorf("loss %+v, %v", loss, err)
		}
	}
	refusal := &admin.Error{}
	if _, err := client.AcceptLoss(t.Context(), admin.AcceptRequest{File: asideName, Reason: "again"}); !errors.As(err, &refusal) || refusal.Code != admin.CodeRefused {
		t.Errorf("a second time: %v", err)
	}
	if _, err := client.Salvage(t.Context(), admin.SalvageRequest{File: asideName}); !errors.As(err, &refusal) || refusal.Code != admin.CodeRefused {
		t.Errorf("a salvage of what is closed: %v", err)
	}
	if st := r.server.Status(t.Context()); !st.NothingLost || len(st.Aside) != 0 {
		t.Errorf("status %+v", st)
	}
}

// TestDiskOfFiles: what the store fails with is no one's request.
func TestDiskOfFiles(t *testing.T) {
	r := damaged(queue.Exact)
	r.files.Fail = errors.New("read: input/output error")
	for _, request := range []string{"GET /v1/db/stats", "POST /v1/db/salvage", "POST /v1/db/accept-loss"} {
		answer := r.ask(request, map[bool]string{true: `{"file":"` + asideName + `","reason":"x"}`, false: `{"file":"` + asideName + `"}`}[strings.HasSuffix(request, "loss")])
		if e := lastError(t, answer); e.Code != admin.CodeStoreFailed {
			t.Errorf("%s: %q", request, answer.Body)
		}
	}
	if e := lastError(t, r.ask("POST /v1/db/accept-loss", `{"file":"x","reason":"x","dry_run":true}`)); e.Code != admin.CodeStoreFailed {
		t.Errorf("a dry loss: %+v", e)
	}
	without := admin.New(admin.Options{Store: r.store, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	r.server = without
	for _, request := range []string{"GET /v1/db/stats", "POST /v1/db/check", "POST /v1/db/salvage", "POST /v1/db/accept-loss"} {
		if e := lastError(t, r.ask(request, map[bool]string{true: `{"file":"x","reason":"x"}`, false: `{"file":"x"}`}[strings.HasSuffix(request, "loss")])); e.Code != admin.CodeBadRequest {
			t.Errorf("%s of a store without files: %+v", request, e)
		}
	}
}

// TestDamageIsTold reads the trouble and the advice for each kind of damage.
func TestDamageIsTold(t *testing.T) {
	at := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	aside := func(n int64, c queue.Certainty) queue.Aside {
		return queue.Aside{File: asideName, At: at, Why: "page 7 is of no kind", Recipients: n, Certainty: c}
	}
	salvaged := aside(3, queue.Exact)
	salvaged.Salvaged = at
	nobody := aside(0, queue.About)
	nobody.Salvaged = at
	gone := queue.Aside{File: "gen-000003.db", Gone: true, At: at, Why: "the file is missing", Recipients: 5}
	doubtful := queue.Aside{File: "gen-000003.db", InUse: true, At: at, Why: "a meta page cannot be read", Certainty: queue.Unknown}
	for _, test := range []struct {
		rule           string
		aside          []queue.Aside
		set            func(*queue.Stats)
		trouble        []string
		command, about string
	}{
		{"exact", []queue.Aside{aside(1200, queue.Exact)}, nil, []string{"DAMAGED: 1,200 recipients set aside."}, "mxkeep db salvage " + asideName, "page 7 is of no kind"},
		{"one", []queue.Aside{aside(1, queue.Exact)}, nil, []string{"DAMAGED: 1 recipient set aside."}, "mxkeep db salvage " + asideName, ""},
		{"about", []queue.Aside{aside(1200, queue.About)}, nil, []string{"DAMAGED: about 1,200 recipients set aside."}, "mxkeep db salvage " + asideName, ""},
		{"unknown", []queue.Aside{aside(0, queue.Unknown)}, nil, []string{"DAMAGED: an unknown number of recipients set aside."}, "mxkeep db salvage " + asideName, ""},
		{"some known, some not", []queue.Aside{aside(7, queue.Exact), aside(0, queue.Unknown)}, nil, []string{"DAMAGED: at least 7 recipients set aside."}, "mxkeep db salvage " + asideName, ""},
		{"nobody, exactly", []queue.Aside{aside(0, queue.Exact)}, nil, []string{"DAMAGED: a file is set aside, with no recipient who waits."}, "mxkeep db salvage " + asideName, ""},
		{"a rest", []queue.Aside{salvaged}, nil, []string{"DAMAGED: 3 recipients set aside."}, "mxkeep db accept-loss " + asideName + ` --reason "..."`, "cannot be read"},
		{"perhaps a rest", []queue.Aside{nobody}, nil, []string{"DAMAGED: not all of a file could be read; nobody is known to be missing."}, "mxkeep db accept-loss " + asideName + ` --reason "..."`, ""},
		{"a file that is gone", []queue.Aside{gone}, nil, []string{"DAMAGED: 5 recipients set aside."}, `mxkeep db accept-loss gen-000003.db --reason "..."`, "the file is missing"},
		{"a doubt", []queue.Aside{doubtful}, nil, []string{"DAMAGED: the last changes of gen-000003.db may be missing."}, `mxkeep db accept-loss gen-000003.db --reason "..."`, "a meta page cannot be read"},
		{"content", nil, func(s *queue.Stats) { s.Damaged = 2; s.Messages[queue.StateHeld] = 2 }, []string{"DAMAGED: the content of 2 messages differs from what was received."}, "mxkeep queue list --state held", "ask the senders"},
		{"records", nil, func(s *queue.Stats) { s.Unreadable = 1 }, []string{"DAMAGED: 1 message without a record that can be read."}, "mxkeep db check", ""},
	} {
		r := newRig()
		r.store.OnStats = func(s *queue.Stats) error {
			for _, a := range test.aside {
				s.Aside = append(s.Aside, a)
				s.Account.SetAside += a.Recipients
				s.Account.Accepted += a.Recipients
			}
			if test.set != nil {
				test.set(s)
			}
			return nil
		}
		st := r.server.Status(t.Context())
		if !reflect.DeepEqual(st.Trouble, test.trouble) || st.NothingLost || st.Severity != admin.SeverityCritical || !strings.HasPrefix(st.Headline, "DAMAGED") {
			t.Errorf("%s: trouble %q, %s, %q", test.rule, st.Trouble, st.Severity, st.Headline)
		}
		if len(st.Todo) == 0 || st.Todo[0].Command != test.command || !strings.Contains(st.Todo[0].Text, test.about) {
			t.Errorf("%s: to do %+v", test.rule, st.Todo)
		}
	}
}
