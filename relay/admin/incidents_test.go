package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/incident"
)

var noon = time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)

// recorded is an incident in a state.
func recorded(id string, state health.IncidentState) incident.Record {
	i := health.OpenIncident(id, "exo", health.Seen{At: noon, State: health.Down, Why: "bad"}, health.ByRelay, noon.Add(-time.Minute))
	i.State = state
	return incident.Record{Incident: i, Timeline: i.Moments, Figures: incident.Figures{Account: incident.Account{Accepted: 5, Delivered: 2, Queued: 1, Remainder: 2},
		Replies: []incident.Replies{{Source: health.SourceProbe, Code: 451, Count: 7, First: noon, Last: noon}}}}
}

func (r *rig) incident(t *testing.T, answer *httptest.ResponseRecorder) (i admin.Incident) {
	t.Helper()
	if err := json.Unmarshal(answer.Body.Bytes(), &i); err != nil || answer.Code != 200 || i.Schema != admin.SchemaIncident {
		t.Fatalf("%d %s: %v", answer.Code, answer.Body, err)
	}
	return i
}

func TestIncidents(t *testing.T) {
	r := newRig()
	if answer := r.ask("GET /v1/incidents", ""); answer.Body.Len() != 0 || answer.Code != 200 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	r.incidents.Records = []incident.Record{recorded("INC-2026-03-11-1", health.IncidentDrained), recorded("INC-2026-03-12-1", health.IncidentClosed)}
	lines := strings.Split(strings.TrimSpace(r.ask("GET /v1/incidents", "").Body.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "INC-2026-03-12-1") || !strings.Contains(lines[0], `"replies":null`) || !strings.Contains(lines[0], `"timeline":null`) {
		t.Errorf("%q", lines)
	}
	i := r.incident(t, r.ask("GET /v1/incidents/last", "")) // the one that goes on is the last one
	if i.ID != "INC-2026-03-11-1" || i.Waiting != 3 || len(i.Timeline) != 1 || i.Figures.Replies[0].Count != 7 || i.BeganAt.Add(time.Minute) != i.OpenedAt.Time {
		t.Errorf("%+v", i)
	}
	if i = r.incident(t, r.ask("GET /v1/incidents/inc-2026-03-12-1", "")); i.ID != "INC-2026-03-12-1" {
		t.Errorf("%+v", i)
	}
	for request, body := range map[string]string{"note": `{"text":"a"}`, "link": `{"text":"MO1"}`, "ack": `{}`} {
		i = r.incident(t, r.ask("POST /v1/incidents/last/"+request, body))
	}
	if i = r.incident(t, r.ask("GET /v1/incidents/last", "")); len(i.Timeline) != 4 || i.AckedBy != "unknown" || i.Links[0] != "MO1" {
		t.Errorf("%+v", i)
	}
	i = r.incident(t, r.ask("POST /v1/incidents/last/close", `{"text":"a reason","confirm":3}`))
	if i.State != "closed" || i.Timeline[4].Text != "a reason" {
		t.Errorf("%+v", i)
	}
	i = r.incident(t, r.ask("POST /v1/incidents", `{"text":"users see nothing"}`))
	if i.State != "open" || i.Upstream != "exo" || i.Why != "users see nothing" {
		t.Errorf("%+v", i)
	}
	notes := 0
	for e, err := range r.store.Ledger(context.Background(), queue.LedgerFilter{}) {
		if notes++; err != nil || !strings.HasPrefix(e.Reason, "incident ") || e.Upstream != "exo" {
			t.Errorf("%+v %v", e, err)
		}
	}
	if notes != 5 {
		t.Errorf("%d acts in the ledger", notes)
	}
}

// TestIncidentRequestsThatChangeNothing: they are refused, or dry.
func TestIncidentRequestsThatChangeNothing(t *testing.T) {
	r := newRig()
	r.incidents.Records = []incident.Record{recorded("INC-2026-03-12-1", health.IncidentOpen)}
	records := func() string {
		text, err := json.Marshal(r.incidents.Records)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := records()
	for request, want := range map[string]string{
		`GET /v1/incidents/INC-1`:                                                   admin.CodeNotFound,
		`POST /v1/incidents/INC-1/ack {}`:                                           admin.CodeNotFound,
		`POST /v1/incidents/last/hide {}`:                                           admin.CodeBadRequest,
		`POST /v1/incidents/last/ack {"text":1}`:                                    admin.CodeBadRequest,
		`POST /v1/incidents/last/note {}`:                                           admin.CodeBadRequest,
		`POST /v1/incidents/last/link {}`:                                           admin.CodeBadRequest,
		`POST /v1/incidents/last/note {"text":"` + strings.Repeat("x", 1001) + `"}`: admin.CodeBadRequest,
		`POST /v1/incidents/last/close {}`:                                          admin.CodeReasonRequired,
		`POST /v1/incidents/last/close {"text":"why"}`:                              admin.CodeCountRequired,
		`POST /v1/incidents/last/close {"text":"why","confirm":1}`:                  admin.CodeCountChanged,
		`POST /v1/incidents/last/close {"text":"why","confirm":3,"dry_run":true}`:   "",
		`POST /v1/incidents/last/note {"text":"x","dry_run":true}`:                  "",
		`POST /v1/incidents {}`:                                                     admin.CodeReasonRequired,
		`POST /v1/incidents {"bad":1}`:                                              admin.CodeBadRequest,
		`POST /v1/incidents {"text":"x","upstream":"other"}`:                        admin.CodeUnknownUpstream,
		`POST /v1/incidents {"text":"x","dry_run":true}`:                            "",
		`POST /v1/incidents {"text":"x"}`:                                           admin.CodeIncidentState,
		`GET /v1/health/history?since=x`:                                            admin.CodeBadRequest,
		`GET /v1/health/history?upstream=other&since=2026-03-12T00:00:00Z`:          admin.CodeUnknownUpstream,
	} {
		words := strings.SplitN(request+"  ", " ", 3)
		if got := lastError(t, r.ask(words[0]+" "+words[1], strings.TrimSpace(words[2]))); got.Code != want {
			t.Errorf("%s: %+v, want %s", request, got, want)
		}
	}
	if after := records(); after != before {
		t.Errorf("changed:\n%s\n%s", before, after)
	}
	empty := newRig()
	if got := lastError(t, empty.ask("GET /v1/incidents/last", "")); got.Code != admin.CodeNotFound {
		t.Errorf("%+v", got)
	}
	r.incidents.Fail = errors.New("the disk fails")
	for _, request := range []string{"GET /v1/incidents", "GET /v1/incidents/last", "GET /v1/health/history?since=2026-03-12T00:00:00Z"} {
		if got := lastError(t, r.ask(request, "")); !strings.Contains(got.Message, "the disk fails") {
			t.Errorf("%s: %+v", request, got)
		}
	}
}

// TestNobodyKeepsIncidents: everything about them is refused, and status has none.
func TestNobodyKeepsIncidents(t *testing.T) {
	r := newRig()
	r.without()
	for _, request := range []string{"GET /v1/incidents", "GET /v1/incidents/last", "GET /v1/incidents/last/evidence", "POST /v1/incidents", "POST /v1/incidents/last/ack", "GET /v1/health/history"} {
		if got := lastError(t, r.ask(request, "{}")); got.Code != admin.CodeRefused {
			t.Errorf("%s: %+v", request, got)
		}
	}
	if st := r.server.Status(context.Background()); len(st.Incidents) != 0 || !st.NothingLost {
		t.Errorf("%+v", st)
	}
}

func TestHistory(t *testing.T) {
	r := newRig()
	r.incidents.History = []health.Change{{At: noon, Upstream: "exo", Kind: health.ChangeState, From: "up", To: "down", Why: "bad"}, {At: noon.Add(time.Hour), Upstream: "exo", Kind: health.ChangeOverride, To: "none"}}
	answer := r.ask("GET /v1/health/history?upstream=exo&since=2026-03-12T12:30:00Z", "")
	if got := strings.TrimSpace(answer.Body.String()); strings.Count(got, "\n") != 0 || !strings.Contains(got, `"kind":"override"`) {
		t.Error(got)
	}
}

// TestRecordsInStatus: what is not settled is loud, what expires is named.
func TestRecordsInStatus(t *testing.T) {
	r := newRig()
	one := recorded("INC-2026-03-12-1", health.IncidentDrained)
	r.incidents.Records = []incident.Record{one, recorded("INC-2026-03-11-1", health.IncidentClosed)}
	if st := r.server.Status(context.Background()); len(st.Incidents) != 1 || !st.NothingLost || st.Incidents[0].State != "drained" || st.Incidents[0].ID != one.Incident.ID {
		t.Errorf("%+v", st)
	}
	r.incidents.Records[0].Incident.Unsettled = "2 of 5 recipients have no account"
	r.incidents.Wrong = []string{"it was damaged"}
	r.incidents.Expiry = incident.Expiring{Within: 24 * time.Hour, Messages: 3, First: noon}
	st := r.server.Status(context.Background())
	if st.NothingLost || st.Severity != admin.SeverityCritical || !strings.HasPrefix(st.Headline, "INC-2026-03-12-1 is not closed: 2 of 5 recipients have no account.") {
		t.Errorf("%+v", st)
	}
	var texts []string
	for _, todo := range st.Todo {
		texts = append(texts, todo.Text+" | "+todo.Command)
	}
	want := []string{"INC-2026-03-12-1 does not close by itself: 2 of 5 recipients have no account. Find out why; then close it. | mxkeep incident show INC-2026-03-12-1",
		"3 messages that wait have less than 24 hours before being given up: find out why they do not leave. | mxkeep queue list --expires '<24h' --sort expires",
		"The history of the upstreams, which is evidence and not mail: it was damaged. | journalctl -u mxkeep"}
	if strings.Join(texts, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", texts)
	}
	r.incidents.Expiry.Messages = 1
	if st = r.server.Status(context.Background()); !strings.HasPrefix(st.Todo[1].Text, "1 message that waits has less than 24 hours") {
		t.Errorf("%+v", st.Todo)
	}
}
