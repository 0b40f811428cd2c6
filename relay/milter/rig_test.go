package milter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	milter "github.com/d--j/go-milter"
)

// scripted is a filter on the library's own server. It notes what it is told.
type scripted struct {
	milter.NoOpMilter
	heard *heard
	on    map[string]func(milter.Modifier) (*milter.Response, error) // by stage; nil goes on
}

type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

func (s *scripted) act(stage string, m milter.Modifier) (*milter.Response, error) {
	if do := s.on[stage]; do != nil {
		return do(m)
	}
	return milter.RespContinue, nil
}

func (s *scripted) Connect(host, family string, _ uint16, address string, m milter.Modifier) (*milter.Response, error) {
	s.heard.note("connect %s %s %s j=%s daemon=%s client=%s %s", host, family, address, m.Get("j"), m.Get("{daemon_name}"), m.Get("{client_addr}"), m.Get("{client_name}"))
	return s.act("connect", m)
}

func (s *scripted) Helo(name string, m milter.Modifier) (*milter.Response, error) {
	s.heard.note("helo %s tls=%s %s %s", name, m.Get("{tls_version}"), m.Get("{cipher}"), m.Get("{cipher_bits}"))
	return s.act("helo", m)
}

func (s *scripted) MailFrom(from, _ string, m milter.Modifier) (*milter.Response, error) {
	s.heard.note("mail %s i=%s addr=%s host=%s", from, m.Get("i"), m.Get("{mail_addr}"), m.Get("{mail_host}"))
	return s.act("mail", m)
}

func (s *scripted) RcptTo(to, _ string, m milter.Modifier) (*milter.Response, error) {
	s.heard.note("rcpt %s addr=%s host=%s", to, m.Get("{rcpt_addr}"), m.Get("{rcpt_host}"))
	return s.act("rcpt", m)
}

func (s *scripted) Data(m milter.Modifier) (*milter.Response, error) { return s.act("data", m) }

func (s *scripted) Header(name, value string, m milter.Modifier) (*milter.Response, error) {
	s.heard.note("header %q %q", name, value)
	return s.act("header", m)
}

func (s *scripted) Headers(m milter.Modifier) (*milter.Response, error) { return s.act("headers", m) }

func (s *scripted) BodyChunk(chunk []byte, m milter.Modifier) (*milter.Response, error) {
	if len(chunk) > 100 {
		s.heard.note("body of %d", len(chunk))
	} else {
		s.heard.note("body %q", chunk)
	}
	return s.act("body", m)
}

func (s *scripted) EndOfMessage(m milter.Modifier) (*milter.Response, error) {
	s.heard.note("end i=%s", m.Get("i"))
	return s.act("end", m)
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	over  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.over) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// dial connects to the listener.
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type on map[string]func(milter.Modifier) (*milter.Response, error)

// say answers so at a stage.
func say(r *milter.Response) func(milter.Modifier) (*milter.Response, error) {
	return func(milter.Modifier) (*milter.Response, error) { return r, nil }
}

// do does something to the message.
func do(change func(milter.Modifier) error) func(milter.Modifier) (*milter.Response, error) {
	return func(m milter.Modifier) (*milter.Response, error) { return milter.RespContinue, change(m) }
}

// server runs a scripted filter until the test ends.
func server(t *testing.T, acts on, options ...milter.Option) (*pipes, *heard) {
	t.Helper()
	p, h := &pipes{conns: make(chan net.Conn), over: make(chan struct{})}, &heard{}
	options = append([]milter.Option{milter.WithActions(milter.OptAddHeader | milter.OptQuarantine),
		milter.WithMilter(func() milter.Milter { return &scripted{heard: h, on: acts} })}, options...)
	s := milter.NewServer(options...)
	served := make(chan error, 1)
	go func() { served <- s.Serve(p) }()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return p, h
}

// raw is a filter that reads a while, says these bytes and closes or waits.
func raw(t *testing.T, talk func(net.Conn)) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), over: make(chan struct{})}
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			c, err := p.Accept()
			if err != nil {
				return
			}
			talks.Go(func() { defer c.Close(); talk(c) })
		}
	})
	t.Cleanup(func() { p.Close(); talks.Wait() })
	return p
}

// logs keeps what is logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func filter(t testing.TB, name string, p *pipes, change func(*Options)) *Filter {
	t.Helper()
	o := Options{Name: name, Network: "unix", Address: "/run/filter", OnFailure: Defer, Dial: p.dial}
	if change != nil {
		change(&o)
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func toLog(l *logs) func(*Options) {
	return func(o *Options) { o.Log = slog.New(slog.NewTextHandler(l, nil)) }
}

const letter = "Received: from a\r\n\tby b\r\nSubject:x\r\nX-Space:  two \r\n\r\nbody\r\n"

func message(content string) Message {
	return Message{ID: "k3m9x2q7w4te", By: "mx2.example", Client: netip.MustParseAddr("192.0.2.1"), Host: "client.example", Hello: "helo.example",
		TLS: "TLS1.3", Cipher: "TLS_AES_128_GCM_SHA256", ReversePath: "s@far.example", Recipients: []string{"a@d.example", "b@d.example"},
		Content: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func ask(t testing.TB, m Message, chain ...*Filter) Verdict {
	t.Helper()
	v, err := Chain(chain).Ask(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const never = 24 * time.Hour
