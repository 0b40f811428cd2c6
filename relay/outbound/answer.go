package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// answer is what one step of a dialogue came to: a reply, or a failure without
// one. The zero answer is none.
type answer struct {
	phase   health.Phase
	command string     // as queue.Reply names it
	reply   smtp.Reply // Code is 0 if there was none
	failure reply.Failure
	cause   error
	ours    bool // broken off by us; it says nothing about the primary
}

// ok reports whether the step went well: 354 to DATA, a positive completion
// to everything else.
func (a answer) ok() bool {
	if a.phase == health.PhaseData {
		return a.reply.Code == 354
	}
	return a.reply.Code/100 == 2
}

// lost reports whether there is no more dialogue to be had on the connection.
func (a answer) lost() bool { return a.reply.Code == 0 || a.reply.Code == 421 }

// verdict says what the answer means.
func (a answer) verdict() reply.Verdict {
	if a.reply.Code != 0 {
		return reply.Classify(a.phase, a.reply)
	}
	return reply.ClassifyError(a.phase, a.failure)
}

// brokenOff is what is kept of an attempt that we have ended.
const brokenOff = "broken off by the relay"

// record is the answer as the queue keeps it, verbatim.
func (a answer) record() queue.Reply {
	r := queue.Reply{Command: a.command, Code: a.reply.Code, Enhanced: a.reply.Status.String(), Text: strings.Join(a.reply.Lines, "\n")}
	switch {
	case a.ours:
		r.Text = brokenOff
	case a.cause != nil:
		r.Text = a.cause.Error()
	}
	return r
}

// failed makes the answer of a step that ended without a reply.
func failed(phase health.Phase, command string, err error) answer {
	return answer{phase: phase, command: command, failure: failureOf(phase, err), cause: err}
}

// failureOf says which failure an error is. Bytes that are no reply count as a
// reset, because all that is left to do is to hang up.
func failureOf(phase health.Phase, err error) reply.Failure {
	var timeout net.Error
	var network *net.OpError
	secured := phase == health.PhaseTLS || phase == health.PhaseHello // TLS 1.3 refuses our certificate late
	switch {
	case phase == health.PhaseResolve:
		return reply.NotResolved
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return reply.TimedOut
	case phase == health.PhaseConnect:
		return reply.Refused
	case errors.As(err, &network):
		if network.Op == "remote error" && secured { // an alert of TLS
			return reply.TLSFailed
		}
		return reply.Reset
	case phase == health.PhaseTLS && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return reply.TLSFailed
	}
	return reply.Reset
}
