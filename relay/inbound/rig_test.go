package inbound

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// rig is a server in this process, reached through pipes or loopback.
type rig struct {
	t      testing.TB
	server *Server
	store  *queuetest.Memory
	in     *pipes
	log    *logs
	stop   context.CancelFunc
	served chan error
	ended  bool
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

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	over  chan struct{}
	err   error
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), over: make(chan struct{}), err: net.ErrClosed}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, p.err
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.over) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// placed is a connection from an address.
type placed struct {
	net.Conn
	from string
}

func (p placed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(p.from), Port: 4025} }

// down is the state of every upstream unless a test says otherwise.
func down(string) health.State { return health.Down }

func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, store: queuetest.New(), in: newPipes(), log: &logs{}, served: make(chan error, 1)}
	o := Options{Hostname: "mx2.example", Domains: map[string]string{"d.example": "exo", "e.example": "exo", "f.example": "other"},
		Store: r.store, State: down, Log: slog.New(slog.NewJSONHandler(r.log, nil))}
	if change != nil {
		change(&o)
	}
	var err error
	if r.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.served <- r.server.Serve(ctx, r.in) }()
	return r
}

// end stops the server and returns what Serve returned.
func (r *rig) end() error {
	if r.ended {
		return nil
	}
	r.ended = true
	r.stop()
	return <-r.served
}

// finish ends a test whose server should not have failed.
func (r *rig) finish() {
	r.t.Helper()
	if err := r.end(); err != nil {
		r.t.Fatalf("Serve: %v", err)
	}
	if n := r.server.Stats().Sessions; n != 0 {
		r.t.Fatalf("%d sessions are left", n)
	}
}

// messages is what the store has accepted.
func (r *rig) messages() []queue.Message {
	r.t.Helper()
	var all []queue.Message
	for m, err := range r.store.Messages(context.Background(), queue.Filter{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// content is what the store gives back, without the Received field.
func (r *rig) content(id queue.ID) (trace, content string) {
	r.t.Helper()
	in, err := r.store.Content(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	defer in.Close()
	all, err := io.ReadAll(in)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := r.store.Message(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	cut := len(all) - int(m.Size)
	return string(all[:cut]), string(all[cut:])
}

// wire is a client. It reads all the time, so neither side can make the other wait for ever.
type wire struct {
	t     testing.TB
	conn  net.Conn
	lines chan string            // closed when the server has gone
	last  atomic.Pointer[string] // how the last line that is read begins
	ended chan struct{}
}

func (r *rig) dial(from string) *wire {
	r.t.Helper()
	ours, theirs := net.Pipe()
	select {
	case r.in.conns <- placed{theirs, from}:
	case <-r.in.over:
		r.t.Fatal("the server does not listen")
	}
	return newWire(r.t, ours)
}

func newWire(t testing.TB, conn net.Conn) *wire {
	w := &wire{t: t, conn: conn}
	w.listen()
	return w
}

func (w *wire) listen() {
	w.lines, w.ended = make(chan string, 10000), make(chan struct{})
	lines, ended, in := w.lines, w.ended, bufio.NewReader(w.conn)
	go func() {
		defer close(ended)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				close(lines)
				return
			}
			lines <- strings.TrimSuffix(line, "\r\n")
			if last := w.last.Load(); last != nil && strings.HasPrefix(line, *last) {
				return
			}
		}
	}()
}

// say writes bytes. The server may have gone.
func (w *wire) say(text string) { io.WriteString(w.conn, text) }

// reply reads one reply: its last line, or "gone".
func (w *wire) reply() string {
	for line := range w.lines {
		if len(line) < 4 || line[3] != '-' {
			return line
		}
	}
	return "gone"
}

// rest reads all replies until the server has gone.
func (w *wire) rest() []string {
	var all []string
	for line := range w.lines {
		all = append(all, line)
	}
	return all
}

// want reads a reply that has to begin with prefix.
func (w *wire) want(prefix string) string {
	w.t.Helper()
	got := w.reply()
	if !strings.HasPrefix(got, prefix) {
		w.t.Fatalf("reply %q, want %q", got, prefix)
	}
	return got
}

// ask says a command and wants a reply.
func (w *wire) ask(command, prefix string) string {
	w.t.Helper()
	w.say(command + "\r\n")
	got := w.reply()
	if !strings.HasPrefix(got, prefix) {
		w.t.Fatalf("%q: reply %q, want %q", command, got, prefix)
	}
	return got
}

// hello reads the greeting and says EHLO.
func (w *wire) hello() *wire {
	w.t.Helper()
	w.want("220 mx2.example")
	w.ask("EHLO client.example", "250 ")
	return w
}

// envelope opens a transaction.
func (w *wire) envelope() *wire {
	w.t.Helper()
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.ask("RCPT TO:<a@d.example>", "250")
	return w
}

// askLast says a command and reads nothing after its reply.
func (w *wire) askLast(command, prefix string) {
	w.t.Helper()
	w.last.Store(&prefix)
	w.ask(command, prefix)
	<-w.ended
	w.last.Store(nil)
}

// secure says STARTTLS and goes on over TLS.
func (w *wire) secure() *wire {
	w.t.Helper()
	w.askLast("STARTTLS", "220 2.0.0")
	secured := tls.Client(w.conn, &tls.Config{InsecureSkipVerify: true})
	if err := secured.Handshake(); err != nil {
		w.t.Fatal(err)
	}
	w.conn = secured
	w.listen()
	return w
}

func (w *wire) close() { w.conn.Close() }

// transcript plays lines of C: and S:. The reply has to begin as S: says; gone
// means that the server has closed.
func (w *wire) transcript(text string) {
	w.t.Helper()
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimLeft(line, "\t")
		switch what, rest, _ := strings.Cut(line, ": "); what {
		case "C":
			w.say(rest + "\r\n")
		case "S":
			if got := w.reply(); !strings.HasPrefix(got, rest) {
				w.t.Fatalf("line %d: reply %q, want %q", i+1, got, rest)
			}
		default:
			w.t.Fatalf("line %d: %q", i+1, line)
		}
	}
}

// withTLS makes a server that offers STARTTLS.
func withTLS(t testing.TB) func(*Options) {
	t.Helper()
	c, err := SelfSigned(t.TempDir(), "mx2.example", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.TLS = c.Config() }
}

// broken is a store of which one step fails.
type broken struct {
	*queuetest.Memory
	create, write, commit error
	note                  error
	after                 int // writes that go well
	panics                bool
}

func (b *broken) Create(ctx context.Context) (queue.Draft, error) {
	if b.create != nil {
		return nil, b.create
	}
	if b.panics {
		panic("a fault")
	}
	d, err := b.Memory.Create(ctx)
	return &brokenDraft{d, b}, err
}

func (b *broken) Note(ctx context.Context, e queue.Entry) error {
	if b.note != nil {
		return b.note
	}
	return b.Memory.Note(ctx, e)
}

type brokenDraft struct {
	queue.Draft
	of *broken
}

func (d *brokenDraft) Write(p []byte) (int, error) {
	if d.of.after--; d.of.after < 0 && d.of.write != nil {
		return 0, d.of.write
	}
	return d.Draft.Write(p)
}

func (d *brokenDraft) Commit(ctx context.Context, a queue.Acceptance) error {
	if d.of.commit != nil {
		return errors.Join(d.of.commit, d.Abort())
	}
	return d.Draft.Commit(ctx, a)
}

// chunked writes content as BDAT chunks of at most n octets.
func chunked(content string, n int) string {
	var b strings.Builder
	for {
		piece := content[:min(n, len(content))]
		content = content[len(piece):]
		last := ""
		if content == "" {
			last = " LAST"
		}
		fmt.Fprintf(&b, "BDAT %d%s\r\n%s", len(piece), last, piece)
		if content == "" {
			return b.String()
		}
	}
}
