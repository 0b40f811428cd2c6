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

// accepted is a message that is ours.
type accepted struct {
	id   queue.ID
	size int64
	queue.Acceptance
}

// receive reads the content to its end and makes the message ours. What is wrong
// with the message is said at its end; if there is no room for it, nothing more is read.
func (s *session) receive(r io.Reader) (queue.ID, *refusal) {
	tx := s.tx.Load()
	if tx == nil { // reset came before the goroutine of the content began
		return "", refuse(reasonSequence, 503, smtp.StatusSequence, "MAIL comes first")
	}
	draft, err := s.server.options.Store.Create(s.ctx)
	s.server.space.note(noDisk(err))
	if err != nil {
		return "", s.refusalOf(err, 0)
	}
	defer draft.Abort() // after Commit it does nothing; its error changes nothing for the client
	message, no := s.accept(tx, draft, r)
	if no != nil {
		s.lament(draft.ID(), tx, no)
		return "", no
	}
	s.server.counts.accept()
	s.server.options.Log.Info("message.accepted", append([]any{"id", message.id, "size", message.size,
		"message_id", smtp.Printable(message.MessageID)}, describe(message.Envelope)...)...)
	return message.id, nil
}

// lament logs that a message was refused at its end. One that was cut off tells
// nothing of its envelope: after a reset the next transaction may be open already.
func (s *session) lament(id queue.ID, tx *transaction, no *refusal) {
	about := []any{"id", id, "reason", no.reason}
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
func (s *session) accept(tx *transaction, draft queue.Draft, r io.Reader) (accepted, *refusal) {
	head := newHeader()
	head.by = s.server.options.Hostname
	size, no := s.spool(tx, draft, r, head)
	if no == nil {
		no = s.client.flaw()
	}
	if no == nil {
		no = s.circles(head)
	}
	if no != nil {
		return accepted{}, no
	}
	p := s.client.peer()
	envelope := tx.envelope
	envelope.Origin.Host = s.hostname(p.address)
	at := time.Now()
	m := accepted{id: draft.ID(), size: size, Acceptance: queue.Acceptance{At: at, Envelope: envelope,
		MessageID: head.messageID, Lifetime: s.server.options.Lifetime}}
	m.Trace = trace{hello: p.hello, host: envelope.Origin.Host, address: p.address, by: s.server.options.Hostname,
		extended: p.extended, utf8: envelope.Params.SMTPUTF8, tls: p.tls, cipher: p.cipher, id: m.id, rcpt: forwardPaths(envelope), at: at}.field()
	failpoint.Hit(failpoint.InboundReceived)
	if err := draft.Commit(s.ctx, m.Acceptance); err != nil {
		return accepted{}, s.refusalOf(err, size)
	}
	failpoint.Hit(failpoint.InboundCommitted)
	return m, nil
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

// spool copies the content. After the first thing that is wrong it only reads,
// unless there is no room.
func (s *session) spool(tx *transaction, draft queue.Draft, r io.Reader, head *header) (size int64, no *refusal) {
	buffer := s.server.buffers.Get().(*[]byte)
	defer s.server.buffers.Put(buffer)
	asked := int64(-1)
	for {
		n, err := r.Read(*buffer)
		size += int64(n)
		failpoint.Hit(failpoint.InboundContent)
		piece := (*buffer)[:n]
		if no == nil && n > 0 && (asked < 0 || size > asked+stride) { // others may have come since RCPT
			asked = max(size, tx.size)
			if no := s.room(tx.envelope.Upstream, asked); no != nil {
				return size, no
			}
		}
		switch {
		case no != nil:
		case size > s.server.options.Limits.MessageSize:
			no = tooBig()
		default:
			head.scan(piece)
			if _, err := draft.Write(piece); err != nil {
				no = s.refusalOf(err, size)
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
	return []any{slog.String("upstream", e.Upstream), slog.String("from", smtp.Printable(e.ReversePath)),
		slog.Int("recipients", len(e.Recipients)), slog.String("to", smtp.Printable(first)),
		slog.String("address", e.Origin.Address), slog.String("hello", smtp.Printable(e.Origin.Hello)),
		slog.String("tls", e.Origin.TLS), slog.String("why", e.Origin.Reason)}
}
