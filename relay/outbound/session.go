package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// hop is one address to try, and what is known of the session with it.
type hop struct {
	host    string
	address netip.AddrPort // invalid if the host has none
	source  string         // our address, "" before there is a connection
	id      string         // the primary's name of the session, from its greeting
	tls     *TLS           // how this one is secured; nil: as Options say
	plain   bool           // if TLS fails, it may be tried again without
}

// where is the address as "ip:port", "" if there is none.
func (h hop) where() string {
	if !h.address.IsValid() {
		return ""
	}
	return h.address.String()
}

// session is one SMTP session (RFC 5321 3.1). It is used by one goroutine.
type session struct {
	*wire
	hop
	extensions
	options  *Options
	began    time.Time
	messages int  // transactions so far
	open     bool // a transaction may be open at the other side: RSET before the next one
	broken   bool // nothing can be said any more
	verified bool // TLS, and the name is the right one
	idle     *time.Timer
	block    []byte // of content on its way; nil before the first
}

// dial connects to one address and leads the session to where MAIL can be
// said. Unless the answer is ok there is no session. The hop is h with what
// became known on the way.
func dial(ctx context.Context, o *Options, h hop, say func(string)) (*session, hop, answer) {
	if say != nil {
		say(fmt.Sprintf("connect to %s (%s)", h.address, h.host))
	}
	within, cancel := context.WithTimeout(ctx, o.Timeouts.Connect)
	conn, err := o.Dial(within, "tcp", h.address.String())
	cancel()
	if err != nil {
		a := failed(health.PhaseConnect, "connect", err)
		a.ours = errors.Is(ctx.Err(), context.Canceled)
		return nil, h, a
	}
	h.source = addressOf(conn.LocalAddr())
	s := &session{wire: newWire(conn, say), hop: h, options: o, began: time.Now()}
	release := s.under(ctx)
	a := s.begin()
	if !release() && a.ok() {
		a = s.fail(a.phase, a.command, s.stopped(ctx))
	}
	if !a.ok() {
		s.hangUp()
		return nil, s.hop, a
	}
	return s, s.hop, a
}

func addressOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().String()
	}
	return ""
}

// security is how the session has to be secured.
func (s *session) security() *TLS {
	if s.hop.tls != nil {
		return s.hop.tls
	}
	return &s.options.TLS
}

// begin greets, and secures the session as the policy wants.
func (s *session) begin() answer {
	a := s.read(health.PhaseBanner, "greeting", s.options.Timeouts.Greeting)
	if !a.ok() {
		return a
	}
	if s.ours(a) {
		return circular(health.PhaseBanner, "greeting", "it greets with our own name, "+s.options.Hello)
	}
	s.id = reply.BannerSession(a.reply.Text())
	if a = s.hello(); !a.ok() || s.security().Policy == TLSNone {
		return a
	}
	if !s.startTLS {
		if s.security().Policy == TLSOpportunistic {
			return a
		}
		return answer{phase: health.PhaseTLS, command: "STARTTLS", failure: reply.TLSFailed, cause: errors.New("the host does not offer STARTTLS")}
	}
	if a = s.secure(); !a.ok() {
		return a
	}
	a = s.hello() // RFC 3207 4.2: what was offered before does not count
	if a.ok() && s.options.Offers != nil {
		s.options.Offers(s.requireTLS && s.verified)
	}
	return a
}

// ours reports whether a greeting begins with our own name, as RFC 5321 4.2 and
// 4.1.1.1 want a server to begin: mail to ourselves would go in circles.
func (s *session) ours(a answer) bool {
	name, _, _ := strings.Cut(a.reply.Lines[0], " ")
	return strings.EqualFold(strings.TrimSuffix(name, "."), s.options.Hello)
}

// hello says EHLO. There is no HELO: a primary without extensions cannot take
// what we have promised to senders.
func (s *session) hello() answer {
	a := s.command(health.PhaseHello, "EHLO", "EHLO "+s.options.Hello, s.options.Timeouts.Hello)
	if !a.ok() {
		return a
	}
	if s.ours(a) {
		return circular(health.PhaseHello, "EHLO", "it answers with our own name, "+s.options.Hello)
	}
	s.extensions = parseExtensions(a.reply.Lines)
	return a
}

// secure says STARTTLS and does the handshake. Whatever came in one piece with
// the 220 was sent by someone who could not know the keys, so it ends the session.
func (s *session) secure() answer {
	a := s.command(health.PhaseTLS, "STARTTLS", "STARTTLS", s.options.Timeouts.TLS)
	if !a.ok() {
		return a
	}
	if s.in.Buffered() > 0 {
		return answer{phase: health.PhaseTLS, command: "STARTTLS", failure: reply.TLSFailed, cause: errors.New("plaintext behind the reply to STARTTLS")}
	}
	conn := tls.Client(s.conn, s.security().config(s.host))
	s.allow(s.options.Timeouts.TLS)
	if err := conn.Handshake(); err != nil {
		return s.fail(health.PhaseTLS, "STARTTLS", err)
	}
	state := conn.ConnectionState()
	s.tell(fmt.Sprintf("tls %s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)))
	s.speakOver(conn)
	s.verified = s.security().Policy == TLSRequired
	return a
}

// command sends one line and reads its reply.
func (s *session) command(phase health.Phase, name, line string, within time.Duration) answer {
	s.allow(within)
	if err := s.send(line); err != nil {
		return s.fail(phase, name, err)
	}
	return s.read(phase, name, within)
}

// read reads the reply to a command that was sent.
func (s *session) read(phase health.Phase, name string, within time.Duration) answer {
	s.allow(within)
	r, err := s.receive()
	if err != nil {
		return s.fail(phase, name, err)
	}
	a := answer{phase: phase, command: name, reply: r}
	if a.lost() { // RFC 5321 3.8: 421 means that the connection is closed
		s.broken = true
	}
	return a
}

func (s *session) fail(phase health.Phase, name string, err error) answer {
	s.broken = true
	a := failed(phase, name, err)
	if a.failure == reply.TLSFailed { // also in answer to EHLO
		a.phase = health.PhaseTLS
	}
	a.ours = s.cut.Load()
	return a
}

// stopped is why the context no longer lets the session go on.
func (s *session) stopped(ctx context.Context) error {
	err := context.Cause(ctx)
	s.cut.Store(errors.Is(ctx.Err(), context.Canceled))
	return err
}

// lacks says which promise to the sender could not be kept on this session, as
// it may be told. Code is 0 if there is none.
func (s *session) lacks(m queue.Message, utf8 bool) smtp.Reply {
	if m.Envelope.Params.RequireTLS && !s.verified { // RFC 8689 4.2.1
		return smtp.NewReply(550, statusNeedsTLS, "the message needs REQUIRETLS, and the primary's certificate is not verified")
	}
	return s.extensions.lacks(m, utf8)
}

// reset ends a transaction that may be open.
func (s *session) reset() answer {
	a := s.command(health.PhaseReset, "RSET", "RSET", s.options.Timeouts.Reset)
	if a.ok() {
		s.open = false
	}
	return a
}

// quit says QUIT, if anything can be said, and closes.
func (s *session) quit() {
	if !s.broken {
		s.command(health.PhaseReset, "QUIT", "QUIT", s.options.Timeouts.Quit) // whatever the answer is
	}
	s.broken = true
	s.conn.Close()
}

// hangUp closes the connection without a word. Content that has not been ended
// by its dot is then not delivered (RFC 5321 4.1.1.4).
func (s *session) hangUp() {
	s.broken = true
	s.raw.Close()
}

// worn reports whether the session should take no further message.
func (s *session) worn(now time.Time) bool {
	return s.broken || s.messages >= s.options.MaxMessages || now.Sub(s.began) >= s.options.MaxAge
}
