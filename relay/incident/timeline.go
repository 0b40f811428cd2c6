package incident

import (
	"fmt"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// Timeline joins what happened to an incident itself with changes of what was
// thought of its upstream, and with deliveries, in the order of time. was is the
// timeline that was kept when the incident was closed; nil is none. It is pure.
func Timeline(i health.Incident, changes []health.Change, f Figures, was []health.Moment) []health.Moment {
	all := slices.Clone(was)
	add := func(at time.Time, what, actor, text string) {
		if !at.IsZero() {
			all = append(all, health.Moment{At: at, What: what, Actor: actor, Text: text})
		}
	}
	for _, m := range i.Moments {
		add(m.At, m.What, m.Actor, m.Text)
	}
	if i.Began.Before(i.Opened) {
		add(i.Began, "first bad reply", "", firstReply(i, f))
	}
	for _, c := range changes {
		switch c.Kind {
		case health.ChangeState:
			add(c.At, "health", "", fmt.Sprintf("%s > %s: %s", c.From, c.To, c.Why))
		case health.ChangeOverride:
			add(c.At, "override", c.Actor, fmt.Sprintf("%s > %s: %s", c.From, c.To, c.Why))
		default:
			add(c.At, string(c.Kind), "", c.To+" "+c.Why)
		}
	}
	add(f.FirstDelivery, "first delivery", "", "")
	if f.LastDelivery.After(f.FirstDelivery) {
		add(f.LastDelivery, "last delivery", "", "")
	}
	slices.SortStableFunc(all, func(a, b health.Moment) int { return a.At.Compare(b.At) })
	return once(all)
}

// once leaves out what is there already.
func once(all []health.Moment) []health.Moment {
	seen := map[health.Moment]bool{}
	return slices.DeleteFunc(all, func(m health.Moment) bool {
		m.At = m.At.UTC().Round(0)
		again := seen[m]
		seen[m] = true
		return again
	})
}

// firstReply is the text of the reply with which the incident began, if one was that early.
func firstReply(i health.Incident, f Figures) string {
	for _, r := range f.Replies {
		if !r.First.After(i.Began) {
			return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
		}
	}
	return ""
}
