package inbound

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSTARTTLS(t *testing.T) {
	r := newRig(t, withTLS(t))
	w := r.dial("192.0.2.1")
	w.want("220")
	w.say("EHLO client.example\r\n")
	if got := w.extensions(); got != "mx2.example STARTTLS PIPELINING 8BITMIME ENHANCEDSTATUSCODES CHUNKING SMTPUTF8 DSN SIZE 157286400" {
		t.Errorf("offered: %s", got)
	}
	w.transcript(`
		C: AUTH PLAIN AGEAYg==
		S: 502 5.5.1
		C: STARTTLS now
		S: 501 5.5.4
		C: MAIL FROM:<s@far.example> REQUIRETLS
		S: 555 5.5.4
		C: MAIL FROM:<s@far.example> BODY=BINARYMIME
		S: 555 5.5.4
		C: MAIL FROM:<s@far.example>
		S: 250
		C: RCPT TO:<a@d.example>
		S: 250
	`)
	w.secure()
	w.transcript(`
		C: RCPT TO:<a@d.example>
		S: 503 5.5.1
		C: DATA
		S: 503 5.5.1
		C: MAIL FROM:<s@far.example>
		S: 503 5.5.1
		C: EHLO
		S: 501
		C: DATA
		S: 503 5.5.1
		C: NOOP
		S: 250
		C: STARTTLS
		S: 503 5.5.1
	`)
	w.say("EHLO client.example\r\n")
	if got := w.extensions(); strings.Contains(got, "STARTTLS") {
		t.Errorf("offered within TLS: %s", got)
	}
	w.transcript(`
		C: RCPT TO:<a@d.example>
		S: 503 5.5.1
		C: MAIL FROM:<s@far.example>
		S: 250
		C: RCPT TO:<a@d.example>
		S: 250
		C: DATA
		S: 354
		C: .
		S: 250 2.0.0 queued as
		C: QUIT
		S: 221
	`)
	r.finish()
	m := r.messages()[0]
	if m.Envelope.Origin.TLS != "TLS1.3" {
		t.Errorf("origin %+v", m.Envelope.Origin)
	}
	if trace, _ := r.content(m.ID); !strings.Contains(trace, " with ESMTPS id "+string(m.ID)+"\r\n\tfor <a@d.example> tls TLS_AES_128_GCM_SHA256 (TLS1.3);\r\n") {
		t.Errorf("trace %q", trace)
	}
}

// extensions reads the reply to EHLO.
func (w *wire) extensions() string {
	w.t.Helper()
	var words []string
	for line := range w.lines {
		words = append(words, line[4:])
		if line[3] != '-' {
			return strings.Join(words, " ")
		}
	}
	w.t.Fatal("gone")
	return ""
}

func TestNoSTARTTLS(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1")
	w.want("220")
	w.say("EHLO client.example\r\n")
	if got := w.extensions(); strings.Contains(got, "STARTTLS") {
		t.Errorf("offered: %s", got)
	}
	w.ask("STARTTLS", "502 5.5.1")
	w.ask("STARTTLSx", "500")
	w.close()
	r.finish()
}

// TestInjection: what came in one piece with STARTTLS never counts.
func TestInjection(t *testing.T) {
	r := newRig(t, withTLS(t))
	w := r.dial("192.0.2.1").hello()
	w.say("STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<s@far.example>\r\nRCPT TO:<a@d.example>\r\n")
	w.want("554 5.5.0")
	w.want("gone")
	r.finish()
}

// TestFailedHandshake: after it the connection is closed, never plaintext again.
func TestFailedHandshake(t *testing.T) {
	r := newRig(t, withTLS(t))
	w := r.dial("192.0.2.1").hello()
	w.ask("STARTTLS", "220")
	w.say("EHLO evil.example\r\nMAIL FROM:<s@far.example>\r\nRCPT TO:<a@d.example>\r\nDATA\r\nx\r\n.\r\n")
	for _, line := range w.rest() {
		if strings.HasPrefix(line, "2") || strings.HasPrefix(line, "5") {
			t.Errorf("reply %q", line)
		}
	}
	r.finish()
	if !strings.Contains(r.log.String(), `"session.tls"`) || r.server.Stats().Refused[reasonHandshake] != 1 {
		t.Error(r.log)
	}
}

// TestHandshakeTakesTooLong: a client that says nothing holds no session.
func TestHandshakeTakesTooLong(t *testing.T) {
	offered := withTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, offered)
		defer r.finish()
		w := r.dial("192.0.2.1").hello()
		w.ask("STARTTLS", "220")
		begun := time.Now()
		w.want("gone")
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("gone after %v", took)
		}
	})
}

// TestShutdownWithinTLS: the farewell is secured as all else.
func TestShutdownWithinTLS(t *testing.T) {
	r := newRig(t, withTLS(t))
	w := r.dial("192.0.2.1").hello().secure()
	w.ask("EHLO client.example", "250")
	r.finish()
	w.want("421 4.3.2")
	w.want("gone")
}
