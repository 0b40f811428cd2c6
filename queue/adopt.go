package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Adoption is a message that was accepted elsewhere, or here and lost since: it
// comes from a backup or from the queue of another relay.
type Adoption struct {
	Message Message // as it was there; a Size and Digest that the content must have
	Trace   []byte  // header lines to prepend, each ended by CRLF
	Held    string  // reason to hold it; "" leaves it as it is
	Actor   string  // who brings it
	Source  string  // for people: where it comes from
}

// aliasEnd is where the IDs of Alias end: the clock of no relay stands before 2000.
const aliasEnd = uint64(946684800000) << idSequenceBits

// Alias is the ID under which the message is adopted where its own is that of
// another message: two relays may give the same ID in the same millisecond. It
// depends on the message alone, and no relay gives it by itself.
func (m Message) Alias() ID {
	h := sha256.New()
	fmt.Fprintf(h, "%s/%d/%s", m.ID, m.AcceptedAt.UnixNano(), m.Digest)
	return formatID(binary.BigEndian.Uint64(h.Sum(nil)) % aliasEnd)
}

// Check says why the message cannot be adopted: ErrState if nothing is left to
// do for it, or if what it says of itself makes no sense.
func (a Adoption) Check() error {
	m := a.Message
	if _, err := ParseID(string(m.ID)); err != nil {
		return errors.Join(err, ErrState)
	}
	deleted := false
	for i, r := range m.Envelope.Recipients {
		deleted = deleted || m.RecipientState(i) == StateDeleted
		if r.Last.Action > Expired {
			return fmt.Errorf("%s has the action %s: %w", m.ID, r.Last.Action, ErrState)
		}
	}
	switch {
	case len(m.Envelope.Recipients) == 0:
		return fmt.Errorf("%s has no recipient: %w", m.ID, ErrState)
	case m.Size < 0 || m.Attempts < 0 || m.Step < 0:
		return fmt.Errorf("%s has a negative number: %w", m.ID, ErrState)
	case m.Purged, m.State().Final() && !deleted:
		return fmt.Errorf("nothing is left to do for %s, which is %s: %w", m.ID, m.State(), ErrState)
	}
	return nil
}

// Adopt makes the message as it is from now on, under the given ID, and its
// ledger lines: the one of the adoption and, if an attempt was running, that
// of its interruption. damaged says that the content differs from the digest.
func (a Adoption) Adopt(id ID, damaged bool, now time.Time) (Message, []Entry) {
	m := a.Message
	m.Damaged = damaged
	e := Entry{At: now, Event: Adopted, ID: id, Attempt: m.Attempts, Actor: a.Actor, Reason: a.Source, Upstream: m.Envelope.Upstream,
		ReversePath: m.Envelope.ReversePath, MessageID: m.MessageID, Size: m.Size, Digest: &m.Digest, Origin: m.Envelope.Origin, AcceptedAt: m.AcceptedAt}
	for _, r := range m.Envelope.Recipients {
		e.Recipients = append(e.Recipients, r.ForwardPath)
		e.Results = append(e.Results, r.Last)
	}
	if id != m.ID {
		e.Reason += fmt.Sprintf("; its ID was %s, which another message has here", m.ID)
	}
	m.ID = id
	lines := []Entry{e}
	if !m.LeasedUntil.IsZero() {
		interrupted, line := m.Interrupted(now, 0)
		m, lines = interrupted, append(lines, line)
	}
	if a.Held != "" {
		if m.Held == "" {
			m.HeldAt = now
			m.Held = a.Held
		} else {
			m.Held = a.Held + "; it was held before: " + m.Held
		}
		lines[0].Reason += "; held: " + a.Held
	}
	return m, lines
}

// Same reports whether two records of one ID are about one message.
func (m Message) Same(other Message) bool {
	return m.Digest == other.Digest && m.AcceptedAt.Equal(other.AcceptedAt)
}

// Begins returns of a line that begins the life of a message here, accepted or
// adopted, when the message was accepted.
func (e Entry) Begins() (acceptedAt time.Time, ok bool) {
	switch e.Event {
	case Accepted:
		return e.At, true
	case Adopted:
		return e.AcceptedAt, true
	}
	return time.Time{}, false
}
