package outbound

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

const probed = "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<probe@corp.example>\nS: 250 2.1.5 ok\nC: RSET\nS: 250 ok\nC: QUIT\nS: 221 bye\n"

func TestProbe(t *testing.T) {
	for _, test := range []struct{ name, script, signals string }{
		{"all goes well", hello("PIPELINING") + probed, "ok@rcpt"},
		{"over TLS", hello("STARTTLS") + startTLS + "tls\n" + ehlo() + probed, "ok@rcpt"},
		{"no connection", "refuse", "outage@connect"},
		{"the wrong certificate", hello("STARTTLS") + startTLS + "tls-other", "misconfigured@tls"},
		{"MAIL refused", hello() + "C: MAIL FROM:<>\nS: " + attr2 + "\nC: QUIT\nS: 221 bye", "outage@mail"},
		{"RCPT refused", hello() + "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<probe@corp.example>\nS: " + attr2 + "\nC: RSET\nS: 250 ok\nC: QUIT\nS: 221 bye", "outage@rcpt"},
		{"no such recipient", hello() + "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<probe@corp.example>\nS: 550 5.1.1 User unknown\nC: RSET\nS: 250 ok\nC: QUIT\nS: 221 bye", "recipient@rcpt"},
		{"cut before the reply to RCPT", hello() + "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<probe@corp.example>\ncut", "outage@rcpt"},
		{"RSET and QUIT do not matter", hello() + "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<probe@corp.example>\nS: 250 ok\nC: RSET\ncut", "ok@rcpt"},
		{"silence", hello() + "C: MAIL FROM:<>\nhang", "outage@mail"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) {
					o.TLS.Policy = TLSOpportunistic
					if strings.Contains(test.name, "certificate") {
						o.TLS.Policy = TLSRequired
					}
				}, test.script)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				got := r.Probe(ctx, "probe@corp.example", nil)
				if signals(got) != test.signals || got[0].Source != health.SourceProbe || !got[0].Last || got[0].Round == 0 {
					t.Errorf("%+v, want %s", got, test.signals)
				}
				r.end()
			})
		})
	}
}

func TestProbeOfEveryAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Hosts = []string{"none.example", "corp.example"}
			o.Resolver = names{"corp.example": {"192.0.2.1", "192.0.2.2"}}
		}, hello()+probed, hello()+probed)
		var lines []string // say is never called concurrently
		got := r.Probe(t.Context(), "probe@corp.example", func(line string) { lines = append(lines, line) })
		if signals(got) != "outage@resolve ok@rcpt ok@rcpt" {
			t.Fatalf("%s", signals(got))
		}
		for i, s := range got {
			if s.Round != got[0].Round || s.Last != (i == 2) || s.Upstream != "exo" {
				t.Errorf("signal %d: %+v", i, s)
			}
		}
		if got[1].Address != "192.0.2.1:25" || got[2].Address != "192.0.2.2:25" || got[1].Session != "08DE8A01A0B45E1B" || got[1].Host != "corp.example" {
			t.Errorf("%+v", got)
		}
		var first []string
		for _, line := range lines {
			if text, ok := strings.CutPrefix(line, "192.0.2.1:25 "); ok {
				first = append(first, text)
			}
		}
		want := "connect to 192.0.2.1:25 (corp.example)|S: 220 corp.example ESMTP ready [08DE8A01A0B45E1B]|C: EHLO relay.example|S: 250 corp.example|" +
			"C: MAIL FROM:<>|S: 250 ok|C: RCPT TO:<probe@corp.example>|S: 250 2.1.5 ok|C: RSET|S: 250 ok|C: QUIT|S: 221 bye"
		if strings.Join(first, "|") != want {
			t.Errorf("%s\nwant %s", strings.Join(first, "|"), want)
		}
		r.scripts = []string{hello() + probed, hello() + probed}
		if again := r.Probe(t.Context(), "probe@corp.example", nil); again[0].Round == got[0].Round {
			t.Error("two rounds with the same number")
		}
		r.end()
	})
}

func TestProbeThatIsCancelledSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello()+"C: MAIL FROM:<>\nhang")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if got := r.Probe(ctx, "probe@corp.example", nil); got != nil {
			t.Errorf("%+v", got)
		}
		r.end()
	})
}

func TestProbeWithoutARecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, recipient := range []string{"", "a b", "a@x.example>\r\nRSET"} {
			got := r.Probe(t.Context(), recipient, nil)
			if signals(got) != "misconfigured@rcpt" || !got[0].Last {
				t.Errorf("%q: %+v", recipient, got)
			}
		}
		r.end()
	})
}

func TestProbeOfAnInternationalAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("SMTPUTF8")+"C: MAIL FROM:<> SMTPUTF8\nS: 250 ok\nC: RCPT TO:<grün@corp.example>\nS: 250 ok\nC: RSET\nS: 250 ok")
		if got := r.Probe(t.Context(), "grün@corp.example", nil); signals(got) != "ok@rcpt" {
			t.Errorf("%+v", got)
		}
		r.end()
	})
}
