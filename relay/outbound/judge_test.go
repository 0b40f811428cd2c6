package outbound

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

func TestJudge(t *testing.T) {
	reset := answer{phase: health.PhaseMail, failure: reply.Reset}
	for _, test := range []struct {
		name    string
		answer  answer
		verdict reply.Verdict
		action  queue.Action
		scope   queue.Scope
	}{
		{"accepted", replied(health.PhaseFinal, 250), reply.Verdict{Action: reply.Deliver}, queue.Delivered, queue.ScopeNone},
		{"retry", replied(health.PhaseFinal, 451), reply.Verdict{Action: reply.Retry, Scope: reply.ScopeUpstream}, queue.Deferred, queue.ScopeUpstream},
		{"split with nobody to split off", replied(health.PhaseRcpt, 452), reply.Verdict{Action: reply.Split, Scope: reply.ScopeMessage}, queue.Deferred, queue.ScopeOneRecipient},
		{"hold", replied(health.PhaseMail, 550), reply.Verdict{Action: reply.Hold, Scope: reply.ScopeOwn}, queue.Refused, queue.ScopeOwn},
		{"fail of a recipient", replied(health.PhaseRcpt, 550), reply.Verdict{Action: reply.Fail, Class: health.Recipient, Scope: reply.ScopeRecipient}, queue.Failed, queue.ScopeOneRecipient},
		{"fail by policy", replied(health.PhaseFinal, 550), reply.Verdict{Action: reply.Fail, Class: health.Policy, Scope: reply.ScopeMessage}, queue.Failed, queue.ScopeMessage},
		{"fail of any other class is not believed", replied(health.PhaseFinal, 550), reply.Verdict{Action: reply.Fail, Class: health.Misconfigured, Scope: reply.ScopeOwn}, queue.Refused, queue.ScopeOwn},
		{"what RCPT says of the message is said to one recipient", replied(health.PhaseRcpt, 450), reply.Verdict{Action: reply.Retry, Scope: reply.ScopeMessage}, queue.Deferred, queue.ScopeOneRecipient},
		{"not if it ended the session", replied(health.PhaseRcpt, 421), reply.Verdict{Action: reply.Retry, Scope: reply.ScopeMessage}, queue.Deferred, queue.ScopeMessage},
		{"nor if it was no reply", answer{phase: health.PhaseRcpt, failure: reply.Reset}, reply.Verdict{Action: reply.Retry, Scope: reply.ScopeMessage}, queue.Deferred, queue.ScopeMessage},
		{"a refusal before MAIL is not about the message", replied(health.PhaseHello, 550), reply.Verdict{Action: reply.Hold, Scope: reply.ScopeMessage}, queue.Deferred, queue.ScopeUpstream},
		{"nor a failure of RSET", replied(health.PhaseReset, 421), reply.Verdict{Action: reply.Retry, Scope: reply.ScopeMessage}, queue.Deferred, queue.ScopeUpstream},
		{"it may be about us", replied(health.PhaseBanner, 554), reply.Verdict{Action: reply.Hold, Scope: reply.ScopeOwn}, queue.Deferred, queue.ScopeOwn},
		{"a connection that is lost", reset, reply.Verdict{Action: reply.Retry, Scope: reply.ScopeMessage}, queue.Deferred, queue.ScopeMessage},
		{"broken off by the relay", answer{phase: health.PhaseMail, failure: reply.Reset, ours: true}, reply.Verdict{Action: reply.Retry, Scope: reply.ScopeUpstream}, queue.Deferred, queue.ScopeOwn},
	} {
		if action, scope := judge(test.answer, test.verdict); action != test.action || scope != test.scope {
			t.Errorf("%s: %v/%v, want %v/%v", test.name, action, scope, test.action, test.scope)
		}
	}
}

func replied(phase health.Phase, code int) answer {
	return answer{phase: phase, reply: smtp.Reply{Code: code, Lines: []string{""}}}
}

func TestFailureOf(t *testing.T) {
	timeout := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}
	for _, test := range []struct {
		name  string
		phase health.Phase
		err   error
		want  reply.Failure
	}{
		{"no address", health.PhaseResolve, &net.DNSError{IsNotFound: true}, reply.NotResolved},
		{"no answer of the DNS", health.PhaseResolve, &net.DNSError{IsTimeout: true}, reply.NotResolved},
		{"a connection that takes too long", health.PhaseConnect, context.DeadlineExceeded, reply.TimedOut},
		{"the same from the kernel", health.PhaseConnect, timeout, reply.TimedOut},
		{"no connection", health.PhaseConnect, &net.OpError{Op: "dial", Err: errors.New("connection refused")}, reply.Refused},
		{"a reply that takes too long", health.PhaseMail, fmt.Errorf("read: %w", timeout), reply.TimedOut},
		{"a reset", health.PhaseMail, reset, reply.Reset},
		{"an end", health.PhaseFinal, io.EOF, reply.Reset},
		{"an end within a reply", health.PhaseFinal, io.ErrUnexpectedEOF, reply.Reset},
		{"no reply of SMTP", health.PhaseMail, errGarbled, reply.Reset},
		{"a certificate that does not match", health.PhaseTLS, x509.HostnameError{}, reply.TLSFailed},
		{"a handshake that is cut", health.PhaseTLS, io.EOF, reply.Reset},
		{"a handshake that is reset", health.PhaseTLS, reset, reply.Reset},
		{"an alert in the handshake", health.PhaseTLS, alert, reply.TLSFailed},
		{"an alert behind it: our certificate is refused late", health.PhaseHello, alert, reply.TLSFailed},
		{"an alert in the middle of a message", health.PhaseMail, alert, reply.Reset},
	} {
		if got := failureOf(test.phase, test.err); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestScopesAreTranslated(t *testing.T) {
	for scope, want := range map[reply.Scope]queue.Scope{reply.ScopeNone: queue.ScopeNone, reply.ScopeUpstream: queue.ScopeUpstream,
		reply.ScopeOwn: queue.ScopeOwn, reply.ScopeMessage: queue.ScopeMessage, reply.ScopeRecipient: queue.ScopeOneRecipient} {
		if scopes[scope] != want {
			t.Errorf("%v is %v", scope, scopes[scope])
		}
	}
}
