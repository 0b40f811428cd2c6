package auth

import (
	"cmp"
	"fmt"
)

// Rule is what a domain of ours makes of verdicts. The zero Rule is to keep
// every message, and leave it to the primary.
type Rule struct {
	Enforce             bool // what DMARC asks for is done
	HoldUnauthenticated bool // of mail that is taken into custody
}

// Action is what is to be done with a message.
type Action uint8

// The actions, by severity.
const (
	Keep Action = iota
	Hold
	Refuse
)

// Judge says what the rules of the recipients' domains make of the verdicts on
// a message, and why. What could not be found out is kept. If the domains differ
// about a refusal the message is held: a sender must not get it through by
// naming a recipient of a milder domain, and no domain loses mail by another's rule.
func Judge(v Verdicts, rules []Rule) (Action, string) {
	all, reason := Keep, ""
	for i, rule := range rules {
		action, why := rule.judge(v)
		switch {
		case i == 0:
			all, reason = action, why
		case action != all:
			all, reason = Hold, cmp.Or(reason, why)
		}
	}
	return all, reason
}

func (r Rule) judge(v Verdicts) (Action, string) {
	d := v.DMARC
	switch {
	case r.Enforce && d.Result == Fail && d.Disposition == PolicyReject:
		return Refuse, fmt.Sprintf("DMARC: %s asks for rejection, and neither SPF nor DKIM passed for it", d.Domain)
	case r.Enforce && d.Result == Fail && d.Disposition == PolicyQuarantine:
		return Hold, fmt.Sprintf("DMARC: %s asks for quarantine, and neither SPF nor DKIM passed for it", d.Domain)
	case r.Enforce && d.Several:
		return Refuse, "DMARC: " + d.Reason
	case r.Enforce && d.Result == PermError:
		return Hold, "DMARC: " + d.Reason
	case r.HoldUnauthenticated && !v.Author && !v.Unknown:
		return Hold, "unauthenticated: neither SPF nor DKIM passed for the author's domain"
	}
	return Keep, ""
}
