package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	simulation "github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// limit is when a test gives up to wait.
const limit = 30 * time.Second

// events is a log whose lines can be waited for.
type events struct {
	mu    sync.Mutex
	lines []string
	grown chan struct{} // closed at the next line, then replaced
}

func newEvents() *events { return &events{grown: make(chan struct{})} }

func (e *events) Write(line []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, string(line))
	close(e.grown)
	e.grown = make(chan struct{})
	return len(line), nil
}

func (e *events) log() *slog.Logger { return slog.New(slog.NewTextHandler(e, nil)) }

func (e *events) all() (string, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.lines, ""), e.grown
}

// has reports whether a line has all the words.
func (e *events) has(words ...string) bool {
	text, _ := e.all()
	for line := range strings.Lines(text) {
		found := true
		for _, word := range words {
			found = found && strings.Contains(line, word)
		}
		if found {
			return true
		}
	}
	return false
}

// await waits for a line with all the words.
func (e *events) await(t *testing.T, words ...string) {
	t.Helper()
	late := time.After(limit)
	for {
		text, grown := e.all()
		if e.has(words...) {
			return
		}
		select {
		case <-grown:
		case <-late:
			t.Fatalf("no line with %q in the log:\n%s", words, text)
		}
	}
}

// folder is for data and a socket: the name of a test would make its path too long.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// simulated is a primary for a domain, with two addresses.
func simulated(t *testing.T, domain string) *simulation.Server {
	t.Helper()
	s, err := simulation.Start(context.Background(), simulation.Options{Addresses: []string{"127.0.0.21:0", "127.0.0.22:0"}, Domains: []string{domain}, RequireTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// play changes what the primary acts.
func play(t *testing.T, s *simulation.Server, name string) {
	t.Helper()
	scenario, err := simulation.Named(name)
	if err == nil {
		err = s.Play(scenario)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// configuration is for a relay without upstreams, in a folder.
func configuration(dir string) configs.Config {
	c := configs.Default()
	c.Hostname, c.Data, c.Socket, c.HTTP.Listen = "mx2.corp.example", filepath.Join(dir, "data"), filepath.Join(dir, "s"), "127.0.0.1:0"
	c.Inbound.Listen = []string{"127.0.0.1:0"}
	c.Inbound.MinFree = 1 << 20
	c.Inbound.Timeouts.Greeting = 0
	c.DNS.Servers, c.DNS.Tries = []string{"127.0.0.1:1"}, 1 // refuses at once
	c.Queue.Schedule = configs.Schedule{First: 10 * time.Millisecond, Factor: 1, Max: 10 * time.Millisecond}
	return c
}

// to adds an upstream and its domain.
func to(t *testing.T, c *configs.Config, name, domain string, s *simulation.Server) {
	t.Helper()
	ca := filepath.Join(filepath.Dir(c.Data), name+".pem")
	if err := os.WriteFile(ca, s.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	u := configs.DefaultUpstream()
	u.Name, u.TLS.ServerName, u.TLS.CA = name, s.Hostname(), ca
	for _, address := range s.Addrs() {
		u.Hosts = append(u.Hosts, address.String())
	}
	u.Probe.Every, u.Probe.EveryBad, u.Probe.Jitter = 20*time.Millisecond, 20*time.Millisecond, 0
	u.Delivery.Wait, u.Delivery.MaxWait = time.Millisecond, 10*time.Millisecond
	c.Upstreams = append(c.Upstreams, u)
	d := configs.DefaultDomain()
	d.Name, d.Upstream = domain, name
	c.Domains = append(c.Domains, d)
}

// configured is a relay's configuration with one primary behind it.
func configured(t *testing.T) (configs.Config, *simulation.Server) {
	t.Helper()
	c, s := configuration(folder(t)), simulated(t, "corp.example")
	to(t, &c, "exo", "corp.example", s)
	return c, s
}

// running is a relay that runs.
type running struct {
	*Relay
	t      *testing.T
	log    *events
	client *admin.Client
	cancel context.CancelFunc
	ended  chan error
}

// run opens a relay and waits until it accepts mail.
func run(t *testing.T, c configs.Config) *running {
	t.Helper()
	return runOn(t, c, Sockets{})
}

// runOn is run, on ports that are open already.
func runOn(t *testing.T, c configs.Config, sockets Sockets) *running {
	t.Helper()
	return runWith(t, Options{Config: c, Sockets: sockets})
}

// runWith is run, with other options than those of every test.
func runWith(t *testing.T, o Options) *running {
	t.Helper()
	log := newEvents()
	o.Version, o.Log = "0.1.0", log.log()
	relay, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Relay: relay, t: t, log: log, client: admin.NewClient(o.Config.Socket), cancel: cancel, ended: make(chan error, 1)}
	go func() {
		defer close(r.ended)
		r.ended <- relay.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.ended
	})
	log.await(t, "relay.ready")
	return r
}

// end waits for the end of Run and returns its error.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(limit):
		text, _ := r.log.all()
		r.t.Fatalf("Run does not end:\n%s", text)
	}
	return nil
}

// stop ends the relay as a service manager does.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := r.end(); err != nil {
		r.t.Fatalf("Run: %v", err)
	}
}

// dial begins a session.
func (r *running) dial() *smtp.Client {
	r.t.Helper()
	c, err := smtp.Dial(r.addresses()[0])
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

const content = "Message-ID: <1@sender.example>\r\nSubject: hello\r\n\r\nhello\r\n"

// envelope begins a transaction and says the first error.
func envelope(c *smtp.Client, recipients ...string) error {
	if err := c.Mail("a@sender.example"); err != nil {
		return err
	}
	for _, recipient := range recipients {
		if err := c.Rcpt(recipient); err != nil {
			return err
		}
	}
	return nil
}

// offer offers a message to one recipient in a session of its own, and returns
// the refusal.
func (r *running) offer(recipient string) error {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	if err := envelope(c, recipient); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(content)); err != nil {
		return err
	}
	return w.Close()
}

// accept offers messages that have to be taken.
func (r *running) accept(recipients ...string) {
	r.t.Helper()
	for _, recipient := range recipients {
		if err := r.offer(recipient); err != nil {
			r.t.Fatalf("mail to %s: %v", recipient, err)
		}
	}
}

// wantReply checks that the error is a reply that begins so.
func wantReply(t *testing.T, err error, begin string) {
	t.Helper()
	reply := &textproto.Error{}
	if !errors.As(err, &reply) || !strings.HasPrefix(fmt.Sprint(reply.Code, " ", reply.Msg), begin) {
		t.Errorf("want %s, got %v", begin, err)
	}
}

// override makes a state count for the first upstream.
func (r *running) override(state health.State) {
	r.t.Helper()
	o := &health.Override{State: state, Until: time.Now().Add(time.Hour), Actor: "test", Reason: "test"}
	if err := r.primaries[0].shown().Override(o); err != nil {
		r.t.Fatal(err)
	}
}

// status is what operators see.
func (r *running) status() admin.Status {
	r.t.Helper()
	st, err := r.client.Status(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

// received waits until a primary has so many messages, and lists their recipients.
func received(t *testing.T, s *simulation.Server, n int) (recipients []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	deliveries, err := s.Await(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries {
		recipients = append(recipients, d.Recipients...)
	}
	return recipients
}

// get asks the HTTP listener.
func (r *running) get(path string) string {
	r.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + r.web.Addr().String() + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	var line [200]byte
	n, _ := response.Body.Read(line[:])
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(line[:n])))
}
