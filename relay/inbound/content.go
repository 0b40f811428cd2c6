package inbound

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// receive reads the content to its end and makes the message ours. What is wrong
// with the message is said at its end; if there is no room for it, nothing more is read.
func (s *session) receive(r io.Reader) (smtp.Reply, *refusal) {
	tx := s.tx.Load()
	if tx == nil { // reset came before the goroutine of the content began
		return smtp.Reply{}, refuse(reasonSequence, 503, smtp.StatusSequence, "MAIL comes first")
	}
	if primary := tx.passage.take(); primary != nil {
		done, no := s.pass(tx, primary, r)
		if no != nil {
			s.lament("", tx, no)
		}
		return done, no
	}
	draft, err := s.server.options.Store.Create(s.ctx)
	s.server.space.note(noDisk(err))
	if err != nil {
		return smtp.Reply{}, s.refusalOf(err, 0)
	}
	defer draft.Abort() // after Commit it does nothing; its error changes nothing for the client
	done, no := s.accept(tx, draft, r)
	if no != nil {
		s.lament(draft.ID(), tx, no)
	}
	return done, no
}

// lament logs that a message was refused at its end. One that was cut off tells
// nothing of its envelope: after a reset the next transaction may be open already.
func (s *session) lament(id queue.ID, tx *transaction, no *refusal) {
	about := []any{"id", id, "reason", no.reason, "reply", smtp.Printable(no.reply.Error())}
	if no.reason != reasonTruncated {
		about = append(about, describe(tx.envelope)...)
	}
	s.server.options.Log.Info("message.refused", about...)
}

// refusalOf answers an error of the store about a message of that size. One that
// is not about this message alone ends the intake.
func (s *session) refusalOf(err error, size int64) *refusal {
	var limit *queue.LimitError
	switch {
	case errors.As(err, &limit):
		s.server.capacity.note(limit.Upstream, size)
		return noRoom()
	case errors.Is(err, queue.ErrFull):
		return noSpace()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return storeFailed()
	}
	s.server.fail(err)
	return storeFailed()
}

// accept moves the content into the draft and commits it.
func (s *session) accept(tx *transaction, draft queue.Draft, r io.Reader) (smtp.Reply, *refusal) {
	head := newHeader()
	size, no := s.spool(&custody{session: s, tx: tx, draft: draft, asked: -1}, r, head)
	if no == nil {
		no = s.flaw(head)
	}
	if no != nil {
		return smtp.Reply{}, no
	}
	envelope := tx.envelope
	envelope.Origin.Host = s.hostname(s.client.peer().address)
	at := time.Now()
	a := queue.Acceptance{At: at, Envelope: envelope, Trace: s.traceField(envelope, draft.ID(), at),
		MessageID: head.messageID, Lifetime: s.server.options.Lifetime}
	verdict, no := s.screen(envelope, draft)
	if no != nil {
		return smtp.Reply{}, no
	}
	filtered(&a, verdict) // before the seal, which covers the message as it leaves
	if no := s.authenticate(tx, draft, &a); no != nil {
		return smtp.Reply{}, no
	}
	return s.commit(tx, draft, a, size)
}

// flaw is what is wrong with content that was read to its end.
func (s *session) flaw(head *header) *refusal {
	no := s.client.flaw()
	if no == nil {
		no = s.circles(head)
	}
	return no
}

// traceField is our Received field.
func (s *session) traceField(envelope queue.Envelope, id queue.ID, at time.Time) []byte {
	p := s.client.peer()
	return trace{hello: p.hello, host: envelope.Origin.Host, address: p.address, by: s.server.options.Hostname,
		extended: p.extended, utf8: envelope.Params.SMTPUTF8, tls: p.tls, cipher: p.cipher, id: id, rcpt: forwardPaths(envelope), at: at}.field()
}

// commit makes the message ours. What a primary said to a sender's session that
// was broken off stands with each recipient.
func (s *session) commit(tx *transaction, draft queue.Draft, a queue.Acceptance, size int64) (smtp.Reply, *refusal) {
	if failed := tx.passage.failed; failed != nil {
		a.Envelope.Origin.Reason = reasonPassFailed
		for i := range a.Envelope.Recipients {
			a.Envelope.Recipients[i].Last = *failed
		}
	}
	failpoint.Hit(failpoint.InboundReceived)
	if err := draft.Commit(s.ctx, a); err != nil {
		return smtp.Reply{}, s.refusalOf(err, size)
	}
	failpoint.Hit(failpoint.InboundCommitted)
	s.server.counts.accept()
	s.server.options.Log.Info("message.accepted", append([]any{"id", draft.ID(), "size", size,
		"message_id", smtp.Printable(a.MessageID)}, describe(a.Envelope)...)...)
	return smtp.NewReply(250, smtp.StatusOK, "queued as %s", draft.ID()), nil
}

// circles refuses a message that comes back to us, or goes round elsewhere (RFC 5321 6.3).
func (s *session) circles(head *header) *refusal {
	switch {
	case head.own > 0:
		return refuse(reasonLoop, 554, smtp.StatusLoop, "the message goes in circles: it has been here before")
	case head.received >= s.server.options.Limits.Received:
		return refuse(reasonLoop, 554, smtp.StatusLoop, "the message goes in circles: too many Received fields")
	}
	return nil
}

// stride is how much of content comes beyond what was announced, or asked about
// the last time, before the store is asked again whether there is room.
const stride = 1 << 20

// sink takes content as it comes; size is how much there is with the piece. A
// refusal that is full ends the reading.
type sink interface {
	take(piece []byte, size int64) (no *refusal, full bool)
}

// custody takes content into a draft.
type custody struct {
	*session
	tx    *transaction
	draft queue.Draft
	asked int64 // size that the store was asked about; below 0 before the first time
}

// take asks from time to time whether there is room: others may have come since RCPT.
func (c *custody) take(piece []byte, size int64) (no *refusal, full bool) {
	if len(piece) > 0 && (c.asked < 0 || size > c.asked+stride) {
		c.asked = max(size, c.tx.size)
		if no := c.room(c.tx.envelope.Upstream, c.asked); no != nil {
			return no, true
		}
	}
	if _, err := c.draft.Write(piece); err != nil {
		return c.refusalOf(err, size), false
	}
	return nil, false
}

// spool copies the content. After the first thing that is wrong it only reads,
// unless there is no room.
func (s *session) spool(to sink, r io.Reader, head *header) (size int64, no *refusal) {
	head.by = s.server.options.Hostname
	buffer := s.server.buffers.Get().(*[]byte)
	defer s.server.buffers.Put(buffer)
	full := false
	for {
		n, err := r.Read(*buffer)
		size += int64(n)
		failpoint.Hit(failpoint.InboundContent)
		piece := (*buffer)[:n]
		switch {
		case no != nil:
		case size > s.server.options.Limits.MessageSize:
			no = tooBig()
		default:
			head.scan(piece)
			if no, full = to.take(piece, size); full {
				return size, no
			}
		}
		if errors.Is(err, io.EOF) {
			head.finish()
			return size, no
		}
		if err != nil {
			if no == nil { // nobody hears it: the connection is lost or the transaction was reset
				no = refuse(reasonTruncated, 451, smtp.StatusTimeout, "the content is not whole")
			}
			return size, no
		}
	}
}

func forwardPaths(e queue.Envelope) []string {
	var paths []string
	for _, r := range e.Recipients {
		paths = append(paths, r.ForwardPath)
	}
	return paths
}

// describe is what a log line says of an envelope.
func describe(e queue.Envelope) []any {
	first := ""
	if len(e.Recipients) > 0 {
		first = e.Recipients[0].ForwardPath
	}
	about := []any{slog.String("upstream", e.Upstream), slog.String("from", smtp.Printable(e.ReversePath)),
		slog.Int("recipients", len(e.Recipients)), slog.String("to", smtp.Printable(first)),
		slog.String("address", e.Origin.Address), slog.String("hello", smtp.Printable(e.Origin.Hello)),
		slog.String("tls", e.Origin.TLS), slog.String("why", e.Origin.Reason)}
	if dmarc := e.Origin.Auth.DMARC; dmarc.Result != "" {
		about = append(about, slog.String("author", dmarc.Domain), slog.String("dmarc", dmarc.Result))
	}
	return about
}
