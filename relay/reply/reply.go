// Package reply says what a primary's reply means.
package reply

import (
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
	Split                 // not an error: send these recipients in a transaction of their own (452 4.5.3)
)

// Verdict is what Classify makes of a reply.
type Verdict struct {
	Row       int // of the catalogue; 0 if no row fits
	Class     health.Class
	Action    Action
	Condition string   // what must also hold for Class; until it is known the milder reading counts
	Tags      []string // ATTR2, PRX4, S77714 ...
	Server    string   // the remote server that wrote the reply, from the trailing bracket
	Session   string   // its session id
	Time      string   // its time, RFC 3339, as written
}

// Classify reads a reply to a command of the given phase. It is pure.
func Classify(phase health.Phase, r smtp.Reply) Verdict {
	switch {
	case r.Positive():
		return Verdict{Class: health.OK, Action: Deliver}
	case r.Temporary():
		return Verdict{Class: health.Temporary, Action: Retry}
	}
	return Verdict{Class: health.Policy, Action: Hold}
}
