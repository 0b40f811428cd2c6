package health

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// IncidentState is how far an incident has come.
type IncidentState string

// The states of an incident, in their order.
//
//	open -> recovering       the upstream is not down any more
//	recovering -> drained    it is up, and nothing of the incident waits for it any more
//	drained -> closed        it stayed so for the quiet time, and every recipient has its account
//	recovering, drained -> open   it is down again
//
// An incident that a person opened while the upstream was not down stays open
// until the upstream has been down and comes back, or the person closes it.
const (
	IncidentOpen       IncidentState = "open"
	IncidentRecovering IncidentState = "recovering"
	IncidentDrained    IncidentState = "drained"
	IncidentClosed     IncidentState = "closed"
)

// ByRelay is the actor of what no person did.
const ByRelay = "relay"

// Incident is an outage of one upstream as we lived through it. It is a copy:
// changing it changes nothing that is kept.
type Incident struct {
	ID       string        `json:"id"` // INC-2026-03-12-1: the day in UTC, and a number
	Upstream string        `json:"upstream"`
	State    IncidentState `json:"state"`
	Opener   string        `json:"opener"` // ByRelay, or a person
	Why      string        `json:"why"`    // may quote a remote server
	WasDown  bool          `json:"was_down,omitempty"`

	Began        time.Time `json:"began"`                  // the first bad reply; if there was none, Opened
	Opened       time.Time `json:"opened"`                 // declared
	RecoveringAt time.Time `json:"recovering_at,omitzero"` // it answered again, the last time
	UpAt         time.Time `json:"up_at,omitzero"`         // it was up again, the last time
	DrainedAt    time.Time `json:"drained_at,omitzero"`
	QuietSince   time.Time `json:"quiet_since,omitzero"` // drained, and up without a break; zero while it is not up
	ClosedAt     time.Time `json:"closed_at,omitzero"`

	// Mail of the incident is what was accepted for the upstream from From until
	// Until, as the clock said then, and was not final at Began.
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"` // zero while it is not up

	Acked   Moment   `json:"acked,omitzero"`
	Links   []string `json:"links,omitempty"`   // incidents of others, for example MO1221364
	Moments []Moment `json:"moments,omitempty"` // what happened to the incident itself, in the order in which it was written down

	Unsettled string          `json:"unsettled,omitempty"` // why it does not close by itself
	Figures   json.RawMessage `json:"figures,omitempty"`   // the account, from when it was closed
}

// Moment is one line of a timeline.
type Moment struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"` // one word: opened, acknowledged, note, link, recovering, up, down, drained, closed, notified, ...
	Actor string    `json:"actor,omitempty"`
	Text  string    `json:"text,omitempty"` // may quote a remote server
}

// Seen is what moves an incident.
type Seen struct {
	At      time.Time
	State   State         // of the upstream, the one that counts
	Why     string        // that
	Waiting bool          // mail of the incident still waits for the upstream
	Quiet   time.Duration // how long a drained incident has to be quiet
	Settled bool          // the account of a quiet incident has no remainder
}

// OpenIncident begins an incident. Began, and From, may be earlier than At.
func OpenIncident(id, upstream string, s Seen, opener string, began time.Time) Incident {
	if began.IsZero() || began.After(s.At) {
		began = s.At
	}
	i := Incident{ID: id, Upstream: upstream, State: IncidentOpen, Opener: opener, Why: s.Why, WasDown: s.State == Down,
		Began: began, Opened: s.At, From: began}
	return i.with(Moment{At: s.At, What: "opened", Actor: opener, Text: s.Why})
}

// Next is the incident after something was seen. It is pure.
func (i Incident) Next(s Seen) Incident {
	if i.State == IncidentClosed {
		return i
	}
	if s.At.Before(i.From) { // the clock was set back: what is accepted now is of the incident
		i.From = s.At
	}
	if s.State == Down {
		return i.down(s)
	}
	switch i.State {
	case IncidentOpen:
		if i.WasDown {
			i.State, i.RecoveringAt = IncidentRecovering, s.At
			i = i.with(Moment{At: s.At, What: "recovering", Actor: ByRelay, Text: s.Why})
			return i.recovering(s)
		}
	case IncidentRecovering:
		return i.recovering(s)
	case IncidentDrained:
		return i.drained(s)
	}
	return i
}

func (i Incident) down(s Seen) Incident {
	if i.State != IncidentOpen {
		i.State = IncidentOpen
		i = i.with(Moment{At: s.At, What: "down", Actor: ByRelay, Text: s.Why})
	} else if !i.WasDown {
		i = i.with(Moment{At: s.At, What: "down", Actor: ByRelay, Text: s.Why})
	}
	i.WasDown, i.Unsettled = true, ""
	i.RecoveringAt, i.UpAt, i.DrainedAt, i.QuietSince, i.Until = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return i
}

func (i Incident) recovering(s Seen) Incident {
	switch {
	case s.State == Up && i.UpAt.IsZero():
		i.UpAt, i.Until = s.At, s.At
		i = i.with(Moment{At: s.At, What: "up", Actor: ByRelay, Text: s.Why})
	case s.State != Up && !i.UpAt.IsZero(): // mail was held again meanwhile
		i.UpAt, i.Until = time.Time{}, time.Time{}
	}
	if i.UpAt.IsZero() || s.Waiting {
		return i
	}
	i.State, i.DrainedAt, i.QuietSince = IncidentDrained, s.At, s.At
	return i.with(Moment{At: s.At, What: "drained", Actor: ByRelay})
}

func (i Incident) drained(s Seen) Incident {
	switch {
	case s.State != Up:
		i.QuietSince = time.Time{}
	case i.QuietSince.IsZero(), s.At.Before(i.QuietSince):
		i.QuietSince = s.At
	}
	if !i.IsQuiet(s.At, s.Quiet) || !s.Settled {
		return i
	}
	return i.Close(s.At, ByRelay, "every recipient has its account")
}

// IsQuiet reports whether a drained incident has been quiet for so long.
func (i Incident) IsQuiet(now time.Time, quiet time.Duration) bool {
	return i.State == IncidentDrained && !i.QuietSince.IsZero() && now.Sub(i.QuietSince) >= quiet
}

// Close ends the incident.
func (i Incident) Close(at time.Time, actor, text string) Incident {
	i.State, i.ClosedAt = IncidentClosed, at
	if i.Until.IsZero() {
		i.Until = at
	}
	i.Unsettled = ""
	return i.with(Moment{At: at, What: "closed", Actor: actor, Text: text})
}

// Acknowledge says who has taken note of the incident; the first one stays.
func (i Incident) Acknowledge(at time.Time, actor, text string) Incident {
	m := Moment{At: at, What: "acknowledged", Actor: actor, Text: text}
	if i.Acked.At.IsZero() {
		i.Acked = m
	}
	return i.with(m)
}

// Link names an incident of somebody else that is the same trouble.
func (i Incident) Link(at time.Time, actor, other string) Incident {
	i.Links = append(i.Links[:len(i.Links):len(i.Links)], other)
	return i.with(Moment{At: at, What: "link", Actor: actor, Text: other})
}

// With adds a line to the timeline.
func (i Incident) With(m Moment) Incident { return i.with(m) }

func (i Incident) with(m Moment) Incident {
	i.Moments = append(i.Moments[:len(i.Moments):len(i.Moments)], m)
	return i
}

// Stopped is the time for which the clock of mail stands still: until the
// incident is drained, or closed before that. It ends at the zero Time while it lasts.
func (i Incident) Stopped() (from, until time.Time) {
	until = i.DrainedAt
	if until.IsZero() {
		until = i.ClosedAt
	}
	return i.From, until
}

// Lasts reports whether mail still waits for the upstream's sake, or may.
func (i Incident) Lasts() bool {
	return i.State == IncidentOpen || i.State == IncidentRecovering
}

const incidentDay = "2006-01-02"

// NewIncidentID makes the next ID of a day that is not among the known ones.
func NewIncidentID(at time.Time, known []string) string {
	prefix := "INC-" + at.UTC().Format(incidentDay) + "-"
	last := 0
	for _, id := range known {
		var n int
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			if _, err := fmt.Sscanf(rest, "%d", &n); err == nil {
				last = max(last, n)
			}
		}
	}
	return fmt.Sprintf("%s%d", prefix, last+1)
}
