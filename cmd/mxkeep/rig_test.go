package main

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/admin/admintest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// rig is a relay made of a store in memory and simulated neighbours, behind a real control socket.
type rig struct {
	t          testing.TB
	store      *admintest.Store
	exo        *admintest.Upstream
	inbound    *admintest.Inbound
	recipients *admintest.Recipients
	files      *admintest.Files
	backups    *admintest.Backups
	bounces    *admintest.Bounces
	windows    *admintest.Windows
	incidents  *admintest.Incidents
	upstreams  []admin.Upstream
	limits     queue.Limits
	ready      error
	started    time.Time
	socket     string
	dial       admin.Dial // nil: the socket is a real one
	server     *admin.Server
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "mx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, store: admintest.NewStore(), inbound: &admintest.Inbound{}, recipients: &admintest.Recipients{}, files: &admintest.Files{}, backups: &admintest.Backups{}, bounces: &admintest.Bounces{}, windows: &admintest.Windows{}, incidents: &admintest.Incidents{}, started: time.Now(), socket: filepath.Join(dir, "admin.sock")}
	r.exo = &admintest.Upstream{Status: health.Status{State: health.Up, Since: time.Now()}}
	r.upstreams = []admin.Upstream{r.exo.Part("exo", "corp.example")}
	return r
}

// serve answers on a real socket until the test ends. It must not be called in
// a bubble: who waits for a socket keeps the time there from going on.
func (r *rig) serve() {
	r.t.Helper()
	listener, err := admin.Listen(r.socket)
	if err != nil {
		r.t.Fatal(err)
	}
	r.serveOn(listener)
}

// serveInBubble answers on pipes until the test ends.
func (r *rig) serveInBubble() {
	listener := &pipes{opened: make(chan net.Conn), closed: make(chan struct{})}
	r.dial = listener.dial
	r.serveOn(listener)
}

func (r *rig) serveOn(listener net.Listener) {
	if r.server == nil {
		r.make()
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(ctx, listener) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			r.t.Errorf("Serve: %v", err)
		}
	})
}

// pipes is a listener within the process.
type pipes struct {
	opened chan net.Conn // never closed
	closed chan struct{} // closed by Close
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.opened <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.opened:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// make makes the server without a socket.
func (r *rig) make() {
	r.server = admin.New(admin.Options{Store: r.store, Files: r.files, Backups: r.backups, Upstreams: r.upstreams, Inbound: r.inbound.Part(), Bounces: r.bounces.Part(), Windows: r.windows, Incidents: r.incidents, Recipients: r.recipients.Part(),
		Limits: r.limits, Hostname: "mx2.corp.example", Version: "0.1.0", Started: r.started, Ready: func() error { return r.ready }})
}

// watch makes the server and lets it see something happen and then time go by.
func (r *rig) watch(d time.Duration, happens func()) {
	r.make()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.server.Watch(ctx) }()
	time.Sleep(time.Second)
	happens()
	time.Sleep(d)
	cancel()
	<-done
}

// accept takes a message into custody.
func (r *rig) accept(from, to string, change ...func(*queue.Acceptance)) queue.ID {
	r.t.Helper()
	a := queue.Acceptance{At: time.Now(), MessageID: "<1." + from + ">", Lifetime: queue.DefaultLifetime,
		Envelope: queue.Envelope{Upstream: "exo", ReversePath: from,
			Origin: queue.Origin{Address: "192.0.2.44", Host: "mx1.supplier.example", Hello: "mx1.supplier.example", TLS: "TLS1.3", Reason: "upstream is down"}}}
	for _, address := range strings.Split(to, ",") {
		a.Envelope.Recipients = append(a.Envelope.Recipients, queue.Recipient{ForwardPath: address})
	}
	for _, c := range change {
		c(&a)
	}
	id, err := r.store.Accept(context.Background(), "Subject: hello\r\nX-Nasty: \x1b]0;owned\a\r\n\r\nBody \x1b[31m of "+from+"\r\n", a)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// attempt lets one attempt for every recipient end with the result.
func (r *rig) attempt(id queue.ID, result queue.Result) {
	r.t.Helper()
	claimed, err := r.store.Claim(context.Background(), []queue.ID{id}, time.Minute)
	if err != nil || len(claimed) != 1 {
		r.t.Fatalf("claim of %s: %d messages, %v", id, len(claimed), err)
	}
	result.At = time.Now()
	results := map[int]queue.Result{}
	for _, i := range claimed[0].Pending() {
		results[i] = result
	}
	plan := queue.Plan(queue.DefaultSchedule(), claimed[0], results, time.Now())
	if err := r.store.Settle(context.Background(), plan); err != nil {
		r.t.Fatal(err)
	}
}

func deferred(code int, enhanced, text string) queue.Result {
	return queue.Result{Action: queue.Deferred, Scope: queue.ScopeUpstream, Host: "mx.corp.example", Address: "127.0.0.25:25", Took: 212 * time.Millisecond,
		Reply: queue.Reply{Command: "MAIL", Code: code, Enhanced: enhanced, Text: text}}
}

func refused(text string) queue.Result {
	return queue.Result{Action: queue.Refused, Scope: queue.ScopeOneRecipient, Address: "127.0.0.25:25", Took: time.Millisecond,
		Reply: queue.Reply{Command: "RCPT", Code: 550, Enhanced: "5.1.1", Text: text}}
}

func delivered() queue.Result {
	return queue.Result{Action: queue.Delivered, Address: "127.0.0.25:25", Took: time.Millisecond,
		Reply: queue.Reply{Command: "DATA", Code: 250, Enhanced: "2.6.0", Text: "Queued mail for delivery"}}
}

// result is what a run of the command line left behind.
type result struct {
	code      int
	out, errs string
}

// run runs a command line in a script: no terminal, nobody to ask.
func (r *rig) run(args ...string) result { return r.with(screen{width: 80, utf8: true}, "", args...) }

// terminal runs a command line on a terminal where somebody types input.
func (r *rig) terminal(width int, input string, args ...string) result {
	return r.with(screen{out: true, in: true, width: width, utf8: true}, input, args...)
}

func (r *rig) with(s screen, input string, args ...string) result {
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(input), out: &out, errs: &errs, dial: r.dial, now: time.Now(), screen: s,
		env: func(name string) string { return map[string]string{"MXKEEP_SOCKET": r.socket}[name] }}
	code := a.run(context.Background(), args)
	return result{code, out.String(), errs.String()}
}

// states lists every message with its state, final ones too.
func (r *rig) states() map[queue.ID]string {
	r.t.Helper()
	states := map[queue.ID]string{}
	for m, err := range r.store.Messages(context.Background(), queue.Filter{States: queue.States()}) {
		if err != nil {
			r.t.Fatal(err)
		}
		states[m.ID] = m.State().String()
	}
	return states
}

// ledger lists the lines of an event.
func (r *rig) ledger(event queue.Event) (lines []queue.Entry) {
	r.t.Helper()
	for e, err := range r.store.Ledger(context.Background(), queue.LedgerFilter{Events: []queue.Event{event}}) {
		if err != nil {
			r.t.Fatal(err)
		}
		lines = append(lines, e)
	}
	return lines
}

// golden compares with a file of testdata, or writes it anew.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew)\n--- got\n%s--- want\n%s", file, got, want)
	}
}
