package admin

import "github.com/mxkeep/mxkeep/health"

// fault says in a sentence on which side the trouble of an upstream seems to
// be; "" if there is none. It judges by what was observed, whatever an override
// says.
func fault(u *UpstreamStatus) string {
	last := u.LastSignal
	switch {
	case u.Misconfigured != nil:
		return "It answers, but refuses us: our address or certificate, or its connector."
	case u.ObservedState == health.Up.String() || last == nil || last.Class == health.OK.String():
		return ""
	case last.Class == health.Throttle.String():
		return "It answers, but limits how fast it takes mail from us."
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

// isReply reports whether the text is a reply, not an error in its place.
func isReply(reply string) bool {
	for i := range 3 {
		if i >= len(reply) || reply[i] < '0' || reply[i] > '9' {
			return false
		}
	}
	return true
}
