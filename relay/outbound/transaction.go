package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

// transaction is one MAIL, its RCPTs and the content.
type transaction struct {
	mail    string // command lines without CRLF
	rcpts   []string
	content func() (io.ReadCloser, error)
}

// outcome is how a transaction ended.
type outcome struct {
	mail, data answer   // zero if not reached
	ends       []answer // of each recipient: the answer that decided

	refusal error // ours: the content must not be sent
	content error // it could not be read
}

// settle gives all recipients that were not refused one answer.
func (o *outcome) settle(a answer) {
	for i := range o.ends {
		if o.ends[i].reply.Code == 0 || o.ends[i].ok() {
			o.ends[i] = a
		}
	}
}

// accepted counts the recipients that were accepted by RCPT.
func (o *outcome) accepted() (n int) {
	for _, a := range o.ends {
		if a.phase == health.PhaseRcpt && a.ok() {
			n++
		}
	}
	return n
}

// run carries out the transaction. Every recipient gets an answer, unless
// refusal or content says why there is none. What is done with the session
// afterwards is up to the caller: broken says whether it can be used.
func (s *session) run(ctx context.Context, t transaction) outcome {
	release := s.under(ctx)
	defer release()
	o := outcome{ends: make([]answer, len(t.rcpts))}
	if s.open {
		if a := s.reset(); !a.ok() {
			s.broken = true
			o.settle(a)
			return o
		}
	}
	s.messages++
	s.open = true
	if s.pipelining {
		s.envelope(t, &o)
	} else {
		s.envelopeByStep(t, &o)
	}
	switch {
	case !o.data.ok():
	case o.accepted() == 0:
		s.emptyContent()
	default:
		failpoint.Hit(failpoint.OutboundRcpt)
		s.sendContent(ctx, t, &o, release)
	}
	return o
}

// envelope sends all commands at once and pairs the replies with them (RFC 2920
// 3.1). The first refusal is what counts; those behind it only follow from it.
func (s *session) envelope(t transaction, o *outcome) {
	times := &s.options.Timeouts
	lines := append(append([]string{t.mail}, t.rcpts...), "DATA")
	s.allow(times.Mail)
	if err := s.send(lines...); err != nil {
		o.mail = s.fail(health.PhaseMail, "MAIL", err)
		o.settle(o.mail)
		return
	}
	o.mail = s.read(health.PhaseMail, "MAIL", times.Mail)
	last := o.mail
	for i := range t.rcpts {
		if s.broken {
			break
		}
		last = s.read(health.PhaseRcpt, "RCPT", times.Rcpt)
		o.ends[i] = last
	}
	if !s.broken {
		last = s.read(health.PhaseData, "DATA", times.Data)
		o.data = last
	}
	s.judgeEnvelope(o, last)
}

// envelopeByStep waits for each reply, for a primary without PIPELINING.
func (s *session) envelopeByStep(t transaction, o *outcome) {
	times := &s.options.Timeouts
	o.mail = s.command(health.PhaseMail, "MAIL", t.mail, times.Mail)
	last := o.mail
	for i, line := range t.rcpts {
		if s.broken || !o.mail.ok() {
			break
		}
		last = s.command(health.PhaseRcpt, "RCPT", line, times.Rcpt)
		o.ends[i] = last
	}
	if !s.broken && o.accepted() > 0 {
		last = s.command(health.PhaseData, "DATA", "DATA", times.Data)
		o.data = last
	}
	s.judgeEnvelope(o, last)
}

// judgeEnvelope gives the answers that decide before any content is sent. last
// is the last answer that came, which broke the session if it is broken.
func (s *session) judgeEnvelope(o *outcome, last answer) {
	switch {
	case !o.mail.ok():
		clear(o.ends)
		o.settle(o.mail)
	case s.broken:
		o.settle(last)
	case o.data.phase != "" && !o.data.ok():
		s.broken = o.data.reply.Code/100 == 2 // neither go-ahead nor refusal: we are out of step
		o.settle(o.data)
	}
}

// emptyContent answers a go-ahead without recipients: a lone dot, whose reply
// delivers nothing, whatever it says (RFC 2920 3.1).
func (s *session) emptyContent() {
	a := s.command(health.PhaseFinal, "DATA", ".", s.options.Timeouts.Final)
	s.open = !a.ok()
}

// sendContent sends the content and its final dot, and reads the reply. The
// dot is only sent if the content was read to its end without an error, and
// from then on cancelling the context cuts nothing: the reply is waited for.
// Close leaves at least the last octet of the dot in the buffer.
func (s *session) sendContent(ctx context.Context, t transaction, o *outcome, release func() bool) {
	if err := s.inStep(); err != nil {
		o.settle(s.fail(health.PhaseData, "DATA", err))
		s.hangUp()
		return
	}
	content, err := t.content()
	if err != nil {
		o.content = err
		s.hangUp()
		return
	}
	defer content.Close()
	stuffed := &dotWriter{to: s.out}
	err = s.copy(stuffed, content, o)
	if err == nil {
		err = stuffed.Close()
	}
	switch {
	case o.content != nil:
		s.hangUp()
		return
	case errors.Is(err, errBareLine):
		o.refusal = err
		s.hangUp()
		return
	case err == nil && !release():
		err = s.stopped(ctx)
	}
	if err != nil {
		o.settle(s.fail(health.PhaseData, "DATA", err))
		s.hangUp()
		return
	}
	s.tell("C: .")
	failpoint.Hit(failpoint.OutboundContent)
	a := s.finish()
	o.settle(a)
	s.open = !a.ok()
}

// copy sends the content block by block. An error of the reading side is left in o.
func (s *session) copy(to io.Writer, content io.Reader, o *outcome) error {
	if s.block == nil {
		s.block = make([]byte, writeBuffer)
	}
	size := 0
	for {
		n, err := content.Read(s.block)
		size += n
		s.allow(s.options.Timeouts.Block)
		if _, err := to.Write(s.block[:n]); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			s.tell(fmt.Sprintf("C: (content of %d bytes)", size))
			return nil
		case err != nil:
			o.content = err
			return err
		}
	}
}

// finish flushes the final dot and reads the reply to the content. Part of the
// dot may have arrived even if flushing fails.
func (s *session) finish() answer {
	if err := s.out.Flush(); err != nil {
		return s.fail(health.PhaseFinal, "DATA", err)
	}
	failpoint.Hit(failpoint.OutboundDot)
	return s.read(health.PhaseFinal, "DATA", s.options.Timeouts.Final)
}
