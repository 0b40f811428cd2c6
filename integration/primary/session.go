package primary

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	bufferSize    = 8 << 10 // also the limit of a command line
	maxErrors     = 20      // protocol errors before the client is sent away
	maxRecipients = 200
)

// errEnd ends a session for which everything is said.
var errEnd = errors.New("session ended")

// session is one connection. Replies are written when the client has to be
// waited for, so those to pipelined commands leave together (RFC 2920 3.2).
type session struct {
	server  *Server
	raw     net.Conn // to cut
	conn    net.Conn // raw, or TLS on it
	in      *bufio.Reader
	out     *bufio.Writer
	address int    // number of our address, from 1
	front   string // the machine that the client believes to talk to
	id      string
	hello   string
	lacks   []string // extensions that the last EHLO did not offer
	errors  int
	tx      *transaction
}

func newSession(s *Server, raw net.Conn, address int) *session {
	c := &session{server: s, raw: raw, address: address, front: "XX1PEPF00000000", id: newSessionID()}
	if address <= len(s.fronts) {
		c.front = s.fronts[address-1]
	}
	c.speakOver(raw)
	return c
}

// speakOver starts anew on a connection. What was read ahead from the old one
// is dropped: commands sent before the handshake must not count after it.
func (c *session) speakOver(conn net.Conn) {
	c.conn = conn
	c.out = bufio.NewWriter(writer{c})
	c.in = bufio.NewReaderSize(reader{c}, bufferSize)
}

// reader flushes the replies before it waits for the client.
type reader struct{ c *session }

func (r reader) Read(p []byte) (int, error) {
	if err := r.c.out.Flush(); err != nil {
		return 0, err
	}
	r.c.conn.SetReadDeadline(time.Now().Add(r.c.server.options.Idle))
	return r.c.conn.Read(p)
}

type writer struct{ c *session }

func (w writer) Write(p []byte) (int, error) {
	w.c.conn.SetWriteDeadline(time.Now().Add(w.c.server.options.Idle))
	return w.c.conn.Write(p)
}

// run talks until the client or the scenario has had enough.
func (c *session) run(full bool) {
	defer func() { c.reset() }()
	err := c.greet(full)
	for err == nil {
		var line string
		if line, err = c.readLine(); err == nil {
			err = c.command(line)
		}
	}
	if errors.Is(err, errEnd) {
		c.out.Flush()
		c.conn.Close() // says goodbye in TLS
	}
	c.server.options.Log.Debug("session.ended", "session", c.id, "cause", err)
}

func (c *session) greet(full bool) error {
	if act, err := c.obey(Connect, ""); act != Proceed {
		return err
	}
	if full {
		c.reply("421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel {where}")
		return errEnd
	}
	c.reply(fmt.Sprintf("220 %s.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at %s [%s]",
		c.front, time.Now().UTC().Format(time.RFC1123Z), c.id))
	return nil
}

// readLine reads a command without its CRLF. A bare LF ends no line, and a line
// that does not fit the buffer ends the session.
func (c *session) readLine() (string, error) {
	line, err := c.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		c.reply("500 5.3.3 Unrecognized command, line too long")
		return "", errEnd
	}
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok {
		return "\n", nil // no command is spelled so
	}
	c.server.options.Log.Debug("client.said", "session", c.id, "line", smtp.Printable(text))
	return text, nil
}

// reply writes a line, which leaves when the client is waited for.
func (c *session) reply(template string) { c.replyTo(template, "") }

// replyTo fills in the template, {rcpt} with the recipient.
func (c *session) replyTo(template, recipient string) {
	text := strings.NewReplacer("{where}", c.where(), "{ip}", "["+c.clientIP()+"]", "{rcpt}", recipient).Replace(template)
	c.server.options.Log.Debug("primary.said", "session", c.id, "line", smtp.Printable(text))
	c.out.WriteString(text + "\r\n")
}

// where is the bracket at the end of failures: machine, its time, session.
func (c *session) where() string {
	return fmt.Sprintf("[%s.namprd00.prod.outlook.com %s %s]", c.front, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), c.id)
}

func (c *session) clientIP() string {
	host, _, err := net.SplitHostPort(c.raw.RemoteAddr().String())
	if err != nil {
		return c.raw.RemoteAddr().String()
	}
	return host
}

// fault answers a command that is out of order or makes no sense.
func (c *session) fault(text string) error {
	c.errors++
	if c.errors > maxErrors {
		c.reply("421 4.7.0 Too many errors on this connection, closing transmission channel {where}")
		return errEnd
	}
	c.reply(text)
	return nil
}

// obey does what the scenario wants at this phase. Proceed means that the
// session goes on as if healthy; with any other act there is nothing more to
// do, except for the two of a handshake.
func (c *session) obey(phase Phase, recipient string) (Act, error) {
	return c.follow(c.server.current(), phase, recipient)
}

func (c *session) follow(p *play, phase Phase, recipient string) (Act, error) {
	rule, ok := p.follow(phase, c.address)
	if !ok {
		return Proceed, nil
	}
	if rule.Delay > 0 {
		c.wait(p, rule.Delay)
	}
	switch rule.Act {
	case Answer:
		c.replyTo(rule.Reply, recipient)
		return Answer, nil
	case AnswerClose:
		c.replyTo(rule.Reply, recipient)
		return AnswerClose, errEnd
	case Cut:
		c.out.Flush()
		c.raw.Close()
		return Cut, errEnd
	case Hang:
		c.hang(p)
		return Hang, errEnd
	}
	return rule.Act, nil
}

// wait lets time pass, until the scenario is over at most.
func (c *session) wait(p *play, d time.Duration) {
	c.out.Flush()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.over:
	}
}

// hang says nothing until the client leaves or the scenario is over.
func (c *session) hang(p *play) {
	c.out.Flush()
	c.raw.SetReadDeadline(time.Time{})
	left := make(chan struct{})
	go func() {
		defer close(left)
		io.Copy(io.Discard, c.raw)
	}()
	select {
	case <-left:
	case <-p.over:
	}
	c.raw.Close()
	<-left
}

// startTLS agrees to the handshake and carries it out.
func (c *session) startTLS(act Act) error {
	c.reply("220 2.0.0 SMTP server ready")
	if err := c.out.Flush(); err != nil {
		return err
	}
	config := c.server.tls
	switch act {
	case BreakTLS:
		if _, err := c.in.Peek(1); err != nil { // what comes before the ClientHello is not for TLS
			return err
		}
		c.out.WriteString("no record of TLS looks like this\r\n")
		return errEnd
	case WrongName:
		config = c.server.wrongTLS
	}
	conn := tls.Server(c.raw, config)
	c.raw.SetDeadline(time.Now().Add(c.server.options.Idle))
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	c.speakOver(conn)
	c.hello = ""
	c.reset()
	return nil
}
