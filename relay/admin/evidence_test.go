package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/incident"
)

func TestEvidence(t *testing.T) {
	r := newRig()
	for path, want := range map[string]int{"last": http.StatusNotFound, "INC-7": http.StatusNotFound} {
		if answer := r.ask("GET /v1/incidents/"+path+"/evidence", ""); answer.Code != want {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
	r.incidents.Records = []incident.Record{recorded("INC-2026-03-12-1", health.IncidentClosed)}
	r.incidents.Pieces = []incident.Piece{{Line: &queue.Entry{ID: "000000000001"}}, {End: &incident.End{Through: 7}}}
	answer := r.ask("GET /v1/incidents/last/evidence", "")
	lines := strings.Split(strings.TrimSpace(answer.Body.String()), "\n")
	if answer.Code != 200 || len(lines) != 3 || !strings.Contains(lines[0], `"relay":"`) || !strings.Contains(lines[0], `"corp.example"`) || !strings.Contains(lines[2], `"through":7`) {
		t.Errorf("%d %q", answer.Code, lines)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, `{"schema":"`+admin.SchemaEvidence+`"`) {
			t.Error(line)
		}
	}
	r.incidents.Records[0].Incident.Upstream = "former"
	if answer := r.ask("GET /v1/incidents/last/evidence", ""); !strings.Contains(answer.Body.String(), `"domains":null`) {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	r.incidents.Fail = errors.New("the disk fails")
	if answer := r.ask("GET /v1/incidents/last/evidence", ""); answer.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestClientEvidence(t *testing.T) {
	r := newRig()
	r.incidents.Records = []incident.Record{recorded("INC-2026-03-12-1", health.IncidentClosed)}
	r.incidents.Pieces = []incident.Piece{{End: &incident.End{Through: 7}}}
	client := serve(t, r.server.Handler())
	pieces := 0
	count := func(incident.Piece) error { pieces++; return nil }
	if err := client.Evidence(context.Background(), admin.LastIncident, count); err != nil || pieces != 2 {
		t.Errorf("%d, %v", pieces, err)
	}
	full := errors.New("no room")
	if err := client.Evidence(context.Background(), admin.LastIncident, func(incident.Piece) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	r.incidents.Pieces = nil
	if err := client.Evidence(context.Background(), admin.LastIncident, count); !errors.Is(err, admin.ErrCutOff) {
		t.Error(err)
	}
}
