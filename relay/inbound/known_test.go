package inbound

import (
	"context"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// who says who exists; looking is said to be Down.
type who func(domain string, path smtp.Path, primary recipients.Primary) recipients.Answer

func (w who) Ask(_ context.Context, domain string, path smtp.Path, primary recipients.Primary) recipients.Answer {
	return w(domain, path, primary)
}

func (w who) Look(domain string, path smtp.Path) recipients.Answer {
	return w(domain, path, recipients.Down)
}

// somebody is known as a, unknown as b, and not known under any other name.
func somebody(local string) recipients.Answer {
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	switch local {
	case "a":
		return recipients.Answer{Verdict: recipients.Known, Source: recipients.SourceList, At: at, Why: "it is in the list", Policy: recipients.Defer}
	case "b":
		return recipients.Answer{Verdict: recipients.Unknown, Source: recipients.SourceLearned, At: at, Why: "the primary refused it as unknown", Policy: recipients.Defer}
	}
	return recipients.Answer{Why: "no source says anything about it", Policy: recipients.Defer}
}

// TestExplainWho: what is known of a recipient, from where, and since when.
func TestExplainWho(t *testing.T) {
	for local, want := range map[string]string{
		"a": "a@d.example is known: it is in the list (list, 2026-11-20 08:00:00Z)",
		"b": "b@d.example is unknown: the primary refused it as unknown (learned, 2026-11-20 08:00:00Z)",
		"c": "c@d.example is not known: no source says anything about it; not_known is defer",
	} {
		r := newRig(t, func(o *Options) {
			o.Recipients = who(func(_ string, p smtp.Path, _ recipients.Primary) recipients.Answer { return somebody(p.Local) })
		})
		e, err := r.server.Explain(Question{Recipient: local + "@d.example"})
		if err != nil || e.Facts[2] != (Fact{"recipient", want}) {
			t.Errorf("%+v, %v", e.Facts, err)
		}
		r.finish()
	}
	r := newRig(t, nil)
	defer r.finish()
	if e, err := r.server.Explain(Question{Recipient: "a@d.example"}); err != nil || e.Facts[2].Finding != "a@d.example is known: every address is taken to exist" {
		t.Errorf("%+v, %v", e.Facts, err)
	}
}

// TestPassageOfWhoIsNotKnown: the primary knows, so it is asked; but what it has
// not said yes to is not kept while the policy is to wait.
func TestPassageOfWhoIsNotKnown(t *testing.T) {
	unknown := func(o *Options) {
		o.Recipients = who(func(_ string, p smtp.Path, primary recipients.Primary) recipients.Answer {
			if primary != recipients.Down { // the name is asked for in the passage anyway
				t.Errorf("%s was asked for", p)
			}
			return somebody(p.Local)
		})
	}
	for _, test := range []struct{ name, script, first, second, account string }{
		{"the primary has it", begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: RCPT TO:<d@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\ncontent\nS: 250 2.6.0 taken", "250", "250", "kept 0, passed 2"},
		{"it fails at the first", "refuse", "451 4.4.3", "451 4.4.3", none},
		{"it fails at the second", begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: RCPT TO:<d@d.example>\ncut", "250", "451 4.4.3", "kept 1, passed 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := front(t, unknown, test.script)
			w := g.dial("192.0.2.1").hello()
			w.ask("MAIL FROM:<s@far.example>", "250")
			w.ask("RCPT TO:<c@d.example>", test.first)
			w.ask("RCPT TO:<d@d.example>", test.second)
			if test.first == "250" {
				w.ask("DATA", "354")
				w.ask(stuffed+".", "250")
			}
			w.close()
			g.over()
			if got := g.account(); got != test.account {
				t.Errorf("%s, want %s", got, test.account)
			}
		})
	}
}

// TestCustodyOfWhoIsNotKnown: mail that is being kept does not change its way for
// a recipient that would pass.
func TestCustodyOfWhoIsNotKnown(t *testing.T) {
	g := front(t, func(o *Options) {
		o.Recipients = who(func(_ string, p smtp.Path, _ recipients.Primary) recipients.Answer { return somebody(p.Local) })
	})
	g.state = health.Down
	w := g.dial("192.0.2.1").hello()
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.ask("RCPT TO:<a@d.example>", "250")
	g.mu.Lock()
	g.state = health.Up
	g.mu.Unlock()
	w.ask("RCPT TO:<c@d.example>", "451 4.4.3")
	w.ask("DATA", "354")
	w.ask(stuffed+".", "250")
	w.close()
	g.over()
	if got := g.account(); got != "kept 1, passed 0" {
		t.Error(got)
	}
}
