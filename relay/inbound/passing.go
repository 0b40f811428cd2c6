package inbound

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/milter"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// passing is content that goes to the primary as it comes, and into a draft in
// case the primary fails. As long as one of the two takes it, it is read.
type passing struct {
	*session
	tx      *transaction
	primary *outbound.Passage
	draft   queue.Draft // nil if there is none
	keep    *custody    // into the draft
	lack    *refusal    // why it cannot be kept; nil if it can
	failed  *queue.Result
	at      time.Time
	trace   []byte
	verdict milter.Verdict // of the content filters
	strip   *auth.Stripper // of what goes to the primary; nil if nothing is to be taken out
}

// pass reads the content to its end, and answers with what the primary says.
// If that fails before its final reply, the message is taken into custody.
func (s *session) pass(tx *transaction, primary *outbound.Passage, r io.Reader) (smtp.Reply, *refusal) {
	p := &passing{session: s, tx: tx, primary: primary, at: time.Now()}
	if o := &s.server.options.Authentication; o.Verifier != nil {
		p.strip = auth.NewStripper(o.Verifier.ID())
	}
	defer primary.Abort()
	p.begin()
	if p.draft != nil {
		defer func() { p.draft.Abort() }()
	}
	if s.server.filters() {
		return p.screened(r)
	}
	if no := p.consent(); no != nil {
		return smtp.Reply{}, no
	}
	head := newHeader()
	size, no := s.spool(p, r, head)
	if no == nil {
		no = s.flaw(head)
	}
	if no != nil { // the primary must not complete it
		primary.Abort()
		return smtp.Reply{}, no
	}
	return p.end(head, size)
}

// begin makes a draft, if there is room for one, and the trace field.
func (p *passing) begin() {
	var id queue.ID
	draft, err := p.server.options.Store.Create(p.ctx)
	p.server.space.note(noDisk(err))
	if err != nil {
		p.lack = p.refusalOf(err, 0)
	} else {
		p.draft, id = draft, draft.ID()
		p.keep = &custody{session: p.session, tx: p.tx, draft: draft, asked: -1}
	}
	p.tx.envelope.Origin.Host = p.hostname(p.client.peer().address)
	p.trace = p.traceField(p.tx.envelope, id, p.at)
}

// id is that of the draft, "" if there is none.
func (p *passing) id() queue.ID {
	if p.draft == nil {
		return ""
	}
	return p.draft.ID()
}

// consent asks the primary to take content, and sends what stands before it first.
func (p *passing) consent() *refusal {
	a := p.primary.Data(p.cut)
	p.observe(a)
	if a.Outcome == outbound.Declined {
		return handedOn(a.Reply)
	}
	if a.Outcome == outbound.Agreed {
		a = p.primary.Send(slices.Concat(p.verdict.Header, p.trace))
		p.observe(a)
	}
	if a.Outcome != outbound.Agreed {
		p.failed = &a.Result
	}
	return p.stuck()
}

// stuck refuses what neither the primary nor the queue can take.
func (p *passing) stuck() *refusal {
	if p.failed == nil || p.lack == nil {
		return nil
	}
	return refuse(reasonPassFailed, 451, smtp.StatusNotAccepting, "the primary failed and the message cannot be kept, try again later")
}

// take hands a piece to both.
func (p *passing) take(piece []byte, size int64) (no *refusal, full bool) {
	if p.lack == nil {
		p.lack, _ = p.keep.take(piece, size)
	}
	p.send(p.stripped(piece))
	no = p.stuck()
	return no, no != nil
}

// send hands a piece to the primary, unless that has failed.
func (p *passing) send(piece []byte) {
	if p.failed != nil || len(piece) == 0 {
		return
	}
	began := time.Now()
	a := p.primary.Send(piece)
	p.client.excuse(time.Since(began)) // a slow primary is no slow client
	p.observe(a)
	if a.Outcome != outbound.Agreed {
		p.failed = &a.Result
	}
}

// end completes the message at the primary, or takes it into custody.
func (p *passing) end(head *header, size int64) (smtp.Reply, *refusal) {
	if p.strip != nil {
		p.send(p.strip.Flush())
	}
	if p.failed == nil {
		a := p.primary.Finish()
		p.observe(a)
		switch a.Outcome {
		case outbound.Agreed:
			p.note(head, size, a.Result)
			return safe(a.Reply), nil
		case outbound.Declined:
			return smtp.Reply{}, handedOn(a.Reply)
		}
		p.failed = &a.Result
	}
	if no := p.stuck(); no != nil {
		return smtp.Reply{}, no
	}
	p.tx.passage.failed = p.failed
	return p.retain(head, size)
}

// retain takes the message into custody.
func (p *passing) retain(head *header, size int64) (smtp.Reply, *refusal) {
	kept := queue.Acceptance{At: p.at, Envelope: p.tx.envelope, Trace: p.trace,
		MessageID: head.messageID, Lifetime: p.server.options.Lifetime}
	filtered(&kept, p.verdict)
	if no := p.authenticate(p.tx, p.draft, &kept); no != nil {
		return smtp.Reply{}, no
	}
	return p.commit(p.tx, p.draft, kept, size)
}

// note writes the ledger line of a message that the primary has. It comes before
// our 250, so that the books know of what we have answered for. But the primary
// has the mail whatever the books say, so the answer does not depend on it.
func (p *passing) note(head *header, size int64, result queue.Result) {
	envelope := p.tx.envelope
	e := queue.Entry{At: time.Now(), Event: queue.Passed, ID: p.id(), Actor: "session", Reason: envelope.Origin.Reason, Upstream: envelope.Upstream,
		ReversePath: envelope.ReversePath, Recipients: forwardPaths(envelope), MessageID: head.messageID, Size: size, Origin: envelope.Origin}
	e.Origin.Auth = p.claims()
	for range e.Recipients {
		e.Results = append(e.Results, result)
	}
	about := append([]any{"id", p.id(), "size", size, "message_id", smtp.Printable(head.messageID), "took", result.Took}, describe(envelope)...)
	if err := p.server.options.Store.Note(context.WithoutCancel(p.ctx), e); err != nil {
		p.server.counts.unnote()
		p.server.options.Log.Error("message.unnoted", append(about, "error", err)...)
	}
	failpoint.Hit(failpoint.PassNoted)
	p.server.counts.pass()
	p.server.options.Log.Info("message.passed", about...)
}
