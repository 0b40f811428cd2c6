package admin

import (
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// fault says in a sentence on which side the trouble of an upstream seems to
// be; "" if there is none. It judges by what was observed, whatever an override
// says.
func fault(u *UpstreamStatus) string {
	last := u.LastSignal
	switch {
	case u.Network != nil:
		return "It is our own network: a target outside is not reached either."
	case u.refuses() && u.ourselves():
		return "It is this relay itself: mail would go in circles, so none is delivered there."
	case u.refuses():
		return "It answers, but refuses us: our address or certificate, or its connector."
	case u.ObservedState == health.Up.String() || last == nil || last.Class == health.OK.String():
		return ""
	case last.Class == health.Throttle.String():
		return "It answers, but limits how fast it takes mail from us."
	case u.ReachedBy != "":
		return "It takes mail from " + u.ReachedBy + ", another relay: the fault is on our side of it, or about our address."
	case isReply(last.Reply):
		return "It answers, and refuses: the fault is there, not here."
	}
	switch health.Phase(last.Phase) {
	case health.PhaseResolve:
		return "Its name is not found: its DNS, our resolver, or our network."
	case health.PhaseConnect:
		return "It cannot be reached: its servers, or our network or firewall."
	case health.PhaseTLS:
		return "It answers, but TLS fails: its certificate, or our tls settings."
	}
	return "It can be reached, but does not answer: the fault is most likely there."
}

// refusalLasts is how long an outage may hide that an upstream refuses us: it
// has many addresses, and not all fail alike.
const refusalLasts = time.Minute

// refuses reports whether an upstream refuses us now, for our or its own
// configuration, whatever we send. The condition alone outlives its cause by minutes.
func (u *UpstreamStatus) refuses() bool {
	last := u.LastSignal
	switch {
	case u.Misconfigured == nil, u.Misconfigured.Scope != "":
		return false
	case last == nil:
		return true
	case last.Class == health.OK.String():
		return false
	}
	return last.Class != health.Outage.String() || last.At.Sub(u.Misconfigured.Last.Time) < refusalLasts
}

// ourselves reports whether the upstream was last seen to lead to this relay.
func (u *UpstreamStatus) ourselves() bool {
	return u.Misconfigured != nil && strings.Contains(u.Misconfigured.Reply, health.Ourselves)
}

// isReply reports whether the text is a reply, not an error in its place.
func isReply(reply string) bool {
	for i := range 3 {
		if i >= len(reply) || reply[i] < '0' || reply[i] > '9' {
			return false
		}
	}
	return true
}
