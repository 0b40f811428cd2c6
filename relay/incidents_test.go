package relay

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// incident asks for an incident.
func (r *running) incident(id string) admin.Incident {
	r.t.Helper()
	i, err := r.client.Incident(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

// whats are the words of a timeline.
func whats(i admin.Incident) (words []string) {
	for _, m := range i.Timeline {
		words = append(words, m.What)
	}
	return words
}

// incidents is a configuration whose incidents close soon.
func incidents(t *testing.T) (c configs.Config, acts func(string)) {
	t.Helper()
	c, exo := configured(t)
	c.Incident.Quiet = 100 * time.Millisecond
	return c, func(scenario string) { play(t, exo, scenario) }
}

// TestAnIncident: one outage is opened, drained, and closed with its account,
// across a stop of the relay in its middle.
func TestAnIncident(t *testing.T) {
	t.Parallel()
	c, play := incidents(t)
	r := run(t, c)
	r.log.await(t, "health.changed", "to=up")
	play("451-4.3.2")
	r.log.await(t, "incident.opened")
	r.accept("a@corp.example", "b@corp.example")
	open := r.incident(admin.LastIncident)
	if open.State != "open" || open.Upstream != "exo" || open.OpenedBy != "relay" || !strings.HasPrefix(open.ID, "INC-") || open.Waiting != 2 ||
		open.Figures.Account.Accepted != 2 || !open.BeganAt.Before(open.OpenedAt.Time) {
		t.Errorf("%+v %+v", open, open.Figures)
	}
	if st := r.status(); len(st.Incidents) != 1 || st.Incidents[0].ID != open.ID || len(st.HistoryTrouble) != 0 {
		t.Errorf("status: %+v %v", st.Incidents, st.HistoryTrouble)
	}
	if _, err := r.client.ChangeIncident(context.Background(), open.ID, "ack", admin.IncidentRequest{}); err != nil {
		t.Error(err)
	}
	r.stop()

	r = run(t, c)
	r.accept("c@corp.example")
	play("healthy")
	r.log.await(t, "incident.closed", open.ID)
	closed := r.incident(open.ID)
	a := closed.Figures.Account
	if closed.State != "closed" || a.Accepted != 3 || a.Delivered != 3 || a.Remainder != 0 || closed.Waiting != 0 || closed.AckedBy == "" ||
		closed.Figures.Messages != 3 || closed.Figures.ByState["delivered"] != 3 || closed.Figures.DelayWorst <= 0 || closed.ClosedAt.IsZero() {
		t.Errorf("%+v %+v", closed, closed.Figures)
	}
	words := whats(closed)
	last := -1
	for _, want := range []string{"first bad reply", "health", "opened", "acknowledged", "recovering", "up", "closed"} {
		at := slices.Index(words, want)
		if want != "health" && at <= last {
			t.Errorf("%q is not in its place: %q", want, words)
		}
		last = max(last, at)
	}
	replies := closed.Figures.Replies
	if !slices.ContainsFunc(replies, func(r admin.IncidentReplies) bool {
		return r.Source == "probe" && r.Code == 451 && r.Enhanced == "4.3.2" && len(r.Servers) == 2 && r.Count > 2 && !r.LastAt.Before(r.FirstAt.Time)
	}) || !slices.ContainsFunc(replies, func(r admin.IncidentReplies) bool {
		return r.Source == "attempt" && r.Code == 250 && r.Count == 3
	}) {
		t.Errorf("%+v", replies)
	}
	if st := r.status(); len(st.Incidents) != 0 || !st.NothingLost {
		t.Errorf("status: %+v", st)
	}
	changes := 0
	if err := r.client.History(context.Background(), "exo", time.Now().Add(-time.Hour), func(c admin.HistoryChange) error {
		changes++
		return nil
	}); err != nil || changes < 4 {
		t.Errorf("%d changes, %v", changes, err)
	}
}

// TestNothingExpiresInAnIncident: the clock of mail stands still until it is drained.
func TestNothingExpiresInAnIncident(t *testing.T) {
	t.Parallel()
	c, play := incidents(t)
	r := run(t, c)
	play("down")
	r.log.await(t, "incident.opened")
	id := r.hold(t, "a@sender.example", true, "a@corp.example")
	m, err := r.store.Message(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Round(0)
	later := now.Add(100 * 24 * time.Hour)
	if m.Expires(later).Sub(m.Expires(now)) != later.Sub(now) {
		t.Errorf("it expires at %v, and later at %v", m.Expires(now), m.Expires(later))
	}
	play("healthy")
	r.log.await(t, "incident.closed")
	m, err = r.store.Message(context.Background(), id)
	stopped := r.book.Stops("exo").Within(m.AcceptedAt, later)
	if want := m.AcceptedAt.Add(m.Lifetime + stopped); err != nil || stopped <= 0 || !m.Expires(later).Equal(want) || m.Extended != 0 {
		t.Errorf("it expires at %v, want %v; %v", m.Expires(later), want, err)
	}
}

// TestNoSuchIncident: there is none yet, and none by that name.
func TestNoSuchIncident(t *testing.T) {
	t.Parallel()
	c, _ := incidents(t)
	r := run(t, c)
	for _, id := range []string{admin.LastIncident, "INC-2026-03-12-1"} {
		var none *admin.Error
		if _, err := r.client.Incident(context.Background(), id); !errors.As(err, &none) || none.Code != admin.CodeNotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestADamagedHistory is set aside, and everything else goes on.
func TestADamagedHistory(t *testing.T) {
	t.Parallel()
	c, play := incidents(t)
	r := run(t, c)
	r.stop()
	path := filepath.Join(c.Data, "history.db")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)/3], 0o600); err != nil {
		t.Fatal(err)
	}
	r = run(t, c)
	if st := r.status(); len(st.HistoryTrouble) != 1 || !strings.Contains(st.HistoryTrouble[0], "set aside") || !st.NothingLost {
		t.Errorf("%+v", st)
	}
	play("down")
	r.log.await(t, "incident.opened")
}
