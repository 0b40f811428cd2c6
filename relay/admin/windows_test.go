package admin_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

func TestWindows(t *testing.T) {
	r := newRig()
	client := serve(t, r.server.Handler())
	now := time.Now()
	request := admin.WindowRequest{From: admin.Time{Time: now.Add(time.Hour)}, To: admin.Time{Time: now.Add(2 * time.Hour)}, Release: "approval", Reason: "move", DryRun: true}
	before := r.snapshot(t)
	if w, err := client.AddWindow(t.Context(), request); err != nil || !w.DryRun || w.ID != "" || w.Upstream != "exo" || w.State != admin.WindowPlanned || r.snapshot(t) != before {
		t.Errorf("dry run: %+v, %v", w, err)
	}
	request.DryRun = false
	w, err := client.AddWindow(t.Context(), request)
	if err != nil || w.ID == "" || w.Release != "approval" || w.Actor == "" || w.Reason != "move" {
		t.Fatalf("%+v, %v", w, err)
	}
	now2 := admin.WindowRequest{To: admin.Time{Time: now.Add(time.Hour)}, Release: "auto", Reason: "now", Upstream: "exo"}
	if w, err := client.AddWindow(t.Context(), now2); err != nil || w.State != admin.WindowHolds || w.From.IsZero() {
		t.Errorf("from now: %+v, %v", w, err)
	}
	var ids []string
	if err := client.Windows(t.Context(), func(w admin.Window) error { ids = append(ids, w.ID); return nil }); err != nil || len(ids) != 2 {
		t.Errorf("%q, %v", ids, err)
	}
	if st, err := client.Status(t.Context()); err != nil || len(st.Windows) != 2 {
		t.Errorf("%+v, %v", st.Windows, err)
	}
	if got, err := client.RemoveWindow(t.Context(), w.ID, admin.RemoveRequest{Reason: "done", DryRun: true}); err != nil || !got.DryRun || len(r.windows.All) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := client.RemoveWindow(t.Context(), w.ID, admin.RemoveRequest{Reason: "done"}); err != nil || got.ID != w.ID || len(r.windows.All) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	var notes []string
	for e, err := range r.store.Ledger(t.Context(), queue.LedgerFilter{Events: []queue.Event{queue.Noted}}) {
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, e.Upstream+" "+e.Reason)
	}
	if len(notes) != 3 || !strings.HasSuffix(notes[0], "release approval: move") || notes[2] != "exo window "+w.ID+" removed: done" {
		t.Errorf("%q", notes)
	}
}

func TestWrongWindows(t *testing.T) {
	r := newRig()
	client := serve(t, r.server.Handler())
	now := time.Now()
	good := admin.WindowRequest{From: admin.Time{Time: now.Add(time.Hour)}, To: admin.Time{Time: now.Add(2 * time.Hour)}, Release: "auto", Reason: "move"}
	code := func(err error) string {
		var e *admin.Error
		if errors.As(err, &e) {
			return e.Code
		}
		return fmt.Sprint(err)
	}
	for rule, test := range map[string]struct {
		change func(*admin.WindowRequest)
		want   string
	}{
		"no reason":         {func(q *admin.WindowRequest) { q.Reason = "" }, admin.CodeReasonRequired},
		"a long reason":     {func(q *admin.WindowRequest) { q.Reason = strings.Repeat("x", 5000) }, admin.CodeBadRequest},
		"no release":        {func(q *admin.WindowRequest) { q.Release = "" }, admin.CodeBadRequest},
		"no end":            {func(q *admin.WindowRequest) { q.To = admin.Time{} }, admin.CodeBadRequest},
		"over":              {func(q *admin.WindowRequest) { q.From, q.To = admin.Time{}, admin.Time{Time: now.Add(-time.Second)} }, admin.CodeBadRequest},
		"the wrong way":     {func(q *admin.WindowRequest) { q.To = admin.Time{Time: now.Add(time.Minute)} }, admin.CodeBadRequest},
		"too long":          {func(q *admin.WindowRequest) { q.To = admin.Time{Time: now.Add(8 * 24 * time.Hour)} }, admin.CodeBadRequest},
		"too far ahead":     {func(q *admin.WindowRequest) { q.From.Time, q.To.Time = now.AddDate(2, 0, 0), now.AddDate(2, 0, 1) }, admin.CodeBadRequest},
		"no such upstream":  {func(q *admin.WindowRequest) { q.Upstream = "other" }, admin.CodeUnknownUpstream},
		"the disk is full":  {func(*admin.WindowRequest) { r.windows.Fail = errors.New("disk full") }, admin.CodeRefused},
		"the ledger is not": {func(*admin.WindowRequest) { r.store.OnNote = func(queue.Entry) error { return errors.New("ledger") } }, admin.CodeStoreFailed},
	} {
		q := good
		test.change(&q)
		if _, err := client.AddWindow(t.Context(), q); code(err) != test.want || len(r.windows.All) > 0 {
			t.Errorf("%s: %v", rule, err)
		}
		r.windows.Fail = nil
		r.store.OnNote = nil
	}
	for i := range 100 {
		r.windows.All = append(r.windows.All, admin.Window{ID: fmt.Sprint("W", i), Upstream: "exo"})
	}
	if _, err := client.AddWindow(t.Context(), good); code(err) != admin.CodeRefused {
		t.Errorf("too many: %v", err)
	}
	for rule, test := range map[string]struct {
		id      string
		request admin.RemoveRequest
		want    string
	}{
		"no reason":     {"W1", admin.RemoveRequest{}, admin.CodeReasonRequired},
		"a long reason": {"W1", admin.RemoveRequest{Reason: strings.Repeat("x", 5000)}, admin.CodeBadRequest},
		"no such":       {"W100", admin.RemoveRequest{Reason: "x"}, admin.CodeNotFound},
	} {
		if _, err := client.RemoveWindow(t.Context(), test.id, test.request); code(err) != test.want {
			t.Errorf("%s: %v", rule, err)
		}
	}
	r.windows.Fail = errors.New("disk full")
	if _, err := client.RemoveWindow(t.Context(), "W1", admin.RemoveRequest{Reason: "x"}); code(err) != admin.CodeRefused {
		t.Errorf("disk full: %v", err)
	}
	for _, request := range []string{"POST /v1/windows", "POST /v1/windows/W1/remove"} {
		if e := lastError(t, r.ask(request, "{")); e.Code != admin.CodeBadRequest {
			t.Errorf("%s: %+v", request, e)
		}
	}
	cut := httptest.NewRecorder()
	r.server.Handler().ServeHTTP(gone{cut}, httptest.NewRequest("GET", "http://mxkeep/v1/windows", nil))
	if cut.Body.Len() > 0 {
		t.Errorf("%s", cut.Body)
	}
	bare := admin.New(admin.Options{Store: r.store, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example")}, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	text, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	bare.Handler().ServeHTTP(answer, httptest.NewRequest("POST", "http://mxkeep/v1/windows", strings.NewReader(string(text))))
	if e := lastError(t, answer); e.Code != admin.CodeRefused {
		t.Errorf("%+v", e)
	}
}

// gone is a client that has gone.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, net.ErrClosed }

// What people read while a window holds, and when it waits for them.
func TestStatusInAWindow(t *testing.T) {
	r := newRig()
	client := serve(t, r.server.Handler())
	r.accept(t, "a@b.example", "c@corp.example")
	now := time.Now()
	r.windows.All = []admin.Window{{ID: "WIN-1", Upstream: "exo", State: admin.WindowHolds, Reason: "move"}}
	r.exo.Status.Planned = &health.Override{State: health.Down, Until: now.Add(time.Hour), Actor: "jo", Reason: "move", Window: "WIN-1"}
	look := func(severity, headline, next string, todos int) {
		t.Helper()
		st, err := client.Status(t.Context())
		if err != nil || st.State != admin.Holding || st.Severity != severity || !strings.HasPrefix(st.Headline, headline) || !strings.Contains(st.WhatNext, next) || len(st.Todo) != todos {
			t.Errorf("%s %s\n%s\n%s\n%+v %v", st.State, st.Severity, st.Headline, st.WhatNext, st.Todo, err)
		}
		if u := st.Upstreams[0]; u.State != "forced-down" || u.ObservedState != "up" || u.Override == nil || u.Override.Window != "WIN-1" {
			t.Errorf("%+v", u)
		}
	}
	look(admin.SeverityWarning, "Mail for exo is held as planned, until ", "automatic when window WIN-1 ends at ", 0)
	r.windows.All[0].State = admin.WindowWaits
	r.exo.Status.Planned.Until = time.Time{}
	look(admin.SeverityCritical, "Mail for exo is held as planned, until window WIN-1 is removed (jo: move), but what is observed is: up.", "automatic when window WIN-1 is removed and exo is up", 1)
}

// What another relay sees tells on which side of the primary the fault is.
func TestReachedBy(t *testing.T) {
	r := newRig()
	client := serve(t, r.server.Handler())
	now := time.Now()
	r.exo.Status.State = health.Down
	probe := health.Signal{At: now, Source: health.SourceProbe, Class: health.Outage, Phase: health.PhaseConnect}
	view := health.Signal{At: now, Source: health.SourceVantage, Host: "mx3"}
	old, bad := view, view
	old.At, bad.Class = now.Add(-time.Hour), health.Outage
	for _, test := range []struct {
		rule   string
		recent []health.Signal
		want   string
	}{
		{"it takes mail there", []health.Signal{bad, probe, view}, "mx3"},
		{"it did before", []health.Signal{view, probe, bad}, ""},
		{"that was long ago", []health.Signal{old, probe}, ""},
		{"nobody else has looked", []health.Signal{probe}, ""},
	} {
		r.exo.Recent = test.recent
		st, err := client.Status(t.Context())
		if err != nil || st.Upstreams[0].ReachedBy != test.want || strings.HasPrefix(st.Upstreams[0].Fault, "It takes mail from mx3") != (test.want != "") || st.Upstreams[0].LastSignal.Source != "probe" {
			t.Errorf("%s: %+v %v", test.rule, st.Upstreams[0], err)
		}
	}
}

const secret = "0123456789abcdef0123456789abcdef"

func tokenFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadToken(t *testing.T) {
	if got, err := admin.ReadToken(tokenFile(t, " "+secret+"\n", 0o600)); err != nil || got != secret {
		t.Errorf("%q, %v", got, err)
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		tokenFile(t, secret, 0o644):            "others may read",
		tokenFile(t, "short", 0o600):           "is not 20 or more",
		tokenFile(t, secret+" "+secret, 0o600): "is not 20 or more",
		filepath.Join(folder, "gone"):          "no such file",
		folder:                                 "is a directory",
	} {
		if _, err := admin.ReadToken(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Who has the token sees what was observed of the upstreams, and nothing else.
func TestVantage(t *testing.T) {
	r := newRig()
	r.accept(t, "a@b.example", "c@corp.example")
	now := time.Now()
	r.exo.Status = health.Status{State: health.Degraded, Since: now, BadRounds: 2, Network: health.Condition{Since: now},
		Override: &health.Override{State: health.Up, Until: now.Add(time.Hour), Actor: "jo", Reason: "private"}}
	r.exo.Recent = []health.Signal{
		{At: now, Source: health.SourceProbe, Address: "192.0.2.9:25", Round: 1, Last: true},
		{At: now, Source: health.SourceProbe, Address: "192.0.2.1:25", Round: 2, Class: health.Outage},
		{At: now, Source: health.SourceAttempt, Address: "192.0.2.3:25"},
		{At: now, Source: health.SourceProbe, Address: "192.0.2.2:25", Round: 2, Last: true},
		{At: now, Source: health.SourceProbe, Address: "192.0.2.1:25", Round: 3},
	}
	path := tokenFile(t, secret, 0o600)
	ask := func(method, at, authorization string) *httptest.ResponseRecorder {
		q := httptest.NewRequest(method, "https://mx2"+at, nil)
		if authorization != "" {
			q.Header.Set("Authorization", authorization)
		}
		answer := httptest.NewRecorder()
		r.server.Vantage(path).ServeHTTP(answer, q)
		return answer
	}
	answer := ask("GET", admin.PathVantage, "Bearer "+secret)
	var view admin.VantageView
	if err := json.Unmarshal(answer.Body.Bytes(), &view); err != nil || answer.Code != 200 || view.Schema != admin.SchemaVantage || len(view.Upstreams) != 1 {
		t.Fatalf("%d %s %v", answer.Code, answer.Body, err)
	}
	u := view.Upstreams[0]
	if u.State != "degraded" || u.BadRounds != 2 || !u.CutOff || u.Throttled || len(u.Probes) != 2 || u.Probes[0].Address != "192.0.2.2:25" || u.Probes[1].Class != "outage" {
		t.Errorf("%+v", u)
	}
	if text := answer.Body.String(); strings.Contains(text, "private") || strings.Contains(text, "b.example") {
		t.Error(text)
	}
	for _, test := range []struct {
		method, at, authorization string
		status                    int
	}{
		{"GET", admin.PathVantage, "", 401},
		{"GET", admin.PathVantage, secret, 401},
		{"GET", admin.PathVantage, "Bearer " + secret + "x", 401},
		{"GET", admin.PathVantage, "Bearer ", 401},
		{"POST", admin.PathVantage, "Bearer " + secret, 405},
		{"GET", "/v1/status", "Bearer " + secret, 404},
		{"POST", "/v1/health/override", "Bearer " + secret, 404},
	} {
		if got := ask(test.method, test.at, test.authorization); got.Code != test.status || strings.Contains(got.Body.String(), "exo") {
			t.Errorf("%+v: %d %s", test, got.Code, got.Body)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := ask("GET", admin.PathVantage, "Bearer "); got.Code != 401 {
		t.Errorf("no token at all: %d", got.Code)
	}
}

func TestServeVantage(t *testing.T) {
	r := newRig()
	donor := httptest.NewTLSServer(http.NotFoundHandler())
	defer donor.Close()
	path := tokenFile(t, secret, 0o600)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := run(func(ctx context.Context, l net.Listener) error {
		return r.server.ServeVantage(ctx, l, &tls.Config{Certificates: donor.TLS.Certificates}, path)
	}, listener)
	request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+listener.Addr().String()+admin.PathVantage, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	response, err := donor.Client().Do(request)
	if err != nil || response.StatusCode != 200 {
		t.Errorf("%v %v", response, err)
	} else {
		response.Body.Close()
	}
	var open []net.Conn // more than may be at once: one of them is closed, and the others are not
	refused := make(chan int, 100)
	for i := range 33 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		go func() {
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				refused <- i
			}
		}()
	}
	<-refused
	for _, conn := range open {
		conn.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
