package inbound

import (
	"context"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Recipients knows who exists in the relay domains. It is used concurrently.
type Recipients interface {
	// Ask says what is known, and may ask the primary meanwhile.
	Ask(ctx context.Context, domain string, path smtp.Path, primary recipients.Primary) recipients.Answer
	// Look says what is known already.
	Look(domain string, path smtp.Path) recipients.Answer
}

// primaries translates what is thought of a primary. One that is coming back is
// still spared questions.
var primaries = [...]recipients.Primary{health.Up: recipients.Up, health.Degraded: recipients.Doubt, health.Down: recipients.Down, health.Recovering: recipients.Down}

// known is what is known of a recipient of a relay domain.
func (s *Server) known(domain string, path smtp.Path) recipients.Answer {
	if s.options.Recipients == nil {
		return recipients.Answer{Verdict: recipients.Known, Why: "every address is taken to exist"}
	}
	return s.options.Recipients.Look(domain, path)
}

// ask is known, after a question to the primary if that is of use. A recipient
// whose mail passes is named to the primary anyway.
func (s *Server) ask(ctx context.Context, domain string, path smtp.Path, q asked) recipients.Answer {
	if s.options.Recipients == nil || q.rule.passes(q.state) {
		return s.known(domain, path)
	}
	return s.options.Recipients.Ask(ctx, domain, path, primaries[q.state])
}

// look collects what the admission of a recipient depends on, but for its sender
// and itself.
func (s *Server) look(domain string) (q asked, upstream string) {
	o := &s.options
	upstream, relayed := o.Domains[domain]
	q = asked{relayed: relayed, rule: o.Rules[domain]}
	if relayed {
		q.state, q.hint = o.State(upstream), o.Hints[upstream]
	}
	return q, upstream
}

// learn takes note of what is known of the recipient. If its mail passes, custody
// is what follows when the primary fails: then it is in doubt.
func (q *asked) learn(a recipients.Answer) {
	primary := primaries[q.state]
	if q.rule.passes(q.state) {
		primary = recipients.Doubt
	}
	outcome := a.Outcome(primary)
	q.known, q.later = outcome != recipients.Refuse, outcome == recipients.Later
}
