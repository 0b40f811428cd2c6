package queue

import (
	"fmt"
	"slices"
	"time"
)

// Settlement is the outcome of one attempt. Recipients without a result stay as they were.
type Settlement struct {
	ID          ID
	Attempt     int            // Message.Attempts of the claim
	Results     map[int]Result // by index of Envelope.Recipients
	NextAttempt time.Time      // if a recipient is still pending
	Step        int            // new Message.Step
	Held        string         // reason to hold what is still pending, "" for none
	Damaged     bool           // the content differed from its digest; goes with Held
	Actor       string
}

// Event is the verb of a ledger line.
type Event string

// The events.
const (
	Accepted    Event = "accepted"    // taken into custody
	Adopted     Event = "adopted"     // brought in from a backup or another relay: Reason says from where, Results how its recipients stood
	Attempted   Event = "attempted"   // an attempt ended; Results says how
	Interrupted Event = "interrupted" // an attempt was never settled: the process died, a duplicate is possible
	Hold        Event = "hold"
	Release     Event = "release"
	Retry       Event = "retry"
	Extend      Event = "extend"
	Delete      Event = "delete"
	Undelete    Event = "undelete"
	Bounce      Event = "bounce"   // given up: the sender has been told
	Purged      Event = "purged"   // content removed after its time in the trash
	Damaged     Event = "damaged"  // content or record differs from its digest or checksum, or a file was set aside; Reason says which
	Passed      Event = "passed"   // handed to the primary within the session
	Rejected    Event = "rejected" // refused at RCPT or at the end of the data
	Noted       Event = "noted"    // an operator's act that is not about one message
)

// Amendment is an operator's act on one message: Hold, Release, Retry, Extend, Delete, Undelete or Bounce.
type Amendment struct {
	ID            ID
	At            time.Time
	Event         Event
	Actor, Reason string
	By            time.Duration // of Extend
	Next          time.Time     // of Retry: when; zero is At
	Of            []int         // of Bounce: the recipients that the sender has been told about; of Retry: these alone, nil is all
}

// Entry is one line of the ledger.
type Entry struct {
	Seq         uint64    `json:"seq"`
	At          time.Time `json:"at"`
	Event       Event     `json:"event"`
	ID          ID        `json:"id,omitempty"`
	Attempt     int       `json:"attempt,omitempty"`
	Actor       string    `json:"actor,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Upstream    string    `json:"upstream,omitempty"`
	ReversePath string    `json:"reverse_path,omitempty"`
	Recipients  []string  `json:"recipients,omitempty"`
	Results     []Result  `json:"results,omitempty"` // one for each of Recipients
	MessageID   string    `json:"message_id,omitempty"`
	Size        int64     `json:"size,omitempty"`
	Digest      *Digest   `json:"digest,omitempty"`
	Origin      Origin    `json:"origin,omitzero"`
	AcceptedAt  time.Time `json:"accepted_at,omitzero"` // of what was adopted
}

// Accept makes the message and the ledger line of an acceptance. A recipient may
// have a result already, if it was tried while the sender waited.
func Accept(id ID, a Acceptance, size int64, digest Digest) (Message, Entry) {
	m := Message{ID: id, Envelope: a.Envelope, AcceptedAt: a.At, NextAttempt: a.At, Lifetime: a.Lifetime,
		Size: size, MessageID: a.MessageID, Digest: digest, Held: a.Held}
	if m.Held != "" {
		m.HeldAt = a.At
	}
	e := Entry{At: a.At, Event: Accepted, ID: id, Reason: a.Held, Upstream: a.Envelope.Upstream,
		ReversePath: a.Envelope.ReversePath, MessageID: a.MessageID, Size: size, Digest: &digest, Origin: a.Envelope.Origin}
	tried := false
	for _, r := range a.Envelope.Recipients {
		e.Recipients = append(e.Recipients, r.ForwardPath)
		e.Results = append(e.Results, r.Last)
		tried = tried || r.Last != Result{}
	}
	if !tried {
		e.Results = nil
	}
	return m, e
}

// Claimed returns the message under a lease. If the attempt before was never
// settled, interrupted is the ledger line that says so.
func (m Message) Claimed(now time.Time, lease time.Duration) (claimed Message, interrupted *Entry) {
	if !m.LeasedUntil.IsZero() {
		e := m.interruption(now)
		interrupted = &e
	}
	m.Attempts++
	m.LeasedUntil = now.Add(lease)
	m.NextAttempt = m.LeasedUntil
	return m, interrupted
}

// maxInterruptions bounds how often Interrupted makes the wait longer.
const maxInterruptions = 30

// Interrupted ends the lease of an attempt that died with its process, and
// makes the ledger line. The message is due again after wait times its
// attempts: one that takes the process down with it must not do so at once
// again and again.
func (m Message) Interrupted(now time.Time, wait time.Duration) (Message, Entry) {
	e := m.interruption(now)
	m.LeasedUntil = time.Time{}
	m.NextAttempt = now.Add(wait * time.Duration(min(m.Attempts, maxInterruptions)))
	return m, e
}

// interruption is the ledger line of an attempt that was never settled.
func (m Message) interruption(now time.Time) Entry {
	e := Entry{At: now, Event: Interrupted, ID: m.ID, Attempt: m.Attempts, MessageID: m.MessageID}
	for _, r := range m.Envelope.Recipients {
		r.Deleted = false // meanwhile; the attempt was for it all the same
		if !r.pending() {
			continue
		}
		e.Recipients = append(e.Recipients, r.ForwardPath)
		e.Results = append(e.Results, Result{At: now, Action: Deferred, Scope: ScopeOwn,
			Reply: Reply{Text: "the relay stopped during this attempt"}, MaybeDuplicate: true})
	}
	return e
}

// Settled applies the settlement and makes its ledger line. ErrStale if it is
// not about the running attempt.
func (m Message) Settled(s Settlement, now time.Time) (Message, Entry, error) {
	if s.Attempt != m.Attempts || m.LeasedUntil.IsZero() {
		return m, Entry{}, fmt.Errorf("attempt %d of %s, which is at %d: %w", s.Attempt, m.ID, m.Attempts, ErrStale)
	}
	e := Entry{At: now, Event: Attempted, ID: m.ID, Attempt: s.Attempt, Actor: s.Actor, Reason: s.Held,
		Upstream: m.Envelope.Upstream, MessageID: m.MessageID}
	m.Envelope.Recipients = append([]Recipient(nil), m.Envelope.Recipients...)
	for i := range m.Envelope.Recipients {
		result, ok := s.Results[i]
		if !ok || m.Envelope.Recipients[i].Last.Action.Final() {
			continue
		}
		m.Envelope.Recipients[i].Last = result
		if result.Action.Final() { // it left before it could be put into the trash
			m.Envelope.Recipients[i].Deleted = false
		}
		e.Recipients = append(e.Recipients, m.Envelope.Recipients[i].ForwardPath)
		e.Results = append(e.Results, result)
	}
	if s.Damaged {
		e.Event = Damaged
	}
	m.Damaged = s.Damaged
	m.LeasedUntil = time.Time{}
	m.NextAttempt = s.NextAttempt
	m.Step = s.Step
	if s.Held != "" && m.Held == "" {
		m.Held, m.HeldAt = s.Held, now
	}
	return m, e, nil
}

// Amended applies the amendment and makes its ledger line. ErrState if it does not apply.
func (m Message) Amended(a Amendment) (Message, Entry, error) {
	e := Entry{At: a.At, Event: a.Event, ID: m.ID, Actor: a.Actor, Reason: a.Reason, MessageID: m.MessageID}
	before := m
	m.Envelope.Recipients = append([]Recipient(nil), m.Envelope.Recipients...)
	touched := m.amend(a)
	for _, i := range touched {
		e.Recipients = append(e.Recipients, m.Envelope.Recipients[i].ForwardPath)
		if a.Event == Bounce {
			e.Results = append(e.Results, m.Envelope.Recipients[i].Last)
		}
	}
	if len(touched) == 0 {
		return before, e, fmt.Errorf("%s of %s, which is %s: %w", a.Event, m.ID, before.State(), ErrState)
	}
	return m, e, nil
}

// amend changes m and returns the indexes of the recipients it touched.
func (m *Message) amend(a Amendment) []int {
	switch a.Event {
	case Hold:
		if m.Held == "" {
			m.Held, m.HeldAt = a.Reason, a.At
			if m.Held == "" {
				m.Held = "held by " + a.Actor
			}
			return m.Pending()
		}
	case Release:
		if m.Held != "" {
			held := a.At.Sub(m.HeldAt) - m.Stops.Within(m.HeldAt, a.At) // what stops count is not counted twice
			m.Extended += max(0, held)                                  // a clock that steps back costs no lifetime
			m.Held, m.HeldAt = "", time.Time{}
			m.NextAttempt = later(a.At, m.LeasedUntil)
			return m.Pending()
		}
	case Retry:
		return m.retry(a)
	case Extend:
		if touched := m.Pending(); len(touched) > 0 {
			m.Extended += a.By
			return touched
		}
	case Delete:
		return m.mark(true, a.At)
	case Undelete:
		if !m.Purged {
			return m.mark(false, time.Time{})
		}
	case Bounce:
		return m.giveUp(a)
	}
	return nil
}

// MayGiveUp reports whether an operator may give recipient i up: it is refused,
// or held while no attempt runs, so that it cannot be delivered meanwhile.
func (m Message) MayGiveUp(i int, now time.Time) bool {
	state := m.RecipientState(i)
	return state == StateRefused || state == StateHeld && m.Idle(now)
}

// giveUp makes recipients of whom the sender has been told Failed.
func (m *Message) giveUp(a Amendment) []int {
	var touched []int
	for _, i := range a.Of {
		if i < 0 || i >= len(m.Envelope.Recipients) || !m.MayGiveUp(i, a.At) {
			continue
		}
		last := &m.Envelope.Recipients[i].Last
		if last.At.IsZero() { // it was never tried
			last.At = a.At
		}
		last.Action, last.Kept = Failed, ""
		touched = append(touched, i)
	}
	return touched
}

// retry makes pending and refused recipients due again; a held message stays held.
func (m *Message) retry(a Amendment) []int {
	var touched []int
	for i, r := range m.Envelope.Recipients {
		if r.Deleted || r.Last.Action.Final() || m.Held != "" || a.Of != nil && !slices.Contains(a.Of, i) {
			continue
		}
		if r.Last.Action == Refused {
			m.Envelope.Recipients[i].Last.Action, m.Envelope.Recipients[i].Last.Kept = Deferred, ""
		}
		touched = append(touched, i)
	}
	if len(touched) > 0 {
		m.Step = 0
		m.NextAttempt = later(later(a.At, a.Next), m.LeasedUntil)
	}
	return touched
}

// mark puts every recipient that is not final into the trash, or takes all out of it.
func (m *Message) mark(deleted bool, at time.Time) []int {
	var touched []int
	for i := range m.Envelope.Recipients {
		r := &m.Envelope.Recipients[i]
		if r.Deleted != deleted && !r.Last.Action.Final() {
			r.Deleted = deleted
			touched = append(touched, i)
		}
	}
	if len(touched) > 0 {
		m.DeletedAt = at
	}
	return touched
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
