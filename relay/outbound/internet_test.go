package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// wants checks what the sinks took, in the order of the sinks.
func wantTaken(t *testing.T, all []*sink, want ...string) {
	t.Helper()
	for i, s := range all {
		if got := s.took(); got != want[i] {
			t.Errorf("sink %d took %q, want %q", i, got, want[i])
		}
	}
}

func TestInternetRoutes(t *testing.T) {
	all := []*sink{{}, {startTLS: sinkSilent}, {startTLS: sinkRefuses}, {startTLS: sinkBreaks}}
	w := newWorld(t, func(o *InternetOptions) {
		o.Ourselves = func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("127.0.0.99") }
	}, all...)
	w.zone("first.example. 60 IN MX 20 mx1.example.", "first.example. 60 IN MX 10 mx0.example.",
		"second.example. 60 IN MX 10 dead.example.", "second.example. 60 IN MX 20 mx1.example.", "dead.example. 60 IN A 127.0.0.98",
		"third.example. 60 IN MX 10 mx2.example.", "fourth.example. 60 IN MX 10 mx3.example.",
		"implicit.example. 60 IN A 127.0.0.11",
		"null.example. 60 IN MX 0 .",
		"hidden.example. 60 IN MX 10 hidden2.example.", "hidden2.example. 60 IN A 10.0.0.1", "hidden2.example. 60 IN AAAA ::ffff:192.168.0.1",
		"nohost.example. 60 IN MX 10 gone.example.", "nohost.example. 60 IN A 127.0.0.11",
		"chain.example. 60 IN MX 10 c1.example.", "c1.example. 60 IN CNAME c2.example.", "c2.example. 60 IN CNAME c3.example.", "c3.example. 60 IN CNAME c4.example.", "c4.example. 60 IN CNAME mx0.example.",
		"backup.example. 60 IN MX 10 mx1.example.", "backup.example. 60 IN MX 20 relay.example.", "backup.example. 60 IN MX 20 mx0.example.",
		"ours.example. 60 IN MX 10 we.example.", "ours.example. 60 IN MX 20 mx0.example.", "we.example. 60 IN A 127.0.0.99",
		"worst.example. 60 IN MX 10 mx1.example.", "worst.example. 60 IN MX 20 we.example.", "worst.example. 60 IN MX 30 mx0.example.",
		"self.example. 60 IN MX 10 relay.example.")
	w.server.Trouble("broken.example", -1+3) // SERVFAIL

	w.want("a@first.example", "delivered", "taken")
	w.want("b@second.example", "delivered", "taken")
	w.want("c@third.example", "delivered", "taken")  // STARTTLS is refused: in plaintext
	w.want("d@fourth.example", "delivered", "taken") // it breaks: again, in plaintext
	w.want("e@implicit.example", "delivered", "taken")
	w.want("f@null.example", "failed/recipient", "556 5.1.10 the domain null.example takes no mail")
	w.want("g@nowhere.example", "failed/recipient", "550 5.1.2 there is no host for the domain nowhere.example")
	w.want("h@hidden.example", "deferred/message", "hidden2.example has no address that may be used, only [10.0.0.1 ")
	w.want("i@nohost.example", "deferred/message", "no such host") // never to its own address: it has an MX
	w.want("j@chain.example", "deferred/message", "a chain of 4 aliases")
	w.want("k@backup.example", "delivered", "taken")
	w.want("l@ours.example", "deferred/message", "none of the domain is before us")
	w.want("m@worst.example", "delivered", "taken")
	w.want("n@self.example", "deferred/message", "none of the domain is before us")
	w.want("o@broken.example", "deferred/message", "SERVFAIL")
	w.want("p@[127.0.0.10]", "refused/recipient", "no domain whose hosts can be found")
	wantTaken(t, all, "tls mx0.example a@first.example",
		"plain b@second.example, plain e@implicit.example, plain k@backup.example, plain m@worst.example", "plain c@third.example", "plain d@fourth.example")
}

// TestInternetRecipients: each domain has its own outcome, and a rejection of
// one recipient is that of no other.
func TestInternetRecipients(t *testing.T) {
	all := []*sink{{}, {rcpt: "550 5.1.1 nobody"}, {rcpt: "451 4.7.1 greylisted"}}
	w := newWorld(t, nil, all...)
	w.zone("a.example. 60 IN MX 10 mx0.example.", "b.example. 60 IN MX 10 mx1.example.", "c.example. 60 IN MX 10 mx2.example.", "d.example. 60 IN MX 0 .")
	got, _ := w.send("1@a.example", "1@b.example", "2@a.example", "1@c.example", "1@d.example", "postmaster")
	if want := "delivered failed/recipient delivered deferred/recipient failed/recipient refused/recipient"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if all[0].sessions != 1 {
		t.Errorf("%d sessions with one domain", all[0].sessions)
	}
}

// TestInternetOwnAffair: nothing that a host says, or does not say, holds up
// more than the messages to its domain.
func TestInternetOwnAffair(t *testing.T) {
	for reply, want := range map[string]string{
		"421 4.3.2 closing":                         "deferred/message",
		"451 4.7.500 server busy":                   "deferred/message",
		"550 5.7.1 Service unavailable, blocked":    "",
		"550 5.7.606 Access denied, banned sending": "",
	} {
		w := newWorld(t, nil, &sink{rcpt: reply})
		w.zone("a.example. 60 IN MX 10 mx0.example.")
		got, _ := w.send("1@a.example")
		if strings.Contains(got, "/upstream") || strings.Contains(got, "/own") || want != "" && got != want {
			t.Errorf("%s: %s, want %s", reply, got, want)
		}
	}
}

// TestInternetDamaged: what cannot be read is sent to nobody, and its domain is
// not to blame.
func TestInternetDamaged(t *testing.T) {
	s := &sink{}
	w := newWorld(t, nil, s)
	w.zone("a.example. 60 IN MX 10 mx0.example.", "b.example. 60 IN MX 10 mx0.example.")
	damaged := errors.New("damaged")
	report := w.Deliver(t.Context(), message("1@a.example", "1@b.example"), func() (io.ReadCloser, error) { return nil, damaged })
	if !errors.Is(report.Content, damaged) || len(report.Results) != 0 || s.took() != "" || w.domains.all["a.example"].busy {
		t.Errorf("%+v, taken %q", report, s.took())
	}
}

// TestInternetPanic: the place of the domain is given back.
func TestInternetPanic(t *testing.T) {
	w := newWorld(t, nil, &sink{})
	w.zone("a.example. 60 IN MX 10 mx0.example.")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		w.Deliver(t.Context(), message("1@a.example"), func() (io.ReadCloser, error) { panic("of a test") })
	}()
	w.want("2@a.example", "delivered", "taken")
}

func TestInternetBrokenOff(t *testing.T) {
	s := &sink{hold: make(chan struct{}), arrived: make(chan struct{})}
	w := newWorld(t, nil, s)
	w.zone("a.example. 60 IN MX 10 mx0.example.")
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan Report), make(chan Report)
	go func() { first <- w.Deliver(ctx, message("1@a.example"), opened(text)) }()
	<-s.arrived
	go func() { second <- w.Deliver(ctx, message("2@a.example"), opened(text)) }() // waits for its turn
	cancel()
	for _, report := range []Report{<-first, <-second} {
		if got := results(report); got != "deferred/own" {
			t.Errorf("%s, want deferred/own", got)
		}
	}
	close(s.hold)
	if w.domains.all["a.example"].until != (time.Time{}) {
		t.Error("the domain counts as unreachable because we broke off")
	}
	cancelled, end := context.WithCancel(t.Context())
	end()
	if got := results(w.Deliver(cancelled, message("1@b.example"), opened(text))); got != "deferred/own" {
		t.Errorf("before anything was asked: %s", got)
	}
}

// TestInternetDeadline: the end of an attempt's time is the affair of its message.
func TestInternetDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := NewInternet(InternetOptions{Hello: "relay.example", Resolver: deaf{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m := message("1@a.example")
		m.AcceptedAt = time.Now()
		if got := results(n.Deliver(ctx, m, opened(text))); got != "deferred/message" {
			t.Errorf("%s, want deferred/message", got)
		}
	})
}

func TestInternetOptions(t *testing.T) {
	for name, o := range map[string]InternetOptions{
		"without a resolver": {Hello: "relay.example"},
		"":                   {Resolver: deaf{}, Hello: "a b"},
	} {
		if _, err := NewInternet(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
	n, err := NewInternet(InternetOptions{Resolver: deaf{}, Hello: "relay.example"})
	if err != nil || n.Name() != "internet" || n.options.Port != 25 || n.options.PolicyPort != 443 {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestDestinations: one at a time for each domain, and a domain that is slow or
// dead makes nobody else wait.
func TestDestinations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &destinations{all: map[string]*destination{}}
		ctx := t.Context()
		enter := func(domain string) (*destination, wait, time.Duration) {
			began := time.Now()
			p, w := d.enter(ctx, domain)
			return p, w, time.Since(began)
		}
		slow, _, _ := enter("slow.example")
		other, _, took := enter("other.example")
		if slow == nil || other == nil || took != 0 {
			t.Fatalf("another domain waited %s", took)
		}
		// Its turn comes within the patience.
		go func() { time.Sleep(3 * time.Second); other.leave(true) }()
		again, _, took := enter("other.example")
		if again == nil || took != 3*time.Second {
			t.Errorf("turn after %s", took)
		}
		again.leave(true)
		// Its turn does not come, and the next one does not wait for it any more.
		if p, w, took := enter("slow.example"); p != nil || took != 7*time.Second || w.time != busyWait || !w.others {
			t.Errorf("%v after %s: %+v", p, took, w)
		}
		if p, w, took := enter("slow.example"); p != nil || took != 0 || !w.others {
			t.Errorf("%v after %s: %+v", p, took, w)
		}
		// What cannot be reached is left alone: 1, 2, 4 ... 30 minutes.
		for _, minutes := range []int{1, 2, 4, 8, 16, 30, 30} {
			slow.leave(false)
			want := time.Duration(minutes) * time.Minute
			if p, w, took := enter("slow.example"); p != nil || took != 0 || w.time != want || w.others {
				t.Errorf("%v after %s: %+v, want %s", p, took, w, want)
			}
			time.Sleep(want)
			if slow, _, _ = enter("slow.example"); slow == nil {
				t.Fatalf("still left alone after %s", want)
			}
		}
		slow.leave(true)
		if p, _, _ := enter("slow.example"); p == nil {
			t.Error("left alone although it was reached")
		}
	})
}

func TestDestinationsAreBounded(t *testing.T) {
	d := &destinations{all: map[string]*destination{}}
	keep, _ := d.enter(t.Context(), "busy.example")
	for i := range 3 * maxDestinations {
		p, _ := d.enter(t.Context(), fmt.Sprintf("d%d.example", i))
		p.leave(i%2 == 0)
	}
	if len(d.all) > maxDestinations || d.all["busy.example"] != keep {
		t.Errorf("%d domains", len(d.all))
	}
}

// TestInternetWaits: what an attempt says that met a busy or dead domain.
func TestInternetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := NewInternet(InternetOptions{Hello: "relay.example", Resolver: deaf{}})
		if err != nil {
			t.Fatal(err)
		}
		m := message("1@a.example")
		m.AcceptedAt, m.Lifetime = time.Now(), time.Hour
		place, _ := n.domains.enter(t.Context(), "a.example")
		report := n.Deliver(t.Context(), m, opened(text))
		if got := results(report); got != "deferred/upstream" || report.Slow != busyWait || report.Results[0].Reply.Text != "other mail is on its way to a.example" {
			t.Errorf("%s, slow %s, %s", got, report.Slow, report.Results[0].Reply)
		}
		time.Sleep(time.Hour)
		if got := results(n.Deliver(t.Context(), m, opened(text))); got != "deferred/message" {
			t.Errorf("with its lifetime over: %s", got)
		}
		place.leave(false)
		report = n.Deliver(t.Context(), m, opened(text))
		if got := results(report); got != "deferred/message" || report.Slow != firstBackOff {
			t.Errorf("%s, slow %s, %s", got, report.Slow, report.Results[0].Reply)
		}
	})
}

// TestIndependentPace: nothing that is learned from one destination slows the others.
func TestIndependentPace(t *testing.T) {
	p := pace{max: 5, trials: 20, first: time.Second, most: time.Minute, independent: true}
	p.restart()
	up := Unwatched{}.Status()
	p.enter(0, up.State)
	if got := p.limit(up.State); got != 5 {
		t.Errorf("%d at the start", got)
	}
	for range 20 {
		p.ended(p.epoch, learn(Report{Results: map[int]queue.Result{0: {Action: queue.Deferred, Scope: queue.ScopeUpstream}}}), time.Now())
		p.ended(p.epoch, lesson{outage: true, throttle: true}, time.Now())
	}
	if got := p.limit(up.State); got != 5 || !p.until.IsZero() {
		t.Errorf("%d after failures, nothing before %s", got, p.until)
	}
	Unwatched{}.Observe(health.Signal{Class: health.Outage})
	if changed, unsubscribe := (Unwatched{}).Changed(); changed != nil {
		unsubscribe()
		t.Error("it changes")
	}
}
