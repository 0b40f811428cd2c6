package queue

import (
	"strings"
	"time"
)

// Filter chooses messages. The zero Filter chooses all that are not final.
type Filter struct {
	IDs    []ID        // only these, if any
	States []State     // only messages in one of these states, if any
	Where  []Condition // all must hold
	Limit  int         // at most so many; 0 is no limit
}

// Condition is one rule about a message.
type Condition func(m Message, now time.Time) bool

// Match reports whether the filter chooses the message. Limit and IDs are the store's affair.
func (f Filter) Match(m Message, now time.Time) bool {
	if !f.wants(m) {
		return false
	}
	for _, holds := range f.Where {
		if !holds(m, now) {
			return false
		}
	}
	return true
}

func (f Filter) wants(m Message) bool {
	state := m.State()
	if len(f.States) == 0 {
		return len(f.IDs) > 0 || !state.Final()
	}
	for i := range m.Envelope.Recipients {
		for _, s := range f.States {
			if s == state || s == m.RecipientState(i) {
				return true
			}
		}
	}
	return false
}

// LedgerFilter chooses ledger lines. The zero LedgerFilter chooses all.
type LedgerFilter struct {
	ID            ID
	MessageID     string
	Address       string // of the reverse-path or a recipient
	RemoteSession string // that a result names
	Events        []Event
	Since, Until  time.Time // Until is exclusive; zero is open
}

// Match reports whether the filter chooses the line.
func (f LedgerFilter) Match(e Entry) bool {
	switch {
	case f.ID != "" && f.ID != e.ID,
		f.MessageID != "" && f.MessageID != e.MessageID,
		!f.Since.IsZero() && e.At.Before(f.Since),
		!f.Until.IsZero() && !e.At.Before(f.Until),
		f.Address != "" && !e.names(f.Address),
		f.RemoteSession != "" && !e.inSession(f.RemoteSession):
		return false
	}
	for _, event := range f.Events {
		if event == e.Event {
			return true
		}
	}
	return len(f.Events) == 0
}

func (e Entry) names(address string) bool {
	for _, r := range e.Recipients {
		if strings.EqualFold(r, address) {
			return true
		}
	}
	return e.ReversePath != "" && strings.EqualFold(e.ReversePath, address)
}

func (e Entry) inSession(session string) bool {
	for _, r := range e.Results {
		if r.RemoteSession == session {
			return true
		}
	}
	return false
}
