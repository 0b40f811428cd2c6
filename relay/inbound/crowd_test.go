package inbound

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatience(t *testing.T) {
	for _, test := range []struct {
		sessions, inside int
		want             time.Duration
	}{
		{5000, 0, 0},
		{5000, 3749, 0},
		{5000, 3750, 30 * time.Second},
		{5000, 4375, 15*time.Second + 500*time.Millisecond},
		{5000, 4999, time.Second + 23200*time.Microsecond},
		{5000, 5000, time.Second},
		{5000, 5001, time.Second},
		{4, 2, 0},
		{4, 3, 30 * time.Second},
		{4, 4, time.Second},
		{3, 2, 0},
		{3, 3, time.Second},
		{1, 0, 0},
		{1, 1, time.Second},
	} {
		l := Limits{Sessions: test.sessions}
		if got := l.patience(test.inside); got != test.want {
			t.Errorf("%d of %d: %v, want %v", test.inside, test.sessions, got, test.want)
		}
	}
}

// trickling sends a piece of content a second, in the background.
func trickling(w *wire, piece string) {
	w.envelope().ask("DATA", "354")
	go func() {
		for {
			if _, err := w.conn.Write([]byte(piece)); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}()
}

// TestWhoMakesRoom: when little room is left, a newcomer takes the place of one
// that has kept us waiting, in whatever way, and of nobody else.
func TestWhoMakesRoom(t *testing.T) {
	for _, test := range []struct {
		rule  string
		visit func(w *wire)
		want  string // the reply; "" is that it stays, "gone" that there is none
	}{
		{"silent before EHLO", func(w *wire) { w.want("220") }, "421 4.7.0 too many connections, and you were silent"},
		{"silent after EHLO", func(w *wire) { w.hello() }, "421 4.7.0"},
		{"silent within TLS", func(w *wire) { w.hello().secure().ask("EHLO client.example", "250") }, "421 4.7.0"},
		{"silent in a transaction", func(w *wire) { w.hello().envelope() }, "421 4.7.0"},
		{"a command that never ends", func(w *wire) { w.hello().say("NOOP ") }, "421 4.7.0"},
		{"no handshake", func(w *wire) { w.hello().askLast("STARTTLS", "220"); w.listen() }, "gone"},
		{"no content", func(w *wire) { w.hello().envelope().ask("DATA", "354") }, "gone"},
		{"no chunk", func(w *wire) { w.hello().envelope().say("BDAT 1000\r\n") }, "gone"},
		{"an octet of content a second", func(w *wire) { trickling(w.hello(), "x") }, "gone"},
		{"1 KiB of content a second", func(w *wire) { trickling(w.hello(), strings.Repeat("x", 1022)+"\r\n") }, ""},
		{"spoke a moment ago", func(w *wire) {
			w.hello()
			go func() { time.Sleep(20 * time.Second); w.say("NOOP\r\n") }()
		}, ""},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				secured := withTLS(t)
				r := newRig(t, func(o *Options) { secured(o); o.Limits.Sessions, o.Timeouts.Handshake = 4, time.Minute })
				defer r.finish()
				w := r.dial("192.0.2.1")
				defer w.close()
				test.visit(w)
				time.Sleep(31 * time.Second)
				one := r.dial("192.0.2.2").hello()
				defer one.close()
				if got := r.refusedFor(reasonDismissed); got != 0 {
					t.Errorf("%d dismissed with room for two", got)
				}
				two := r.dial("192.0.2.3").hello()
				defer two.close()
				synctest.Wait()
				if got := r.refusedFor(reasonDismissed); got != int64(min(1, len(test.want))) {
					t.Fatalf("%d dismissed: %v", got, r.server.Stats().Refused)
				}
				if test.want != "" {
					w.want(test.want)
					for range w.lines { // until it is gone
					}
				}
				if r.server.crowd.leaving != 0 {
					t.Errorf("%d are leaving", r.server.crowd.leaving)
				}
				w.close()
				time.Sleep(time.Minute) // until nobody writes
			})
		})
	}
}

// TestWhoGoesFirst: those who have waited the longest, a few at a time. Clients
// whom limits do not count for stay, and so does who comes back to speaking.
func TestWhoGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Limits.Sessions, o.Trusted = 40, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		})
		defer r.finish()
		trusted := r.dial("198.51.100.1").hello()
		var all []*wire
		come := func() *wire {
			w := r.dial(fmt.Sprintf("192.0.%d.1", len(all))).hello()
			all = append(all, w)
			return w
		}
		for range 28 {
			come()
			time.Sleep(time.Second)
		}
		all[0].ask("NOOP", "250")
		come() // the 30th: one that has waited for 27 seconds is let wait
		if got := r.refusedFor(reasonDismissed); got != 0 {
			t.Fatalf("%d dismissed", got)
		}
		time.Sleep(3 * time.Second)
		come()
		synctest.Wait()
		all[1].want("421 4.7.0")
		if got := r.refusedFor(reasonDismissed); got != 1 {
			t.Errorf("%d dismissed", got)
		}
		all[0].ask("NOOP", "250")
		all[2].ask("NOOP", "250")
		trusted.ask("NOOP", "250")
		for range 11 { // more than there are places, all within a second
			come()
		}
		synctest.Wait()
		if got := r.server.Stats(); got.Sessions > 40 || got.Refused[reasonConnections] != 0 {
			t.Errorf("%+v", got)
		}
		for _, w := range append(all, trusted) {
			w.close()
		}
	})
}

// TestNoRoom: when all places are taken by clients that speak, who comes is told
// so, and who is silent loses its place as soon as it may.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Limits.Sessions = 4 })
		defer r.finish()
		var all []*wire
		for i := range 4 {
			all = append(all, r.dial(fmt.Sprintf("192.0.%d.1", i)).hello())
		}
		late := r.dial("192.0.9.1")
		late.want("421 4.7.0 too many connections")
		late.want("gone")
		time.Sleep(1100 * time.Millisecond)
		late = r.dial("192.0.9.1")
		late.want("421 4.7.0 too many connections") // it is who makes us look
		late.want("gone")
		synctest.Wait()
		if got := r.server.Stats(); got.Sessions != 3 || got.Refused[reasonDismissed] != 1 {
			t.Errorf("%+v", got)
		}
		r.dial("192.0.9.1").hello().close()
		for _, w := range all {
			w.close()
		}
	})
}

// TestDismissedMeanwhile: a client that is dismissed while it speaks hears so
// before its next command, and none of its content is read.
func TestDismissedMeanwhile(t *testing.T) {
	r := newRig(t, nil)
	defer r.finish()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	g := newGuard(r.server, r.in)
	c := newConn(g, theirs, netip.MustParseAddr("192.0.2.1"))
	owing := time.Now()
	c.expect(owing.Add(time.Minute), owing)
	if c.dismiss(owing.Add(-1)) {
		t.Error("dismissed for what another has owed")
	}
	if c.owes() != owing || !c.dismiss(owing) || c.dismiss(owing) || !c.owes().IsZero() {
		t.Error("it was not dismissed once")
	}
	c.heard()
	if c.expect(time.Now().Add(time.Minute), time.Now()); c.stopWaiting() != true {
		t.Error("it was not told to go")
	}
	if _, err := theirs.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("it may go on: %v", err)
	}
	w := newWire(t, ours)
	if _, err := c.readLine(); err == nil {
		t.Error("another command")
	}
	w.want("421 4.7.0 too many connections")
}

// TestNoTarpitInACrowd: who guesses addresses is not made to wait where that
// keeps a place from others.
func TestNoTarpitInACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Limits.Sessions, o.Limits.TarpitAfter, o.Timeouts.Tarpit = 4, 1, time.Second
		})
		defer r.finish()
		w := r.dial("192.0.2.1").hello()
		w.ask("MAIL FROM:<>", "250")
		w.ask("RCPT TO:<a@elsewhere.example>", "550")
		w.ask("RCPT TO:<b@elsewhere.example>", "550")
		if got := r.refusedFor(reasonTarpit); got != 1 {
			t.Errorf("%d waited", got)
		}
		others := []*wire{r.dial("192.0.2.2").hello(), r.dial("192.0.2.3").hello()}
		w.ask("RCPT TO:<c@elsewhere.example>", "421 4.7.0 too many refused recipients")
		w.want("gone")
		if got := r.refusedFor(reasonTarpit); got != 1 {
			t.Errorf("%d waited", got)
		}
		for _, other := range others {
			other.close()
		}
	})
}
