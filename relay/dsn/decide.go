package dsn

import (
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Case is what decides whether a sender may be told about a recipient.
type Case struct {
	Kind          Kind
	Final         bool // of a failure: the reply, or a person, says that there is no use in trying again
	Incident      bool // the upstream is not up
	Recovered     time.Duration
	Probation     time.Duration // after its recovery, within which its refusals are not believed
	Spike         bool          // it refuses recipients that it has, and this refusal is such a one
	Off           bool          // there is no way out for notifications
	ReversePath   string
	Authenticated bool     // the reverse-path is no forgery
	Notify        []string // of the recipient
}

// Decide says whether the sender may be told, and if not, why. It is pure.
//
//	                            failure           delay            relayed
//	not final                   hold              -                -
//	incident                    incident          incident         told
//	within the probation        incident          told             told
//	spike                       spike             told             told
//	no way out                  off               off              off
//	null reverse-path           null-sender       null-sender      null-sender
//	not authenticated           unauthenticated   unauthenticated  unauthenticated
//	NOTIFY=NEVER                notify-never      notify-never     notify-never
//	NOTIFY without the word     notify-never      notify-never     notify-never
//	no NOTIFY                   told              told             notify-never
//
// The first line that fits decides. Those that pass by themselves are the first
// ones: what is not believed is tried again, whoever the sender is.
func Decide(c Case) (why queue.KeptFor, tell bool) {
	failure := c.Kind == Failure
	switch {
	case failure && !c.Final:
		return queue.KeptHold, false
	case failure && (c.Incident || c.Recovered < c.Probation), c.Kind == Delay && c.Incident:
		return queue.KeptIncident, false
	case failure && c.Spike:
		return queue.KeptSpike, false
	case c.Off:
		return queue.KeptOff, false
	case c.ReversePath == "":
		return queue.KeptNullSender, false
	case !c.Authenticated:
		return queue.KeptUnauthenticated, false
	case !wanted(c.Kind, c.Notify):
		return queue.KeptNever, false
	}
	return "", true
}

// words are what NOTIFY says for each kind (RFC 3461 4.1).
var words = map[Kind]string{Failure: "FAILURE", Delay: "DELAY", Relayed: "SUCCESS"}

// wanted: without NOTIFY failures are told, delays may be (RFC 3461 5.2.1).
func wanted(k Kind, notify []string) bool {
	if len(notify) == 0 {
		return k != Relayed
	}
	return slices.Contains(notify, words[k])
}

// Unknown reports whether a reply says that the recipient does not exist: bad
// mailbox, no such recipient, or the edge that does not find it in the directory.
func Unknown(r queue.Reply) bool {
	return r.Code/100 == 5 && slices.Contains([]string{"5.1.1", "5.1.10", "5.4.1"}, r.Enhanced)
}
