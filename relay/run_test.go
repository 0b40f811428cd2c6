package relay

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/health"
)

// TestAnOutage: the main job, within one process.
func TestAnOutage(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	r := run(t, c)
	r.log.await(t, "health.changed", "to=up")
	wantReply(t, r.offer("a@corp.example"), "451 4.3.2")

	play(t, exo, "down")
	r.log.await(t, "health.changed", "to=down")
	r.accept("a@corp.example", "b@corp.example", "c@corp.example")
	if st := r.status(); st.State != "holding" || st.Queue.Messages != 3 || !st.Ready || st.Version != "0.1.0" {
		t.Errorf("status %+v, queue %+v", st, st.Queue)
	}
	if err := r.client.Ready(context.Background()); err != nil {
		t.Errorf("a primary that is down: %v", err)
	}

	play(t, exo, "healthy")
	got := received(t, exo, 3)
	slices.Sort(got)
	if strings.Join(got, " ") != "a@corp.example b@corp.example c@corp.example" {
		t.Errorf("delivered to %s", got)
	}
	r.log.await(t, "health.changed", "from=recovering", "to=up")
	r.stop()
	if !r.log.has("relay.stopping", `why="context canceled"`) || !r.log.has("relay.stopped") || r.log.has("relay.failed") {
		text, _ := r.log.all()
		t.Errorf("log:\n%s", text)
	}

	r = run(t, c) // nothing holds the files, and everything is accounted for
	if st := r.status(); st.Account.Delivered != 3 || st.Account.Missing != 0 || st.Queue.Messages != 0 {
		t.Errorf("account %+v, queue %+v", st.Account, st.Queue)
	}
}

// TestTwoUpstreams: each gets its own mail, whatever the other does.
func TestTwoUpstreams(t *testing.T) {
	t.Parallel()
	c := configuration(folder(t))
	one, two := simulated(t, "one.example"), simulated(t, "two.example")
	to(t, &c, "one", "one.example", one)
	to(t, &c, "two", "two.example", two)
	r := run(t, c)
	play(t, one, "down")
	play(t, two, "451-4.3.2")
	r.log.await(t, "health.changed", "upstream=one", "to=down")
	r.log.await(t, "health.changed", "upstream=two", "to=down")

	session := r.dial()
	if err := envelope(session, "a@one.example"); err != nil {
		t.Fatal(err)
	}
	wantReply(t, session.Rcpt("b@two.example"), "452 4.5.3")
	wantReply(t, session.Rcpt("c@three.example"), "550 5.7.1")
	r.accept("a@one.example", "b@two.example")

	play(t, two, "healthy")
	if got := received(t, two, 1); got[0] != "b@two.example" {
		t.Errorf("two got %s", got)
	}
	if state := r.stateOf("one"); state != health.Down {
		t.Errorf("one is %s", state)
	}
	play(t, one, "healthy")
	if got := received(t, one, 1); got[0] != "a@one.example" {
		t.Errorf("one got %s", got)
	}
	r.stop()
	if len(one.Received()) != 1 || len(two.Received()) != 1 {
		t.Errorf("%d and %d messages", len(one.Received()), len(two.Received()))
	}
	if state := r.stateOf("three"); state != health.Degraded {
		t.Errorf("an upstream that is not known is %s", state)
	}
}

// TestRecipients: a domain with a list knows those of the list, one without knows everybody.
func TestRecipients(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	c.Domains[0].Recipients.File = write(t, "known@corp.example\n")
	to(t, &c, "open", "open.example", simulated(t, "open.example"))
	r := run(t, c)
	r.log.await(t, "health.changed", "upstream=exo", "to=up")
	r.log.await(t, "health.changed", "upstream=open", "to=up")
	for _, test := range []struct{ recipient, reply string }{
		{"known@corp.example", "451 4.3.2"},
		{"unknown@corp.example", "550 5.1.1"},
		{"postmaster@corp.example", "451 4.3.2"},
		{"anybody@open.example", "451 4.3.2"},
	} {
		wantReply(t, r.offer(test.recipient), test.reply)
	}
}
