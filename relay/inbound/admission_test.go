package inbound

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/health"
)

// TestAdmission has every cell: role, mode, state, a sender that returns, and
// what is known of the recipient.
func TestAdmission(t *testing.T) {
	const up, degraded, down, recovering = health.Up, health.Degraded, health.Down, health.Recovering
	for _, row := range []struct {
		rule            Rule
		state           health.State
		once, returning string // of a known recipient
	}{
		{Rule{}, up, "451 primary_up", "take returning_sender"},
		{Rule{}, degraded, "take upstream_degraded", "take upstream_degraded"},
		{Rule{}, down, "take upstream_down", "take upstream_down"},
		{Rule{}, recovering, "take upstream_recovering", "take upstream_recovering"},
		{Rule{WhenUp: Pass}, up, "pass pass", "take returning_sender"},
		{Rule{WhenUp: Pass}, degraded, "take upstream_degraded", "take upstream_degraded"},
		{Rule{WhenUp: Pass}, down, "take upstream_down", "take upstream_down"},
		{Rule{WhenUp: Pass}, recovering, "take upstream_recovering", "take upstream_recovering"},
		{Rule{Role: Front}, up, "pass pass", "pass pass"},
		{Rule{Role: Front}, degraded, "pass pass", "pass pass"},
		{Rule{Role: Front}, down, "take upstream_down", "take upstream_down"},
		{Rule{Role: Front}, recovering, "take upstream_recovering", "take upstream_recovering"},
		{Rule{Role: Front, WhenUp: Pass}, up, "pass pass", "pass pass"},
		{Rule{Role: Front, WhenUp: Pass}, degraded, "pass pass", "pass pass"},
		{Rule{Role: Front, WhenUp: Pass}, down, "take upstream_down", "take upstream_down"},
		{Rule{Role: Front, WhenUp: Pass}, recovering, "take upstream_recovering", "take upstream_recovering"},
	} {
		for _, busy := range []WhenBusy{KeepBusy, DeferBusy} { // decides later, and here nothing
			for _, returning := range []bool{false, true} {
				row.rule.WhenBusy = busy
				a := asked{relayed: true, known: true, rule: row.rule, state: row.state, returning: returning}
				want := map[bool]string{false: row.once, true: row.returning}[returning]
				if got := cell(admit(a)); got != want {
					t.Errorf("%+v: %s, want %s", a, got, want)
				}
				a.known = false
				if got := cell(admit(a)); got != "550 unknown_recipient" {
					t.Errorf("%+v: %s", a, got)
				}
				for _, a.known = range []bool{false, true} {
					a.relayed = false
					if got := cell(admit(a)); got != "550 relay_denied" {
						t.Errorf("%+v: %s", a, got)
					}
				}
			}
		}
	}
}

// cell writes a decision.
func cell(a admitted) string {
	switch {
	case a.no != nil && (a.pass || a.reason != ""):
		return "both"
	case a.no != nil:
		return fmt.Sprint(a.no.reply.Code, " ", a.no.reason)
	case a.pass:
		return "pass " + a.reason
	}
	return "take " + a.reason
}

func TestAdmissionWords(t *testing.T) {
	for _, test := range []struct {
		asked asked
		want  string
	}{
		{asked{}, "550 5.7.1 relaying denied"},
		{asked{relayed: true}, "550 5.1.1 no such recipient"},
		{asked{relayed: true, later: true, state: health.Down}, "550 5.1.1 no such recipient"},
		{asked{relayed: true, known: true, later: true, state: health.Down}, "451 4.4.3 whether this recipient exists"},
		{asked{relayed: true, known: true, later: true, state: health.Degraded}, "451 4.4.3 whether this recipient exists"},
		{asked{relayed: true, known: true, state: health.Up, hint: "exo.example"}, "451 4.3.2 use the primary: exo.example"},
		{asked{relayed: true, known: true, state: health.Up}, "451 4.3.2 use the primary: the mail exchanger"},
	} {
		if a := admit(test.asked); a.no == nil || !strings.HasPrefix(a.no.reply.Error(), test.want) {
			t.Errorf("%+v: %+v, want %s", test.asked, a, test.want)
		}
	}
}

// openRelay are the forms that were tried to make a server pass mail on. f.test
// is foreign; taken are those that name a mailbox of d.example, whatever it is called.
var openRelay = []struct{ path, want string }{
	{"<user@f.test>", "550"},
	{"<user%f.test@d.example>", "250"},
	{"<f.test!user@d.example>", "250"},
	{"<f.test!user>", "501"},
	{"<user%f.test>", "501"},
	{"<@d.example:user@f.test>", "501"},
	{"<@d.example,@mx.d.example:user@f.test>", "501"},
	{`<"user@f.test"@d.example>`, "250"},
	{`<"user@f.test">`, "501"},
	{"<user@f.test@d.example>", "501"},
	{"<user@d.example@f.test>", "501"},
	{"<user@[192.0.2.5]>", "550"},
	{"<user@[127.0.0.1]>", "550"},
	{"<user@[IPv6:::1]>", "550"},
	{"<user@localhost>", "550"},
	{"<user@notd.example>", "550"},
	{"<user@d.example.f.test>", "550"},
	{"<user@sub.d.example>", "550"},
	{"<user@d.example%00.f.test>", "501"},
	{"<user@d.example\x00.f.test>", "501"},
	{"<user@d.example\x00>", "501"},
	{"<user@d.example(f.test)>", "501"},
	{"<user(c)@d.example>", "501"},
	{"<user＠f.test>", "501"},
	{"<user@f.test;user@d.example>", "501"},
	{"<user@f.test,user@d.example>", "501"},
	{"<user@d.example,user@f.test>", "501"},
	{"<user@d.example user@f.test>", "501"},
	{"<<user@f.test>>", "501"},
	{"<user@>", "501"},
	{"<user@.>", "501"},
	{"<user@d.example:25>", "501"},
	{"<user@.d.example>", "501"},
	{"<user@d.example.>", "501"},
	{"<@f.test:user@d.example>", "501"},
	{"<@d.example>", "501"},
	{"<>", "501"},
	{"user@f.test", "550"},
	{"<user@d.example", "501"},
	{`<"us\">er"@f.test>`, "550"},
}

func TestOpenRelay(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.Refusals = 1000 })
	for _, test := range openRelay {
		w := r.dial("192.0.2.1").hello()
		w.ask("MAIL FROM:<user@d.example>", "250")
		w.say("RCPT TO:" + test.path + "\r\n")
		if got := w.reply(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%q: %s, want %s", test.path, got, test.want)
		}
		w.say("DATA\r\n")
		if strings.HasPrefix(w.reply(), "354") {
			w.say(".\r\n")
			w.want("250")
		}
		w.close()
	}
	r.finish()
	for _, m := range r.messages() {
		for _, p := range m.Envelope.Recipients {
			if !strings.HasSuffix(p.ForwardPath, "@d.example") || strings.Count(p.ForwardPath, "@") > 1 && p.ForwardPath[0] != '"' {
				t.Errorf("taken for %q", p.ForwardPath)
			}
		}
	}
}
