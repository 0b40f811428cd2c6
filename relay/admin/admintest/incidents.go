package admintest

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// Incidents keeps what the test says. Its fields may be set while nobody asks.
type Incidents struct {
	mu      sync.Mutex
	Records []incident.Record // the oldest first
	History []health.Change
	Wrong   []string
	Expiry  incident.Expiring
	Fail    error            // of everything that has an error
	Pieces  []incident.Piece // of the evidence, after the record and History
}

// List lists the incidents.
func (i *Incidents) List() (all []health.Incident) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.Records {
		all = append(all, r.Incident)
	}
	return all
}

// find finds a record, with mu held.
func (i *Incidents) find(id string) (*incident.Record, error) {
	for n := range i.Records {
		if i.Records[n].Incident.ID == id {
			return &i.Records[n], i.Fail
		}
	}
	return &incident.Record{}, fmt.Errorf("%s: %w", id, incident.ErrNotFound)
}

// Record finds one.
func (i *Incidents) Record(_ context.Context, id string) (incident.Record, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r, err := i.find(id)
	return *r, err
}

// change changes one.
func (i *Incidents) change(id string, do func(health.Incident) health.Incident) (health.Incident, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r, err := i.find(id)
	if err == nil {
		r.Incident = do(r.Incident)
		r.Timeline = r.Incident.Moments
	}
	return r.Incident, err
}

// Open opens one, unless one is open.
func (i *Incidents) Open(_ context.Context, upstream, actor, reason string) (health.Incident, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.Records {
		if r.Incident.Lasts() {
			return r.Incident, fmt.Errorf("%s has %s already: %w", upstream, r.Incident.ID, incident.ErrState)
		}
	}
	now := time.Now()
	opened := health.OpenIncident(health.NewIncidentID(now, nil), upstream, health.Seen{At: now, State: health.Up, Why: reason}, actor, time.Time{})
	i.Records = append(i.Records, incident.Record{Incident: opened, Timeline: opened.Moments})
	return opened, i.Fail
}

// Note adds a line.
func (i *Incidents) Note(id string, m health.Moment) (health.Incident, error) {
	m.At = time.Now()
	return i.change(id, func(one health.Incident) health.Incident { return one.With(m) })
}

// Acknowledge acknowledges one.
func (i *Incidents) Acknowledge(id, actor, text string) (health.Incident, error) {
	return i.change(id, func(one health.Incident) health.Incident { return one.Acknowledge(time.Now(), actor, text) })
}

// Link links one.
func (i *Incidents) Link(id, actor, other string) (health.Incident, error) {
	return i.change(id, func(one health.Incident) health.Incident { return one.Link(time.Now(), actor, other) })
}

// Close closes one for which it is not over for as many recipients as is confirmed.
func (i *Incidents) Close(_ context.Context, id, actor, reason string, confirmed int64) (health.Incident, int64, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r, err := i.find(id)
	if err != nil {
		return r.Incident, 0, err
	}
	a := r.Figures.Account
	waiting := a.Queued + a.SetAside + a.Remainder
	switch {
	case r.Incident.State == health.IncidentClosed:
		return r.Incident, 0, fmt.Errorf("%s is closed: %w", id, incident.ErrState)
	case waiting == confirmed:
		r.Incident = r.Incident.Close(time.Now(), actor, reason)
		r.Timeline = r.Incident.Moments
	}
	return r.Incident, waiting, nil
}

// Changes lists the history.
func (i *Incidents) Changes(_ context.Context, upstream string, from, _ time.Time) iter.Seq2[health.Change, error] {
	return func(yield func(health.Change, error) bool) {
		if i.Fail != nil {
			yield(health.Change{}, i.Fail)
			return
		}
		for _, c := range i.History {
			if (upstream == "" || c.Upstream == upstream) && !c.At.Before(from) && !yield(c, nil) {
				return
			}
		}
	}
}

// Trouble is what is wrong.
func (i *Incidents) Trouble() []string { return i.Wrong }

// Expiring is what is near its end.
func (i *Incidents) Expiring() incident.Expiring { return i.Expiry }
