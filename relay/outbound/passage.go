package outbound

import (
	"context"
	"errors"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// A sender waits while its mail is passed on, and has time-outs of its own (RFC
// 5321 4.5.3.2): 5 minutes for RCPT, 10 for the final dot. We have to give up
// before it does, and keep the mail.
const (
	passOpen  = time.Minute     // all addresses, to the reply to the first RCPT
	passStep  = 2 * time.Minute // a later RCPT, or DATA
	passFinal = 5 * time.Minute
)

// Opening is how a passage begins.
type Opening struct {
	Envelope queue.Envelope // its reverse-path and parameters; the recipients follow one by one
	Size     int64          // of the content, as the sender has announced it; 0 if it did not
	To       queue.Recipient
	Data     bool // the sender has said DATA behind this RCPT: the primary may hear both at once
}

// Outcome is how a step of a passage ended.
type Outcome uint8

// The outcomes.
const (
	Agreed   Outcome = iota // the primary agreed
	Declined                // it refused, and that is an answer for the sender
	Failed                  // it failed, is out, throttles or refuses us as we are configured: no affair of the sender
	Busy                    // it was not asked: as many sessions as are allowed are in use
)

// Answer is what a step of a passage came to.
type Answer struct {
	Outcome Outcome
	Reply   smtp.Reply      // as the primary wrote it; Code is 0 if there was none
	Lost    bool            // the passage has ended with it
	Result  queue.Result    // of Failed: what is to be remembered of recipients that we keep. Of Finish: their result
	Signals []health.Signal // what was observed of the primary
}

// Passage is one transaction of a sender that is handed to the primary step by
// step, while the sender waits. It is used by one goroutine at a time. Abort, or
// an Answer that is Lost, ends it; after that no step does anything.
//
// The content is only completed by Finish: a passage that ends in any other way
// ends the connection without a final dot, so that the primary takes nothing.
type Passage struct {
	upstream *Upstream
	session  *session // nil when the passage has ended
	slot     bool     // it has one
	message  queue.Message
	path     smtp.Path
	domain   string // of its first recipient
	utf8     bool
	began    time.Time
	accepted []smtp.Path // recipients
	asked    bool        // DATA was sent, and its reply is still to be read
	content  *dotWriter  // nil before the primary has agreed to DATA
	release  func() bool // of the content from its context
	ctx      context.Context
	seen     map[observation]bool
	signals  []health.Signal
}

// observation is a kind of answer, which counts once a transaction.
type observation struct {
	phase     health.Phase
	class     health.Class
	condition string
}

// Open begins a passage up to the reply to its first RCPT, on a session that is
// idle or a new one. The passage is nil unless the primary has agreed to MAIL.
// What the primary does not offer and the message needs is Declined.
func (u *Upstream) Open(ctx context.Context, o Opening) (*Passage, Answer) {
	if !u.slots.pass() {
		return nil, Answer{Outcome: Busy, Lost: true}
	}
	p := &Passage{upstream: u, began: time.Now(), seen: map[observation]bool{}, slot: true,
		message: queue.Message{Envelope: o.Envelope, Size: o.Size}}
	within, cancel := context.WithTimeout(ctx, passOpen)
	defer cancel()
	a := p.open(within, o)
	if a.Lost {
		p.Abort()
		return nil, a
	}
	return p, a
}

// open finds a session and says MAIL and RCPT.
func (p *Passage) open(ctx context.Context, o Opening) Answer {
	var err error
	if p.path, err = smtp.ParsePath(o.Envelope.ReversePath); err != nil {
		return p.closing(hop{}, answer{phase: health.PhaseMail, command: "MAIL", ours: true, cause: err})
	}
	p.utf8 = o.Envelope.Params.SMTPUTF8 || !p.path.ASCII()
	p.domain = queue.Message{Envelope: queue.Envelope{Recipients: []queue.Recipient{o.To}}}.Domain()
	p.session = p.upstream.take()
	for fresh := false; ; {
		if p.session == nil {
			s, at, a := p.upstream.dial(ctx, func(at hop, a answer, took time.Duration) { p.observe(at, a, took) })
			if s == nil {
				return p.closing(at, a)
			}
			p.session, fresh = s, true
		}
		lacking := p.session.lacks(p.message, p.utf8)
		if lacking.Code != 0 && !fresh { // that is what the primary offered when the session began
			p.upstream.quitLater(p.session)
			p.session = nil
			continue
		}
		if lacking.Code != 0 {
			return Answer{Outcome: Declined, Reply: lacking, Lost: true, Signals: p.signals}
		}
		mail, rcpt := p.envelope(ctx, o)
		if !fresh && mail.lost() && !mail.ours { // found closed: that says nothing, and nothing was sent
			p.session.hangUp()
			p.session = nil
			continue
		}
		if !mail.ok() {
			return p.closing(p.session.hop, mail)
		}
		return p.enter(o.To, rcpt)
	}
}

// envelope says MAIL and RCPT, and perhaps DATA, at once if the primary allows
// it. The answer to RCPT is zero if that to MAIL decides.
func (p *Passage) envelope(ctx context.Context, o Opening) (mail, rcpt answer) {
	s, times := p.session, &p.upstream.options.Timeouts
	release := s.under(ctx)
	defer release()
	if s.open {
		if a := s.reset(); !a.ok() {
			s.broken = true
			return a, answer{}
		}
	}
	s.messages++
	s.open = true
	first := s.mailLine(p.path, p.message, p.utf8)
	line, err := p.rcptLine(o.To)
	if err != nil {
		return answer{phase: health.PhaseRcpt, command: "RCPT", ours: true, cause: err}, answer{}
	}
	if !s.pipelining {
		if mail = s.command(health.PhaseMail, "MAIL", first, times.Mail); mail.ok() {
			rcpt = s.command(health.PhaseRcpt, "RCPT", line, times.Rcpt)
		}
		return mail, rcpt
	}
	lines := []string{first, line}
	if o.Data {
		lines = append(lines, "DATA")
	}
	s.allow(times.Mail)
	if err := s.send(lines...); err != nil {
		return s.fail(health.PhaseMail, "MAIL", err), answer{}
	}
	if mail = s.read(health.PhaseMail, "MAIL", times.Mail); s.broken {
		return mail, answer{}
	}
	p.asked = o.Data
	rcpt = s.read(health.PhaseRcpt, "RCPT", times.Rcpt)
	if p.asked && !s.broken && !(mail.ok() && rcpt.ok()) {
		p.retract()
	}
	return mail, rcpt
}

// retract takes back a DATA that was said too early.
func (p *Passage) retract() {
	p.asked = false
	s := p.session
	if a := s.read(health.PhaseData, "DATA", s.options.Timeouts.Data); !s.broken && a.ok() {
		s.emptyContent()
	}
}

// rcptLine writes the RCPT of a recipient.
func (p *Passage) rcptLine(to queue.Recipient) (string, error) {
	path, err := smtp.ParsePath(to.ForwardPath)
	return p.session.rcptLine(path, to), err
}

// Rcpt names one more recipient. data says that the sender's DATA is behind it.
func (p *Passage) Rcpt(ctx context.Context, to queue.Recipient, data bool) Answer {
	s := p.session
	if s == nil {
		return Answer{Outcome: Failed, Lost: true}
	}
	if len(p.accepted) >= p.upstream.options.Recipients {
		return Answer{Outcome: Declined, Reply: smtp.NewReply(452, smtp.StatusTooManyRcpt, "too many recipients")}
	}
	line, err := p.rcptLine(to)
	if err != nil {
		return p.ends(answer{phase: health.PhaseRcpt, command: "RCPT", ours: true, cause: err})
	}
	within, cancel := context.WithTimeout(ctx, passStep)
	defer cancel()
	release := s.under(within)
	defer release()
	lines := []string{line}
	if data && s.pipelining {
		lines = append(lines, "DATA")
	}
	s.allow(s.options.Timeouts.Rcpt)
	if err := s.send(lines...); err != nil {
		return p.ends(s.fail(health.PhaseRcpt, "RCPT", err))
	}
	a := s.read(health.PhaseRcpt, "RCPT", s.options.Timeouts.Rcpt)
	p.asked = !s.broken && len(lines) > 1
	if p.asked && len(p.accepted) == 0 && !a.ok() {
		p.retract()
	}
	return p.enter(to, a)
}

// enter takes note of the answer to a RCPT.
func (p *Passage) enter(to queue.Recipient, a answer) Answer {
	path, _ := smtp.ParsePath(to.ForwardPath) // rcptLine has checked it
	p.upstream.hear(path, a)
	if p.session.broken && !a.ok() {
		return p.ends(a)
	}
	if a.ok() {
		p.accepted = append(p.accepted, path)
	} else {
		p.observe(p.session.hop, a, time.Since(p.began))
	}
	return p.answer(p.session.hop, a)
}

// Data asks the primary for its consent to the content. From then on it bears
// with the end of ctx, except that the reply to the final dot is waited for.
func (p *Passage) Data(ctx context.Context) Answer {
	s := p.session
	if s == nil {
		return Answer{Outcome: Failed, Lost: true}
	}
	within, cancel := context.WithTimeout(ctx, passStep)
	defer cancel()
	a := p.consent(within)
	if a.reply.Code/100 == 2 { // neither go-ahead nor refusal: we are out of step
		s.broken = true
	}
	if err := s.inStep(); a.ok() && err != nil {
		a = s.fail(health.PhaseData, "DATA", err)
	}
	if !a.ok() {
		return p.ends(a)
	}
	failpoint.Hit(failpoint.PassConsent)
	p.content = &dotWriter{to: s.out}
	p.ctx, p.release = ctx, s.under(ctx)
	return p.answer(s.hop, a)
}

func (p *Passage) consent(ctx context.Context) answer {
	s := p.session
	release := s.under(ctx)
	defer release()
	if p.asked {
		p.asked = false
		return s.read(health.PhaseData, "DATA", s.options.Timeouts.Data)
	}
	return s.command(health.PhaseData, "DATA", "DATA", s.options.Timeouts.Data)
}

// Send sends a piece of the content.
func (p *Passage) Send(piece []byte) Answer {
	s := p.session
	if s == nil {
		return Answer{Outcome: Failed, Lost: true}
	}
	s.allow(s.options.Timeouts.Block)
	if _, err := p.content.Write(piece); err != nil {
		return p.cutOff(err)
	}
	return Answer{}
}

// cutOff ends a passage within its content.
func (p *Passage) cutOff(err error) Answer {
	if errors.Is(err, errBareLine) { // no fault of the primary
		return p.ends(answer{phase: health.PhaseData, command: "DATA", ours: true, cause: err})
	}
	return p.ends(p.session.fail(health.PhaseData, "DATA", err))
}

// Finish completes the content and returns what the primary said to it. If that
// was lost, the result says that there may be a duplicate. The passage has ended.
func (p *Passage) Finish() Answer {
	s := p.session
	if s == nil {
		return Answer{Outcome: Failed, Lost: true}
	}
	s.allow(s.options.Timeouts.Block)
	err := p.content.Close()
	if err == nil && !p.release() {
		err = s.stopped(p.ctx)
	}
	if err != nil {
		return p.cutOff(err)
	}
	failpoint.Hit(failpoint.PassContent)
	a := p.final()
	failpoint.Hit(failpoint.PassTaken)
	p.content = nil
	for _, path := range p.accepted {
		p.upstream.hear(path, a)
	}
	s.open = !a.ok()
	return p.ends(a)
}

// final flushes the dot. Part of it may have arrived even if that fails.
func (p *Passage) final() answer {
	s := p.session
	if err := s.out.Flush(); err != nil {
		return s.fail(health.PhaseFinal, "DATA", err)
	}
	failpoint.Hit(failpoint.PassDot)
	return s.read(health.PhaseFinal, "DATA", min(passFinal, s.options.Timeouts.Final))
}

// Abort ends the passage without completing it. It does not wait for the primary.
func (p *Passage) Abort() {
	s := p.session
	p.session = nil
	if p.slot {
		defer p.upstream.slots.passed()
	}
	p.slot = false
	if s == nil {
		return
	}
	if p.release != nil {
		p.release()
	}
	if p.content != nil || p.asked || s.broken { // no dot: nothing that was sent counts
		s.hangUp()
		return
	}
	p.upstream.giveLater(s)
}

// ends is the answer that ends the passage.
func (p *Passage) ends(a answer) Answer {
	at := p.session.hop
	p.observe(at, a, time.Since(p.began))
	given := p.answer(at, a)
	given.Lost = true
	p.Abort()
	return given
}

// closing is the answer of a passage that did not come to its first RCPT.
func (p *Passage) closing(at hop, a answer) Answer {
	if !a.beforeMail() || p.session != nil { // dial has told what it met
		p.observe(at, a, time.Since(p.began))
	}
	given := p.answer(at, a)
	given.Lost = true
	return given
}

// answer says what an answer means for the sender.
func (p *Passage) answer(at hop, a answer) Answer {
	v := a.verdict()
	_, scope := judge(a, v)
	given := Answer{Reply: a.reply, Signals: p.signals, Outcome: outcomeOf(a, v)}
	p.signals = nil
	given.Result = queue.Result{At: time.Now(), Scope: scope, Reply: a.record(), Host: at.host, Address: at.where(),
		RemoteSession: v.Session, Took: time.Since(p.began), Action: queue.Deferred,
		MaybeDuplicate: a.phase == health.PhaseFinal && a.reply.Code == 0}
	if given.Outcome == Agreed {
		given.Result.Action, given.Result.Scope = queue.Delivered, queue.ScopeNone
	}
	return given
}

// outcomeOf decides what an answer means for the sender. It is pure.
//
//	positive                                  Agreed
//	none, 421, or anything before MAIL        Failed
//	an outage, a throttle, our configuration  Failed, whatever the code
//	other 4xx and 5xx                         Declined: what the sender would have met by itself
//	any other code                            Failed: we are out of step
func outcomeOf(a answer, v reply.Verdict) Outcome {
	switch {
	case a.ok():
		return Agreed
	case a.ours, a.lost(), a.beforeMail(), !a.reply.Temporary() && !a.reply.Permanent():
		return Failed
	case v.Class == health.Outage, v.Class == health.Throttle, v.Class == health.Misconfigured, v.Scope == reply.ScopeOwn:
		return Failed
	}
	return Declined
}

// observe makes a signal of an answer, one for each kind in a passage. An
// acceptance counts when the content was accepted.
func (p *Passage) observe(at hop, a answer, took time.Duration) {
	v := a.verdict()
	kind := observation{a.phase, v.Class, v.Condition}
	if a.ours || !a.beforeMail() && p.seen[kind] || a.ok() && a.phase != health.PhaseFinal {
		return
	}
	p.seen[kind] = true
	s := p.upstream.evidence(health.SourcePassage, at, a, took)
	s.Domain = p.domain
	p.signals = append(p.signals, s)
}
