package inbound

import (
	"strings"
	"testing"
)

// TestPassedLoop: a message that goes in circles is refused before the primary
// gets its final dot, so it takes nothing, and nothing is kept.
func TestPassedLoop(t *testing.T) {
	const own = "Received: from a.example (b.example [192.0.2.1])\r\n\tby mx2.example (mxkeep) with ESMTP id 06abcdefghjk; now\r\n"
	const other = "Received: from a.example by b.example; now\r\n"
	for _, test := range []struct {
		name, header string
		loop         bool
	}{
		{"our own field", other + own, true},
		{"100 fields", strings.Repeat(other, 100), true},
		{"60 fields", strings.Repeat(other, 60), false},
	} {
		for _, way := range []string{"DATA", "BDAT"} {
			t.Run(test.name+" "+way, func(t *testing.T) {
				script, want := begin+agreed+"cut off", "554 5.4.6"
				if !test.loop {
					script, want = begin+agreed+"content\nS: 250 2.6.0 taken", "250 2.6.0 taken"
				}
				g := front(t, nil, script)
				w := g.dial("192.0.2.1").hello().envelope()
				content := test.header + "Subject: x\r\n\r\nx\r\n"
				if way == "DATA" {
					w.ask("DATA", "354")
					w.say(content + ".\r\n")
				} else {
					w.say(chunked(content, len(content)))
				}
				w.want(want)
				w.ask("QUIT", "221")
				g.over()
				if got, want := g.account(), map[bool]string{true: none, false: "kept 0, passed 1"}[test.loop]; got != want || len(g.messages()) != 0 {
					t.Errorf("%s, want %s", got, want)
				}
				if n := g.refusedFor(reasonLoop); (n == 1) != test.loop {
					t.Errorf("counted %d", n)
				}
			})
		}
	}
}

// TestPassageThatIsNotSecured: what a domain or a sender asks for is looked at
// before the primary is. A primary that turns out not to keep it is not told
// who the mail is from, and the sender hears why; nothing is kept for it.
func TestPassageThatIsNotSecured(t *testing.T) {
	certificate := withTLS(t)
	for _, test := range []struct {
		name    string
		keeps   string // the upstream that is said to keep REQUIRETLS
		tls     bool
		scripts []string
		lines   string
		counted string
	}{
		{"the domain wants TLS", "", false, nil, "MAIL FROM:<s@far.example>|250|RCPT TO:<a@d.example>|530 5.7.0", "plaintext:1"},
		{"REQUIRETLS in plaintext", "exo", false, nil, "MAIL FROM:<s@far.example> REQUIRETLS|555 5.5.4", "bad_parameter:1"},
		{"REQUIRETLS, which another primary keeps", "other", true, nil, "MAIL FROM:<s@far.example> REQUIRETLS|250|RCPT TO:<a@d.example>|550 5.7.30", "requiretls_unsupported:1"},
		{"REQUIRETLS, which the primary kept once", "exo", true, []string{begin},
			"MAIL FROM:<s@far.example> REQUIRETLS|250|RCPT TO:<a@d.example>|550 5.7.30 the message needs REQUIRETLS, and the primary's certificate is not verified", "primary_declined:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := front(t, func(o *Options) {
				certificate(o)
				o.Secured = map[string]bool{"d.example": true}
				o.RequireTLS = func(upstream string) bool { return upstream == test.keeps }
			}, test.scripts...)
			w := g.dial("192.0.2.1").hello()
			if test.tls {
				w.secure().ask("EHLO client.example", "250")
			}
			words := strings.Split(test.lines, "|")
			for i := 0; i < len(words); i += 2 {
				w.ask(words[i], words[i+1])
			}
			w.ask("QUIT", "221")
			g.over()
			if got := counted(g.rig); got != test.counted || g.account() != none || g.observed() != "" {
				t.Errorf("%s, %s, observed %q", got, g.account(), g.observed())
			}
		})
	}
}
