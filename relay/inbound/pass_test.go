package inbound

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

const letter = "Message-ID: <1@far.example>\r\nSubject: x\r\n\r\n.dot\r\n"

// stuffed is letter as DATA sends it, without its end.
const stuffed = "Message-ID: <1@far.example>\r\nSubject: x\r\n\r\n..dot\r\n"

// large is a body of 100 KB.
var large = strings.Repeat(strings.Repeat("x", 98)+"\r\n", 1000)

// announced is agreed with a size.
var announced = strings.Replace(agreed, "far.example>", "far.example> SIZE=49", 1)

// TestPassed: the primary's 250 is ours, with its text, and nothing is queued.
func TestPassed(t *testing.T) {
	for _, way := range []string{"DATA", "BDAT", "pipelined"} {
		t.Run(way, func(t *testing.T) {
			script := begin + agreed
			if way == "pipelined" {
				script = begin + `
					C: MAIL FROM:<s@far.example>
					C: RCPT TO:<a@d.example>
					C: DATA
					S: 250 2.1.0 ok
					S: 250 2.1.5 ok
					S: 354 go ahead`
			}
			g := front(t, nil, script+`
				content
				S: 250 2.6.0 <1@far.example> [InternalId=7, Hostname=h.example] Queued mail for delivery
				C: MAIL FROM:<> BODY=8BITMIME
				C: RCPT TO:<b@e.example>
				S: 250 2.1.0 ok
				S: 250 2.1.5 ok`)
			w := g.dial("192.0.2.1").hello()
			switch way {
			case "pipelined":
				w.say("MAIL FROM:<s@far.example>\r\nRCPT TO:<a@d.example>\r\nDATA\r\n")
				w.want("250")
				w.want("250")
				w.want("354")
				w.say(stuffed + ".\r\n")
			case "DATA":
				w.envelope().ask("DATA", "354")
				w.say(stuffed + ".\r\n")
			case "BDAT":
				w.envelope().say(chunked(letter, 20))
				for range (len(letter) - 1) / 20 {
					w.want("250 2.0.0 Continue")
				}
			}
			w.want("250 2.6.0 <1@far.example> [InternalId=7, Hostname=h.example] Queued mail for delivery")
			w.ask("MAIL FROM:<> BODY=8BITMIME", "250") // another one on the same session, which is left alone
			w.ask("RCPT TO:<b@e.example>", "250")
			w.close()
			g.over()
			trace, content, _ := strings.Cut(g.contents[0], "Message-ID")
			if !strings.HasPrefix(trace, "Received: from client.example") || "Message-ID"+content != letter {
				t.Errorf("the primary got %q", g.contents[0])
			}
			e := g.entries()
			if len(e) != 1 || e[0].Event != queue.Passed || e[0].Origin.Reason != reasonPass || !strings.Contains(trace, " id "+string(e[0].ID)+"\r\n") ||
				e[0].MessageID != "<1@far.example>" || e[0].Size != int64(len(letter)) || e[0].Results[0].Reply.Code != 250 || e[0].Results[0].Action != queue.Delivered {
				t.Errorf("ledger: %+v", e)
			}
			if got := g.account(); got != "kept 0, passed 1" || len(g.messages()) != 0 {
				t.Error(got)
			}
			if got := g.observed(); got != "ok@final" {
				t.Error(got)
			}
			if got := strings.Join(g.heard, " "); got != "+a@d.example ++a@d.example +b@e.example" {
				t.Error(got)
			}
			if s := g.server.Stats(); s.Passed != 1 || s.Accepted != 0 || s.Unnoted != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// step is how a primary fails in a test: where, how, and what comes of it.
type step struct {
	name    string
	scripts []string
	rcpt    string // reply to RCPT
	final   string // reply to the content; "" if it is not sent
	account string
	signals string
	last    string // what stands with the recipient that is kept
}

var kept, none = "kept 1, passed 0", "kept 0, passed 0"

var steps = []step{
	{"no connection", []string{"refuse"}, "250", "250 2.0.0 queued as", kept, "outage@connect", "connect"},
	{"greeting 421", []string{"S: 421 4.3.2 not now"}, "250", "250 2.0.0 queued as", kept, "outage@banner", "421 4.3.2 not now"},
	{"greeting and nothing", []string{"S: 220 primary.example\nhang"}, "250", "250 2.0.0 queued as", kept, "outage@hello", ""},
	{"MAIL 451", []string{begin + "C: *\nC: *\nS: 451 4.3.2 Temporary server error\nS: 503 5.5.1 no"}, "250", "250 2.0.0 queued as", kept, "outage@mail", "451 4.3.2 Temporary server error"},
	{"MAIL 550 banned", []string{begin + "C: *\nC: *\nS: 550 5.7.606 Access denied, banned sending IP [192.0.2.7]\nS: 503 5.5.1 no"}, "250", "250 2.0.0 queued as", kept, "throttle@mail", "550 5.7.606"},
	{"MAIL 550", []string{begin + "C: *\nC: *\nS: 550 5.1.8 sender is bad\nS: 503 5.5.1 no"}, "550 5.1.8 sender is bad", "", none, "policy@mail", ""},
	{"MAIL lost", []string{begin + "C: *\nC: *\ncut"}, "250", "250 2.0.0 queued as", kept, "outage@mail", ""},
	{"RCPT 550 unknown", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 550 5.1.1 no such user"}, "550 5.1.1 no such user", "", none, "recipient@rcpt", ""},
	{"RCPT 450", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 450 4.2.1 mailbox busy"}, "450 4.2.1 mailbox busy", "", none, "temporary@rcpt", ""},
	{"RCPT 451 outage", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 451 4.3.2 Temporary server error. Please try again later ATTR2"}, "250", "250 2.0.0 queued as", kept, "outage@rcpt", "451 4.3.2"},
	{"RCPT 451 throttle", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 451 4.7.500 Server busy"}, "250", "250 2.0.0 queued as", kept, "throttle@rcpt", "451 4.7.500"},
	{"RCPT 421", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 421 4.3.2 closing"}, "250", "250 2.0.0 queued as", kept, "outage@rcpt", "421"},
	{"RCPT lost", []string{begin + "C: *\nC: *\nS: 250 ok\ncut"}, "250", "250 2.0.0 queued as", kept, "outage@rcpt", ""},
	{"RCPT garbled", []string{begin + "C: *\nC: *\nS: 250 ok\nS: what?"}, "250", "250 2.0.0 queued as", kept, "outage@rcpt", ""},
	{"RCPT slow", []string{begin + "C: *\nC: *\nS: 250 ok\nhang"}, "250", "250 2.0.0 queued as", kept, "outage@rcpt", ""},
	{"DATA 554", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 554 5.7.1 no"}, "250", "554 5.7.1 no", none, "policy@data", ""},
	{"DATA 451 outage", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 451 4.3.2 Temporary server error"}, "250", "250 2.0.0 queued as", kept, "outage@data", "451 4.3.2"},
	{"DATA 250", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 250 2.0.0 what"}, "250", "250 2.0.0 queued as", kept, "", "250"},
	{"DATA lost", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: DATA\ncut"}, "250", "250 2.0.0 queued as", kept, "outage@data", ""},
	{"DATA slow", []string{begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: DATA\nhang"}, "250", "250 2.0.0 queued as", kept, "outage@data", ""},
	{"content lost", []string{begin + agreed + "cut"}, "250", "250 2.0.0 queued as", kept, "outage@data", ""},
	{"content not read", []string{begin + agreed + "deaf"}, "250", "250 2.0.0 queued as", kept, "outage@data", ""},
	{"final 550", []string{begin + agreed + "content\nS: 550 5.7.1 spam"}, "250", "550 5.7.1 spam", none, "policy@final", ""},
	{"final 452", []string{begin + agreed + "content\nS: 452 4.2.2 mailbox full"}, "250", "452 4.2.2 mailbox full", none, "temporary@final", ""},
	{"final 451 outage", []string{begin + agreed + "content\nS: 451 4.3.2 Temporary server error"}, "250", "250 2.0.0 queued as", kept, "outage@final", "451 4.3.2"},
	{"final 421", []string{begin + agreed + "content\nS: 421 4.3.2 closing"}, "250", "250 2.0.0 queued as", kept, "outage@final", "421"},
	{"final lost", []string{begin + agreed + "content\ncut"}, "250", "250 2.0.0 queued as", kept, "outage@final", "?"},
	{"final slow", []string{begin + agreed + "content\nhang"}, "250", "250 2.0.0 queued as", kept, "outage@final", "?"},
	{"final 354", []string{begin + agreed + "content\nS: 354 more"}, "250", "250 2.0.0 queued as", kept, "", "354"},
}

// TestPrimaryFailsAtEachStep: whatever becomes of the primary, the sender hears
// its reply or the mail is ours.
func TestPrimaryFailsAtEachStep(t *testing.T) {
	for _, test := range steps {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playStep(t, test) })
		})
	}
}

func playStep(t *testing.T, test step) {
	sent, wire := letter, stuffed
	if strings.HasPrefix(test.name, "content") { // more than fits into a buffer
		sent, wire = letter+large, stuffed+large
	}
	g := front(t, nil, test.scripts...)
	w := g.dial("192.0.2.1").hello()
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.ask("RCPT TO:<a@d.example>", test.rcpt)
	if test.final != "" {
		w.ask("DATA", "354")
		w.ask(wire+".", test.final)
	}
	w.ask("RSET", "250")
	w.ask("MAIL FROM:<other@far.example>", "250") // the session is in order
	w.close()
	close(g.hearing)
	g.over()
	if got := g.account(); got != test.account {
		t.Errorf("%s, want %s", got, test.account)
	}
	if got := g.observed(); test.signals != "" && got != test.signals {
		t.Errorf("observed %q, want %q", got, test.signals)
	}
	for _, m := range g.messages() {
		last, e := m.Envelope.Recipients[0].Last, g.entries()[0]
		if m.Envelope.Origin.Reason != reasonPassFailed || m.State() != queue.StateDeferred || last.MaybeDuplicate != (test.last == "?") ||
			len(e.Results) != 1 || e.Results[0].MaybeDuplicate != last.MaybeDuplicate || m.NextAttempt.After(time.Now()) {
			t.Errorf("kept as %+v, ledger %+v", m, e)
		}
		if test.last != "?" && !strings.Contains(last.Reply.String()+last.Reply.Command, test.last) {
			t.Errorf("last %q", last.Reply)
		}
		if trace, content := g.content(m.ID); content != sent || !strings.HasPrefix(trace, "Received: ") {
			t.Errorf("kept %q", content)
		}
	}
	if test.final != "" && test.account == none && len(g.entries()) != 0 {
		t.Errorf("ledger %+v", g.entries())
	}
}

// TestPrimaryFailsWithoutRoom: when the mail cannot be kept it passes all the
// same, and nobody says 250 for what is nowhere.
func TestPrimaryFailsWithoutRoom(t *testing.T) {
	for _, test := range []struct {
		name, script string
		state        health.State
		rcpt, final  string
		passed       int64
	}{
		{"all is well", begin + announced + "content\nS: 250 2.6.0 taken", health.Up, "250", "250 2.6.0 taken", 1},
		{"refused", begin + announced + "content\nS: 550 5.7.1 spam", health.Up, "250", "550 5.7.1 spam", 0},
		{"in doubt", "", health.Degraded, "452 4.3.1", "", 0},
		{"down", "", health.Down, "452 4.3.1", "", 0},
		{"no connection", "refuse", health.Up, "452 4.3.1", "", 0},
		{"no consent", begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 451 4.3.2 Temporary server error", health.Up, "250", "451 4.3.2 the primary failed", 0},
		{"lost in the midst", begin + announced + "C: Received: *\ncut", health.Up, "250", "451 4.3.2 the primary failed", 0},
		{"lost at the end", begin + announced + "content\ncut", health.Up, "250", "451 4.3.2 the primary failed", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var scripts []string
			if test.script != "" {
				scripts = []string{test.script}
			}
			g := front(t, nil, scripts...)
			g.store.Limit(queue.Limits{Upstreams: map[string]queue.Limit{"exo": {Bytes: 1}}})
			g.state = test.state
			w := g.dial("192.0.2.1").hello()
			w.ask("MAIL FROM:<s@far.example> SIZE=49", "250")
			w.ask("RCPT TO:<a@d.example>", test.rcpt)
			if test.final != "" {
				w.ask("DATA", "354")
				w.ask(stuffed+".", test.final)
			}
			w.close()
			g.over()
			if got, want := g.account(), fmt.Sprintf("kept 0, passed %d", test.passed); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// TestFullDiskPasses: there is no draft, and so no id.
func TestFullDiskPasses(t *testing.T) {
	g := front(t, func(o *Options) {
		o.Store = &broken{Memory: o.Store.(*queuetest.Memory), create: queue.ErrFull}
	}, begin+agreed+"content\nS: 250 2.6.0 taken")
	w := g.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.ask(stuffed+".", "250 2.6.0 taken")
	w.close()
	g.over()
	if !strings.Contains(g.contents[0], "with ESMTP\r\n") || g.entries()[0].ID != "" {
		t.Errorf("%q, %+v", g.contents[0], g.entries())
	}
}
