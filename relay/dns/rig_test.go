package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// record reads a line of a zone file.
func record(t testing.TB, line string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(line)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// zone answers from lines of a zone file: with the records of the name and
// kind, the CNAME records that lead there, or NXDOMAIN.
type zone struct {
	t     testing.TB
	lines []string
}

func (z zone) reply(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(query)
	m.RecursionAvailable = true
	q, known := query.Question[0], false
	at := q.Name
	for range 20 {
		next := ""
		for _, line := range z.lines {
			rr := record(z.t, line)
			if !strings.EqualFold(rr.Header().Name, at) {
				continue
			}
			known = true
			if c, ok := rr.(*dns.CNAME); ok {
				next = c.Target
			}
			if rr.Header().Rrtype == q.Qtype || next != "" {
				m.Answer = append(m.Answer, rr)
			}
		}
		if next == "" {
			break
		}
		at = next
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{record(z.t, "example. 900 IN SOA ns.example. hostmaster.example. 1 2 3 4 60")}
	}
	return m
}

// fail answers with an error code.
func fail(query *dns.Msg, code int) *dns.Msg {
	m := new(dns.Msg).SetRcode(query, code)
	m.RecursionAvailable = true
	return m
}

// serve answers on a port of loopback, UDP and TCP, until the test ends.
func serve(t *testing.T, handler dns.HandlerFunc) (server string) {
	t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	for tcp == nil {
		var err error
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err != nil { // somebody has that port: another one
			udp.Close()
		}
	}
	for _, s := range []*dns.Server{{Listener: tcp, Handler: handler}, {PacketConn: udp, Handler: handler}} {
		started, done := make(chan struct{}), make(chan error, 1)
		s.NotifyStartedFunc = func() { close(started) }
		go func() { done <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := errors.Join(s.Shutdown(), <-done); err != nil {
				t.Error(err)
			}
		})
	}
	return udp.LocalAddr().String()
}

// replying makes a handler of a function.
func replying(reply func(network string, query *dns.Msg) *dns.Msg) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		if m := reply(w.RemoteAddr().Network(), query); m != nil {
			_ = w.WriteMsg(m)
		}
	}
}

// pipes are servers without sockets, for bubbles of virtual time.
type pipes struct {
	mu    sync.Mutex
	asked []string // "server name TYPE", for each query
	reply func(server string, query *dns.Msg) *dns.Msg
}

func (p *pipes) dial(_ context.Context, _, server string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		conn := &dns.Conn{Conn: theirs}
		query, err := conn.ReadMsg()
		if err != nil {
			return
		}
		q := query.Question[0]
		p.mu.Lock()
		p.asked = append(p.asked, server+" "+q.Name+" "+dns.TypeToString[q.Qtype])
		reply := p.reply
		p.mu.Unlock()
		if m := reply(server, query); m != nil {
			_ = conn.WriteMsg(m)
		}
		_, _ = theirs.Read(make([]byte, 1)) // until the other side goes away
	}()
	return ours, nil
}

// answer sets what is replied from now on.
func (p *pipes) answer(reply func(server string, query *dns.Msg) *dns.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reply = reply
}

// queries are those asked since the last call, sorted.
func (p *pipes) queries() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	slices.Sort(asked)
	return asked
}

func resolver(t *testing.T, o Options) *Resolver {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantHosts(t *testing.T, r *Resolver, name string, want ...string) {
	t.Helper()
	got, err := r.LookupHost(t.Context(), name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var addresses []string
	for _, a := range got {
		addresses = append(addresses, a.String())
	}
	if !slices.Equal(addresses, want) {
		t.Errorf("%s: %v, want %v", name, addresses, want)
	}
}

// wantError wants a bare error of the kind "notfound", "timeout" or "temporary".
func wantError(t *testing.T, err error, kind, text string) *net.DNSError {
	t.Helper()
	d, ok := err.(*net.DNSError)
	if !ok {
		t.Fatalf("error %T %v, want a bare *net.DNSError", err, err)
	}
	got := "permanent"
	switch {
	case d.IsNotFound:
		got = "notfound"
	case d.IsTimeout:
		got = "timeout"
	case d.IsTemporary:
		got = "temporary"
	}
	if got != kind || !strings.Contains(d.Err, text) {
		t.Errorf("%s error %v, want %s with %q", got, d, kind, text)
	}
	return d
}

func address(s string) netip.Addr { return netip.MustParseAddr(s) }
