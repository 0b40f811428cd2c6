package inbound

import (
	"errors"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/auth/arc"
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

	// Sealer puts an ARC set in front of what is taken into custody. What passes to
	// the primary is not sealed: our trace fields leave before the content is known.
	Sealer *arc.Sealer // may be nil
}

// authenticate finds out who wrote a message that is about to be committed, from
// the draft. It adds the verdicts and the trace fields, and holds or refuses the
// message if the rules of its recipients' domains ask for that.
func (s *session) authenticate(tx *transaction, draft queue.Draft, a *queue.Acceptance) *refusal {
	o := &s.server.options.Authentication
	if o.Verifier == nil {
		return nil
	}
	p := s.client.peer()
	id := auth.Identity{Client: p.address, Hello: p.hello, ReversePath: a.Envelope.ReversePath}
	e, err := o.Verifier.Examine(s.cut, id, draft.Content)
	if err != nil {
		return s.refusalOf(err, 0)
	}
	v := e.Verdicts
	a.Envelope.Origin.Auth = Stored(e)
	fields := e.Field()
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
	case action == auth.Refuse && tx.passage.failed == nil:
		return refuse(reasonDMARC, 550, smtp.StatusRelayDenied, why)
	case action != auth.Keep: // what the primary has seen of a message may have been enough for it
		a.Held = alsoHeld(a.Held, why)
	}
	s.seal(draft.ID(), e, a)
	return nil
}

// seal puts an ARC set in front of all other trace fields. A message whose chain
// may not go on, or that cannot be sealed, is taken as it is.
func (s *session) seal(id queue.ID, e auth.Examination, a *queue.Acceptance) {
	sealer := s.server.options.Authentication.Sealer
	if sealer == nil {
		return
	}
	set, err := e.Seal(sealer, a.Trace, a.At)
	switch {
	case errors.Is(err, arc.ErrUnsealed):
	case err != nil:
		s.server.options.Log.Warn("message.unsealed", "id", id, "error", err)
	default:
		a.Trace = append(set, a.Trace...)
		a.Envelope.Origin.Auth.ARC.Sealed = true
	}
}

// domainOf is the relay domain of a recipient that was admitted.
func domainOf(forwardPath string) string {
	path, _ := smtp.ParsePath(forwardPath)
	domain, _ := smtp.ASCIIDomain(path.Domain)
	return domain
}

// Stored makes of what was found out what is kept with the message.
func Stored(e auth.Examination) queue.Verdicts {
	kept, c := stored(e.Verdicts), e.Chain
	kept.ARC = queue.ARC{Result: string(c.Status), OldestPass: c.OldestPass, Reason: c.Reason}
	for _, set := range c.Sets {
		kept.ARC.Sealers = append(kept.ARC.Sealers, strings.ToValidUTF8(set.Domain, "?"))
	}
	return kept
}

// stored does so for the verdicts.
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
