package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// incidentState is the state of the last incident; "" if there is none.
func (w *wreck) incidentState() string {
	i, err := w.client.Incident(context.Background(), admin.LastIncident)
	if err != nil {
		return ""
	}
	return i.State
}

// TestAnIncidentOutlivesKills: one outage, with the relay killed while it lasts
// and while it drains; the one incident closes with every recipient accounted for.
func TestAnIncidentOutlivesKills(t *testing.T) {
	t.Parallel()
	exo, err := primary.Start(context.Background(), primary.Options{Addresses: []string{"127.0.0.27:0"}, Domains: []string{"corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exo.Close() })
	w := &wreck{t: t, folder: t.TempDir(), primary: exo, address: unusedAt(t, "127.0.0.28:0")}
	w.play("451-4.3.2")
	w.config = fmt.Sprintf(damageConfig, filepath.Join(w.folder, "data"), filepath.Join(w.folder, "admin.sock"), w.address, exo.Addrs()[0]) + "incident:\n  quiet: 300ms\n"
	w.start()
	w.until("an incident", 20*time.Second, func(st admin.Status) bool { return len(st.Incidents) == 1 })
	w.send("one", "two", "three")
	w.kill()

	w.start()
	w.send("four", "five")
	st := w.until("the incident goes on", 20*time.Second, func(st admin.Status) bool { return len(st.Incidents) == 1 })
	id := st.Incidents[0].ID
	w.play("healthy")
	w.until("a delivery", 20*time.Second, func(st admin.Status) bool { return st.Account != nil && st.Account.Delivered > 0 })
	w.kill()

	w.start()
	w.until("it is closed", 20*time.Second, func(st admin.Status) bool {
		return len(st.Incidents) == 0 && st.Account.Delivered == 5 && w.incidentState() == "closed"
	})
	var i admin.Incident
	if err := json.Unmarshal([]byte(w.cli("incident", "show", "--json")), &i); err != nil {
		t.Fatal(err)
	}
	if a := i.Figures.Account; i.ID != id || a.Accepted != 5 || a.Delivered != 5 || a.Remainder != 0 || i.State != "closed" {
		t.Errorf("%+v %+v", i, a)
	}
	if out := w.cli("incident", "list"); strings.Count(out, "INC-") != 1 || !strings.Contains(out, "\tclosed\t") {
		t.Error(out)
	}
	if out := w.cli("health", "history"); !strings.Contains(out, "> down") || !strings.Contains(out, "> up") {
		t.Error(out)
	}
}
