package inbound

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"
)

// TestEarlyTalker: who speaks before the greeting is no mail server.
func TestEarlyTalker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Timeouts.Greeting = 2 * time.Second })
		defer r.finish()
		early := r.dial("192.0.2.1")
		early.say("EHLO client.example\r\nMAIL FROM:<>\r\n")
		early.want("554 5.5.1")
		early.want("gone")
		gone := r.dial("192.0.2.1")
		gone.close()
		gone.want("gone")
		begun := time.Now()
		patient := r.dial("192.0.2.1")
		patient.want("220 mx2.example")
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("greeting after %v", took)
		}
		patient.ask("QUIT", "221")
	})
}

// TestTrickle: a command has to come as a whole in its time.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.finish()
		w := r.dial("192.0.2.1").hello()
		begun := time.Now()
		for _, c := range strings.Repeat("NOOP ", 100) {
			w.say(string(c))
			time.Sleep(10 * time.Second)
		}
		w.want("421 4.4.2 timeout")
		w.want("gone")
		if took := time.Since(begun); took > 5000*time.Second {
			t.Errorf("it took %v", took)
		}
		if r.server.Stats().Refused[reasonTimeout] != 1 {
			t.Error(r.server.Stats())
		}
	})
}

// TestSessionEnds: however busy, a session has an end.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.finish()
		w := r.dial("192.0.2.1").hello()
		begun := time.Now()
		for got := ""; !strings.HasPrefix(got, "421 4.4.2"); got = w.reply() {
			w.say("NOOP\r\n")
			time.Sleep(time.Minute)
		}
		w.want("gone")
		if took := time.Since(begun); took < time.Hour || took > time.Hour+2*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// TestDeafClient: one that does not read cannot hold a session.
func TestDeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.finish()
		w := r.dial("192.0.2.1").hello()
		w.askLast("NOOP", "250 2.0.0 I have") // nobody reads from now on
		w.say("NOOP\r\n")
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if n := r.server.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestCommandLines(t *testing.T) {
	for _, test := range []struct{ rule, said, want string }{
		{"2,048 octets", "NOOP " + strings.Repeat("x", 2041) + "\r\n", "250"},
		{"2,049 octets", "NOOP " + strings.Repeat("x", 2042) + "\r\n", "500 5.5.2 gone"},
		{"10 KiB", "NOOP " + strings.Repeat("x", 10<<10) + "\r\n", "500 5.5.2 gone"},
		{"2 MiB without an end", strings.Repeat("x", 2<<20), "500 5.5.2 gone"},
		{"white space at the end", "NOOP \t \r\n", "250"},
		{"white space before a lone LF", "NOOP \n", "500 5.5.2 gone"},
		{"LF alone", "NOOP\nNOOP\r\n", "500 5.5.2 gone"},
		{"CR within", "NOOP\rNOOP\r\n", "501 5.5.2"},
		{"NUL", "MAIL FROM:<a\x00@far.example>\r\n", "501 5.5.2"},
		{"ESC", "MAIL FROM:<\x1b[2J@far.example>\r\n", "501 5.5.2"},
		{"ESC in a verb", "\x1b]0; x\r\n", "501 5.5.2"},
		{"C1", "NOOP \u009b\r\n", "501 5.5.2"},
		{"no UTF-8", "NOOP \xff\r\n", "501 5.5.2"},
		{"ESC in a name", "EHLO \x1b[2J\r\n", "501 5.5.2"},
		{"a name that is no name", "EHLO b\u00fccher.example\r\n", "501 5.5.2"},
		{"a name of 256 octets", "EHLO " + strings.Repeat("x", 256) + "\r\n", "501 5.5.2"},
		{"no name", "EHLO\r\n", "501"},
		{"UTF-8 in a verb", "aa\u4e9bb x\r\n", "500 5.5.2"},
		{"no verb", " NOOP\r\n", "500 5.5.2"},
		{"nothing", "\r\n", "500 5.5.2"},
		{"unknown", "XCLIENT ADDR=127.0.0.1\r\n", "500 5.5.1"},
		{"PROXY", "PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n", "500 5.5.1"},
		{"VRFY", "VRFY a\r\n", "252"},
		{"EXPN", "EXPN a\r\n", "502"},
		{"ENVID with a line end", "MAIL FROM:<> ENVID=+0D+0AX\r\n", "501 5.5.4"},
		{"long ENVID", "MAIL FROM:<> ENVID=" + strings.Repeat("x", 101) + "\r\n", "501 5.5.4"},
		{"bad RET", "MAIL FROM:<> RET=X\r\n", "501 5.5.4"},
		{"SIZE above the limit", "MAIL FROM:<> SIZE=157286401\r\n", "552 5.3.4"},
		{"a domain with NUL written out", "MAIL FROM:<a@b%00c>\r\n", "553 5.1.7"},
		{"RCPT without TO", "RCPT <a@d.example>\r\n", "501 5.5.4"},
		{"GET", "GET / HTTP/1.1\r\nHost: x\r\n", "554 5.5.0 gone"},
		{"POST with LF", "POST / HTTP/1.0\n\nMAIL FROM:<>\r\n", "554 5.5.0 gone"},
		{"CONNECT", "CONNECT x:25 HTTP/1.1\r\n", "554 5.5.0 gone"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", "554 5.5.0 gone"},
	} {
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello()
		w.say(test.said)
		prefix, closes := strings.CutSuffix(test.want, " gone")
		if got := w.reply(); !strings.HasPrefix(got, prefix) {
			t.Errorf("%s: %q, want %q", test.rule, got, prefix)
		} else if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%s: it comes back in %q", test.rule, got)
		}
		if closes {
			w.want("gone")
		} else {
			w.ask("QUIT", "221")
		}
		w.close()
		r.finish()
	}
}

// TestParameters: xtext that stands for control characters is refused.
func TestParameters(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	w.transcript(`
		C: MAIL FROM:<s@far.example> BODY=8BITMIME RET=HDRS ENVID=QQ+2B314 SMTPUTF8 SIZE=1000
		S: 250
		C: RCPT TO:<a@d.example> ORCPT=rfc822;a+0D+0A@d.example
		S: 501
		C: RCPT TO:<a@d.example> ORCPT=utf-8;a\x{07}@d.example
		S: 501 5.5.4
		C: RCPT TO:<a@d.example> NOTIFY=NEVER,DELAY
		S: 501
		C: RCPT TO:<a@d.example> NOTIFY=DELAY,FAILURE ORCPT=rfc822;A+2Bx@d.example
		S: 250
		C: RCPT TO:<b@d.example> ORCPT=utf-8;j\x{F6}rg@d.example
		S: 250
		C: DATA
		S: 354
		C: .
		S: 250 2.0.0 queued as
		C: MAIL FROM:<>
		S: 250
		C: RCPT TO:<a@d.example> NOTIFY=NEVER
		S: 250
		C: BDAT 0 LAST
		S: 250 2.0.0 queued as
		C: QUIT
		S: 221
	`)
	r.finish()
	m := r.messages()
	e := m[0].Envelope
	if p := fmt.Sprintf("%+v", e.Params); p != "{Body:8BITMIME SMTPUTF8:true Ret:HDRS EnvID:QQ+314 RequireTLS:false}" {
		t.Errorf("parameters %s", p)
	}
	if e.Recipients[0].ORcpt != "rfc822;A+x@d.example" || fmt.Sprint(e.Recipients[0].Notify) != "[DELAY FAILURE]" || e.Recipients[1].ORcpt != "utf-8;jörg@d.example" {
		t.Errorf("recipients %+v", e.Recipients)
	}
	if e := m[1].Envelope; e.ReversePath != "" || fmt.Sprint(e.Recipients[0].Notify) != "[NEVER]" || e.Upstream != "exo" {
		t.Errorf("envelope %+v", e)
	}
}

// TestSecondHello: the name of a later EHLO is checked as the first one.
func TestSecondHello(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello().envelope()
	w.transcript("C: EHLO \x1b[2J\nS: 501\nC: RCPT TO:<b@d.example>\nS: 250\nC: HELO other.example\nS: 250 mx2.example\nC: RCPT TO:<b@d.example>\nS: 503")
	w.envelope()
	w.transcript("C: DATA\nS: 354\nC: .\nS: 250\nC: QUIT\nS: 221")
	r.finish()
	m := r.messages()[0]
	if trace, _ := r.content(m.ID); !strings.HasPrefix(trace, "Received: from other.example (unknown [192.0.2.1])\r\n\tby mx2.example (mxkeep) with SMTP id "+string(m.ID)) {
		t.Errorf("trace %q", trace)
	}
	if m.Envelope.Origin.Hello != "other.example" {
		t.Errorf("origin %+v", m.Envelope.Origin)
	}
}

func TestTooManyErrors(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	for range maxFlaws {
		w.ask("\x00", "501")
	}
	w.ask("\x00", "421 4.7.0")
	w.want("gone")
	r.finish()
}

// TestHarvest: who guesses recipients is cut off.
func TestHarvest(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.Refusals = 3 })
	w := r.dial("192.0.2.1").hello()
	w.ask("MAIL FROM:<>", "250")
	for range 3 {
		w.ask("RCPT TO:<guess@elsewhere.example>", "550 5.7.1")
	}
	w.ask("RCPT TO:<guess@elsewhere.example>", "421 4.7.0 too many refused recipients")
	w.want("gone")
	r.finish()
	if got := r.server.Stats().Refused; got[reasonRelayDenied] != 3 || got[reasonRefusals] != 1 {
		t.Errorf("refused: %v", got)
	}
	if log := r.log.String(); strings.Count(log, "session.refused") != 1 || !strings.Contains(log, `"relay_denied":3`) {
		t.Error(log)
	}
}

func TestRecipientsOfATransaction(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.Recipients = 2 })
	w := r.dial("192.0.2.1").hello()
	w.transcript(`
		C: MAIL FROM:<s@far.example>
		S: 250
		C: RCPT TO:<a@d.example>
		S: 250
		C: RCPT TO:<a@f.example>
		S: 452 4.5.3 this recipient needs a transaction of its own
		C: RCPT TO:<b@e.example>
		S: 250
		C: RCPT TO:<c@d.example>
		S: 452 4.5.3 too many
		C: QUIT
		S: 221
	`)
	r.finish()
}

// TestConnectionLimits: of an address, an IPv6 network, and in all.
func TestConnectionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Limits.Sessions, o.Limits.SessionsPerAddress, o.Limits.SessionsPerNetwork = 3, 1, 1
		})
		refused := func(from string) {
			t.Helper()
			w := r.dial(from)
			w.want("421 4.7.0")
			w.want("gone")
		}
		first := r.dial("192.0.2.1").hello()
		refused("192.0.2.1")
		second := r.dial("2001:db8:0:1::1").hello()
		refused("2001:db8:0:1:ffff::2")
		r.dial("2001:db8:0:2::1").hello()
		refused("192.0.2.9")
		first.ask("QUIT", "221")
		second.close()
		synctest.Wait()
		if n := r.server.Stats().Sessions; n != 1 {
			t.Errorf("%d sessions", n)
		}
		r.dial("192.0.2.1").hello()
		time.Sleep(time.Minute)
		refused("192.0.2.1")
		r.finish()
		if got := r.server.Stats().Refused; got[reasonPerAddress] != 2 || got[reasonPerNetwork] != 1 || got[reasonConnections] != 1 {
			t.Errorf("refused: %v", got)
		}
		if log := r.log.String(); strings.Count(log, "connections.refused") != 2 || !strings.Contains(log, `"connections":3`) {
			t.Error(log)
		}
	})
}
