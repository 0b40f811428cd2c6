package health

import (
	"fmt"
	"time"
)

// lasts reports whether the decision still counts. That of a window without an
// end counts until a person takes it back.
func (o *Override) lasts(now time.Time) bool {
	return o != nil && (now.Before(o.Until) || o.Until.IsZero() && o.Window != "")
}

// Steering is the decision that counts instead of what was observed: that of an
// operator, or else of a planned window; nil if there is neither.
func (s Status) Steering(now time.Time) *Override {
	switch {
	case s.Override.lasts(now):
		return s.Override
	case s.Planned.lasts(now):
		return s.Planned
	}
	return nil
}

// Plan makes the decision of a planned window count until it ends, unless an
// operator's override says something else; nil ends the one there is.
func (m *Monitor) Plan(o *Override) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	next := m.rules.At(m.status, now)
	if o == nil && next.Planned == nil || o != nil && next.Planned != nil && *o == *next.Planned {
		return
	}
	next.Planned = nil
	if o.lasts(now) {
		copied := *o
		next.Planned = &copied
	}
	m.become(next, now)
}

// whySteered says what counts now, after an override or a planned window has begun or ended.
func whySteered(was, is Status, now time.Time) string {
	switch o := is.Steering(now); {
	case o != nil:
		return o.Words()
	case was.Override != nil:
		return "the override ended"
	}
	return "the planned window ended"
}

// Words say whose decision it is, until when it counts, and why.
func (o *Override) Words() string {
	what := "override"
	if o.Window != "" {
		what = "planned window " + o.Window
	}
	return fmt.Sprintf("%s by %s %s: %s", what, o.Actor, o.lasting(), o.Reason)
}

// lasting says until when it counts.
func (o *Override) lasting() string {
	if o.Until.IsZero() {
		return "until it is removed"
	}
	return "until " + o.Until.UTC().Format(time.RFC3339)
}
