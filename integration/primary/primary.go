// Package primary is a simulated Exchange Online on loopback: what the relay
// stands behind in tests, demonstrations and drills.
//
// It speaks as a tenant's mail host speaks, with its extensions, its texts and
// its way of failing, and it acts a Scenario that can be changed at any time,
// also for sessions that run: refused connections, a black hole, a directory
// outage at RCPT, throttling, false refusals, a 250 that gets lost.
//
//	connect -> hello -> starttls -> hello -> mail -> rcpt.. -> data -> content -> taken
//	at each of these phases the scenario may step in; without a rule it is healthy
//
// Its one guarantee is the record: a message is in it, in a folder synced to
// disk, before its 250 leaves, and no message that was refused is in it. So what
// the record has is what the relay must not deliver again, and what it lacks is
// still the relay's. A switch of scenario never falls between the record and the
// 250; only the lost-ack scenarios take a message and do not say so, and the
// record says that they did.
//
// A connection that breaks within the content leaves no trace in the record. If
// the record's disk fails, the message is refused with 451 and so are all later
// ones.
package primary

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Options says which host to act.
type Options struct {
	// Addresses to listen on, all in 127.0.0.0/8, such as "127.0.0.2:0". Those
	// with port 0 get a port from the kernel, the same for all of them, as the
	// addresses of one host have. Loopback clients call from 127.0.0.1, so ports
	// of other addresses stay free for us while the scenario is down.
	Addresses  []string
	Hostname   string        // that clients connect to and find in the certificate; default corp-example.mail.protection.outlook.com
	Domains    []string      // accepted domains; none means every domain
	Recipients []string      // known recipients of Domains; none means every one
	RequireTLS bool          // MAIL needs STARTTLS first, as behind a connector that requires it
	Authority  *Authority    // of our certificate; default a fresh one
	Folder     string        // for the record and the contents, made if missing; default memory, which is bounded
	Idle       time.Duration // longest wait for a client's next byte; default a minute
	Log        *slog.Logger  // gets the dialogue at debug level; default none
}

const (
	defaultHostname = "corp-example.mail.protection.outlook.com"
	defaultIdle     = time.Minute
	maxConnections  = 1000
)

// Server is the simulated host. Its methods may be called at any time by anyone.
type Server struct {
	options    Options
	authority  *Authority
	tls        *tls.Config
	wrongTLS   *tls.Config // with the certificate of another host
	domains    map[string]bool
	recipients map[string]bool
	addresses  []netip.AddrPort
	fronts     []string // name of the machine behind each address
	record     *record
	memory     atomic.Int64
	patience   time.Duration // with a port that is taken
	unstop     func() bool   // forgets the context of Start

	// turn is held for reading from the look at the scenario to the 250 of a
	// message, and for writing while the scenario changes.
	turn    sync.RWMutex
	running sync.WaitGroup // acceptors and sessions

	mu          sync.Mutex
	play        *play
	listeners   []net.Listener
	connections map[net.Conn]bool
	closed      bool
}

// Start listens and acts the healthy scenario until Close, or until ctx ends.
func Start(ctx context.Context, options Options) (*Server, error) {
	s := &Server{options: options, authority: options.Authority, patience: reopenTime,
		connections: map[net.Conn]bool{}, play: newPlay(Scenario{Name: "healthy"})}
	if s.options.Hostname == "" {
		s.options.Hostname = defaultHostname
	}
	if s.options.Idle == 0 {
		s.options.Idle = defaultIdle
	}
	if s.options.Log == nil {
		s.options.Log = slog.New(slog.DiscardHandler)
	}
	s.domains, s.recipients = set(options.Domains), set(options.Recipients)
	if err := s.certify(); err != nil {
		return nil, err
	}
	var err error
	if s.record, err = openRecord(options.Folder); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	listeners, err := listen(options.Addresses)
	if err != nil {
		return nil, errors.Join(err, s.record.close())
	}
	for i, l := range listeners {
		s.addresses = append(s.addresses, l.Addr().(*net.TCPAddr).AddrPort())
		s.fronts = append(s.fronts, fmt.Sprintf("XX1PEPF%08X", i+1))
	}
	s.accept(listeners)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unstop = context.AfterFunc(ctx, func() { s.Close() })
	return s, nil
}

// certify makes the certificates.
func (s *Server) certify() error {
	if s.authority == nil {
		var err error
		if s.authority, err = NewAuthority(); err != nil {
			return err
		}
	}
	var err error
	if s.tls, err = serverTLS(s.authority, s.options.Hostname); err != nil {
		return err
	}
	s.wrongTLS, err = serverTLS(s.authority, "another-host.example")
	return err
}

// serverTLS asks for a client certificate and takes any: which ones a tenant's
// connector knows is not ours to judge.
func serverTLS(a *Authority, host string) (*tls.Config, error) {
	certificate, err := a.Certificate(host)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}, nil
}

// Addrs are the addresses of the server, in the order of Options.Addresses.
// They stay the same through all scenarios.
func (s *Server) Addrs() []netip.AddrPort { return append([]netip.AddrPort(nil), s.addresses...) }

// Hostname is the name in the certificate.
func (s *Server) Hostname() string { return s.options.Hostname }

// CAPool is what a client trusts to find the certificate good.
func (s *Server) CAPool() *x509.CertPool { return s.authority.Pool() }

// CertPEM is the certificate of the authority, for a file that a client trusts.
func (s *Server) CertPEM() []byte { return s.authority.PEM() }

// Playing is the scenario of this moment.
func (s *Server) Playing() Scenario { return s.current().Scenario }

func (s *Server) current() *play {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.play
}

// Play changes the scenario. When it returns, every later reply and every later
// line of the record is of the new one: sessions that run go on and meet it at
// their next phase, sessions that hang are cut. It waits for messages between
// record and 250. An error says that the scenario cannot be played, and the old
// one goes on; or that after a down scenario a port was taken by someone else,
// and the server stays down.
func (s *Server) Play(scenario Scenario) error {
	for _, rule := range scenario.Rules {
		if err := rule.check(); err != nil {
			return fmt.Errorf("scenario %s: %w", scenario.Name, err)
		}
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	before := s.current()
	var reopened []net.Listener
	if before.Down && !scenario.Down {
		var err error
		if reopened, err = reopen(s.addresses, s.patience); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.Join(append(closeAll(reopened), net.ErrClosed)...)
	}
	s.play = newPlay(scenario)
	if scenario.Down {
		s.cut()
	}
	s.mu.Unlock()
	close(before.over)
	s.accept(reopened)
	s.options.Log.Debug("scenario.played", "scenario", scenario.Name)
	return nil
}

// cut closes listeners and connections. The caller holds mu.
func (s *Server) cut() {
	closeAll(s.listeners)
	s.listeners = nil
	for conn := range s.connections {
		conn.Close()
	}
	clear(s.connections)
}

// accept starts a goroutine for each listener, which ends when it is closed.
func (s *Server) accept(listeners []net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		closeAll(listeners)
		return
	}
	s.listeners = append(s.listeners, listeners...)
	for i, l := range listeners {
		s.running.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				s.running.Go(func() { s.serve(conn, i+1) })
			}
		})
	}
}

// serve talks to one client of the address with that number, counted from 1.
func (s *Server) serve(conn net.Conn, address int) {
	defer conn.Close()
	full, ok := s.track(conn)
	if !ok {
		return
	}
	defer s.untrack(conn)
	newSession(s, conn, address).run(full)
}

// track counts the connection. full says that there are too many; ok is false
// if it was accepted before the listener closed and comes too late.
func (s *Server) track(conn net.Conn) (full, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.play.Down {
		return false, false
	}
	s.connections[conn] = true
	return len(s.connections) > maxConnections, true
}

// tracks reports whether the connection has not been cut.
func (s *Server) tracks(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections[conn]
}

func (s *Server) untrack(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, conn)
}

// Received lists all accepted messages in the order of their InternalID, also
// those of earlier runs in the same folder. Contents are there only without a
// folder; ReadRecord has them otherwise.
func (s *Server) Received() []Delivery {
	deliveries, _ := s.record.deliveries()
	return append([]Delivery(nil), deliveries...)
}

// Await returns Received as soon as it has at least n messages, or the error of ctx.
func (s *Server) Await(ctx context.Context, n int) ([]Delivery, error) {
	for {
		deliveries, grown := s.record.deliveries()
		if len(deliveries) >= n {
			return append([]Delivery(nil), deliveries...), nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d messages: %w", len(deliveries), n, ctx.Err())
		}
	}
}

// Close cuts every connection, waits for the sessions to end and closes the
// record. A message between record and 250 gets its 250 first. Only the first
// call does something.
func (s *Server) Close() error {
	s.turn.Lock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.turn.Unlock()
		s.running.Wait()
		return nil
	}
	s.closed = true
	s.cut()
	close(s.play.over)
	s.unstop()
	s.mu.Unlock()
	s.turn.Unlock()
	s.running.Wait()
	return s.record.close()
}

// accepts reports whether the domain is ours to take mail for.
func (s *Server) accepts(domain string) bool {
	return len(s.domains) == 0 || s.domains[fold(domain)]
}

// knows reports whether a recipient of an accepted domain exists.
func (s *Server) knows(p smtp.Path) bool {
	return len(s.recipients) == 0 || p.Domain == "" || // RFC 5321 4.5.1: postmaster
		s.recipients[fold(p.String())]
}

func set(names []string) map[string]bool {
	m := map[string]bool{}
	for _, name := range names {
		m[fold(name)] = true
	}
	return m
}

// fold makes addresses comparable: the simulated tenant ignores case in local parts too.
func fold(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return strings.ToLower(address[:at+1]) + fold(address[at+1:])
	}
	if ascii, err := smtp.ASCIIDomain(address); err == nil {
		return ascii
	}
	return strings.ToLower(address)
}

// newSessionID is 16 hexadecimal digits that look like those of the host.
func newSessionID() string {
	var random [6]byte
	rand.Read(random[:])
	return fmt.Sprintf("08DE%X", random)
}
