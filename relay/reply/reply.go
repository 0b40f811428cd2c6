// Package reply says what a primary's reply means.
//
// The knowledge is a table, catalogue.md, for people to read and the program
// to follow: which codes, tags and texts mean an outage, throttling, a mistake
// of ours or of the tenant, or the end of one message. Classify looks a reply
// up and ClassifyError what is no reply; both are pure.
//
// Guarantee: only a believable permanent refusal gives Fail. A temporary code,
// a code that contradicts itself and a permanent refusal that nobody knows
// never do: unknown 4xx are tried again, unknown 5xx are held for a person.
package reply

import (
	"regexp"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Action is what the relay does with the recipients that a reply is about.
type Action uint8

// The actions.
const (
	Deliver Action = iota // accepted
	Retry                 // keep, try again
	Hold                  // keep as Refused: a 5xx that must not become a bounce, or a cause a person has to mend
	Fail                  // believable and permanent: the sender may be told
	Split                 // not an error: send these recipients in a transaction of their own; Retry if they already were
)

var actionNames = []string{"deliver", "retry", "hold", "fail", "split"}

func (a Action) String() string { return actionNames[a] }

// Scope is what a failure is about. After the final dot of a transaction with
// several recipients, ScopeRecipient does not say which: send them apart.
type Scope uint8

// The scopes. ScopeNone goes with Deliver.
const (
	ScopeNone      Scope = iota
	ScopeUpstream        // the primary or the way to it
	ScopeOwn             // our address, certificate, configuration, or the tenant's
	ScopeMessage         // this message, whoever gets it
	ScopeRecipient       // the recipient alone
)

var scopeNames = []string{"none", "upstream", "own", "message", "recipient"}

func (s Scope) String() string { return scopeNames[s] }

// Failure is what ended a dialogue without a reply.
type Failure string

// The failures.
const (
	NotResolved Failure = "not-resolved" // the DNS had no address of the primary, or no answer
	Refused     Failure = "refused"      // no connection: refused, or no route
	TimedOut    Failure = "timeout"
	Reset       Failure = "reset" // the connection was closed on us
	TLSFailed   Failure = "tls"   // a failed handshake, or a certificate that does not match
	Ourselves   Failure = "ourselves"
)

// Verdict is what a reply, or its absence, means.
type Verdict struct {
	Row    int // of the catalogue; 0 if none fits, or a line about servers in general
	Class  health.Class
	Action Action
	Scope  Scope
	Low    bool // a single case says little about the primary

	// Condition names what the reply alone does not tell. Class is the reading
	// without it; Then is the class once the condition is known to hold.
	Condition string
	Then      health.Class

	Slow   time.Duration // if not zero, try again no sooner than after it
	Advice string        // the next step of an operator, "" if there is none

	Tags                  []string // ATTR2, PRX4, S77714, in the order of the text
	Server, Time, Session string   // of the trailing bracket: who wrote the reply, when (RFC 3339, as written), in which session
	InternalID, Hostname  string   // of an accepted message: its number and the host that keeps it
}

// Classify says what a reply to a command of the given phase means. If several
// commands of a transaction were refused, ask about the first: with PIPELINING
// the others only follow from it.
func Classify(phase health.Phase, r smtp.Reply) Verdict { return standing().classify(phase, r) }

// ClassifyError says what a failure in the given phase means.
func ClassifyError(phase health.Phase, failure Failure) Verdict {
	return standing().classifyError(phase, failure)
}

func (c catalogue) classify(phase health.Phase, r smtp.Reply) Verdict {
	q := ask(phase, r)
	verdict := c.meaning(q)
	contradictory := contradicts(r)
	if inner, ok := innerReply(r); ok {
		verdict = c.meaning(ask(phase, inner))
		verdict.Row = rowFrontend
		contradictory = contradictory || contradicts(inner) || !inner.Permanent()
	}
	if contradictory {
		verdict.Action = Hold
	}
	return verdict.withParts(q.tags, r.Text())
}

func (c catalogue) classifyError(phase health.Phase, failure Failure) Verdict {
	l, ok := c.best(question{phase: phase, failure: failure})
	if !ok {
		return Verdict{Class: health.Temporary, Action: Retry, Scope: ScopeMessage, Low: true}
	}
	return l.verdict
}

// meaning is the verdict of the best line, or what the basic code alone says.
func (c catalogue) meaning(q question) Verdict {
	if l, ok := c.best(q); ok {
		return l.verdict
	}
	switch {
	case q.code/100 == 5:
		return Verdict{Class: health.Policy, Action: Hold, Scope: ScopeMessage}
	case q.code == 354 && q.phase == health.PhaseData, q.code/100 == 2 && q.phase != health.PhaseData:
		return Verdict{Class: health.OK, Action: Deliver}
	}
	return Verdict{Class: health.Temporary, Action: Retry, Scope: ScopeMessage, Low: true}
}

// contradicts: the basic code decides what the protocol asks for, but such a
// reply is not believed enough to act on it.
func contradicts(r smtp.Reply) bool {
	return (r.Temporary() || r.Permanent()) && r.Status != (smtp.EnhancedStatus{}) && r.Status[0] != r.Code/100
}

// rowFrontend is the row of a front end that refuses for good and quotes why.
const rowFrontend = 45

var frontend = regexp.MustCompile(`(?i)proxy session setup failed on frontend with "([45])(\d\d)[ -]([^"]*)"`)

// innerReply is the reply that a front end quotes in a permanent one of its own.
func innerReply(r smtp.Reply) (smtp.Reply, bool) {
	m := frontend.FindStringSubmatch(r.Text())
	if m == nil || !r.Permanent() {
		return smtp.Reply{}, false
	}
	return parseReply(m[1]+m[2], m[3]), true
}
