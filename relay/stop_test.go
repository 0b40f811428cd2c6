package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// begun is a session whose content is coming.
func (r *running) begun(recipient string) io.WriteCloser {
	r.t.Helper()
	c := r.dial()
	if err := envelope(c, recipient); err != nil {
		r.t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

// TestStopDuringData: what is coming is taken to its end, and nothing else.
func TestStopDuringData(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	play(t, exo, "down")
	r := run(t, c)
	data, idle := r.begun("a@corp.example"), r.dial()
	if got := r.get("/healthz") + ", " + r.get("/readyz"); got != "200 ok, 200 ok" {
		t.Error(got)
	}

	r.cancel()
	r.log.await(t, "relay.stopping")
	if got := r.get("/healthz") + ", " + r.get("/readyz"); got != "200 ok, 503 not ready: not running: starting or stopping" {
		t.Error(got)
	}
	if st := r.status(); st.Ready || st.NotReady == "" {
		t.Errorf("ready while it stops: %+v", st)
	}
	if err := idle.Noop(); err == nil {
		t.Error("a session without content goes on")
	}
	if conn, err := net.Dial("tcp", r.addresses()[0]); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	if _, err := io.WriteString(data, content); err != nil {
		t.Fatal(err)
	}
	if err := data.Close(); err != nil {
		t.Errorf("the end of the content: %v", err)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}

	r = run(t, c)
	if st := r.status(); st.Account.Accepted != 1 || st.Queue.Messages != 1 {
		t.Errorf("account %+v", st.Account)
	}
}

// patient is a primary in plain text that says 250 to the final dot only when it may.
type patient struct {
	net.Listener
	dotted chan struct{} // gets one for each final dot
	may    chan struct{} // gives one for each 250
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.23:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{Listener: l, dotted: make(chan struct{}), may: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.talk(conn) // ends with its client
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return p
}

func (p *patient) talk(conn net.Conn) {
	defer conn.Close()
	fmt.Fprint(conn, "220 patient.example\r\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
		case "EHLO":
			fmt.Fprint(conn, "250-patient.example\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
		case "DATA":
			fmt.Fprint(conn, "354 go on\r\n")
			for lines.Scan() && lines.Text() != "." {
			}
			p.dotted <- struct{}{}
			<-p.may
			fmt.Fprint(conn, "250 2.6.0 taken\r\n")
		case "QUIT":
			fmt.Fprint(conn, "221 2.0.0 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 2.0.0 ok\r\n")
		}
	}
}

// TestStopPastTheFinalDot: a message that the primary may have taken waits for
// its answer, so that it is not delivered twice.
func TestStopPastTheFinalDot(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	p := newPatient(t)
	c.Upstreams[0].Hosts, c.Upstreams[0].TLS = []string{p.Addr().String()}, configs.TLS{Policy: configs.TLSNone}
	if err := exo.Close(); err != nil {
		t.Fatal(err)
	}
	r := run(t, c)
	r.override(health.Down)
	r.accept("a@corp.example")
	r.primaries[0].monitor.Override(nil)
	select {
	case <-p.dotted:
	case <-time.After(limit):
		text, _ := r.log.all()
		t.Fatalf("no delivery:\n%s", text)
	}
	r.cancel()
	r.log.await(t, "relay.stopping")
	p.may <- struct{}{}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if !r.log.has("delivery.delivered", "2.6.0") {
		text, _ := r.log.all()
		t.Errorf("log:\n%s", text)
	}
}

// TestAPartThatFails: it ends the relay, and its name is in the error.
func TestAPartThatFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		fail func(*running) error
		part string
		is   error
	}{
		{"SMTP", func(r *running) error { return r.listeners[0].Close() }, "SMTP on 127.0.0.1:", net.ErrClosed},
		{"control", func(r *running) error { return r.control.Close() }, "control socket: ", net.ErrClosed},
		{"HTTP", func(r *running) error { return r.web.Close() }, "HTTP: ", net.ErrClosed},
		{"deliveries", func(r *running) error {
			err := r.store.Close()
			r.primaries[0].dispatcher.Resume() // it looks at the store
			return err
		}, "deliveries to exo: ", queue.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, _ := configured(t)
			r := run(t, c)
			r.log.await(t, "health.changed", "to=up")
			if err := test.fail(r); err != nil {
				t.Fatal(err)
			}
			err := r.end()
			if err == nil || !strings.HasPrefix(err.Error(), test.part) || !errors.Is(err, test.is) {
				t.Errorf("Run: %v", err)
			}
			if !r.log.has("relay.stopping", test.part) || !r.log.has("level=ERROR", "relay.failed", test.part) {
				text, _ := r.log.all()
				t.Errorf("log:\n%s", text)
			}
			if held := held(t, c.Data); len(held) > 0 {
				t.Errorf("still open: %s", held)
			}
		})
	}
}

// TestPurge: it ends with the store, and with the relay.
func TestPurge(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	r, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.purge(ended); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.purge(context.Background()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
}
