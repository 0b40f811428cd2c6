package admin_test

import (
	"errors"
	"fmt"
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
	sum, err := client.Check(t.Context(), admin.CheckRequest{}, func(f admin.Finding) error {
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
	if _, err := client.Check(t.Context(), admin.CheckRequest{}, func(admin.Finding) error { return nil }); !errors.As(err, &refusal) || refusal.Code != admin.CodeStoreFailed {
		t.Errorf("a disk that fails: %v", err)
	}
	cut := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if _, err := cut.Check(t.Context(), admin.CheckRequest{}, func(admin.Finding) error { return nil }); !errors.Is(err, admin.ErrCutOff) {
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
	if e := lastError(t, r.ask("POST /v1/db/accept-loss", `{"file":"`+asideName+`","reason":"x","dry_run":true}`)); e.Code != admin.CodeStoreFailed {
		t.Errorf("a dry loss: %+v", e)
	}
	without := admin.New(admin.Options{Store: r.store, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	r.server = without
	for _, request := range []string{"GET /v1/db/stats", "GET /v1/db/ledger", "POST /v1/db/check", "POST /v1/db/salvage", "POST /v1/db/accept-loss"} {
		if e := lastError(t, r.ask(request, map[bool]string{true: `{"file":"x","reason":"x"}`, false: `{"file":"x"}`}[strings.HasSuffix(request, "loss")])); e.Code != admin.CodeBadRequest {
			t.Errorf("%s of a store without files: %+v", request, e)
		}
	}
}

// TestLedgerExport sends what the store writes, and tells where it breaks off.
func TestLedgerExport(t *testing.T) {
	r := newRig()
	client := serve(t, r.server.Handler())
	since, until := time.Date(2026, 1, 22, 19, 30, 0, 5, time.UTC), time.Date(2026, 1, 23, 0, 0, 0, 0, time.UTC)
	r.files.Exported = strings.Repeat("line\n", 100_000)
	var out strings.Builder
	if err := client.ExportLedger(t.Context(), since, until, &out); err != nil || out.String() != r.files.Exported {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
	if got := r.files.Bounds; !got[0].Equal(since) || !got[1].Equal(until) {
		t.Errorf("bounds %s", got)
	}
	if err := client.ExportLedger(t.Context(), time.Time{}, time.Time{}, &out); err != nil || !r.files.Bounds[0].IsZero() || !r.files.Bounds[1].IsZero() {
		t.Errorf("bounds %s, %v", r.files.Bounds, err)
	}
	r.files.Fail = errors.New("read: input/output error")
	refusal := &admin.Error{}
	for _, text := range []string{r.files.Exported, "short"} { // in the trailer, and before the first byte
		r.files.Exported = text
		if err := client.ExportLedger(t.Context(), since, until, &out); !errors.As(err, &refusal) || refusal.Code != admin.CodeStoreFailed {
			t.Errorf("%d bytes before a disk that fails: %v", len(text), err)
		}
	}
	if e := lastError(t, r.ask("GET /v1/db/ledger?since=yesterday", "")); e.Code != admin.CodeBadRequest {
		t.Errorf("a time that is none: %+v", e)
	}
}

// TestHeadOfTheLedger asks whether a head is still in the chain.
func TestHeadOfTheLedger(t *testing.T) {
	r := newRig()
	client := serve(t, r.server.Handler())
	head := strings.Repeat("5f", 32)
	r.files.Sum.Chain = queue.Chain{First: 3, Last: 9, Anchor: strings.Repeat("00", 32), Head: head, Breaks: 1}
	none := func(admin.Finding) error { return nil }
	sum, err := client.Check(t.Context(), admin.CheckRequest{Head: head}, none)
	if c := sum.Chain; err != nil || c.FoundAt == nil || *c.FoundAt != 9 || c.First != 3 || c.Last != 9 || c.Head != head || c.Breaks != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	if sum, err := client.Check(t.Context(), admin.CheckRequest{Head: strings.Repeat("ab", 32)}, none); err != nil || sum.Chain.FoundAt != nil {
		t.Errorf("another: %+v, %v", sum, err)
	}
	for _, body := range []string{`{"head":"5f"}`, `{"head":"xy"}`, `{"more":1}`} {
		if e := lastError(t, r.ask("POST /v1/db/check", body)); e.Code != admin.CodeBadRequest {
			t.Errorf("%s: %+v", body, e)
		}
	}
}

// TestTraceTellsGaps: lines that cannot be read are told, behind those that can.
func TestTraceTellsGaps(t *testing.T) {
	r := newRig()
	id := r.accept(t, "a@b.example", "x@corp.example")
	r.store.OnLedger = func(nth int) error {
		if nth == 0 {
			return nil
		}
		return fmt.Errorf("the ledger after line 3: %w", queue.ErrDamaged)
	}
	client := serve(t, r.server.Handler())
	lines := 0
	gap := &admin.Gap{}
	err := client.Trace(t.Context(), string(id), 10, func(admin.Entry) error { lines++; return nil }, func(admin.Message) error { return nil })
	if !errors.As(err, &gap) || gap.Count != 1 || lines != 1 || !strings.Contains(gap.Error(), "the ledger after line 3") {
		t.Errorf("%d lines, %v", lines, err)
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
		{"a file of the ledger", []queue.Aside{{File: "ledger-000003-20260122.db.damaged-x", Ledger: true, At: at, Why: "page 7 is of no kind"}}, nil,
			[]string{"DAMAGED: lines of the ledger are set aside in ledger-000003-20260122.db.damaged-x; no mail is."}, "mxkeep db salvage ledger-000003-20260122.db.damaged-x", "Bring back the lines"},
		{"a file of the ledger, salvaged", []queue.Aside{{File: "ledger-000003-20260122.db.damaged-x", Ledger: true, At: at, Salvaged: at, Certainty: queue.About}}, nil,
			[]string{"DAMAGED: lines of the ledger are set aside in ledger-000003-20260122.db.damaged-x; no mail is."}, `mxkeep db accept-loss ledger-000003-20260122.db.damaged-x --reason "..."`, "cannot be read"},
		{"a doubt about the ledger", []queue.Aside{{File: "ledger-000003-20260122.db", Ledger: true, InUse: true, At: at, Why: "a meta page cannot be read", Certainty: queue.Unknown}}, nil,
			[]string{"DAMAGED: the last lines of the ledger in ledger-000003-20260122.db may be missing; no mail is."}, `mxkeep db accept-loss ledger-000003-20260122.db --reason "..."`, "a meta page"},
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
