package inbound

import (
	"strings"
	"testing"
)

// secured is a server with TLS, for a domain that takes nothing in plaintext,
// and an upstream that gives on what REQUIRETLS asks for.
func secured(t *testing.T, upstreams ...string) *rig {
	t.Helper()
	certificate := withTLS(t)
	return newRig(t, func(o *Options) {
		certificate(o)
		o.Secured = map[string]bool{"d.example": true}
		o.RequireTLS = func(upstream string) bool { return strings.Contains(strings.Join(upstreams, " "), upstream) }
	})
}

func TestDomainThatRequiresTLS(t *testing.T) {
	r := secured(t)
	w := r.dial("192.0.2.1").hello()
	w.transcript(`
		C: MAIL FROM:<s@far.example>
		S: 250
		C: RCPT TO:<a@d.example>
		S: 530 5.7.0 must issue a STARTTLS command first
		C: RCPT TO:<a@D.EXAMPLE>
		S: 530 5.7.0
		C: RCPT TO:<a@elsewhere.example>
		S: 550 5.7.1
		C: RCPT TO:<a@e.example>
		S: 250
		C: RSET
		S: 250
	`)
	w.secure()
	w.ask("EHLO client.example", "250")
	w.envelope().ask("RSET", "250")
	w.close()
	r.finish()
	if n := r.server.Stats().Refused[reasonPlaintext]; n != 2 {
		t.Errorf("%d refused for plaintext", n)
	}
}

// TestREQUIRETLS: it is offered within TLS, if an upstream keeps it, and taken
// for its domains only.
func TestREQUIRETLS(t *testing.T) {
	r := secured(t, "exo")
	w := r.dial("192.0.2.1")
	w.want("220")
	w.say("EHLO client.example\r\n")
	if got := w.extensions(); strings.Contains(got, "REQUIRETLS") {
		t.Errorf("offered in plaintext: %s", got)
	}
	w.ask("MAIL FROM:<s@far.example> REQUIRETLS", "555 5.5.4")
	w.secure()
	w.say("EHLO client.example\r\n")
	if got := w.extensions(); !strings.Contains(got, " REQUIRETLS ") {
		t.Errorf("not offered within TLS: %s", got)
	}
	w.transcript(`
		C: MAIL FROM:<s@far.example> REQUIRETLS
		S: 250
		C: RCPT TO:<a@f.example>
		S: 550 5.7.30
		C: RCPT TO:<a@d.example>
		S: 250
		C: DATA
		S: 354
		C: .
		S: 250
	`)
	w.close()
	r.finish()
	if m := r.messages(); len(m) != 1 || !m[0].Envelope.Params.RequireTLS {
		t.Errorf("messages %+v", m)
	}
}

// TestREQUIRETLSThatNobodyKeeps is neither offered nor taken.
func TestREQUIRETLSThatNobodyKeeps(t *testing.T) {
	for _, r := range []*rig{secured(t), newRig(t, withTLS(t))} {
		w := r.dial("192.0.2.1").hello().secure()
		w.say("EHLO client.example\r\n")
		if got := w.extensions(); strings.Contains(got, "REQUIRETLS") {
			t.Errorf("offered: %s", got)
		}
		w.ask("MAIL FROM:<s@far.example> REQUIRETLS", "555 5.5.4")
		w.close()
		r.finish()
	}
}
