// Package dnstest is a DNS server for tests: it answers from lines of a zone
// file, fails for the names it is told to, and remembers what it was asked.
package dnstest

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	ours "github.com/mxkeep/mxkeep/relay/dns"
)

// Server answers from records. It may be used concurrently.
type Server struct {
	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name
	trouble map[string]int
	signed  []string // zones, with their final dot
	asked   []string
}

// What a name can be made to do instead of being answered.
const (
	Silent = -1 // no reply at all
	Refuse = dns.RcodeRefused
	Fail   = dns.RcodeServerFailure
)

// New makes a server of lines of a zone file, like "a.example. 60 IN A 192.0.2.1".
func New(t testing.TB, lines ...string) *Server {
	t.Helper()
	s := &Server{records: map[string][]dns.RR{}, trouble: map[string]int{}}
	for _, line := range lines {
		s.Add(t, line)
	}
	return s
}

// Add adds a line.
func (s *Server) Add(t testing.TB, line string) {
	t.Helper()
	rr, err := dns.NewRR(line)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToLower(rr.Header().Name)
	s.records[name] = append(s.records[name], rr)
}

// AddTXT adds a text of any length and content.
func (s *Server) AddTXT(name, text string) {
	rr := &dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}}
	for len(text) > 250 {
		rr.Txt, text = append(rr.Txt, escape(text[:250])), text[250:]
	}
	rr.Txt = append(rr.Txt, escape(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	name = strings.ToLower(rr.Hdr.Name)
	s.records[name] = append(s.records[name], rr)
}

func escape(text string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) }

// Trouble makes questions for a name fail; the name "" stands for all.
func (s *Server) Trouble(name string, how int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name != "" {
		name = strings.ToLower(dns.Fqdn(name))
	}
	s.trouble[name] = how
}

// Sign makes replies about a zone say, to whoever asks for it, that DNSSEC was validated.
func (s *Server) Sign(zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed = append(s.signed, strings.ToLower(dns.Fqdn(zone)))
}

// Heal ends all trouble.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.trouble)
}

// Asked lists the questions since the last call, as "name TYPE", sorted.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	slices.Sort(asked)
	return asked
}

// Resolver makes a resolver that asks this server without sockets, so that it
// can be used in a bubble of virtual time.
func (s *Server) Resolver(t testing.TB) *ours.Resolver {
	t.Helper()
	r, err := ours.New(ours.Options{Servers: []string{"192.0.2.53:53"}, Dial: s.dial})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *Server) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		conn := &dns.Conn{Conn: theirs}
		query, err := conn.ReadMsg()
		if err != nil {
			return
		}
		if reply := s.reply(query); reply != nil {
			_ = conn.WriteMsg(reply)
		}
		_, _ = theirs.Read(make([]byte, 1)) // until the other side goes away
	}()
	return ours, nil
}

// Listen answers on a port of loopback, UDP and TCP, until the test ends. It
// returns "ip:port".
func (s *Server) Listen(t testing.TB) string {
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
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := s.reply(query)
		if reply == nil {
			return
		}
		if w.RemoteAddr().Network() == "udp" {
			size := dns.MinMsgSize
			if o := query.IsEdns0(); o != nil {
				size = int(o.UDPSize())
			}
			reply.Truncate(size)
		}
		_ = w.WriteMsg(reply)
	})
	for _, one := range []*dns.Server{{Listener: tcp, Handler: handler}, {PacketConn: udp, Handler: handler}} {
		started, done := make(chan struct{}), make(chan error, 1)
		one.NotifyStartedFunc = func() { close(started) }
		go func() { done <- one.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := errors.Join(one.Shutdown(), <-done); err != nil {
				t.Error(err)
			}
		})
	}
	return udp.LocalAddr().String()
}

// reply answers a question, following CNAME records; nil is no reply.
func (s *Server) reply(query *dns.Msg) *dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := query.Question[0]
	at := strings.ToLower(q.Name)
	s.asked = append(s.asked, strings.TrimSuffix(at, ".")+" "+dns.TypeToString[q.Qtype])
	m := new(dns.Msg).SetReply(query)
	m.RecursionAvailable = true
	for _, name := range []string{at, ""} {
		how, bad := s.trouble[name]
		switch {
		case bad && how == Silent:
			return nil
		case bad:
			m.Rcode = how
			return m
		}
	}
	known := false
	m.AuthenticatedData = query.AuthenticatedData
	for range 20 {
		m.AuthenticatedData = m.AuthenticatedData && slices.ContainsFunc(s.signed, func(zone string) bool { return dns.IsSubDomain(zone, at) })
		next := ""
		for _, rr := range s.records[at] {
			known = true
			if c, ok := rr.(*dns.CNAME); ok {
				next = strings.ToLower(c.Target)
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
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 900},
			Ns: "ns.example.", Mbox: "hostmaster.example.", Serial: 1, Refresh: 2, Retry: 3, Expire: 4, Minttl: 60}}
	}
	return m
}
