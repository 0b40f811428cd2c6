package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Options says how to reach a primary. Fields that are zero get a default,
// where one is named.
type Options struct {
	Name string // of the upstream, as configured
	// Hosts are tried in their order: a name, an IP address, or one of them with
	// a port behind a colon. An IPv6 address with a port stands in brackets.
	// "mx:DOMAIN" stands for the hosts of the domain's MX records, without us and
	// without those of our preference or worse.
	Hosts []string
	Port  int    // of hosts without one; default 25
	Hello string // our name for EHLO
	TLS   TLS

	// SourceAddress is ours to connect from; addresses of the other family are
	// not tried. The zero Addr leaves the choice to the kernel.
	SourceAddress netip.Addr
	// Private lists networks that are not public, yet names of Hosts may resolve
	// to them. Without it an answer of the DNS cannot make us connect to
	// loopback, link-local or private addresses. IP addresses in Hosts need no entry.
	Private []netip.Prefix

	Timeouts    Timeouts
	Connections int           // sessions in use at once, of deliveries and of passages; default 20
	MaxMessages int           // transactions on one connection; default 100
	MaxAge      time.Duration // of a connection; default 15 minutes
	MaxIdle     time.Duration // that a connection waits for its next message; default 20 seconds
	Recipients  int           // in one transaction; default and maximum 100

	// Ourselves reports whether this relay listens at an address: mail that went
	// there would go in circles. Called at each resolution, concurrently; nil: none is ours.
	Ourselves func(netip.AddrPort) bool
	// Offers is told at the beginning of each session whether the primary keeps
	// REQUIRETLS: it offers that, and its name is verified. Called concurrently; may be nil.
	Offers func(requireTLS bool)
	// Hear gets what the primary says about who exists, in deliveries and probes.
	// It is called concurrently, and must be quick; may be nil.
	Hear func(Heard)

	Resolver  Resolver
	Exchanges ExchangeResolver // for hosts by MX records
	Keep      dns.Keep         // where the last good MX records outlive the process; may be nil
	// Dial opens a connection to "ip:port"; default a net.Dialer that uses SourceAddress.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Resolver finds the addresses of a host.
type Resolver interface {
	LookupHost(ctx context.Context, name string) ([]netip.Addr, error)
}

// TLSPolicy says how much a session has to be secured.
type TLSPolicy uint8

// The policies. The zero value is the strictest.
const (
	TLSRequired      TLSPolicy = iota // encrypted, and the name in the certificate is right
	TLSOpportunistic                  // encrypted if it is offered, whoever it is
	TLSNone                           // never encrypted
	TLSEncrypted                      // encrypted, whoever it is
)

// TLS says how sessions are secured. At least TLS 1.2 is spoken.
type TLS struct {
	Policy      TLSPolicy
	ServerName  string           // to find in the certificate; default the host's name
	Roots       *x509.CertPool   // nil are the system's
	Certificate *tls.Certificate // ours, shown if the primary asks for it; may be nil
	// Verify, if not nil, judges what the host showed instead of Roots and its name.
	Verify func(tls.ConnectionState) error
}

func (t TLS) config(host string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: t.Roots, InsecureSkipVerify: t.Policy != TLSRequired}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.Verify != nil {
		c.InsecureSkipVerify, c.VerifyConnection = true, t.Verify
	}
	if t.Certificate != nil {
		c.Certificates = []tls.Certificate{*t.Certificate}
	}
	return c
}

// Timeouts bound the phases of a session. Each is for the whole reply, not for
// its next byte. The defaults of the later phases are those of RFC 5321 4.5.3.2;
// up to TLS nothing is at stake but time.
type Timeouts struct {
	Connect, Greeting, Hello, TLS time.Duration // default 30 seconds for the first, 1 minute for the others
	Mail, Rcpt                    time.Duration // default 5 minutes
	Data                          time.Duration // from DATA to its 354; default 2 minutes
	Block                         time.Duration // for 32 KiB of content; default 3 minutes
	Final                         time.Duration // from the final dot to its reply; default 10 minutes
	Reset                         time.Duration // default 1 minute
	Quit                          time.Duration // default 5 seconds
}

const (
	maxRecipients  = 100 // RFC 5321 4.5.3.1.8 promises as many
	maxHosts       = 10
	maxAddresses   = 20 // of all hosts
	defaultPort    = 25
	defaultPerConn = 100
	defaultMaxAge  = 15 * time.Minute
	defaultMaxIdle = 20 * time.Second
)

// complete checks the options and fills in the defaults.
func (o *Options) complete() error {
	if o.Name == "" {
		return errors.New("upstream without a name")
	}
	if _, err := smtp.ASCIIDomain(o.Hello); err != nil {
		return fmt.Errorf("upstream %s: hello: %w", o.Name, err)
	}
	if len(o.Hosts) == 0 || len(o.Hosts) > maxHosts {
		return fmt.Errorf("upstream %s: %d hosts, want 1 to %d", o.Name, len(o.Hosts), maxHosts)
	}
	if o.Recipients < 0 || o.Recipients > maxRecipients {
		return fmt.Errorf("upstream %s: %d recipients in a transaction, want at most %d", o.Name, o.Recipients, maxRecipients)
	}
	setDefault(&o.Port, defaultPort)
	setDefault(&o.Connections, defaultConnections)
	setDefault(&o.MaxMessages, defaultPerConn)
	setDefault(&o.MaxAge, defaultMaxAge)
	setDefault(&o.MaxIdle, defaultMaxIdle)
	setDefault(&o.Recipients, maxRecipients)
	o.Timeouts.complete()
	if o.Dial == nil {
		dialer := &net.Dialer{}
		if o.SourceAddress.IsValid() {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.SourceAddress, 0))
		}
		o.Dial = dialer.DialContext
	}
	return nil
}

func (t *Timeouts) complete() {
	setDefault(&t.Connect, 30*time.Second)
	setDefault(&t.Greeting, time.Minute)
	setDefault(&t.Hello, time.Minute)
	setDefault(&t.TLS, time.Minute)
	setDefault(&t.Mail, 5*time.Minute)
	setDefault(&t.Rcpt, 5*time.Minute)
	setDefault(&t.Data, 2*time.Minute)
	setDefault(&t.Block, 3*time.Minute)
	setDefault(&t.Final, 10*time.Minute)
	setDefault(&t.Reset, time.Minute)
	setDefault(&t.Quit, 5*time.Second)
}

func setDefault[T int | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// host is one of Options.Hosts.
type host struct {
	name    string
	literal netip.Addr // valid if the name is an IP address
	mx      bool       // the name is a domain with MX records
	port    uint16
}

const byMX = "mx:"

// ByMX reports whether a host of Options.Hosts stands for those of MX records.
func ByMX(host string) bool { return strings.HasPrefix(host, byMX) }

// parseHost reads a host of Options.Hosts.
func parseHost(s string, port int) (host, error) {
	if ByMX(s) {
		domain, err := smtp.ASCIIDomain(strings.TrimPrefix(s, byMX))
		if err != nil || strings.HasPrefix(domain, "[") || port < 1 || port > 65535 {
			return host{}, fmt.Errorf("host %q: no domain, or no port", s)
		}
		return host{name: domain, mx: true, port: uint16(port)}, nil
	}
	name := s
	if before, after, err := net.SplitHostPort(s); err == nil {
		name = before
		n, err := strconv.ParseUint(after, 10, 16)
		if err != nil {
			return host{}, fmt.Errorf("host %q: port: %w", s, err)
		}
		port = int(n)
	}
	if port < 1 || port > 65535 {
		return host{}, fmt.Errorf("host %q: port %d", s, port)
	}
	if literal, err := netip.ParseAddr(name); err == nil {
		return host{name: name, literal: literal.Unmap(), port: uint16(port)}, nil
	}
	ascii, err := smtp.ASCIIDomain(strings.TrimSuffix(name, "."))
	if err != nil || strings.HasPrefix(ascii, "[") {
		return host{}, fmt.Errorf("host %q: neither a name nor an IP address", s)
	}
	return host{name: ascii, port: uint16(port)}, nil
}
