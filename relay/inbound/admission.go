package inbound

import (
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// asked is what the admission of one recipient depends on.
type asked struct {
	relayed   bool // the domain is one of ours
	known     bool // the recipient exists, as far as we know
	later     bool // nobody can say now whether it does, and the policy is to wait
	state     health.State
	returning bool   // the sender keeps coming back
	hint      string // host of the primary, for the sender
}

// admit decides on one recipient for the role fallback: we are listed behind the
// primary, and while it is up its senders shall use it.
//
//	upstream                 up      up, sender keeps coming back   degraded, down, recovering
//	foreign domain           550     550                            550
//	unknown recipient        550     550                            550
//	one that nobody knows    -       -                              451, if the policy is to wait
//	known recipient          451     take                           take
//
// It returns why the recipient is taken, or the refusal.
func admit(a asked) (reason string, no *refusal) {
	switch {
	case !a.relayed:
		return "", refuse(reasonRelayDenied, 550, smtp.StatusRelayDenied, "relaying denied")
	case !a.known:
		return "", refuse(reasonUnknown, 550, smtp.StatusUnknownUser, "no such recipient")
	case a.later:
		return "", refuse(reasonNotKnown, 451, smtp.StatusNoDirectory, "whether this recipient exists cannot be checked now, try again later")
	case a.state == health.Up && a.returning:
		return reasonReturning, nil
	case a.state == health.Up && a.hint != "":
		return "", refuse(reasonPrimaryUp, 451, smtp.StatusNotAccepting, "use the primary: "+a.hint)
	case a.state == health.Up:
		return "", refuse(reasonPrimaryUp, 451, smtp.StatusNotAccepting, "use the primary: the mail exchanger with the lowest preference")
	case a.state == health.Down:
		return reasonDown, nil
	case a.state == health.Recovering:
		return reasonRecovering, nil
	}
	return reasonDegraded, nil // also what nobody knows: better a hop too many than a lost mail
}
