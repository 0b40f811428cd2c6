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

// refusedFor is how often something was refused for a reason.
func (r *rig) refusedFor(reason string) int64 { return r.server.Stats().Refused[reason] }

// TestRates hits every limit of a minute, in each scope; what it is about goes on
// when its time has come, and trusted clients are never told.
func TestRates(t *testing.T) {
	mail := func(w *wire, want string) { w.ask("MAIL FROM:<s@far.example>", want) }
	letter := func(w *wire) {
		w.envelope().ask("DATA", "354")
		w.ask(strings.Repeat("x", 98)+"\r\n.", "250")
	}
	limits := []struct {
		name string
		rate Rate
		use  func(w *wire)              // what reaches the limit; the wire has said EHLO
		more func(w *wire, want string) // one more
		full string
	}{
		{"message_rate", Rate{Messages: 1}, letter, mail, "451 4.7.1"},
		{"recipient_rate", Rate{Recipients: 2}, func(w *wire) { letter(w); mail(w, "250"); w.ask("RCPT TO:<b@d.example>", "250") },
			func(w *wire, want string) { w.ask("RSET", "250"); mail(w, "250"); w.ask("RCPT TO:<c@d.example>", want) }, "451 4.7.1"},
		{"byte_rate", Rate{Bytes: 100}, letter, mail, "451 4.7.1"},
		{"byte_rate", Rate{Bytes: 100}, func(w *wire) {
			w.envelope().say("BDAT 60\r\n" + strings.Repeat("x", 58) + "\r\nBDAT 60 LAST\r\n" + strings.Repeat("x", 58) + "\r\n")
			w.want("250")
			w.want("250")
		}, mail, "451 4.7.1"},
		{"bad_command_rate", Rate{BadCommands: 2}, func(w *wire) { w.ask("XYZZY", "50") }, func(w *wire, want string) {
			if want == "250" {
				want = "50"
			}
			w.ask("NOOP\x01", want)
		}, "421 4.7.0"},
		{"bad_command_rate", Rate{BadCommands: 2}, func(w *wire) { w.ask("NOOP\x01", "50") }, func(w *wire, want string) {
			if want == "250" {
				want = "50"
			}
			w.ask("XYZZY", want)
		}, "421 4.7.0"},
		{"bad_recipient_rate", Rate{BadRecipients: 2}, func(w *wire) { mail(w, "250"); w.ask("RCPT TO:<a@x.example>", "550") }, func(w *wire, want string) {
			if want == "250" {
				want = "550"
			}
			mail(w, "")
			w.ask("RCPT TO:<a@x.example>", want)
		}, "421 4.7.0"},
	}
	for _, limit := range limits {
		for _, scope := range []struct {
			suffix, second string
			rates          Rates
			trusted        bool
		}{
			{"_of_address", "192.0.2.1", Rates{PerAddress: limit.rate}, false},
			{"_of_network", "192.0.2.9", Rates{PerNetwork: limit.rate}, false},
			{"", "198.51.100.7", Rates{All: limit.rate}, false},
			{"_of_address", "192.0.2.1", Rates{PerAddress: limit.rate, All: limit.rate}, true},
		} {
			t.Run(fmt.Sprint(limit.name, scope.suffix, scope.trusted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, func(o *Options) {
						o.Rates = scope.rates
						if scope.trusted {
							o.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
						}
					})
					defer r.finish()
					w := r.dial("192.0.2.1").hello()
					limit.use(w)
					full, refused := limit.full, int64(1)
					if scope.trusted {
						full, refused = "250", 0
					}
					w.close()
					w = r.dial(scope.second).hello()
					limit.more(w, full)
					if got := r.refusedFor(limit.name + scope.suffix); got != refused {
						t.Errorf("counted %d: %v", got, r.server.Stats().Refused)
					}
					w.close()
					time.Sleep(2 * time.Minute)
					w = r.dial(scope.second).hello()
					limit.more(w, "250")
					w.close()
				})
			})
		}
	}
}

// TestConnectionRate: the door counts who comes, not only who is in.
func TestConnectionRate(t *testing.T) {
	for reason, rates := range map[string]Rates{
		"connection_rate_of_address": {PerAddress: Rate{Connections: 2}},
		"connection_rate_of_network": {PerNetwork: Rate{Connections: 2}},
		"connection_rate":            {All: Rate{Connections: 2}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) {
				o.Rates, o.Trusted = rates, []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}
			})
			defer r.finish()
			for range 2 {
				r.dial("192.0.2.1").hello().ask("QUIT", "221")
			}
			r.dial("192.0.2.1").want("421 4.7.0 too many connections")
			r.dial("2001:db8::1").hello().ask("QUIT", "221")
			if got := r.refusedFor(reason); got != 1 {
				t.Errorf("%s: %v", reason, r.server.Stats().Refused)
			}
			time.Sleep(30 * time.Second)
			r.dial("192.0.2.1").hello().ask("QUIT", "221")
		})
	}
}

// TestSessionsOfANetwork: of its addresses together; others and trusted ones come in.
func TestSessionsOfANetwork(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Limits.SessionsPerAddress, o.Limits.SessionsPerNetwork, o.Limits.Sessions = 2, 3, 6
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	})
	var in []*wire
	for _, from := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1", "203.0.113.1", "203.0.113.1"} {
		in = append(in, r.dial(from).hello())
		switch from {
		case "192.0.2.3":
			r.dial("192.0.2.4").want("421 4.7.0")
		}
	}
	r.dial("203.0.113.1").want("421 4.7.0") // the total is for all
	if got := r.server.Stats().Refused; got[reasonPerNetwork] != 1 || got[reasonConnections] != 1 {
		t.Errorf("%v", got)
	}
	for _, w := range in {
		w.ask("QUIT", "221")
	}
	r.finish()
	if d := &r.server.door; len(d.of)+len(d.near) != 0 {
		t.Errorf("left: %v, %v", d.of, d.near)
	}
}

// TestTarpit: guesses take their time, and at last the session ends.
func TestTarpit(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) {
				o.Limits.TarpitAfter, o.Limits.Refusals, o.Timeouts.Tarpit = 2, 4, 3*time.Second
				if trusted {
					o.Trusted = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
				}
			})
			defer r.finish()
			w := r.dial("192.0.2.1").hello()
			w.ask("MAIL FROM:<s@far.example>", "250")
			for i, want := range []time.Duration{0, 0, 3 * time.Second, 3 * time.Second} {
				if trusted {
					want = 0
				}
				begun := time.Now()
				w.ask("RCPT TO:<a@x.example>", "550 5.7.1")
				if took := time.Since(begun); took != want {
					t.Errorf("refusal %d took %v", i, took)
				}
			}
			begun := time.Now()
			w.ask("RCPT TO:<a@d.example>", "250")
			w.ask("RCPT TO:<a@x.example>", "421 4.7.0 too many refused")
			w.want("gone")
			if took := time.Since(begun); took != 0 {
				t.Errorf("the end took %v", took)
			}
			if got, want := r.refusedFor(reasonTarpit), map[bool]int64{false: 2, true: 0}[trusted]; got != want {
				t.Errorf("%d waits", got)
			}
		})
	}
}

// TestTarpitEnds: the end of the server does not wait for those in the tarpit.
func TestTarpitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Limits.TarpitAfter, o.Timeouts.Tarpit = 1, time.Hour })
		w := r.dial("192.0.2.1").hello()
		w.ask("MAIL FROM:<s@far.example>", "250")
		w.ask("RCPT TO:<a@x.example>", "550")
		w.say("RCPT TO:<a@x.example>\r\n")
		synctest.Wait()
		begun := time.Now()
		r.finish()
		if took := time.Since(begun); took > 31*time.Second {
			t.Errorf("it took %v", took)
		}
		w.close()
	})
}

// at is a connection with both of its addresses.
type at struct {
	placed
	to string
}

func (a at) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(a.to), Port: 25} }

// TestOwnName: who says our name is not us, unless it is.
func TestOwnName(t *testing.T) {
	for _, test := range []struct{ from, to, hello, want string }{
		{"192.0.2.1", "192.0.2.25", "EHLO mx2.example", "550 5.7.1"},
		{"192.0.2.1", "192.0.2.25", "HELO MX2.Example.", "550 5.7.1"},
		{"192.0.2.1", "192.0.2.25", "EHLO [192.0.2.25]", "550 5.7.1"},
		{"2001:db8::1", "2001:db8::25", "EHLO [ipv6:2001:db8::25]", "550 5.7.1"},
		{"192.0.2.1", "192.0.2.25", "EHLO [192.0.2.1]", "250"},
		{"192.0.2.1", "192.0.2.25", "EHLO mx2.example.org", "250"},
		{"192.0.2.1", "", "EHLO client.example", "250"},
		{"127.0.0.1", "127.0.0.1", "EHLO mx2.example", "250"},
		{"203.0.113.1", "192.0.2.25", "EHLO mx2.example", "250"},
	} {
		r := newRig(t, func(o *Options) { o.Trusted = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} })
		ours, theirs := net.Pipe()
		r.in.conns <- at{placed{theirs, test.from}, test.to}
		w := newWire(t, ours)
		w.want("220")
		w.ask(test.hello, test.want)
		if test.want == "250" {
			w.ask("QUIT", "221")
		} else if w.want("gone"); r.refusedFor(reasonOwnHello) != 1 {
			t.Errorf("%v", r.server.Stats().Refused)
		}
		w.close()
		r.finish()
	}
}

// TestSlowSender: content that trickles is cut, however little it pauses; one that
// only pauses is another thing.
func TestSlowSender(t *testing.T) {
	for _, way := range []string{"DATA", "BDAT"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			defer r.finish()
			w := r.dial("192.0.2.1").hello().envelope()
			if way == "DATA" {
				w.ask("DATA", "354")
			} else {
				w.say("BDAT 1000000 LAST\r\n")
			}
			begun := time.Now()
			for r.refusedFor(reasonSlow) == 0 && time.Since(begun) < 10*time.Minute {
				w.say("x")
				time.Sleep(time.Second)
			}
			w.want("gone")
			if took := time.Since(begun); took < 3*time.Minute || took > 4*time.Minute {
				t.Errorf("%s: it took %v", way, took)
			}
			fast := r.dial("192.0.2.1").hello().envelope()
			fast.ask("DATA", "354")
			fast.say(large)
			fast.want("gone")
			if got := r.server.Stats().Refused; got[reasonSlow] != 1 || got[reasonTimeout] != 1 {
				t.Errorf("%s: %v", way, got)
			}
		})
	}
}

// TestCutContentIsCounted: content that did not come whole was content, too.
func TestCutContentIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Rates.PerAddress.Bytes = 100 })
		defer r.finish()
		w := r.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say(strings.Repeat("x", 98) + "\r\n")
		w.close()
		synctest.Wait()
		w = r.dial("192.0.2.1").hello()
		w.ask("MAIL FROM:<>", "451 4.7.1 too much mail at once")
		w.close()
	})
}
