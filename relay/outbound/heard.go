package outbound

import (
	"context"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Heard is what the primary said about whether a recipient exists.
type Heard struct {
	Path      smtp.Path
	At        time.Time
	Exists    bool // it was taken; otherwise it was refused as unknown
	Delivered bool // a message was taken for it, not only RCPT
}

// missing are the statuses of a recipient that does not exist: bad mailbox, no
// such recipient, and the edge that does not find it in the directory. What is
// refused by policy (5.7.x) says nothing about who exists: it is about the sender.
var missing = []smtp.EnhancedStatus{{5, 1, 1}, {5, 1, 10}, {5, 4, 1}}

// heard is what an answer says about its recipient; ok is false if it says
// nothing. Only RCPT is believed with a refusal: one of the content may be about
// that, and a sender chooses it.
func heard(path smtp.Path, a answer) (h Heard, ok bool) {
	h = Heard{Path: path, At: time.Now(), Exists: a.ok(), Delivered: a.phase == health.PhaseFinal}
	switch {
	case a.ours, path.Domain == "", a.phase != health.PhaseRcpt && a.phase != health.PhaseFinal:
		return h, false
	case h.Exists:
		return h, true
	}
	v := a.verdict()
	return h, a.phase == health.PhaseRcpt && a.reply.Permanent() && v.Class == health.Recipient && v.Action == reply.Fail && slices.Contains(missing, a.reply.Status)
}

// hear tells what an answer says about its recipient to whoever wants to know.
func (u *Upstream) hear(path smtp.Path, a answer) {
	if h, ok := heard(path, a); ok && u.options.Hear != nil {
		u.options.Hear(h)
	}
}

// Exists asks whether the primary takes a recipient: MAIL FROM:<>, RCPT, in a
// session that is reused. ok is false if it did not say. ctx bounds everything.
// Nothing of it counts for health: whoever asks is not who is asked for.
func (u *Upstream) Exists(ctx context.Context, path smtp.Path) (exists, ok bool) {
	s, fresh := u.take(), false
	for {
		if s == nil {
			s, _, _ = u.dial(ctx, func(hop, answer, time.Duration) {})
			fresh = true
		}
		if s == nil {
			return false, false
		}
		a := s.ask(ctx, path)
		reused := !fresh && a.lost() && !a.ours // it had been closed while it was idle
		if s.broken || s.worn(time.Now()) {
			s.quit()
		} else {
			u.give(s)
		}
		if s = nil; reused && ctx.Err() == nil {
			continue
		}
		h, ok := heard(path, a)
		return ok && h.Exists, ok
	}
}

// ask begins a transaction for a recipient and leaves it: the next one says RSET.
func (s *session) ask(ctx context.Context, path smtp.Path) answer {
	release := s.under(ctx)
	a := s.begun(path)
	if !release() { // what closes the connection may be under way
		s.hangUp()
		a.ours = true
	}
	return a
}

// begun is the answer to RCPT, or the first that was not ok.
func (s *session) begun(path smtp.Path) answer {
	if s.open {
		if a := s.reset(); !a.ok() {
			s.broken = true
			return a
		}
	}
	s.messages++
	s.open = true
	mail := "MAIL FROM:<>"
	if !path.ASCII() {
		mail += " SMTPUTF8"
	}
	if a := s.command(health.PhaseMail, "MAIL", mail, s.options.Timeouts.Mail); !a.ok() {
		return a
	}
	return s.command(health.PhaseRcpt, "RCPT", "RCPT TO:<"+path.String()+">", s.options.Timeouts.Rcpt)
}
