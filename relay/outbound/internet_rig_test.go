package outbound

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// resolverOf asks a server over real sockets of loopback, which is trusted.
func resolverOf(t testing.TB, server *dnstest.Server) *dns.Resolver {
	t.Helper()
	r, err := dns.New(dns.Options{Servers: []string{server.Listen(t)}, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// How a sink takes STARTTLS.
const (
	sinkOffers  = ""        // does the handshake
	sinkSilent  = "not"     // does not offer it
	sinkRefuses = "refuses" // offers it, but replies 454
	sinkBreaks  = "breaks"  // closes the connection instead of a handshake
)

// sink is a host that takes mail.
type sink struct {
	startTLS string
	rcpt     string        // reply to RCPT; "" is 250
	hold     chan struct{} // if not nil, RCPT is answered when it is closed

	mu       sync.Mutex
	sessions int
	taken    []string // of each message: how it came, and for whom
	chain    tls.Certificate
	arrived  chan struct{} // gets a token at each RCPT, if anybody waits
}

// sinks listen at 127.0.0.(10+n), all at the same port.
func sinks(t *testing.T, all ...*sink) (port int) {
	t.Helper()
	for try := 0; ; try++ {
		var listeners []net.Listener
		port = 0
		var err error
		for i := range all {
			var l net.Listener
			if l, err = net.Listen("tcp", net.JoinHostPort(sinkAddress(i), strconv.Itoa(port))); err != nil {
				break
			}
			port = l.Addr().(*net.TCPAddr).Port
			listeners = append(listeners, l)
		}
		if err != nil && try < 20 { // somebody has the port at another address
			for _, l := range listeners {
				l.Close()
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		for i, l := range listeners {
			running.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					running.Go(func() { all[i].serve(conn) })
				}
			})
			t.Cleanup(func() { l.Close() })
		}
		t.Cleanup(func() {
			for _, l := range listeners {
				l.Close()
			}
			running.Wait()
		})
		return port
	}
}

func sinkAddress(i int) string { return fmt.Sprintf("127.0.0.%d", 10+i) }

func (s *sink) serve(conn net.Conn) {
	defer func() { conn.Close() }()
	conn.SetDeadline(time.Now().Add(30 * time.Second)) // a test that fails ends
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	in, how := bufio.NewReader(conn), "plain"
	say := func(line string) { io.WriteString(conn, line+"\r\n") }
	say("220 sink.example ESMTP")
	var recipient string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			if s.startTLS != sinkSilent && how == "plain" {
				say("250-sink.example\r\n250 STARTTLS")
			} else {
				say("250 sink.example")
			}
		case "STARTTLS":
			if s.startTLS == sinkRefuses {
				say("454 4.7.0 not now")
				continue
			}
			say("220 go")
			if s.startTLS == sinkBreaks {
				return
			}
			secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.chain}})
			if secured.Handshake() != nil {
				return
			}
			conn, in, how = secured, bufio.NewReader(secured), "tls "+secured.ConnectionState().ServerName
		case "RCPT":
			recipient = strings.TrimSuffix(strings.TrimPrefix(rest, "TO:<"), ">")
			if s.arrived != nil {
				s.arrived <- struct{}{}
			}
			if s.hold != nil {
				<-s.hold
			}
			if s.rcpt != "" {
				say(s.rcpt)
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			s.mu.Lock()
			s.taken = append(s.taken, how+" "+recipient)
			s.mu.Unlock()
			say("250 2.0.0 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// took lists what was taken, and how.
func (s *sink) took() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.taken, ", ")
}

// world is an Internet of sinks.
type world struct {
	*testing.T
	*Internet
	server    *dnstest.Server
	authority *primary.Authority
	port      int
}

// newWorld makes sinks known to the DNS as mx0.example, mx1.example ..., with
// certificates for these names, and the Internet that leads to them.
func newWorld(t *testing.T, change func(*InternetOptions), all ...*sink) *world {
	t.Helper()
	w := &world{T: t, server: dnstest.New(t)}
	var err error
	if w.authority, err = primary.NewAuthority(); err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		w.zone(fmt.Sprintf("mx%d.example. 60 IN A %s", i, sinkAddress(i)))
		if s.chain, err = w.authority.Certificate(fmt.Sprintf("mx%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.port = sinks(t, all...)
	o := InternetOptions{Hello: "relay.example", Resolver: resolverOf(t, w.server), Roots: w.authority.Pool(), Port: w.port,
		Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeouts: Timeouts{Connect: 5 * time.Second, Quit: time.Second}}
	if change != nil {
		change(&o)
	}
	if w.Internet, err = NewInternet(o); err != nil {
		t.Fatal(err)
	}
	return w
}

// zone adds lines to the DNS.
func (w *world) zone(lines ...string) {
	w.Helper()
	for _, line := range lines {
		w.server.Add(w, line)
	}
}

// tlsa publishes a TLSA record of a host.
func (w *world) tlsa(host string, usage, selector, matching int, data []byte) {
	w.Helper()
	w.zone(fmt.Sprintf("%s. 60 IN TLSA %d %d %d %s", w.tlsaName(host), usage, selector, matching, hex.EncodeToString(data)))
}

func (w *world) tlsaName(host string) string { return fmt.Sprintf("_%d._tcp.%s", w.port, host) }

// keyOf is the digest of a certificate's key.
func keyOf(t *testing.T, c tls.Certificate) []byte {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return sum[:]
}

// send delivers a message and returns what became of it, with the last reply.
func (w *world) send(recipients ...string) (outcome, last string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	m := message(recipients...)
	m.AcceptedAt = time.Now()
	report := w.Deliver(ctx, m, opened(text))
	if len(report.Signals) > 0 {
		w.Errorf("signals about nobody's upstream: %s", signals(report.Signals))
	}
	for _, r := range report.Results {
		last = r.Reply.String()
	}
	return results(report), last
}

// want sends to a recipient and checks what became of it.
func (w *world) want(recipient, outcome, words string) {
	w.Helper()
	got, last := w.send(recipient)
	if got != outcome || !strings.Contains(last, words) {
		w.Errorf("%s: %s (%s), want %s with %q", recipient, got, last, outcome, words)
	}
}

// deaf is a resolver that never answers.
type deaf struct{ InternetResolver }

func (deaf) LookupExchanges(ctx context.Context, domain string) (dns.Exchanges, error) {
	<-ctx.Done()
	return dns.Exchanges{}, &net.DNSError{UnwrapErr: ctx.Err(), Err: ctx.Err().Error(), Name: domain, IsTimeout: true}
}
