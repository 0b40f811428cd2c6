package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// good is a whole transaction for b@corp.example that is accepted.
const good = one + "S: 250 ok\nS: 250 ok\nS: 354 go on" + textLines + "S: 250 2.0.0 taken\n"

// secure are the options of a rig that wants TLS.
func secure(policy TLSPolicy) func(*Options) {
	return func(o *Options) { o.TLS.Policy = policy }
}

const startTLS = "C: STARTTLS\nS: 220 go on\n"

func TestTLS(t *testing.T) {
	required, opportunistic := TLSRequired, TLSOpportunistic
	for _, test := range []struct {
		name    string
		policy  TLSPolicy
		script  string
		results string
		signals string
	}{
		{"secured, then EHLO again", required, hello("STARTTLS") + startTLS + "tls\n" + ehlo("PIPELINING") + good, "delivered", "ok@final"},
		{"what was offered before does not count", required, hello("STARTTLS", "SMTPUTF8", "PIPELINING") + startTLS + "tls\n" + ehlo() + step, "delivered", "ok@final"},
		{"STARTTLS is missing", required, hello("PIPELINING"), "deferred/own", "misconfigured@tls"},
		{"STARTTLS is missing and need not be there", opportunistic, hello("PIPELINING") + good, "delivered", "ok@final"},
		{"STARTTLS is refused", required, hello("STARTTLS") + "C: STARTTLS\nS: 454 4.7.0 Cannot accept TLS as maximum TLS rate exceeded for server", "deferred/own", "throttle@tls"},
		{"plaintext behind the reply to STARTTLS", required, hello("STARTTLS") + "C: STARTTLS\nS: 220 go on\nS| 250-corp.example\nS| 250 SIZE 1", "deferred/own", "misconfigured@tls"},
		{"the name is wrong", required, hello("STARTTLS") + startTLS + "tls-other", "deferred/own", "misconfigured@tls"},
		{"the name need not be right", opportunistic, hello("STARTTLS") + startTLS + "tls-other\n" + ehlo("PIPELINING") + good, "delivered", "ok@final"},
		{"the handshake is garbage", required, hello("STARTTLS") + startTLS + "hear\nS: 250 what handshake\nhang", "deferred/own", "misconfigured@tls"},
		{"the handshake is cut", required, hello("STARTTLS") + startTLS + "hear\ncut", "deferred/upstream", "outage@tls"},
		{"EHLO fails after the handshake", required, hello("STARTTLS") + startTLS + "tls\nC: EHLO relay.example\nS: 421 4.3.2 Service not available", "deferred/upstream", "outage@hello"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, secure(test.policy), test.script)
				r.want(r.deliver(message("b@corp.example")), test.results, test.signals)
				r.end()
			})
		})
	}
}

// step is good without PIPELINING.
const step = "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@corp.example>\nS: 250 ok\nC: DATA\nS: 354 go on" + textLines + "S: 250 2.0.0 taken\n"

func TestRequireTLSNeedsTheRightName(t *testing.T) {
	m := message("b@corp.example")
	m.Envelope.Params.RequireTLS = true
	for policy, want := range map[TLSPolicy]string{TLSRequired: "delivered", TLSOpportunistic: "refused/message"} {
		synctest.Test(t, func(t *testing.T) {
			script := hello("STARTTLS") + startTLS + "tls\n" + ehlo("PIPELINING", "REQUIRETLS")
			if policy == TLSRequired {
				script += strings.Replace(good, "x.example>", "x.example> REQUIRETLS", 1)
			}
			r := newRig(t, secure(policy), script)
			if got := results(r.deliver(m)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			r.end()
		})
	}
}

func TestSessionIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sized := strings.Replace(good, "x.example>", "x.example> SIZE=18", 1)
		// A new session tells whether the limit is still the same.
		r := newRig(t, nil, hello("PIPELINING", "SIZE 20")+sized+sized+"C: QUIT\nS: 221 bye", hello("PIPELINING", "SIZE 20")+sized)
		for range 2 {
			r.want(r.deliver(message("b@corp.example")), "delivered", "ok@final")
		}
		big := message("b@corp.example")
		big.Size = 21
		report := r.deliver(big)
		r.want(report, "refused/message", "")
		if got := report.Results[0].Reply.Text; got != "the message has 21 bytes, the primary takes 20" {
			t.Error(got)
		}
		r.want(r.deliver(message("b@corp.example")), "delivered", "ok@final")
		r.end()
	})
}

func TestSessionEnds(t *testing.T) {
	const quit = "C: QUIT\nS: 221 bye"
	for _, test := range []struct {
		name    string
		change  func(*Options)
		after   time.Duration // between the two messages
		scripts []string
	}{
		{"after so many messages", func(o *Options) { o.MaxMessages = 1 }, 0, []string{good + quit, good + quit}},
		{"with the message after a certain age", func(o *Options) { o.MaxAge, o.MaxIdle = time.Second, time.Hour }, time.Second, []string{good + good + quit}},
		{"when it idles for too long", func(o *Options) { o.MaxIdle = time.Second }, time.Second, []string{good + quit, good}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for i := range test.scripts {
					test.scripts[i] = hello("PIPELINING") + test.scripts[i]
				}
				r := newRig(t, test.change, test.scripts...)
				r.want(r.deliver(message("b@corp.example")), "delivered", "ok@final")
				if test.after > 0 {
					time.Sleep(test.after) // by the bubble's clock
					synctest.Wait()
				}
				r.want(r.deliver(message("b@corp.example")), "delivered", "ok@final")
				r.end()
			})
		})
	}
}

func TestIdleSessionFoundClosed(t *testing.T) {
	bad := one + "S: 250 ok\nS: 250 ok\nS: 354 go on" + textLines + "S: 451 4.3.0 not now\n"
	for _, test := range []struct{ name, first, results, signals string }{
		{"closed", good + "cut", "delivered", "ok@final"},
		{"closed when the next message comes", good + one + "cut", "delivered", "ok@final"},
		{"421 to the next message", good + one + "S: 421 4.4.2 Connection timed out", "delivered", "ok@final"},
		{"closed before RSET", bad + "cut", "delivered", "ok@final"},
		{"421 to RSET", bad + "C: RSET\nS: 421 4.4.2 Connection timed out", "delivered", "ok@final"},
		{"RSET refused", bad + "C: RSET\nS: 502 5.5.1 what", "deferred/own", "misconfigured@reset"},
		{"closed behind the first reply is no idle session", good + one + "S: 250 ok\ncut", "deferred/message", "outage@rcpt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scripts := []string{hello("PIPELINING") + test.first}
				if test.results == "delivered" {
					scripts = append(scripts, hello("PIPELINING")+good)
				}
				r := newRig(t, nil, scripts...)
				r.deliver(message("b@corp.example"))
				synctest.Wait()
				r.want(r.deliver(message("b@corp.example")), test.results, test.signals)
				r.end()
			})
		})
	}
}

func TestAddressesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Hosts = []string{"none.example", "corp.example", "[192.0.2.9]:2525"}
			o.Resolver = names{"corp.example": {"192.0.2.1", "192.0.2.2", "192.0.2.1"}}
			o.MaxMessages = 1
		}, "refuse", "S: 421 4.3.2 Service not available", hello("PIPELINING")+good, "refuse", hello("PIPELINING")+good)
		r.want(r.deliver(message("b@corp.example")), "delivered", "outage@resolve outage@connect outage@banner ok@final")
		r.want(r.deliver(message("b@corp.example")), "delivered", "outage@resolve outage@connect ok@final")
		want := []string{"192.0.2.2:25", "192.0.2.1:25", "192.0.2.9:2525", "192.0.2.1:25", "192.0.2.2:25"}
		if !slices.Equal(r.dialled, want) {
			t.Errorf("dialled %v, want %v", r.dialled, want)
		}
		r.end()
	})
}

func TestNothingToReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Resolver = names{} })
		r.want(r.deliver(message("b@corp.example", "b@other.example")), "deferred/upstream deferred/upstream", "outage@resolve")
		r.end()
	})
}

func TestOneTransactionForADomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Recipients = 2 }, hello("PIPELINING", "SMTPUTF8")+`
			C: MAIL FROM:<a@x.example> SMTPUTF8
			C: RCPT TO:<b@corp.example>
			C: RCPT TO:<d@CORP.example>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 250 ok
			S: 354 go on`+textLines+`S: 250 2.0.0 taken
			C: MAIL FROM:<a@x.example> SMTPUTF8
			C: RCPT TO:<f@corp.example>
			C: DATA
			S: 250 ok
			S: 550 5.1.1 User unknown
			S: 503 5.5.2 Need rcpt command
			C: RSET
			S: 250 ok
			C: MAIL FROM:<a@x.example> SMTPUTF8
			C: RCPT TO:<c@bücher.example>
			C: RCPT TO:<e@xn--bcher-kva.example>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 250 ok
			S: 354 go on`+textLines+`S: 250 2.0.0 taken`)
		report := r.deliver(message("b@corp.example", "c@bücher.example", "d@CORP.example", "e@xn--bcher-kva.example", "no path", "f@corp.example", ""))
		r.want(report, "delivered delivered delivered delivered refused/recipient failed/recipient refused/recipient", "ok@final recipient@rcpt ok@final")
		if report.Signals[2].Domain != "xn--bcher-kva.example" {
			t.Errorf("domain %q", report.Signals[2].Domain)
		}
		r.end()
	})
}

func TestOnlyWhoIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("PIPELINING")+good)
		m := message("x@corp.example", "b@corp.example", "y@corp.example")
		m.Envelope.Recipients[0].Last.Action = queue.Delivered
		m.Envelope.Recipients[2].Deleted = true
		report := r.deliver(m)
		if len(report.Results) != 1 || report.Results[1].Action != queue.Delivered {
			t.Errorf("%+v", report.Results)
		}
		r.end()
	})
}

func TestReversePathThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		m := message("b@corp.example", "c@corp.example")
		m.Envelope.ReversePath = "a b"
		r.want(r.deliver(m), "refused/message refused/message", "")
		r.end()
	})
}

func TestContentThatMustNotBeSent(t *testing.T) {
	broken := errors.New("broken")
	whole := func(r io.Reader) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(r), nil }
	}
	long := strings.Repeat(strings.Repeat("a", 998)+"\r\n", 100)
	for _, test := range []struct {
		name    string
		open    func() (io.ReadCloser, error)
		results string
		content error
	}{
		{"a bare LF", whole(strings.NewReader("a\nb\r\n")), "refused/message", nil},
		{"a CR at the end", whole(strings.NewReader("a\r")), "refused/message", nil},
		{"it cannot be opened", func() (io.ReadCloser, error) { return nil, broken }, "", broken},
		{"it cannot be read", whole(iotest.ErrReader(broken)), "", broken},
		{"it breaks off late", whole(io.MultiReader(strings.NewReader(long), iotest.ErrReader(broken))), "", broken},
		{"it turns out damaged at its end", whole(iotest.DataErrReader(io.MultiReader(strings.NewReader("a\r\n"), iotest.ErrReader(queue.ErrDamaged)))), "", queue.ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// It is enough that the primary never sees the line that ends the content.
				r := newRig(t, nil, hello("PIPELINING")+one+"S: 250 ok\nS: 250 ok\nS: 354 go on\nno dot")
				report := r.Deliver(t.Context(), message("b@corp.example"), test.open)
				r.want(report, test.results, "")
				if !errors.Is(report.Content, test.content) {
					t.Errorf("content: %v, want %v", report.Content, test.content)
				}
				r.end()
			})
		})
	}
}

func TestLongContentCutWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("PIPELINING")+one+"S: 250 ok\nS: 250 ok\nS: 354 go on\ncut")
		long := strings.Repeat(strings.Repeat("a", 998)+"\r\n", 100)
		r.want(r.Deliver(t.Context(), message("b@corp.example"), opened(long)), "deferred/message", "outage@data") // no dot, no duplicate
		r.end()
	})
}

// silences are scripts that end where the primary falls silent, with the
// time-out that counts there.
var silences = []struct {
	name    string
	script  string
	within  func(Timeouts) time.Duration
	results string
	signals string
}{
	{"greeting", "hang", func(t Timeouts) time.Duration { return t.Greeting }, "deferred/upstream", "outage@banner"},
	{"EHLO", greeting + "C: EHLO relay.example\nhang", func(t Timeouts) time.Duration { return t.Hello }, "deferred/upstream", "outage@hello"},
	{"STARTTLS", hello("STARTTLS") + "C: STARTTLS\nhang", func(t Timeouts) time.Duration { return t.TLS }, "deferred/upstream", "outage@tls"},
	{"handshake", hello("STARTTLS") + startTLS + "hang", func(t Timeouts) time.Duration { return t.TLS }, "deferred/upstream", "outage@tls"},
	{"MAIL", hello("PIPELINING") + one + "hang", func(t Timeouts) time.Duration { return t.Mail }, "deferred/message", "outage@mail"},
	{"RCPT", hello("PIPELINING") + one + "S: 250 ok\nhang", func(t Timeouts) time.Duration { return t.Rcpt }, "deferred/message", "outage@rcpt"},
	{"DATA", hello("PIPELINING") + one + "S: 250 ok\nS: 250 ok\nhang", func(t Timeouts) time.Duration { return t.Data }, "deferred/message", "outage@data"},
	{"content", hello("PIPELINING") + one + "S: 250 ok\nS: 250 ok\nS: 354 go on\ndeaf", func(t Timeouts) time.Duration { return t.Block }, "deferred/message?", "outage@final"},
	{"final", hello("PIPELINING") + one + "S: 250 ok\nS: 250 ok\nS: 354 go on" + textLines + "hang", func(t Timeouts) time.Duration { return t.Final }, "deferred/message?", "outage@final"},
}

func TestSilence(t *testing.T) {
	for _, test := range silences {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var times Timeouts
				r := newRig(t, func(o *Options) {
					o.TLS.Policy = TLSOpportunistic
					o.Timeouts = Timeouts{Greeting: time.Second, Hello: 2 * time.Second, TLS: 3 * time.Second, Mail: 4 * time.Second, Rcpt: 5 * time.Second,
						Data: 6 * time.Second, Block: 7 * time.Second, Final: 8 * time.Second, Quit: time.Second}
					times = o.Timeouts
				}, test.script)
				began := time.Now()
				r.want(r.deliver(message("b@corp.example")), test.results, test.signals)
				if took := time.Since(began); took != test.within(times) {
					t.Errorf("took %v", took)
				}
				r.end()
			})
		})
	}
}

func TestSilenceEndsWithTheAttempt(t *testing.T) {
	for _, test := range silences {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, secure(TLSOpportunistic), test.script)
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				began := time.Now()
				r.want(r.Deliver(ctx, message("b@corp.example"), opened(text)), test.results, test.signals)
				if took := time.Since(began); took != time.Millisecond {
					t.Errorf("took %v", took)
				}
				r.end()
			})
		})
	}
}

func TestCancelled(t *testing.T) {
	for _, test := range silences {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) {
					o.TLS.Policy = TLSOpportunistic
					o.Timeouts.Block, o.Timeouts.Final = 2*time.Second, 2*time.Second
				}, test.script)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				began := time.Now()
				report := r.Deliver(ctx, message("b@corp.example"), opened(text))
				took := time.Since(began)
				if strings.HasSuffix(test.results, "?") { // past the final dot: the reply is waited for
					r.want(report, test.results, test.signals)
					if took != 2*time.Second {
						t.Errorf("took %v", took)
					}
				} else {
					r.want(report, "deferred/own", "")
					if took != time.Second || report.Results[0].Reply.Text != "broken off by the relay" {
						t.Errorf("took %v: %+v", took, report.Results[0])
					}
				}
				r.end()
			})
		})
	}
}

func TestCancelledBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("PIPELINING")+good+"hang")
		ctx, cancel := context.WithCancel(t.Context())
		r.want(r.Deliver(ctx, message("b@corp.example"), opened(text)), "delivered", "ok@final")
		cancel()
		r.want(r.Deliver(ctx, message("b@corp.example"), opened(text)), "deferred/own", "") // on the idle session
		r.want(r.Deliver(ctx, message("b@corp.example"), opened(text)), "deferred/own", "") // when dialling
		r.end()
	})
}

func TestClosedUpstreamKeepsNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("PIPELINING")+good+"C: QUIT\nS: 221 bye")
		r.Close()
		r.want(r.deliver(message("b@corp.example")), "delivered", "ok@final")
		r.end()
	})
}

func TestPanicLeavesNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("PIPELINING")+one+"S: 250 ok\nS: 250 ok\nS: 354 go on\nno dot")
		defer r.end() // it waits for the connection to be closed
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		r.Deliver(t.Context(), message("b@corp.example"), func() (io.ReadCloser, error) { panic("a bug") })
	})
}

func TestMayDial(t *testing.T) {
	u := &Upstream{options: Options{Private: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.2/32")}}}
	for address, want := range map[string]bool{
		"192.0.2.1": true, "2001:db8::1": true, "10.1.2.3": true, "127.0.0.2": true,
		"10.2.0.1": false, "127.0.0.1": false, "169.254.169.254": false, "100.64.0.1": false, "0.0.0.1": false, "0.0.0.0": false,
		"::1": false, "::": false, "fe80::1": false, "fd00::1": false, "224.0.0.1": false, "255.255.255.255": false, "64:ff9b::7f00:1": false, "64:ff9b::c000:201": true,
	} {
		if got := u.options.mayDial(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	u.options.SourceAddress = netip.MustParseAddr("192.0.2.7")
	if u.options.mayDial(netip.MustParseAddr("2001:db8::1")) || !u.options.mayDial(netip.MustParseAddr("192.0.2.1")) {
		t.Error("the family of the source address does not decide")
	}
}

func TestOnlyAddressesThatMustNotBeDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Resolver = names{"corp.example": {"127.0.0.1", "::ffff:10.0.0.1"}} })
		report := r.deliver(message("b@corp.example"))
		r.want(report, "deferred/upstream", "outage@resolve")
		if len(r.dialled) > 0 || !strings.Contains(report.Results[0].Reply.Text, "127.0.0.1") {
			t.Errorf("dialled %v: %+v", r.dialled, report.Results[0])
		}
		r.end()
	})
}

// TestContextEndsBeforeTheDot: the content is complete and the dot could be
// sent, but it is not.
func TestContextEndsBeforeTheDot(t *testing.T) {
	for _, test := range []struct {
		name    string
		end     func(cancel context.CancelFunc)
		results string
		signals string
	}{
		{"cancelled", func(cancel context.CancelFunc) { cancel() }, "deferred/own", ""},
		{"its time is over", func(context.CancelFunc) { time.Sleep(time.Minute) }, "deferred/message", "outage@data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, hello("PIPELINING")+one+"S: 250 ok\nS: 250 ok\nS: 354 go on\nno dot")
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				atEnd := readerFunc(func([]byte) (int, error) {
					test.end(cancel)
					return 0, io.EOF
				})
				r.want(r.Deliver(ctx, message("b@corp.example"), func() (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(strings.NewReader(text), atEnd)), nil
				}), test.results, test.signals)
				r.end()
			})
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestTimeIsOverWithTheLastReply: a session that was begun too late is not used.
func TestTimeIsOverWithTheLastReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		got := r.Probe(ctx, "probe@corp.example", func(line string) {
			if strings.HasSuffix(line, "S: 250 corp.example") {
				time.Sleep(time.Minute)
			}
		})
		if signals(got) != "outage@hello" {
			t.Errorf("%+v", got)
		}
		r.end()
	})
}

func TestExpiryComesAfterClose(t *testing.T) {
	u := &Upstream{closed: true}
	u.expire(&session{}) // Close has it: nothing is said on its connection
}

// TestRelayed: a primary that is not told of NOTIFY cannot keep it.
func TestRelayed(t *testing.T) {
	for keywords, want := range map[string]string{"PIPELINING": "[0 2]", "DSN": "[]"} {
		synctest.Test(t, func(t *testing.T) {
			m := message("b@corp.example", "c@corp.example", "d@corp.example")
			notify, lines := []string{" NOTIFY=SUCCESS", "", " NOTIFY=NEVER"}, ""
			for i, r := range m.Envelope.Recipients {
				word := notify[i]
				if keywords != "DSN" {
					word = ""
				}
				lines += "C: RCPT TO:<" + r.ForwardPath + ">" + word + "\nS: 250 2.1.5 ok\n"
			}
			m.Envelope.Recipients[0].Notify, m.Envelope.Recipients[2].Notify = []string{"SUCCESS"}, []string{"NEVER"}
			r := newRig(t, nil, hello(keywords)+"C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 ok\n"+lines+"C: DATA\nS: 354 go\n"+textLines+"S: 250 2.6.0 taken\nC: QUIT\nS: 221 bye\n")
			report := r.deliver(m)
			r.want(report, "delivered delivered delivered", "ok@final")
			if got := fmt.Sprint(report.Relayed); got != want {
				t.Errorf("%s: relayed %s, want %s", keywords, got, want)
			}
			r.end()
		})
	}
}
