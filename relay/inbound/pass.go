package inbound

import (
	"strings"
	"sync"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// passage is what a transaction has with the primary. The first recipient that
// is admitted decides: either the primary is asked, and then about all of them,
// or all are taken into custody.
//
// What belongs to it is used by the goroutine of the engine until the content
// begins, and from then on by the one that reads the content, which takes it.
type passage struct {
	mu     sync.Mutex
	open   *outbound.Passage // nil: there is none, or it was taken
	failed *queue.Result     // how one ended that we have to make up for
}

// take hands the open passage over; nil if there is none.
func (p *passage) take() *outbound.Passage {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.open
	p.open = nil
	return open
}

func (p *passage) put(open *outbound.Passage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = open
}

// drop ends a passage that nobody has taken. It does not wait for the primary.
func (p *passage) drop() {
	if open := p.take(); open != nil {
		open.Abort()
	}
}

// undecided reports whether neither the primary nor the queue has a recipient of the transaction.
func (t *transaction) undecided() bool { return len(t.envelope.Recipients) == 0 }

// passed reports whether the primary has accepted a recipient of the transaction, and is still there.
func (t *transaction) passed() bool {
	t.passage.mu.Lock()
	defer t.passage.mu.Unlock()
	return t.passage.open != nil && !t.undecided()
}

// ask asks the primary about a recipient. keep says that it does not want to
// decide: the recipient is to be taken into custody, with all that were accepted.
func (s *session) ask(tx *transaction, upstream string, path smtp.Path, to queue.Recipient) (keep bool, no *refusal) {
	open := tx.passage.take()
	if open != nil && tx.undecided() && tx.upstream != upstream { // it refused the ones before
		open.Abort()
		open = nil
	}
	var a outbound.Answer
	data := s.client.next() == "DATA" && !s.server.filters()
	first := open == nil
	if first {
		open, a = s.openPassage(tx, upstream, to, data)
	} else {
		a = open.Rcpt(s.cut, to, data)
	}
	if !a.Lost {
		tx.passage.put(open)
		tx.upstream = upstream
	}
	s.observe(a)
	switch {
	case a.Outcome == outbound.Agreed:
		return false, nil
	case a.Outcome == outbound.Declined:
		return false, handedOn(a.Reply)
	case !first && !a.Lost && a.Reply.Temporary(): // it goes on with the others
		return false, handedOn(a.Reply)
	case !first && !a.Lost: // a refusal for good that is not about the recipient must not become a bounce
		return false, refuse(reasonPrimary, 451, smtp.StatusNotAccepting, "the primary does not take it for now, try again later")
	case a.Outcome == outbound.Busy:
		return s.busy(path)
	}
	tx.passage.drop()
	tx.passage.failed = &a.Result
	return true, nil
}

// busy is what happens if there is no session to be had.
func (s *session) busy(path smtp.Path) (keep bool, no *refusal) {
	if domain, _ := smtp.ASCIIDomain(path.Domain); s.server.options.Rules[domain].WhenBusy == DeferBusy {
		return false, refuse(reasonBusy, 451, smtp.StatusNotAccepting, "the primary is busy, try again later")
	}
	return true, nil
}

// openPassage begins to talk with the primary. Meanwhile the name of the client
// is looked up, which the trace field needs before the content.
func (s *session) openPassage(tx *transaction, upstream string, to queue.Recipient, data bool) (*outbound.Passage, outbound.Answer) {
	var looking sync.WaitGroup
	looking.Go(func() { s.hostname(s.client.peer().address) })
	defer looking.Wait()
	envelope := tx.envelope
	envelope.Upstream = upstream
	return s.server.options.Primaries[upstream].Open(s.cut, outbound.Opening{Envelope: envelope, Size: tx.size, To: to, Data: data})
}

// observe hands on what was seen of the primary.
func (s *session) observe(a outbound.Answer) {
	if observe := s.server.options.Observe; observe != nil {
		for _, signal := range a.Signals {
			observe(signal)
		}
	}
}

// mayPass reports whether mail for some domain could pass now without being
// stored: then a full disk is no reason yet to refuse MAIL.
func (s *Server) mayPass() bool {
	if s.filters() {
		return false
	}
	for domain, rule := range s.options.Rules {
		if upstream := s.options.Domains[domain]; s.canPass(upstream) && rule.passes(health.Up) && s.options.State(upstream) == health.Up {
			return true
		}
	}
	return false
}

// canPass reports whether there is a way to hand mail to an upstream.
func (s *Server) canPass(upstream string) bool { return s.options.Primaries[upstream] != nil }

// admitPassed adds a recipient whose mail is to be passed. wait says that it may
// not be taken into custody instead.
func (s *session) admitPassed(tx *transaction, upstream string, path smtp.Path, to queue.Recipient, wait bool) *refusal {
	lack := s.keepable(upstream, tx.size)
	if lack != nil && tx.undecided() && (s.server.filters() || s.server.options.State(upstream) != health.Up) {
		return lack // it has to be kept to be filtered; and if the primary failed, nobody would have the mail
	}
	keep, no := s.ask(tx, upstream, path, to)
	switch {
	case no != nil:
		return no
	case keep && wait:
		return notKnown()
	case keep && lack != nil:
		return lack
	}
	tx.envelope.Upstream, tx.envelope.Origin.Reason = upstream, reasonPass
	if keep { // after a failure the reason is another one, see commit
		tx.envelope.Origin.Reason = reasonBusy
	}
	tx.envelope.Recipients = append(tx.envelope.Recipients, to)
	failpoint.Hit(failpoint.InboundRcpt)
	return nil
}

// maxHandedOn bounds the text of the primary that a client sees. RFC 5321
// 4.5.3.1.5 promises 512 octets for the whole line.
const maxHandedOn = 400

// handedOn makes a refusal of the primary ours.
func handedOn(r smtp.Reply) *refusal { return &refusal{reply: safe(r), reason: reasonPrimary} }

// safe makes a reply of the primary one that any client can be told: one line
// of printable ASCII. A status that contradicts the code is left out.
func safe(r smtp.Reply) smtp.Reply {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, r.Text())
	text = strings.TrimSpace(text[:min(len(text), maxHandedOn)])
	if text == "" {
		text = "the primary gave no reason"
	}
	status := r.Status
	if status[0] != r.Code/100 {
		status = smtp.EnhancedStatus{}
	}
	return smtp.Reply{Code: r.Code, Status: status, Lines: []string{text}}
}
