package inbound

import (
	"cmp"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Authentication says what is done to find out who wrote a message. Of mail that
// passes to the primary nothing is verified: the primary decides about it, its
// sender waits, and the content is known to the end only when the primary has
// it. If it fails and the message is taken into custody, that is verified.
type Authentication struct {
	Verifier    *auth.Verifier       // nil: nothing is verified, and nothing is written or taken out
	ReceivedSPF bool                 // a Received-SPF field is written, too
	Rules       map[string]auth.Rule // of relay domains; the zero Rule for those that are missing
}

// authenticate finds out who wrote a message that is about to be committed, from
// the draft. It adds the verdicts and the trace fields, and holds or refuses the
// message if the rules of its recipients' domains ask for that.
func (s *session) authenticate(tx *transaction, draft queue.Draft, a *queue.Acceptance) *refusal {
	o := &s.server.options.Authentication
	if o.Verifier == nil {
		return nil
	}
	content, err := draft.Content()
	if err != nil {
		return s.refusalOf(err, 0)
	}
	defer content.Close()
	p := s.client.peer()
	id := auth.Identity{Client: p.address, Hello: p.hello, ReversePath: a.Envelope.ReversePath}
	v := o.Verifier.Verify(s.cut, id, content)
	a.Envelope.Origin.Auth = stored(v)
	fields := v.Field()
	if o.ReceivedSPF {
		fields = append(fields, v.ReceivedSPF(id)...)
	}
	a.Trace = append(fields, a.Trace...)
	var rules []auth.Rule
	for _, r := range a.Envelope.Recipients {
		rules = append(rules, o.Rules[domainOf(r.ForwardPath)])
	}
	action, why := auth.Judge(v, rules)
	switch {
	case action == auth.Keep:
		return nil
	case action == auth.Refuse && tx.passage.failed == nil:
		return refuse(reasonDMARC, 550, smtp.StatusRelayDenied, why)
	}
	// What the primary has seen of a message may have been enough for it.
	a.Held = cmp.Or(a.Held, why)
	return nil
}

// domainOf is the relay domain of a recipient that was admitted.
func domainOf(forwardPath string) string {
	path, _ := smtp.ParsePath(forwardPath)
	domain, _ := smtp.ASCIIDomain(path.Domain)
	return domain
}

// stored makes of verdicts what is kept with the message.
func stored(v auth.Verdicts) queue.Verdicts {
	d := v.DMARC
	kept := queue.Verdicts{By: v.By, MailFrom: queue.SPF(v.MailFrom), Hello: queue.SPF(v.Hello), Unchecked: v.Unchecked,
		DMARC:       queue.DMARC{Result: d.Result, Domain: d.Domain, Record: d.Record, Policy: d.Policy, Disposition: d.Disposition, Reason: d.Reason},
		ReversePath: v.ReversePath, Author: v.Author, Unknown: v.Unknown, Claims: v.Claims, Took: v.Took.Round(time.Millisecond)}
	switch {
	case d.Record == "" || d.Percent == 100:
	case d.Percent == 0:
		kept.DMARC.Percent = -1
	default:
		kept.DMARC.Percent = d.Percent
	}
	for _, signature := range v.DKIM {
		kept.DKIM = append(kept.DKIM, queue.Signature(signature))
	}
	return kept
}

// stripped takes fields that claim to be ours out of content that passes to the primary.
func (p *passing) stripped(piece []byte) []byte {
	if p.strip == nil {
		return piece
	}
	return p.strip.Next(piece)
}

// claims are what is known of who wrote a message that has passed: only whether
// somebody pretended to be us.
func (p *passing) claims() queue.Verdicts {
	if p.strip == nil || p.strip.Stripped() == 0 {
		return queue.Verdicts{}
	}
	return queue.Verdicts{By: p.server.options.Authentication.Verifier.ID(), Claims: p.strip.Stripped()}
}
