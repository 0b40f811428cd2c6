package inbound

import (
	"io"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/milter"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// filters reports whether content filters are asked. Then no content goes to a
// primary before they have answered: what they add stands before it, and what
// they hold must not be delivered.
func (s *Server) filters() bool { return len(s.options.Filters) > 0 }

// filterNames is for people: "rspamd and clamav are"; "" if there are no filters.
func (s *Server) filterNames() string {
	var names []string
	for _, f := range s.options.Filters.Status() {
		names = append(names, f.Name)
	}
	switch last := len(names) - 1; {
	case last < 0:
		return ""
	case last == 0:
		return names[0] + " is"
	default:
		return strings.Join(names[:last], ", ") + " and " + names[last] + " are"
	}
}

// screen asks the filters about content that was received whole. The verdict has
// a Reason if the message is to be held.
func (s *session) screen(envelope queue.Envelope, draft queue.Draft) (milter.Verdict, *refusal) {
	if !s.server.filters() {
		return milter.Verdict{}, nil
	}
	p := s.client.peer()
	verdict, err := s.server.options.Filters.Ask(s.cut, milter.Message{ID: string(draft.ID()), By: s.server.options.Hostname, Client: p.address,
		Host: envelope.Origin.Host, Hello: p.hello, TLS: p.tls, Cipher: p.cipher, UTF8: envelope.Params.SMTPUTF8,
		ReversePath: envelope.ReversePath, Recipients: forwardPaths(envelope), Content: draft.Content})
	if err != nil {
		return milter.Verdict{}, s.refusalOf(err, 0)
	}
	if verdict.Action != milter.Accept {
		s.server.options.Log.Info("message.filtered", "id", draft.ID(), "filter", verdict.Filter, "action", verdict.Action.String(), "reason", verdict.Reason)
	}
	switch {
	case verdict.Action == milter.Accept || verdict.Action == milter.Hold:
		return verdict, nil
	case verdict.Failed:
		return milter.Verdict{}, &refusal{reply: verdict.Reply, reason: reasonFilterFailed}
	case verdict.Action == milter.Defer:
		return milter.Verdict{}, &refusal{reply: verdict.Reply, reason: reasonFilterDefers}
	}
	return milter.Verdict{}, &refusal{reply: verdict.Reply, reason: reasonFiltered}
}

// filtered takes what the filters have decided into a message that is accepted.
func filtered(a *queue.Acceptance, verdict milter.Verdict) {
	a.Trace = append(verdict.Header, a.Trace...)
	a.Held = alsoHeld(a.Held, verdict.Reason)
}

// alsoHeld joins two reasons to hold a message.
func alsoHeld(one, other string) string {
	if one == "" || other == "" {
		return one + other
	}
	return one + "; " + other
}

// screened reads the content to its end, asks the filters, and then hands it to
// the primary with what they add, or takes it into custody to be held.
func (p *passing) screened(r io.Reader) (smtp.Reply, *refusal) {
	if p.lack != nil {
		return smtp.Reply{}, p.lack
	}
	head := newHeader()
	size, no := p.spool(p.keep, r, head)
	if no == nil {
		no = p.flaw(head)
	}
	if no == nil {
		p.verdict, no = p.screen(p.tx.envelope, p.draft)
	}
	if no != nil {
		return smtp.Reply{}, no
	}
	if p.verdict.Action == milter.Hold {
		p.primary.Abort()
		p.tx.envelope.Origin.Reason = reasonFilterHeld
		return p.retain(head, size)
	}
	if no := p.consent(); no != nil {
		return smtp.Reply{}, no
	}
	if err := p.forward(); err != nil { // the primary must not complete it
		p.primary.Abort()
		return smtp.Reply{}, p.refusalOf(err, size)
	}
	return p.end(head, size)
}

// forward sends what was kept to the primary, as far as that takes it.
func (p *passing) forward() error {
	content, err := p.draft.Content()
	if err != nil {
		return err
	}
	defer content.Close() // it is only read
	buffer := p.server.buffers.Get().(*[]byte)
	defer p.server.buffers.Put(buffer)
	for p.failed == nil {
		n, err := content.Read(*buffer)
		if n > 0 {
			p.send(p.stripped((*buffer)[:n]))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
