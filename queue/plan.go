package queue

import (
	"strings"
	"time"
)

// Schedule says when a deferred message is tried again, and for how long.
type Schedule struct {
	First  time.Duration // wait after the first deferral
	Factor float64       // each wait is the one before times Factor
	Max    time.Duration // no wait is longer, but for its jitter
	Jitter float64       // each wait is changed by up to this share, up or down
}

// DefaultSchedule tries after 1, 2, 4 ... minutes, then every hour, each changed by up to a tenth.
func DefaultSchedule() Schedule {
	return Schedule{First: time.Minute, Factor: 2, Max: time.Hour, Jitter: 0.1}
}

// DefaultLifetime is how long a message is tried (RFC 5321 4.5.4.1: 4-5 days); MaxLifetime is the most that may be set.
const (
	DefaultLifetime = 5 * 24 * time.Hour
	MaxLifetime     = 30 * 24 * time.Hour
)

// Wait is the time between deferral number step (from 1) and the next attempt.
// The jitter depends on the ID alone, so that the same message waits the same on every machine.
func (s Schedule) Wait(id ID, step int) time.Duration {
	wait := float64(s.First)
	for n := 1; n < step && wait < float64(s.Max); n++ {
		wait *= s.Factor
	}
	wait = min(wait, float64(s.Max))
	return time.Duration(wait * (1 + s.Jitter*(2*id.fraction(step)-1)))
}

// LifetimeOver begins the text of the reply of a recipient whose lifetime is
// over; the last reply follows.
const LifetimeOver = "lifetime is over; last reply: "

// Plan decides what the results of an attempt mean for the message. It is pure.
//
// A deferral of scope ScopeUpstream or ScopeOwn leaves the message due at once
// and spends no step: health and pace gate it. Only a deferral of scope
// ScopeMessage or ScopeOneRecipient walks the schedule, and only such a
// deferral can find the lifetime over: then the recipient is Refused, kept
// until it can be told to the sender or a person decides.
func Plan(s Schedule, m Message, results map[int]Result, now time.Time) Settlement {
	plan := Settlement{ID: m.ID, Attempt: m.Attempts, Results: make(map[int]Result, len(results)), NextAttempt: now, Step: m.Step}
	walks := false
	for i, r := range results {
		if r.Action == Deferred && (r.Scope == ScopeMessage || r.Scope == ScopeOneRecipient) {
			if now.Before(m.Expires(now)) {
				walks = true
			} else {
				r.Action = Refused
				r.Reply.Text = LifetimeOver + r.Reply.Text
			}
		}
		plan.Results[i] = r
	}
	if walks {
		plan.Step++
		plan.NextAttempt = now.Add(s.Wait(m.ID, plan.Step))
	}
	return plan
}

// Keep says how long what is not wanted any more can still be brought back.
type Keep struct {
	Trash   time.Duration // deleted messages
	Refused time.Duration // refused messages, before they go to the trash
	Spam    time.Duration // those of them that were refused by policy, from a sender that is not authenticated
}

// DefaultKeep is 72 hours of trash, 30 days of refusals, and 7 of refused spam.
func DefaultKeep() Keep {
	return Keep{Trash: 72 * time.Hour, Refused: 30 * 24 * time.Hour, Spam: 7 * 24 * time.Hour}
}

// Until is when a message goes to the trash whose recipients are refused: the
// last of them decides. The zero Time if none is.
func (k Keep) Until(m Message) (until time.Time) {
	for i, r := range m.Envelope.Recipients {
		if m.RecipientState(i) != StateRefused {
			continue
		}
		keep := k.Refused
		if r.Last.Kept == KeptUnauthenticated && strings.HasPrefix(r.Last.Reply.Enhanced, policy) {
			keep = k.Spam
		}
		until = later(until, r.Last.At.Add(keep))
	}
	return until
}

// policy begins the enhanced codes of refusals by policy and of spam (RFC 3463 3.8).
const policy = "5.7."

// PurgedBy decides what a purge does with the message at now, and makes its
// ledger line: kept refusals whose time is over go to the trash, trash whose
// time is over is marked as purged. act is false if there is nothing to do.
func (m Message) PurgedBy(k Keep, now time.Time) (purged Message, e Entry, act bool) {
	trash, remove := k.Purge(m, now)
	switch {
	case trash:
		m, e, err := m.Amended(Amendment{ID: m.ID, At: now, Event: Delete, Actor: "relay", Reason: "the time of a kept refusal is over"})
		return m, e, err == nil
	case remove:
		e := Entry{At: now, Event: Purged, ID: m.ID, Actor: "relay", Reason: "the time in the trash is over", MessageID: m.MessageID}
		for i, r := range m.Envelope.Recipients {
			if m.RecipientState(i) == StateDeleted {
				e.Recipients = append(e.Recipients, r.ForwardPath)
			}
		}
		m.Purged = true
		return m, e, true
	}
	return m, Entry{}, false
}

// Purge decides what a purge does with the message at now: to move its kept
// refusals to the trash, to remove its content, or neither.
func (k Keep) Purge(m Message, now time.Time) (trash, remove bool) {
	if m.Purged || !m.Idle(now) {
		return false, false
	}
	var refused, deleted bool
	for i := range m.Envelope.Recipients {
		switch state := m.RecipientState(i); {
		case state == StateRefused:
			refused = true
		case state == StateDeleted:
			deleted = true
		case !state.Final():
			return false, false
		}
	}
	if refused {
		return !now.Before(k.Until(m)), false
	}
	return false, deleted && !now.Before(m.DeletedAt.Add(k.Trash))
}
