package inbound

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestExplainLimits: what a client has used of each limit, and the limit that it
// would meet first; asking uses nothing.
func TestExplainLimits(t *testing.T) {
	const tooMany, tooMuch = "421 4.7.0 too many connections, try again later", "451 4.7.1 too much mail at once, try again later"
	letter := func(w *wire) {
		w.envelope().ask("DATA", "354")
		w.ask(strings.Repeat("x", 98)+"\r\n.", "250")
	}
	for _, test := range []struct {
		name, client string
		change       func(o *Options)
		use          func(w *wire) // by 192.0.2.1, whose session stays open
		want, fact   string
		reply        string
	}{
		{"nothing is near", "192.0.2.1", func(o *Options) {}, letter, "take upstream_down", "sessions: open now: 1 of 50 for 192.0.2.1, 1 of 200 for 192.0.2.0/24, 1 of 5000 in all", ""},
		{"another one of the network", "192.0.2.9", func(o *Options) {}, letter, "take upstream_down", "sessions: open now: 0 of 50 for 192.0.2.9, 1 of 200 for 192.0.2.0/24, 1 of 5000 in all", ""},
		{"sessions in all", "198.51.100.1", func(o *Options) { o.Limits.Sessions = 1 }, letter, "defer too_many_connections", "sessions: open now: 0 of 50 for 198.51.100.1, 0 of 200 for 198.51.100.0/24, 1 of 1 in all", tooMany},
		{"of the address", "192.0.2.1", func(o *Options) { o.Limits.SessionsPerAddress = 1 }, letter, "defer too_many_connections_of_address", "sessions: open now: 1 of 1 for 192.0.2.1, 1 of 200 for 192.0.2.0/24, 1 of 5000 in all", tooMany},
		{"of the network", "192.0.2.9", func(o *Options) { o.Limits.SessionsPerNetwork = 1 }, letter, "defer too_many_connections_of_network", "sessions: open now: 0 of 50 for 192.0.2.9, 1 of 1 for 192.0.2.0/24, 1 of 5000 in all", tooMany},
		{"connections in a minute", "192.0.2.1", func(o *Options) { o.Rates.PerAddress.Connections = 1 }, letter, "defer connection_rate_of_address", "rate: connections in a minute: 1 of 1 for 192.0.2.1", tooMany},
		{"messages in a minute", "192.0.2.9", func(o *Options) { o.Rates.PerNetwork.Messages, o.Rates.All.Messages = 1, 10 }, letter, "defer message_rate_of_network", "rate: messages in a minute: 1 of 1 for 192.0.2.0/24, 1 of 10 in all", tooMuch},
		{"recipients in a minute", "198.51.100.1", func(o *Options) { o.Rates.All.Recipients = 1 }, letter, "defer recipient_rate", "rate: recipients in a minute: 1 of 1 in all", tooMuch},
		{"bytes in a minute", "192.0.2.1", func(o *Options) { o.Rates.PerAddress.Bytes = 100 }, letter, "defer byte_rate_of_address", "rate: bytes of content in a minute: 103 of 100 for 192.0.2.1", tooMuch},
		{"faults bar no mail", "192.0.2.1", func(o *Options) { o.Rates.PerAddress.BadCommands = 5 }, func(w *wire) { w.ask("XYZZY", "500") }, "take upstream_down", "rate: bad commands in a minute: 1 of 5 for 192.0.2.1", ""},
		{"a trusted one", "203.0.113.1", func(o *Options) { o.Limits.SessionsPerAddress, o.Rates.All.Messages = 1, 1 }, letter, "take upstream_down", "sessions: open now: 1 of 5000 in all", ""},
		{"a proxy", "10.0.0.1", behindProxy, letter, "take upstream_down", "client: 10.0.0.1 is a proxy: what counts is the client that it names", ""},
		{"no client", "", func(o *Options) { o.Rates.All.Messages = 1 }, letter, "take upstream_down", "client: none is named: the limits and lists of clients are not looked at", ""},
		{"TLS only", "192.0.2.1", func(o *Options) { o.Secured = map[string]bool{"d.example": true} }, func(w *wire) { w.ask("RSET", "250") }, "take upstream_down", "tls: the domain takes mail over TLS only: in plaintext the recipient is refused", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) {
					o.Trusted = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
					test.change(o)
				})
				defer r.finish()
				w := r.dial("192.0.2.1").hello()
				defer w.close()
				test.use(w)
				client, _ := netip.ParseAddr(test.client)
				for range 3 {
					e, err := r.server.Explain(Question{ReversePath: "s@far.example", Recipient: "a@d.example", Client: client})
					if err != nil {
						t.Fatal(err)
					}
					if got := e.Action + " " + e.Rule; got != test.want || e.Reply != test.reply || e.Why == "" {
						t.Errorf("%s, %q, %q", got, e.Reply, e.Why)
					}
					if !slices.ContainsFunc(e.Facts, func(f Fact) bool { return f.Check+": "+f.Finding == test.fact }) {
						t.Errorf("%v, want %s", e.Facts, test.fact)
					}
				}
			})
		})
	}
}

// TestExplainWhatIsNotAsked: lists and greylist that something else is before.
func TestExplainWhatIsNotAsked(t *testing.T) {
	z := &zones{}
	r := newRig(t, func(o *Options) {
		z.lists(DeferListed)(o)
		o.Greylist.Delay = time.Minute
	})
	defer r.finish()
	for client, want := range map[string]string{
		"192.0.2.1":   "sessions domain lists greylist",
		"203.0.113.1": "client sessions domain",
	} {
		e, err := r.server.Explain(Question{Recipient: "a@x.example", Client: ip(client)})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimPrefix(words(e), "refuse relay_denied "); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
	if len(z.asked) != 0 {
		t.Errorf("asked %v", z.asked)
	}
}

// TestReasonsAreCountedFromTheStart: each reason in this package is one of a
// refusal, or says why mail is taken.
func TestReasonsAreCountedFromTheStart(t *testing.T) {
	taken := []string{reasonPass, reasonReturning, reasonDegraded, reasonDown, reasonRecovering, reasonFilterHeld}
	file, err := parser.ParseFile(token.NewFileSet(), "inbound.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if seen++; slices.Contains(refusals[:], word) == slices.Contains(taken, word) {
			t.Errorf("%s is counted: %v", word, slices.Contains(refusals[:], word))
		}
		return true
	})
	r := newRig(t, func(o *Options) { o.Rates.PerNetwork.Messages = 1 })
	r.finish()
	got := r.server.Stats().Refused
	if _, ok := got["message_rate_of_network"]; !ok || len(got) != len(refusals)+1 || seen != len(refusals)+len(taken) {
		t.Errorf("%d reasons, %d in the file: %v", len(got), seen, got)
	}
}

// TestEngineRefusals: what the engine says by itself is counted as well, and what
// the session or the framing has refused only once.
func TestEngineRefusals(t *testing.T) {
	const mail, rcpt = "MAIL FROM:<s@far.example>\r\n", "RCPT TO:<a@d.example>\r\n"
	for _, test := range []struct{ name, said, want string }{
		{"an unknown parameter", "MAIL FROM:<> X-A=b\r\n", "bad_parameter:1"},
		{"a bad value", "MAIL FROM:<> RET=X\r\n", "bad_parameter:1"},
		{"RCPT without MAIL", rcpt, "bad_sequence:1"},
		{"DATA without MAIL", "DATA\r\n", ""},
		{"all recipients refused, and DATA", mail + "RCPT TO:<a@x.example>\r\nDATA\r\n", "relay_denied:1"},
		{"a command that is not there", "EXPN a\r\n", "not_supported:1"},
		{"SIZE beyond all", "MAIL FROM:<> SIZE=100000000000\r\n", "too_big:1"},
		{"SIZE beyond the limit", "MAIL FROM:<> SIZE=2000\r\n", "too_big:1"},
		{"a chunk beyond the limit", mail + rcpt + "BDAT 3000 LAST\r\n" + strings.Repeat("x", 2998) + "\r\n", "too_big:1"},
		{"the second chunk goes beyond it", mail + rcpt + chunked(strings.Repeat("x", 1998)+"\r\n", 900), "bad_sequence:1 too_big:1 truncated:1"},
		{"what the framing refuses", "NOOP\x01\r\n", "control_bytes:1"},
		{"what the session refuses", "MAIL FROM:<> SIZE=10\r\n" + "RCPT TO:<a@x.example>\r\n" + "RCPT TO:<a@x.example>\r\n", "relay_denied:2"},
	} {
		r := newRig(t, func(o *Options) { o.Limits.MessageSize = 1000 })
		w := r.dial("192.0.2.1").hello()
		w.say(test.said + "QUIT\r\n")
		w.rest()
		w.close()
		r.finish()
		if got := counted(r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// counted are the reasons for which something was refused.
func counted(r *rig) string {
	var words []string
	for reason, n := range r.server.Stats().Refused {
		if n > 0 {
			words = append(words, fmt.Sprintf("%s:%d", reason, n))
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// TestLimitsOfASession: each ends in its own counter.
func TestLimitsOfASession(t *testing.T) {
	offered := withTLS(t)
	for _, test := range []struct {
		name   string
		change func(o *Options)
		use    func(w *wire)
		want   string
	}{
		{"errors", nil, func(w *wire) {
			w.hello()
			w.say(strings.Repeat("\x01\r\n", maxFlaws+1))
			w.rest()
		}, "control_bytes:10 too_many_errors:1"},
		{"refused recipients", func(o *Options) { o.Limits.Refusals = 1 }, func(w *wire) {
			w.hello().say("MAIL FROM:<>\r\n" + strings.Repeat("RCPT TO:<a@x.example>\r\n", 2))
			w.rest()
		}, "relay_denied:1 too_many_refusals:1"},
		{"recipients", func(o *Options) { o.Limits.Recipients = 1 }, func(w *wire) {
			w.hello().envelope().ask("RCPT TO:<b@d.example>", "452 4.5.3")
		}, "too_many_recipients:1"},
		{"octets of a message", func(o *Options) { o.Limits.MessageSize = 10 }, func(w *wire) {
			w.hello().envelope().ask("DATA", "354")
			w.ask(strings.Repeat("x", 10)+"\r\n.", "552 5.3.4")
		}, "too_big:1"},
		{"Received fields", func(o *Options) { o.Limits.Received = 2 }, func(w *wire) {
			w.hello().envelope().ask("DATA", "354")
			w.ask("Received: a\r\nReceived: b\r\n\r\n.", "554 5.4.6")
		}, "loop:1"},
		{"silence before the greeting", func(o *Options) { o.Timeouts.Greeting = time.Second }, func(w *wire) {
			w.say("EHLO x\r\n")
			w.rest()
		}, "early_talker:1"},
		{"time for a command", nil, func(w *wire) { w.hello().want("421 4.4.2") }, "timeout:1"},
		{"time for a handshake", offered, func(w *wire) {
			w.hello().ask("STARTTLS", "220")
			w.want("gone")
		}, "handshake_failed:1"},
		{"time for content", nil, func(w *wire) {
			w.hello().envelope().ask("DATA", "354")
			w.say(large)
			w.want("gone")
		}, "timeout:1 truncated:1"},
		{"time to read a reply", nil, func(w *wire) {
			w.hello().askLast("NOOP", "250 2.0.0 I have")
			w.say("NOOP\r\n")
			time.Sleep(2 * time.Minute)
		}, "deaf_client:1"},
		{"time for a header of a proxy", func(o *Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} },
			func(w *wire) { w.want("gone") }, "bad_proxy_header:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, test.change)
				w := r.dial("192.0.2.1")
				test.use(w)
				w.close()
				synctest.Wait()
				r.finish()
				if got := counted(r); got != test.want {
					t.Errorf("%s, want %s", got, test.want)
				}
			})
		})
	}
}
