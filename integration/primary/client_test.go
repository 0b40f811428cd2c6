package primary

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// longTest is a net under tests that wait for a server that is silent by mistake.
const longTest = 30 * time.Second

// client is the other side of a dialogue, with no opinion on what is right.
type client struct {
	t    *testing.T
	conn net.Conn
	text *textproto.Conn
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Addresses == nil {
		o.Addresses = []string{"127.0.0.2:0"}
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func act(t *testing.T, s *Server, name string) {
	t.Helper()
	scenario, err := Named(name)
	if err == nil {
		err = s.Play(scenario)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func talkOver(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, text: textproto.NewConn(conn)}
}

// dial connects to the n-th address, counted from 0, and reads no banner.
func dial(t *testing.T, s *Server, n int) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addrs()[n].String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(longTest))
	return talkOver(t, conn)
}

// pipe connects without the network, for the bubbles of synctest.
func pipe(t *testing.T, s *Server) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	s.running.Go(func() { s.serve(theirs, 1) })
	return talkOver(t, ours)
}

// greeted is past EHLO.
func (c *client) greeted() *client {
	c.t.Helper()
	c.want("220 ")
	c.say("EHLO client.example", "250 ")
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// want reads a reply, whose lines are joined by line ends, and checks how it begins.
func (c *client) want(prefix string) string {
	c.t.Helper()
	code, text, err := c.text.ReadResponse(0)
	got := fmt.Sprintf("%d %s", code, text)
	if _, refused := errors.AsType[*textproto.Error](err); err != nil && !refused || !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("reply is %q, %v; want %q", got, err, prefix)
	}
	return got
}

func (c *client) say(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.want(prefix)
}

// wantClosed expects the end of the stream and nothing before it.
func (c *client) wantClosed() {
	c.t.Helper()
	line, err := c.text.ReadLine()
	if line != "" || !isClosed(err) {
		c.t.Fatalf("read %q, %v; want the end of the connection", line, err)
	}
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// wantSilence expects that nothing comes for a day. It is for bubbles.
func (c *client) wantSilence() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(24 * time.Hour))
	if line, err := c.text.ReadLine(); line != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, %v; want silence", line, err)
	}
	c.conn.SetReadDeadline(time.Time{})
}

// encrypt goes through STARTTLS and EHLO.
func (c *client) encrypt(config *tls.Config) {
	c.t.Helper()
	c.say("STARTTLS", "220 2.0.0 ")
	conn := tls.Client(c.conn, config)
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.text = conn, textproto.NewConn(conn)
	c.say("EHLO client.example", "250 ")
}

// envelope is past RCPT.
func (c *client) envelope() *client {
	c.t.Helper()
	c.say("MAIL FROM:<a@sender.example>", "250 2.1.0 Sender OK")
	c.say("RCPT TO:<b@corp.example>", "250 2.1.5 Recipient OK")
	return c
}

// deliver sends a message of a few lines and returns the reply to it.
func (c *client) deliver(content, prefix string) string {
	c.t.Helper()
	c.envelope()
	c.say("DATA", "354 Start mail input; end with <CRLF>.<CRLF>")
	return c.say(content+".", prefix)
}

const note = "Message-ID: <note@sender.example>\r\n\r\nhello\r\n"
