package inbound

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// TestErrorOf: an error nobody classified is temporary, and its text stays here.
func TestErrorOf(t *testing.T) {
	denied := smtp.NewReply(550, smtp.StatusRelayDenied, "relaying denied")
	for _, test := range []struct {
		rule string
		err  error
		want string
	}{
		{"a reply", denied, "550 5.7.1 relaying denied"},
		{"a reply that was wrapped", fmt.Errorf("rcpt: %w", denied), "550 5.7.1 relaying denied"},
		{"a reply without a status", smtp.NewReply(421, smtp.EnhancedStatus{}, "bye"), "421 0.0.0 bye"},
		{"an unknown error", errors.New("/var/lib: disk full"), "451 4.3.0 local error, try again later"},
		{"no error at all", nil, "451 4.3.0 local error, try again later"},
		{"success is none", smtp.NewReply(250, smtp.StatusOK, "ok"), "451 4.3.0 local error, try again later"},
		{"an empty reply", smtp.Reply{}, "451 4.3.0 local error, try again later"},
		{"the end of the connection", io.ErrUnexpectedEOF, "451 4.3.0 local error, try again later"},
	} {
		e := errorOf(test.err)
		if got := fmt.Sprintf("%d %d.%d.%d %s", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], e.Message); got != test.want {
			t.Errorf("%s: %s, want %s", test.rule, got, test.want)
		}
	}
}

func TestEngineLog(t *testing.T) {
	log := &logs{}
	l := engineLog{slog.New(slog.NewTextHandler(log, nil))}
	l.Printf("a %s", "\x1b[2J")
	l.Println("b", 1)
	if got := log.String(); strings.Count(got, "msg=engine.error") != 2 || !strings.Contains(got, `a \\x1b[2J`) {
		t.Error(got)
	}
}

// bare makes a server that does not run, and a connection of it.
func bare(t *testing.T) (*Server, *conn, net.Conn) {
	t.Helper()
	s, err := New(Options{Hostname: "mx2.example", Domains: map[string]string{"d.example": "exo"}, Store: queuetest.New(), State: down})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	g := newGuard(s, nil)
	s.enter(addressOf(theirs.RemoteAddr()))
	return s, g.admit(theirs, addressOf(theirs.RemoteAddr())), ours
}

// TestEndedConnection: nothing begins on a connection that has ended.
func TestEndedConnection(t *testing.T) {
	s, c, _ := bare(t)
	e := newEngine(t.Context(), t.Context(), s)
	a := &adapter{engine: e, conn: c, session: &session{server: s, client: c, ctx: t.Context()}}
	c.Close()
	c.Close()
	if err := a.Data(strings.NewReader("x")); err == nil || !strings.HasPrefix(err.Error(), "SMTP error 451") {
		t.Errorf("content: %v", err)
	}
	if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("Read: %d, %v", n, err)
	}
	if n, err := c.Write([]byte("220 x\r\n")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if err := c.startTLS(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("STARTTLS: %v", err)
	}
	for _, err := range []error{c.answer(refuse("x", 500, smtp.StatusSyntax, "x")), c.farewell(refuse("x", 421, smtp.StatusTimeout, "x"))} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("answer: %v", err)
		}
	}
	if err := a.Logout(); err != nil || c.LocalAddr() == nil || s.Stats().Sessions != 0 {
		t.Errorf("Logout: %v", err)
	}
}

// TestClientLeaves: how a client ends its connection is no error of ours.
func TestClientLeaves(t *testing.T) {
	r := newRig(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, ctx := make(chan error, 1), t.Context()
	go func() { served <- r.server.Serve(ctx, l) }()
	for _, said := range []string{"", "MAIL FROM:<s@far.example>\r\nRCPT", "BDAT 100 LAST\r\nshort"} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		newWire(t, conn).hello().say(said)
		conn.(*net.TCPConn).SetLinger(0) // a reset
		conn.Close()
	}
	l.Close()
	<-served
	r.finish()
	if got := r.log.String(); strings.Contains(got, "engine.error") {
		t.Error(got)
	}
}

// TestLateConnection: one that was accepted just before the end is told so.
func TestLateConnection(t *testing.T) {
	s, c, _ := bare(t)
	c.drain()
	x := &session{server: s, client: c, ctx: t.Context()}
	if no := x.mail("", mailParams{}); no == nil || no.reply.Code != 421 {
		t.Errorf("MAIL: %+v", no)
	}
	c.guard.draining = true
	if late := c.guard.admit(c.raw, c.address); !late.drained() {
		t.Error("it is not drained")
	}
	for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
		if err := set(time.Unix(0, 0)); err != nil { // and it has no effect
			t.Error(err)
		}
	}
}

// TestContentAtTheEndOfTheSession: content gets no more time than the session has.
func TestContentAtTheEndOfTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Timeouts.Session = 2 * time.Minute })
		defer r.finish()
		begun := time.Now()
		w := r.dial("192.0.2.1").hello().envelope()
		time.Sleep(time.Minute)
		w.ask("DATA", "354")
		w.want("gone")
		if took := time.Since(begun); took != 2*time.Minute {
			t.Errorf("gone after %v", took)
		}
	})
}

func TestBeforeHello(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1")
	w.transcript("S: 220\nC: MAIL FROM:<>\nS: 503 5.5.1\nC: RCPT TO:<a@d.example>\nS: 503\nC: DATA\nS: 503\nC: NOOP\nS: 250\nC: BDAT 3 LAST\nS: 503\nS: gone")
	r.finish()
}

// TestCutOffTellsNothing: of what the client may have begun since.
func TestCutOffTellsNothing(t *testing.T) {
	log := &logs{}
	s, c, _ := bare(t)
	s.options.Log = slog.New(slog.NewTextHandler(log, nil))
	x := &session{server: s, client: c, ctx: t.Context()}
	x.tx.Store(&transaction{envelope: queue.Envelope{ReversePath: "s@far.example", Recipients: []queue.Recipient{{ForwardPath: "a@d.example"}}}})
	if _, no := x.receive(io.MultiReader(strings.NewReader("x"), failing{})); no == nil || no.reason != reasonTruncated {
		t.Errorf("refusal %+v", no)
	}
	if got := log.String(); !strings.Contains(got, "reason=truncated") || strings.Contains(got, "far.example") {
		t.Error(got)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }
