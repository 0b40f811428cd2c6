package queue

import (
	"slices"
	"time"
)

// State is where a recipient, or a message, counts. It is derived, never stored.
type State uint8

// The states, in the order in which a message takes the first that one of its recipients has.
const (
	StateActive   State = iota // an attempt is running
	StateDeferred              // waits for its next attempt
	StateQueued                // no attempt has ended yet
	StateHeld                  // an operator or a rule keeps it
	StateRefused               // a 5xx or an expiry that is kept
	StateFailed
	StateExpired
	StateDeleted
	StateDelivered
)

var stateNames = []string{"active", "deferred", "queued", "held", "refused", "failed", "expired", "deleted", "delivered"}

func (s State) String() string { return name(stateNames, int(s)) }

// MarshalText writes the state as its word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word that MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	i, err := index(stateNames, string(text))
	*s = State(i)
	return err
}

// Final reports whether nothing is left to do.
func (s State) Final() bool { return s > StateRefused }

// States lists every state.
func States() []State {
	all := make([]State, len(stateNames))
	for i := range all {
		all[i] = State(i)
	}
	return all
}

// RecipientState derives the state of recipient i.
func (m Message) RecipientState(i int) State {
	r := m.Envelope.Recipients[i]
	switch {
	case r.Deleted:
		return StateDeleted
	case r.pending() && m.Held != "":
		return StateHeld
	case r.pending() && !m.LeasedUntil.IsZero():
		return StateActive
	}
	switch r.Last.Action {
	case Deferred:
		return StateDeferred
	case Refused:
		return StateRefused
	case Delivered:
		return StateDelivered
	case Failed:
		return StateFailed
	case Expired:
		return StateExpired
	}
	return StateQueued
}

// State derives the message's state from its recipients: the first in the order of the constants.
func (m Message) State() State {
	state := StateDelivered
	for i := range m.Envelope.Recipients {
		state = min(state, m.RecipientState(i))
	}
	return state
}

// Tally counts the message's recipients by state.
func (m Message) Tally() map[State]int64 {
	tally := map[State]int64{}
	for i := range m.Envelope.Recipients {
		tally[m.RecipientState(i)]++
	}
	return tally
}

// Waits reports whether the message has a next attempt: NextAttempt says when.
func (m Message) Waits() bool {
	return m.Held == "" && slices.ContainsFunc(m.Envelope.Recipients, Recipient.pending)
}

// Due reports whether the message may be claimed at now.
func (m Message) Due(now time.Time) bool {
	return !now.Before(m.NextAttempt) && m.Idle(now) && m.Waits()
}

// Idle reports whether the lease, if there is one, has run out at now: the
// attempt ended without being settled, or never began.
func (m Message) Idle(now time.Time) bool { return !now.Before(m.LeasedUntil) }
