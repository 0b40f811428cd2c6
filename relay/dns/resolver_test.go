package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestLookupHost(t *testing.T) {
	z := zone{t, []string{
		"both.example. 60 IN A 192.0.2.1", "both.example. 60 IN A 192.0.2.2", "both.example. 60 IN AAAA 2001:db8::1",
		"four.example. 60 IN A 192.0.2.4", "six.example. 60 IN AAAA 2001:db8::6", "text.example. 60 IN TXT hello",
		"alias.example. 60 IN CNAME ALIAS2.example.", "alias2.example. 60 IN CNAME four.example.",
	}}
	server := serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) }))
	r := resolver(t, Options{Servers: []string{server}})
	wantHosts(t, r, "both.example", "192.0.2.1", "192.0.2.2", "2001:db8::1")
	wantHosts(t, r, "Both.Example.", "192.0.2.1", "192.0.2.2", "2001:db8::1")
	wantHosts(t, r, "four.example", "192.0.2.4")
	wantHosts(t, r, "six.example", "2001:db8::6")
	wantHosts(t, r, "alias.example", "192.0.2.4")
	for _, name := range []string{"text.example", "nobody.example"} {
		_, err := r.LookupHost(t.Context(), name)
		if d := wantError(t, err, "notfound", "no such host"); d.Name != name || d.Server != server {
			t.Errorf("name %q, server %q", d.Name, d.Server)
		}
	}
	for _, name := range []string{"", ".", "a..example", "a b.example", "a\x1b.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example"} {
		_, err := r.LookupHost(t.Context(), name)
		wantError(t, err, "notfound", "not a host name")
	}
}

func TestQuery(t *testing.T) {
	var seen *dns.Msg
	p := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg {
		seen = q
		return zone{t, []string{"1.2.0.192.in-addr.arpa. 60 IN PTR x.example."}}.reply(q)
	}}
	r := resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: p.dial})
	_, _ = r.LookupPTR(t.Context(), address("192.0.2.1"))
	if edns := seen.IsEdns0(); edns == nil || edns.UDPSize() != 1232 || edns.Do() || !seen.RecursionDesired {
		t.Errorf("query\n%v", seen)
	}
}

func TestTruncatedOverTCP(t *testing.T) {
	var lines []string
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("big.example. 60 IN A 192.0.2.%d", i))
	}
	z := zone{t, lines}
	server := serve(t, replying(func(network string, q *dns.Msg) *dns.Msg {
		m := z.reply(q)
		if network == "udp" && len(m.Answer) > 0 {
			m.Truncated, m.Answer = true, nil
		}
		return m
	}))
	got, err := resolver(t, Options{Servers: []string{server}}).LookupHost(t.Context(), "big.example")
	if err != nil || len(got) != maxRecords { // no more than we want to look at
		t.Errorf("%d addresses, %v", len(got), err)
	}
}

func TestTruncatedWithoutTCP(t *testing.T) {
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if w.RemoteAddr().Network() == "tcp" {
			w.Close()
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Truncated = true
		_ = w.WriteMsg(m)
	})
	_, err := resolver(t, Options{Servers: []string{server}}).LookupHost(t.Context(), "big.example")
	wantError(t, err, "temporary", "")
}

// A reply that does not fit the query is not believed, and does not hide the right one.
func TestForeignReplies(t *testing.T) {
	z := zone{t, []string{"host.example. 60 IN A 192.0.2.1", "evil.example. 60 IN A 192.0.2.66"}}
	foreign := map[string]func(right *dns.Msg) *dns.Msg{
		"other name":  func(m *dns.Msg) *dns.Msg { m.Question[0].Name = "evil.example."; return m },
		"other kind":  func(m *dns.Msg) *dns.Msg { m.Question[0].Qtype = dns.TypeMX; return m },
		"no question": func(m *dns.Msg) *dns.Msg { m.Question = nil; return m },
		"two":         func(m *dns.Msg) *dns.Msg { m.Question = append(m.Question, m.Question[0]); return m },
		"other id":    func(m *dns.Msg) *dns.Msg { m.Id++; return m },
		"a query":     func(m *dns.Msg) *dns.Msg { m.Response = false; return m },
		"opcode":      func(m *dns.Msg) *dns.Msg { m.Opcode = dns.OpcodeNotify; return m },
	}
	for name, change := range foreign {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
				wrong := zone{t, []string{"host.example. 60 IN A 192.0.2.66"}}.reply(q)
				_ = w.WriteMsg(change(wrong))
				_ = w.WriteMsg(z.reply(q))
			})
			wantHosts(t, resolver(t, Options{Servers: []string{server}}), "host.example", "192.0.2.1")
		})
		t.Run(name+" over TCP", func(t *testing.T) {
			server := serve(t, replying(func(network string, q *dns.Msg) *dns.Msg {
				m := zone{t, []string{"host.example. 60 IN A 192.0.2.66"}}.reply(q)
				if network == "udp" {
					m.Truncated = true
					return m
				}
				return change(m)
			}))
			_, err := resolver(t, Options{Servers: []string{server}}).LookupHost(t.Context(), "host.example")
			wantError(t, err, "temporary", "another question")
		})
	}
}

func TestGarbageIsSkipped(t *testing.T) {
	z := zone{t, []string{"host.example. 60 IN A 192.0.2.1"}}
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		text, _ := z.reply(q).Pack()
		_, _ = w.Write(append(text[:12:12], 0xff, 0xff, 0xff))
		_ = w.WriteMsg(z.reply(q))
	})
	wantHosts(t, resolver(t, Options{Servers: []string{server}}), "host.example", "192.0.2.1")
}

func TestNextServer(t *testing.T) {
	z := zone{t, []string{"host.example. 60 IN A 192.0.2.1"}}
	bad := map[string]func(q *dns.Msg) *dns.Msg{
		"SERVFAIL": func(q *dns.Msg) *dns.Msg { return fail(q, dns.RcodeServerFailure) },
		"REFUSED":  func(q *dns.Msg) *dns.Msg { m := fail(q, dns.RcodeRefused); m.Question = nil; return m },
		"lame":     func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetReply(q) },
		"unknown":  func(q *dns.Msg) *dns.Msg { return fail(q, 14) },
	}
	for name, reply := range bad {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			first := serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg { asked.Add(1); return reply(q) }))
			second := serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) }))
			r := resolver(t, Options{Servers: []string{first, second}})
			wantHosts(t, r, "host.example", "192.0.2.1")
			before := asked.Load()
			_, err := r.LookupHost(t.Context(), "other.example")
			wantError(t, err, "notfound", "no such host")
			if asked.Load() != before {
				t.Error("the server that failed was asked before the one that answered")
			}
			_, err = resolver(t, Options{Servers: []string{first}}).LookupHost(t.Context(), "host.example")
			wantError(t, err, "temporary", "")
		})
	}
}

func TestClosedServer(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := udp.LocalAddr().String()
	udp.Close()
	_, err = resolver(t, Options{Servers: []string{server}}).LookupHost(t.Context(), "host.example")
	wantError(t, err, "temporary", "refused")
}

func TestNoConnection(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
	_, err := resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: dial}).LookupHost(t.Context(), "host.example")
	wantError(t, err, "temporary", "no route")
	hangUp := func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		theirs.Close()
		return ours, nil
	}
	_, err = resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: hangUp}).LookupHost(t.Context(), "host.example")
	wantError(t, err, "temporary", "closed pipe")
}

func TestServerWithoutEDNS(t *testing.T) {
	z := zone{t, []string{"host.example. 60 IN A 192.0.2.1"}}
	server := serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg {
		if q.IsEdns0() != nil {
			return fail(q, dns.RcodeFormatError)
		}
		return z.reply(q)
	}))
	wantHosts(t, resolver(t, Options{Servers: []string{server}}), "host.example", "192.0.2.1")
}

func TestChains(t *testing.T) {
	long := func(n int) (lines []string) {
		for i := range n {
			lines = append(lines, fmt.Sprintf("c%d.example. %d IN CNAME c%d.example.", i, 60+i, i+1))
		}
		return append(lines, fmt.Sprintf("c%d.example. 60 IN A 192.0.2.1", n))
	}
	loop := []string{"c0.example. 60 IN CNAME c1.example.", "c1.example. 60 IN CNAME c0.example."}
	// One CNAME in each reply, as from a server that follows none.
	piecewise := func(lines []string) func(q *dns.Msg) *dns.Msg {
		return func(q *dns.Msg) *dns.Msg {
			m := zone{t, lines}.reply(q)
			m.Answer, m.Ns = m.Answer[:min(1, len(m.Answer))], nil
			return m
		}
	}
	whole := func(lines []string) func(q *dns.Msg) *dns.Msg { return zone{t, lines}.reply }
	for _, c := range []struct {
		name  string
		reply func(q *dns.Msg) *dns.Msg
		err   string
	}{
		{"eight in one reply", whole(long(8)), ""},
		{"nine in one reply", whole(long(9)), "too long"},
		{"eight in eight replies", piecewise(long(8)), ""},
		{"nine in nine replies", piecewise(long(9)), "too long"},
		{"loop", whole(loop), "too long"},
		{"loop over replies", piecewise(loop), "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg { return c.reply(q) }}
			r := resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: p.dial})
			if c.err == "" {
				wantHosts(t, r, "c0.example", "192.0.2.1")
				return
			}
			_, err := r.LookupHost(t.Context(), "c0.example")
			wantError(t, err, "temporary", c.err)
		})
	}
}

func TestTimeouts(t *testing.T) {
	silent := &pipes{reply: func(string, *dns.Msg) *dns.Msg { return nil }}
	options := Options{Servers: []string{"192.0.2.1:53", "192.0.2.2:53"}, Timeout: 3 * time.Second, Tries: 2, Dial: silent.dial}
	t.Run("servers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			_, err := resolver(t, options).LookupHost(t.Context(), "host.example")
			wantError(t, err, "timeout", "no reply in time")
			if took := time.Since(began); took != 12*time.Second { // two tries of two servers, A and AAAA at once
				t.Errorf("took %v", took)
			}
		})
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := resolver(t, options).LookupHost(ctx, "host.example")
			wantError(t, err, "timeout", "deadline")
			if took := time.Since(began); took != time.Second {
				t.Errorf("took %v", took)
			}
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := resolver(t, options).LookupHost(ctx, "host.example")
			wantError(t, err, "temporary", "canceled")
		})
	})
	t.Run("one family answered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg {
				if q.Question[0].Qtype == dns.TypeAAAA {
					return nil
				}
				return zone{t, []string{"host.example. 60 IN A 192.0.2.1"}}.reply(q)
			}}
			wantHosts(t, resolver(t, Options{Servers: options.Servers, Dial: p.dial}), "host.example", "192.0.2.1")
		})
	})
	t.Run("one family denied", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg {
				if q.Question[0].Qtype == dns.TypeAAAA {
					return nil
				}
				return zone{t, nil}.reply(q)
			}}
			_, err := resolver(t, Options{Servers: options.Servers, Dial: p.dial}).LookupHost(t.Context(), "host.example")
			wantError(t, err, "timeout", "")
		})
	})
}

func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan struct{})
		p := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg {
			<-answered
			return zone{t, []string{"host.example. 60 IN A 192.0.2.1"}}.reply(q)
		}}
		r := resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: p.dial})
		leader, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := r.LookupHost(leader, "host.example")
			wantError(t, err, "temporary", "canceled")
		})
		synctest.Wait()
		for range 10 {
			all.Go(func() { wantHosts(t, r, "host.example", "192.0.2.1") })
		}
		all.Go(func() {
			impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := r.LookupHost(impatient, "host.example")
			wantError(t, err, "timeout", "deadline")
		})
		time.Sleep(2 * time.Millisecond) // virtual
		cancel()
		synctest.Wait()
		close(answered)
		all.Wait()
		if asked := p.queries(); len(asked) != 4 { // both kinds, by the first leader and by the one that took over
			t.Errorf("asked %q", asked)
		}
	})
}

func TestLookupPTR(t *testing.T) {
	z := zone{t, []string{
		"1.2.0.192.in-addr.arpa. 60 IN PTR MX.sender.example.", "mx.sender.example. 60 IN A 192.0.2.1",
		"2.2.0.192.in-addr.arpa. 60 IN PTR mx.sender.example.", // leads elsewhere
		"3.2.0.192.in-addr.arpa. 60 IN PTR a\\032b.example.",   // no host name
		"4.2.0.192.in-addr.arpa. 60 IN PTR gone.example.",
		"5.2.0.192.in-addr.arpa. 60 IN PTR n1.example.", "5.2.0.192.in-addr.arpa. 60 IN PTR n2.example.", "5.2.0.192.in-addr.arpa. 60 IN PTR n3.example.",
		"5.2.0.192.in-addr.arpa. 60 IN PTR n4.example.", "n2.example. 60 IN A 192.0.2.5",
		"6.2.0.192.in-addr.arpa. 60 IN CNAME 6.net.example.", "6.net.example. 60 IN PTR six.example.", "six.example. 60 IN A 192.0.2.6",
		"7.2.0.192.in-addr.arpa. 60 IN PTR n1.example.", "7.2.0.192.in-addr.arpa. 60 IN PTR n2.example.", "7.2.0.192.in-addr.arpa. 60 IN PTR n3.example.",
		"7.2.0.192.in-addr.arpa. 60 IN PTR n4.example.", "n4.example. 60 IN A 192.0.2.7",
		"8.2.0.192.in-addr.arpa. 60 IN PTR broken.example.",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 IN PTR v6.example.", "v6.example. 60 IN AAAA 2001:db8::1",
	}}
	server := serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg {
		if name := q.Question[0].Name; name == "broken.example." || name == "9.2.0.192.in-addr.arpa." {
			return fail(q, dns.RcodeServerFailure)
		}
		return z.reply(q)
	}))
	r := resolver(t, Options{Servers: []string{server}})
	for _, c := range []struct{ address, name, err string }{
		{"192.0.2.1", "mx.sender.example", ""},
		{"::ffff:192.0.2.1", "mx.sender.example", ""},
		{"2001:db8::1", "v6.example", ""},
		{"2001:db8::1%eth0", "v6.example", ""},
		{"192.0.2.5", "n2.example", ""},
		{"192.0.2.6", "six.example", ""},
		{"192.0.2.2", "", "notfound"},
		{"192.0.2.3", "", "notfound"},
		{"192.0.2.4", "", "notfound"},
		{"192.0.2.7", "", "notfound"}, // the fourth name
		{"192.0.2.8", "", "temporary"},
		{"192.0.2.9", "", "temporary"},
		{"192.0.2.10", "", "notfound"},
		{"", "", "notfound"}, // no address at all
	} {
		var a netip.Addr
		if c.address != "" {
			a = address(c.address)
		}
		name, err := r.LookupPTR(t.Context(), a)
		if name != c.name {
			t.Errorf("%s: %q, want %q", c.address, name, c.name)
		}
		if c.err != "" {
			wantError(t, err, c.err, "")
		} else if err != nil {
			t.Errorf("%s: %v", c.address, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	query := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	for _, line := range []string{"a.example. 60 IN A 192.0.2.1", "a.example. 60 IN CNAME a.example.", "a.example. 60 IN PTR a\\000b.example."} {
		text, err := zone{f, []string{line}}.reply(query).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		reply := new(dns.Msg)
		if reply.Unpack(text) != nil {
			return
		}
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR} {
			w := walk{at: "a.example."}
			found := w.through(reply, kind)
			if w.hops > maxChain+1 || len(found.addresses)+len(found.names) > maxRecords {
				t.Errorf("%d hops, %d records", w.hops, len(found.addresses)+len(found.names))
			}
			for _, name := range found.names {
				if !isName(name) {
					t.Errorf("name %q", name)
				}
			}
			if found.lifetime() < minTTL || found.lifetime() > maxTTL {
				t.Errorf("kept for %v", found.lifetime())
			}
		}
		answers(reply, query)
		denial(reply)
	})
}

// TestLookupA: answers of lists are kept for their time, and not used beyond it.
func TestLookupA(t *testing.T) {
	p := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg {
		return zone{t, []string{"2.2.0.192.list.example. 60 IN A 127.0.0.2", "2.2.0.192.list.example. 60 IN AAAA 2001:db8::1"}}.reply(q)
	}}
	r := resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: p.dial})
	for range 2 {
		got, err := r.LookupA(t.Context(), "2.2.0.192.List.example")
		if err != nil || len(got) != 1 || got[0] != address("127.0.0.2") {
			t.Errorf("%v, %v", got, err)
		}
		if got, err := r.LookupA(t.Context(), "3.2.0.192.list.example"); !isNotFound(err) || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
	}
	if got := len(p.queries()); got != 2 {
		t.Errorf("%d queries", got)
	}
	if _, err := r.LookupA(t.Context(), "a b"); !isNotFound(err) {
		t.Error(err)
	}
	broken := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg { return fail(q, dns.RcodeServerFailure) }}
	r = resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: broken.dial})
	if got, err := r.LookupA(t.Context(), "2.2.0.192.list.example"); err == nil || isNotFound(err) {
		t.Errorf("%v, %v", got, err)
	}
}
