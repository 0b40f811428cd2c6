package outbound

import (
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// evidence makes the signal of an answer.
func (u *Upstream) evidence(source health.Source, at hop, a answer, took time.Duration) health.Signal {
	v := a.verdict()
	s := health.Signal{At: time.Now(), Upstream: u.Name(), Source: source, Class: v.Class, Phase: a.phase, Command: a.command,
		Condition: v.Condition,
		Reply:     a.record().String(), Host: at.host, Address: at.where(), SourceIP: at.source, Session: at.id, Took: took,
		Row: v.Row, Fix: v.Advice, Slow: v.Slow, Low: v.Low}
	if v.Session != "" {
		s.Session = v.Session
	}
	return s
}

// signal reports an answer that came before there was a transaction.
func (d *delivery) signal(at hop, a answer, took time.Duration) {
	if !a.ours {
		d.report.Signals = append(d.report.Signals, d.upstream.evidence(health.SourceAttempt, at, a, took))
	}
}

// observe reports a transaction: one signal for each kind of answer in it, so
// that a hundred recipients do not count as a hundred observations. An
// acceptance counts when the content was accepted. What asks for another
// transaction is no trouble of anybody.
func (d *delivery) observe(at hop, members []member, o outcome, took time.Duration) {
	type kind struct {
		phase     health.Phase
		class     health.Class
		condition string
	}
	seen := map[kind]bool{}
	domain, _ := smtp.ASCIIDomain(members[0].path.Domain) // plan has checked it
	for _, a := range o.ends {
		v := a.verdict()
		k := kind{a.phase, v.Class, v.Condition}
		if a.ours || seen[k] || a.ok() && a.phase != health.PhaseFinal || v.Action == reply.Split && len(members) > 1 {
			continue
		}
		seen[k] = true
		s := d.upstream.evidence(health.SourceAttempt, at, a, took)
		s.Domain = domain
		d.report.Signals = append(d.report.Signals, s)
	}
}
