package inbound

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// TestRecipientsOfAPassage: the first decides, later refusals are handed on, and
// if the session dies all that were accepted are kept.
func TestRecipientsOfAPassage(t *testing.T) {
	const first = begin + "C: MAIL FROM:<s@far.example>\nC: RCPT TO:<a@d.example>\nS: 250 ok\nS: 250 ok\n"
	const end = "\nC: DATA\nS: 354 go\ncontent\nS: 250 2.6.0 taken"
	for _, test := range []struct{ name, script, client, final, account, heard string }{
		{"later refusals", first + "C: RCPT TO:<b@d.example>\nS: 550 5.1.1 no b\nC: RCPT TO:<c@e.example>\nS: 451 4.3.2 Temporary server error\nC: RCPT TO:<d@d.example>\nS: 250 ok" + end,
			"RCPT TO:<a@d.example> 250, RCPT TO:<b@d.example> 550 5.1.1 no b, RCPT TO:<c@e.example> 451 4.3.2 Temporary, RCPT TO:<d@d.example> 250", "250 2.6.0 taken", "kept 0, passed 2", "+a -b +d ++a ++d"},
		{"no bounce for our own sake", first + "C: RCPT TO:<b@d.example>\nS: 550 5.7.606 Access denied, banned sending IP [192.0.2.7]" + end,
			"RCPT TO:<a@d.example> 250, RCPT TO:<b@d.example> 451 4.3.2 the primary", "250 2.6.0 taken", "kept 0, passed 1", "+a ++a"},
		{"the first is refused", begin + "C: *\nC: *\nS: 250 ok\nS: 550 5.1.1 no a\nC: RCPT TO:<b@d.example>\nS: 250 ok" + end,
			"RCPT TO:<a@d.example> 550 5.1.1 no a, RCPT TO:<b@d.example> 250", "250 2.6.0 taken", "kept 0, passed 1", "-a +b ++b"},
		{"cut at the second", first + "C: RCPT TO:<b@d.example>\ncut",
			"RCPT TO:<a@d.example> 250, RCPT TO:<b@d.example> 250, RCPT TO:<c@d.example> 250", "250 2.0.0 queued", "kept 3, passed 0", "+a"},
		{"421 at the second", first + "C: RCPT TO:<b@d.example>\nS: 421 4.3.2 closing",
			"RCPT TO:<a@d.example> 250, RCPT TO:<b@d.example> 250", "250 2.0.0 queued", "kept 2, passed 0", "+a"},
		{"too many", first + "C: RCPT TO:<b@d.example>\nS: 250 ok" + end,
			"RCPT TO:<a@d.example> 250, RCPT TO:<b@d.example> 250, RCPT TO:<c@d.example> 452 4.5.3 too many", "250 2.6.0 taken", "kept 0, passed 2", "+a +b ++a ++b"},
		{"ours to refuse", first[:strings.LastIndex(first, "S: 250")] + "S: 250 ok" + end,
			"RCPT TO:<x@nowhere.example> 550 5.7.1, RCPT TO:<a@d.example> 250, RCPT TO:<x@nowhere.example> 550 5.7.1, RCPT TO:<x@f.example> 451", "250 2.6.0 taken", "kept 0, passed 1", "+a ++a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			most := map[bool]int{true: 2}[test.name == "too many"]
			g := frontOf(t, outbound.Options{Recipients: most}, nil, test.script)
			w := g.dial("192.0.2.1").hello()
			w.ask("MAIL FROM:<s@far.example>", "250")
			for line := range strings.SplitSeq(test.client, ", ") {
				command, want, _ := strings.Cut(line, "> ")
				w.ask(command+">", want)
			}
			w.ask("DATA", "354")
			w.ask(stuffed+".", test.final)
			w.close()
			g.over()
			if got := g.account(); got != test.account {
				t.Errorf("%s, want %s", got, test.account)
			}
			if got := strings.ReplaceAll(strings.Join(g.heard, " "), "@d.example", ""); got != test.heard {
				t.Errorf("heard %s, want %s", got, test.heard)
			}
		})
	}
}

// TestPipelinedPassage: DATA goes with the last RCPT, and is taken back if there
// is nobody to get the content.
func TestPipelinedPassage(t *testing.T) {
	for _, test := range []struct{ name, script, client, replies string }{
		{"two recipients", begin + "C: *\nC: RCPT TO:<a@d.example>\nS: 250 ok\nS: 250 ok\nC: RCPT TO:<b@d.example>\nC: DATA\nS: 250 ok\nS: 354 go\ncontent\nS: 250 2.6.0 taken",
			"RCPT TO:<a@d.example>\nRCPT TO:<b@d.example>\ndata \n", "250 250 250 354"},
		{"the second is refused", begin + "C: *\nC: RCPT TO:<a@d.example>\nS: 250 ok\nS: 250 ok\nC: RCPT TO:<b@d.example>\nC: DATA\nS: 550 5.1.1 no b\nS: 354 go\ncontent\nS: 250 2.6.0 taken",
			"RCPT TO:<a@d.example>\nRCPT TO:<b@d.example>\nDATA\n", "250 250 550 354"},
		{"all are refused", begin + "C: *\nC: RCPT TO:<a@d.example>\nS: 250 ok\nS: 550 5.1.1 no a\nC: RCPT TO:<b@d.example>\nC: DATA\nS: 550 5.1.1 no b\nS: 354 go\nC: .\nS: 554 5.5.1 no recipients",
			"RCPT TO:<a@d.example>\nRCPT TO:<b@d.example>\nDATA\n", "250 550 550 503"},
		{"the only one is refused", begin + "C: *\nC: *\nC: DATA\nS: 250 ok\nS: 550 5.1.1 no a\nS: 503 5.5.1 no recipients",
			"RCPT TO:<a@d.example>\nDATA\n", "250 550 503"},
		{"MAIL is refused", begin + "C: *\nC: *\nC: DATA\nS: 550 5.1.8 no s\nS: 503 5.5.1 no\nS: 503 5.5.1 no",
			"RCPT TO:<a@d.example>\nDATA\n", "250 550 503"},
		{"an outage at the only one", begin + "C: *\nC: *\nC: DATA\nS: 250 ok\nS: 451 4.3.2 Temporary server error\nS: 503 5.5.1 no",
			"RCPT TO:<a@d.example>\nDATA\n", "250 250 354"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := front(t, nil, test.script)
			w := g.dial("192.0.2.1").hello()
			w.say(strings.ReplaceAll("MAIL FROM:<s@far.example>\n"+test.client, "\n", "\r\n"))
			codes := strings.Fields(test.replies)
			for _, code := range codes {
				w.want(code)
			}
			if codes[len(codes)-1] == "354" {
				w.ask(stuffed+".", "250")
			}
			w.close()
			g.over()
		})
	}
}

// TestTruncatedPassage: what the client does not complete, the primary must not get.
func TestTruncatedPassage(t *testing.T) {
	big := strings.Repeat(large, 3)
	for _, test := range []struct {
		name string
		send func(w *wire)
	}{
		{"gone within DATA", func(w *wire) { w.ask("DATA", "354"); w.say(stuffed + large); w.close() }},
		{"gone before the dot", func(w *wire) { w.ask("DATA", "354"); w.say(stuffed); w.close() }},
		{"gone within BDAT LAST", func(w *wire) { w.say("BDAT 150000 LAST\r\n" + letter + large); w.close() }},
		{"gone between chunks", func(w *wire) { w.say(chunkOf(letter + large)); w.want("250"); w.close() }},
		{"RSET between chunks", func(w *wire) { w.say(chunkOf(letter + large)); w.want("250"); w.ask("RSET", "250"); w.close() }},
		{"a bare LF in DATA", func(w *wire) { w.ask("DATA", "354"); w.ask(stuffed+"a\nb\r\n.", "550 5.6.11"); w.close() }},
		{"a bare LF in BDAT", func(w *wire) { w.say("BDAT 5 LAST\r\na\nb\r\n"); w.want("550 5.6.11"); w.close() }},
		{"too big", func(w *wire) { w.ask("DATA", "354"); w.ask(big+".", "552 5.3.4"); w.close() }},
		{"in circles", func(w *wire) {
			w.ask("DATA", "354")
			w.ask(strings.Repeat("Received: x\r\n", 101)+"\r\n.", "554 5.4.6")
			w.close()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := front(t, func(o *Options) { o.Limits.MessageSize = 200000 }, begin+agreed+"cut off")
			test.send(g.dial("192.0.2.1").hello().envelope())
			g.over()
			if got := g.account(); got != none || len(g.entries()) != 0 || g.observed() != "" {
				t.Errorf("%s, %+v, %s", got, g.entries(), g.observed())
			}
		})
	}
}

func chunkOf(content string) string {
	all := chunked(content, len(content))
	return strings.Replace(all, " LAST", "", 1)
}

// TestPassageIsLeft: a transaction that ends before its content leaves the
// session with the primary in order.
func TestPassageIsLeft(t *testing.T) {
	g := front(t, nil, begin+`
		C: MAIL FROM:<s@far.example>
		C: RCPT TO:<a@d.example>
		S: 250 ok
		S: 250 ok
		C: RSET
		S: 250 ok
		C: MAIL FROM:<s@far.example>
		C: RCPT TO:<a@d.example>
		S: 250 ok
		S: 550 5.1.1 no a`)
	w := g.dial("192.0.2.1").hello().envelope()
	w.ask("RSET", "250")
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.ask("RCPT TO:<a@d.example>", "550 5.1.1 no a")
	g.mu.Lock()
	g.state = health.Down // meanwhile
	g.mu.Unlock()
	w.ask("RCPT TO:<b@d.example>", "250")
	w.ask("DATA", "354")
	w.ask(stuffed+".", "250 2.0.0 queued")
	w.close()
	g.over()
	if m := g.messages(); len(m) != 1 || m[0].Envelope.Origin.Reason != reasonDown || m[0].State() != queue.StateQueued {
		t.Errorf("%+v", m)
	}
}

// TestOtherPrimary: after refusals alone another primary can be asked.
func TestOtherPrimary(t *testing.T) {
	g := front(t, func(o *Options) {
		o.Rules["f.example"] = Rule{Role: Front}
		o.Primaries["other"] = o.Primaries["exo"] // the same wires
	}, begin+"C: *\nC: *\nS: 250 ok\nS: 550 5.1.1 no a\nC: RSET\nS: 250 ok\nC: *\nC: RCPT TO:<b@f.example>\nS: 250 ok\nS: 250 ok")
	w := g.dial("192.0.2.1").hello()
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.ask("RCPT TO:<a@d.example>", "550")
	w.ask("RCPT TO:<b@f.example>", "250")
	w.ask("RCPT TO:<a@d.example>", "452 4.5.3")
	w.close()
	g.over()
}

// TestBusyPrimary: with all sessions in use mail is kept, or deferred, as the rule says.
func TestBusyPrimary(t *testing.T) {
	g := frontOf(t, outbound.Options{Connections: 1}, nil, begin+agreed[:strings.Index(agreed, "C: DATA")]+"C: RSET\nS: 250 ok\nC: *\nC: *\nS: 250 ok\nS: 250 ok")
	first, second := g.dial("192.0.2.1").hello().envelope(), g.dial("192.0.2.2").hello()
	second.ask("MAIL FROM:<s@far.example>", "250")
	second.ask("RCPT TO:<a@e.example>", "451 4.3.2 the primary is busy")
	second.ask("RCPT TO:<a@d.example>", "250")
	second.ask("RCPT TO:<a@e.example>", "250") // now it is kept anyhow
	first.ask("RSET", "250")
	second.ask("DATA", "354")
	second.ask(stuffed+".", "250 2.0.0 queued")
	second.envelope()
	first.close()
	second.close()
	g.over()
	if m := g.messages(); len(m) != 1 || m[0].Envelope.Origin.Reason != reasonBusy || len(m[0].Envelope.Recipients) != 2 {
		t.Errorf("%+v", m)
	}
}

// TestParametersArePassed, as far as the primary offers them; what it lacks and
// the message needs is refused.
func TestParametersArePassed(t *testing.T) {
	g := front(t, nil, begin+`
		C: MAIL FROM:<é@far.example> SIZE=49 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By
		C: RCPT TO:<ü@d.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;z@x.example
		S: 250 ok
		S: 250 ok`)
	w := g.dial("192.0.2.1").hello()
	w.ask("MAIL FROM:<é@far.example> SIZE=49 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By", "250")
	w.ask("RCPT TO:<ü@d.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;z@x.example", "250")
	w.close()
	g.over()

	// No session that is idle decides what the primary lacks.
	bare := "S: 220 x\nC: EHLO mx2.example\nS: 250-primary.example\nS: 250 SIZE 10\n"
	g = front(t, nil, bare, bare, bare+"C: MAIL FROM:<s@far.example>\nS: 250 ok\nC: RCPT TO:<a@d.example>\nS: 250 ok\nC: RCPT TO:<b@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\ncontent\nS: 250 taken")
	w = g.dial("192.0.2.1").hello()
	for _, test := range [][2]string{{"SMTPUTF8", "550 5.6.7"}, {"BODY=8BITMIME", "554 5.6.3"}, {"SIZE=11", "552 5.3.4"}} {
		w.ask("MAIL FROM:<s@far.example> "+test[0], "250")
		w.ask("RCPT TO:<a@d.example>", test[1])
		w.ask("RSET", "250")
	}
	w.ask("MAIL FROM:<s@far.example> RET=FULL", "250") // no DSN there: as for mail that is delivered
	w.ask("RCPT TO:<a@d.example> NOTIFY=NEVER", "250")
	w.say("RCPT TO:<b@d.example>\r\nDATA\r\n")
	w.want("250")
	w.want("354")
	w.ask(stuffed+".", "250 2.0.0 taken")
	w.close()
	g.over()
}

// TestTheBooksFail: the primary has the mail, and its sender is told so.
func TestTheBooksFail(t *testing.T) {
	broke := errors.New("disk")
	for _, test := range []struct {
		name    string
		store   broken
		unnoted int64
	}{
		{"ledger", broken{note: broke}, 1},
		{"a draft that cannot grow", broken{write: queue.ErrFull}, 0},
		{"a draft that breaks", broken{write: broke}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := front(t, func(o *Options) {
				test.store.Memory = o.Store.(*queuetest.Memory)
				o.Store = &test.store
			}, begin+agreed+"content\nS: 250 2.6.0 taken")
			w := g.dial("192.0.2.1").hello().envelope()
			w.ask("DATA", "354")
			w.ask(stuffed+".", "250 2.6.0 taken")
			w.close()
			err := g.end()
			if got := errors.Is(err, broke); got != strings.Contains(test.name, "breaks") {
				t.Errorf("the intake ended with %v", err)
			}
			g.over()
			if s := g.server.Stats(); s.Passed != 1 || s.Unnoted != test.unnoted || strings.Contains(g.log.String(), "message.unnoted") != (test.unnoted > 0) {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestDrainCutsPassages: one that waits for the primary does not keep a stop
// from coming to its end; past the final dot the reply is waited for.
func TestDrainCutsPassages(t *testing.T) {
	for _, test := range []struct {
		name, script string
		least, most  time.Duration
	}{
		{"before", begin + "C: *\nC: *\nS: 250 ok\nS: 250 ok\nC: DATA\nhang", 30 * time.Second, 30 * time.Second},
		{"after the dot", begin + agreed + "content\nhang", 5 * time.Minute, 5 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := front(t, nil, test.script)
				w := g.dial("192.0.2.1").hello().envelope()
				w.ask("DATA", "354")
				go w.say(stuffed + ".\r\n")
				synctest.Wait()
				began := time.Now()
				g.over()
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("the end took %s", took)
				}
			})
		})
	}
}

// TestSlowPrimary: a client has not to make up for the primary's slowness.
func TestSlowPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := front(t, func(o *Options) { o.Timeouts.Idle = time.Minute }, begin+agreed+strings.Repeat("pause\n", 4)+"content\nS: 250 2.6.0 taken")
		w := g.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.ask(stuffed+strings.Repeat(large, 2)+".", "250 2.6.0 taken")
		w.close()
		g.over()
	})
}

func TestSafe(t *testing.T) {
	for _, test := range []struct {
		reply smtp.Reply
		want  string
	}{
		{smtp.NewReply(550, smtp.StatusUnknownUser, "no such user"), "550 5.1.1 no such user"},
		{smtp.Reply{Code: 550, Lines: []string{"two", "lines"}}, "550 two lines"},
		{smtp.NewReply(550, smtp.StatusLocalError, "contradicts"), "550 contradicts"},
		{smtp.NewReply(451, smtp.StatusLocalError, "\x1b]0;x\a é\r\n250 ok"), "451 4.3.0 ?]0;x? ???250 ok"},
		{smtp.Reply{Code: 450, Lines: []string{""}}, "450 the primary gave no reason"},
		{smtp.NewReply(450, smtp.EnhancedStatus{}, "%s", strings.Repeat("a", 1000)), "450 " + strings.Repeat("a", maxHandedOn)},
	} {
		if got := safe(test.reply).Error(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
