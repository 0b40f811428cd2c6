package inbound

import (
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Role says where we stand in a domain's MX set.
type Role uint8

// The roles.
const (
	Fallback Role = iota // behind the primary: while it is up its senders shall use it
	Front                // before the primary, or alone: mail comes through us
)

// WhenUp says what a Fallback does with mail while the primary is up.
type WhenUp uint8

// What a Fallback may do.
const (
	Defer WhenUp = iota // 451, and tell the sender to use the primary
	Pass                // hand the mail to the primary while the sender waits
)

// WhenBusy says what is done with mail that is to be passed, if the primary has
// as many sessions of ours as are allowed.
type WhenBusy uint8

// What may be done.
const (
	KeepBusy  WhenBusy = iota // take it into custody
	DeferBusy                 // 451
)

// Rule says what is done with mail for a domain while its primary takes mail.
// The zero Rule is a Fallback that defers.
type Rule struct {
	Role     Role
	WhenUp   WhenUp // of a Fallback
	WhenBusy WhenBusy
}

// defers reports whether senders are told to use the primary while it is up.
func (r Rule) defers() bool { return r.Role == Fallback && r.WhenUp == Defer }

// passes reports whether mail goes to a primary in the given state while its sender waits.
func (r Rule) passes(s health.State) bool {
	switch s {
	case health.Up:
		return !r.defers()
	case health.Degraded:
		return r.Role == Front
	}
	return false
}

// asked is what the admission of one recipient depends on. Who the sender is
// makes no difference: it is recorded, and counts when somebody has to be told.
type asked struct {
	relayed   bool // the domain is one of ours
	known     bool // the recipient exists, as far as we know
	later     bool // nobody can say now whether it does, and the policy is to wait
	rule      Rule // of the domain
	state     health.State
	returning bool   // the sender keeps coming back
	hint      string // host of the primary, for the sender
}

// notKnown refuses for now a recipient about whom nobody can say whether it exists.
func notKnown() *refusal {
	return refuse(reasonNotKnown, 451, smtp.StatusNoDirectory, "whether this recipient exists cannot be checked now, try again later")
}

// admitted is the decision about one recipient.
type admitted struct {
	reason string   // why it is taken or passed
	later  bool     // custody of what passes has to wait: nobody knows whether the recipient exists
	pass   bool     // to the primary, while the sender waits; custody only if that fails
	no     *refusal // nil if the recipient is admitted
}

// admit decides on one recipient. It is pure.
//
//	upstream                 up       up, sender keeps coming back   degraded   down, recovering
//	foreign domain           550      550                            550        550
//	unknown recipient        550      550                            550        550
//	one that nobody knows, if the policy is to wait:
//	  that would pass        pass     pass                           pass       -
//	  any other              -        -                              451        451
//	fallback, when_up defer  451      take                           take       take
//	fallback, when_up pass   pass     take                           take       take
//	front                    pass     pass                           pass       take
//
// What passes is known to the primary; only custody of it has to wait.
func admit(a asked) admitted {
	switch {
	case !a.relayed:
		return admitted{no: refuse(reasonRelayDenied, 550, smtp.StatusRelayDenied, "relaying denied")}
	case !a.known:
		return admitted{no: refuse(reasonUnknown, 550, smtp.StatusUnknownUser, "no such recipient")}
	case a.later && !a.rule.passes(a.state):
		return admitted{no: notKnown()}
	case a.state == health.Up && a.returning && a.rule.Role == Fallback:
		return admitted{reason: reasonReturning}
	case a.rule.passes(a.state):
		return admitted{reason: reasonPass, pass: true, later: a.later}
	case a.state == health.Up && a.hint != "":
		return admitted{no: refuse(reasonPrimaryUp, 451, smtp.StatusNotAccepting, "use the primary: "+a.hint)}
	case a.state == health.Up:
		return admitted{no: refuse(reasonPrimaryUp, 451, smtp.StatusNotAccepting, "use the primary: the mail exchanger with the lowest preference")}
	case a.state == health.Down:
		return admitted{reason: reasonDown}
	case a.state == health.Recovering:
		return admitted{reason: reasonRecovering}
	}
	return admitted{reason: reasonDegraded} // also what nobody knows: better a hop too many than a lost mail
}
