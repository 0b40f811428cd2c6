package outbound

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// TestOutcomes has every kind of answer.
func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		phase health.Phase
		reply string // "" is none
		want  Outcome
	}{
		{health.PhaseMail, "250 2.1.0 ok", Agreed},
		{health.PhaseRcpt, "251 2.1.5 elsewhere", Agreed},
		{health.PhaseData, "354 go", Agreed},
		{health.PhaseFinal, "250 2.6.0 taken", Agreed},
		{health.PhaseConnect, "", Failed},
		{health.PhaseFinal, "", Failed},
		{health.PhaseHello, "550 5.7.1 no", Failed},
		{health.PhaseReset, "500 5.5.1 no", Failed},
		{health.PhaseMail, "550 5.1.8 bad sender", Declined},
		{health.PhaseMail, "550 5.7.606 Access denied, banned sending IP [192.0.2.7]", Failed},
		{health.PhaseRcpt, "550 5.1.1 unknown", Declined},
		{health.PhaseRcpt, "550 5.4.1 Recipient address rejected: Access denied", Declined},
		{health.PhaseRcpt, "450 4.2.1 busy", Declined},
		{health.PhaseRcpt, "452 4.5.3 too many", Declined},
		{health.PhaseRcpt, "451 4.3.2 Temporary server error", Failed},
		{health.PhaseRcpt, "451 4.7.500 Server busy", Failed},
		{health.PhaseRcpt, "421 4.3.2 closing", Failed},
		{health.PhaseData, "554 5.5.1 no", Declined},
		{health.PhaseData, "250 2.0.0 what", Failed},
		{health.PhaseFinal, "554 5.6.0 malformed", Declined},
		{health.PhaseFinal, "354 more", Failed},
		{health.PhaseFinal, "599 what", Declined},
	} {
		a := answer{phase: test.phase, failure: "reset"}
		if test.reply != "" {
			a.reply = replyOf(t, test.reply)
		}
		if got := outcomeOf(a, a.verdict()); got != test.want {
			t.Errorf("%s %q: %d, want %d", test.phase, test.reply, got, test.want)
		}
	}
	if got := outcomeOf(answer{phase: health.PhaseMail, reply: smtp.NewReply(550, smtp.StatusRelayDenied, "x"), ours: true}, answer{}.verdict()); got != Failed {
		t.Errorf("broken off by us: %d", got)
	}
}

// replyOf reads a reply of one line.
func replyOf(t *testing.T, line string) smtp.Reply {
	t.Helper()
	code, text, _, err := cutLine(line)
	if err != nil {
		t.Fatal(err)
	}
	status, rest, _ := smtp.ParseEnhancedStatus(text)
	return smtp.Reply{Code: code, Status: status, Lines: []string{rest}}
}

// opening is one from a@x.example to a recipient.
func opening(to string) Opening {
	return Opening{Envelope: queue.Envelope{ReversePath: "a@x.example"}, To: queue.Recipient{ForwardPath: to}}
}

// whole passes text to one recipient.
func (r *rig) whole(ctx context.Context) Answer {
	p, a := r.Open(ctx, opening("b@corp.example"))
	if a.Outcome != Agreed {
		return a
	}
	for _, step := range []func() Answer{func() Answer { return p.Data(ctx) }, func() Answer { return p.Send([]byte(text)) }, p.Finish} {
		if a = step(); a.Outcome != Agreed {
			break
		}
	}
	p.Abort()
	return a
}

const (
	toOne = "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go\n" + textLines
	taken = "S: 250 2.6.0 taken\n"
)

// TestPassagesShareSessions: with each other and with deliveries, as long as a
// session is good for; one that was closed meanwhile is replaced.
func TestPassagesShareSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MaxMessages = 3 },
			hello("PIPELINING")+toOne+taken+toOne+taken+"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"+textLines+taken+"C: QUIT\nS: 221 bye",
			hello("PIPELINING")+toOne+taken+"cut",
			hello("PIPELINING")+toOne+taken+"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 421 4.4.2 idle",
			hello("PIPELINING")+toOne+taken)
		for range 2 {
			if a := r.whole(t.Context()); a.Outcome != Agreed || !a.Lost || a.Result.Action != queue.Delivered {
				t.Errorf("%+v", a)
			}
		}
		r.want(r.deliver(message("b@corp.example")), "delivered", "ok@final")
		for range 3 {
			if a := r.whole(t.Context()); a.Outcome != Agreed || signals(a.Signals) != "ok@final" {
				t.Errorf("%+v", a)
			}
			synctest.Wait()
		}
		r.end()
	})
}

// TestPassageBounds: an opening, and the wait for the last reply, end before the sender's patience.
func TestPassageBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, "hang", hello("PIPELINING")+toOne+"hang", hello("PIPELINING")+"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nhang")
		for _, want := range []time.Duration{passOpen, passFinal, passOpen} {
			began := time.Now()
			a := r.whole(t.Context())
			if took := time.Since(began); a.Outcome != Failed || took != want || a.Result.MaybeDuplicate != (want == passFinal) {
				t.Errorf("%s: %+v", took, a)
			}
		}
		r.end()
	})
}

// TestEndedPassage: nothing comes of it.
func TestEndedPassage(t *testing.T) {
	r := newRig(t, nil, hello("PIPELINING")+"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nS: 250 ok\nC: RSET\nS: 250 ok\n"+
		"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nS: 250 ok\nC: RSET\nS: 500 5.5.1 no")
	p, _ := r.Open(t.Context(), opening("b@corp.example"))
	p.Abort()
	p.Abort()
	for name, a := range map[string]Answer{"Rcpt": p.Rcpt(t.Context(), queue.Recipient{}, false), "Data": p.Data(t.Context()), "Send": p.Send(nil), "Finish": p.Finish()} {
		if a.Outcome != Failed || !a.Lost {
			t.Errorf("%s: %+v", name, a)
		}
	}
	p, a := r.Open(t.Context(), opening("b@corp.example"))
	if a.Outcome != Agreed {
		t.Fatalf("%+v", a)
	}
	p.Abort()
	if _, a := r.Open(t.Context(), opening("b@corp.example")); a.Outcome != Failed || a.Result.Action != queue.Deferred {
		t.Errorf("a primary that refuses RSET: %+v", a)
	}
	if r.slots.busy != 0 || r.slots.passing != 0 {
		t.Errorf("slots %+v", &r.slots)
	}
	r.end()
}

// TestPassageOfWhatCannotBeSaid: faults of ours are no affair of the sender, and no sign of an outage.
func TestPassageOfWhatCannotBeSaid(t *testing.T) {
	ok := "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nS: 250 ok\n"
	r := newRig(t, nil, hello("PIPELINING")+ok, hello("PIPELINING")+ok+"C: DATA\nS: 354 go\nS| 250 early", hello("PIPELINING")+ok+"C: DATA\nS: 354 go\nno dot", hello())
	bad := opening("b@corp.example")
	bad.Envelope.ReversePath = "a b@"
	if _, a := r.Open(t.Context(), bad); a.Outcome != Failed || len(a.Signals) != 0 {
		t.Errorf("bad reverse-path: %+v", a)
	}
	p, _ := r.Open(t.Context(), opening("b@corp.example"))
	if a := p.Rcpt(t.Context(), queue.Recipient{ForwardPath: "b b@"}, false); a.Outcome != Failed || len(a.Signals) != 0 {
		t.Errorf("bad forward-path: %+v", a)
	}
	r.Upstream.Close() // the session is not for the next one
	r.Upstream.mu.Lock()
	r.Upstream.closed = false
	r.Upstream.mu.Unlock()
	if a := r.whole(t.Context()); a.Outcome != Failed || signals(a.Signals) != "outage@data" {
		t.Errorf("out of step: %+v", a)
	}
	p, _ = r.Open(t.Context(), opening("b@corp.example"))
	if a := p.Data(t.Context()); a.Outcome != Agreed {
		t.Errorf("%+v", a)
	}
	if a := p.Send([]byte("a\nb")); a.Outcome != Failed || len(a.Signals) != 0 || !strings.Contains(a.Result.Reply.Text, "broken off") {
		t.Errorf("bare LF: %+v", a)
	}
	if _, a := r.Open(t.Context(), opening("b b@")); a.Outcome != Failed || len(a.Signals) != 0 {
		t.Errorf("bad forward-path: %+v", a)
	}
	r.end()
}

// TestDeliveryWaitsForItsSlot, and breaks off without a word about the primary.
func TestDeliveryWaitsForItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Connections = 1 }, hello("PIPELINING")+"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nS: 250 ok\nC: RSET\nS: 250 ok\n"+
			"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"+textLines+taken)
		p, _ := r.Open(t.Context(), opening("b@corp.example"))
		if _, a := r.Open(t.Context(), opening("c@corp.example")); a.Outcome != Busy {
			t.Errorf("%+v", a)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.want(r.Deliver(ctx, message("b@corp.example"), opened(text)), "deferred/own", "")
		ended := make(chan Report)
		go func() { ended <- r.deliver(message("b@corp.example")) }()
		synctest.Wait()
		p.Abort()
		r.want(<-ended, "delivered", "ok@final")
		r.end()
	})
}

// TestPassageMeetsAClosedConnection: what cannot be sent is a failure of the
// primary; from the final dot on, a duplicate is possible.
func TestPassageMeetsAClosedConnection(t *testing.T) {
	const open = "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nS: 250 ok\n"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("PIPELINING")+open+"cut", hello("PIPELINING")+open+"C: DATA\nS: 354 go\ncut")
		p, _ := r.Open(t.Context(), opening("b@corp.example"))
		synctest.Wait()
		if a := p.Rcpt(t.Context(), queue.Recipient{ForwardPath: "c@corp.example"}, false); a.Outcome != Failed || !a.Lost || signals(a.Signals) != "outage@rcpt" || a.Result.MaybeDuplicate {
			t.Errorf("RCPT: %+v", a)
		}
		p, _ = r.Open(t.Context(), opening("b@corp.example"))
		p.Data(t.Context())
		synctest.Wait()
		p.Send([]byte(text)) // into the buffer
		if a := p.Finish(); a.Outcome != Failed || signals(a.Signals) != "outage@final" || !a.Result.MaybeDuplicate {
			t.Errorf("dot: %+v", a)
		}
		r.end()
	})
}

// TestPassageIsCancelled: without its dot, and without a word about the primary.
func TestPassageIsCancelled(t *testing.T) {
	r := newRig(t, nil, hello("PIPELINING")+"C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\nno dot")
	ctx, cancel := context.WithCancel(t.Context())
	p, _ := r.Open(ctx, opening("b@corp.example"))
	p.Data(ctx)
	p.Send([]byte(text))
	cancel()
	if a := p.Finish(); a.Outcome != Failed || len(a.Signals) != 0 || a.Result.MaybeDuplicate {
		t.Errorf("%+v", a)
	}
	r.end()
}

// TestPassageWearsASession: it is ended without making the sender wait.
func TestPassageWearsASession(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxMessages = 1 }, hello("PIPELINING")+toOne+taken, hello("PIPELINING")+toOne+taken)
	for range 2 {
		if a := r.whole(t.Context()); a.Outcome != Agreed {
			t.Errorf("%+v", a)
		}
	}
	r.end()
}
