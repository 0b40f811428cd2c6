package inbound

import (
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/health"
)

// TestAdmission has every cell.
func TestAdmission(t *testing.T) {
	states := []health.State{health.Up, health.Degraded, health.Down, health.Recovering}
	taken := map[health.State]string{health.Up: reasonReturning, health.Degraded: reasonDegraded, health.Down: reasonDown, health.Recovering: reasonRecovering}
	for _, relayed := range []bool{false, true} {
		for _, known := range []bool{false, true} {
			for _, state := range states {
				for _, returning := range []bool{false, true} {
					a := asked{relayed: relayed, known: known, state: state, returning: returning, hint: "primary.example"}
					reason, no := admit(a)
					want, code := taken[state], 0
					switch {
					case !relayed:
						want, code = reasonRelayDenied, 550
					case !known:
						want, code = reasonUnknown, 550
					case state == health.Up && !returning:
						want, code = reasonPrimaryUp, 451
					}
					if code == 0 && (no != nil || reason != want) {
						t.Errorf("%+v: %q, %+v", a, reason, no)
					}
					if code != 0 && (no == nil || reason != "" || no.reason != want || no.reply.Code != code) {
						t.Errorf("%+v: %q, %+v", a, reason, no)
					}
				}
			}
		}
	}
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
		if _, no := admit(test.asked); no == nil || !strings.HasPrefix(no.reply.Error(), test.want) {
			t.Errorf("%+v: %+v, want %s", test.asked, no, test.want)
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
