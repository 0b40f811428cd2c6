package inbound

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/outbound"
)

// stage is a server that passes mail to a primary whose connections are pipes
// to scripts. A script has a line for each act of the primary:
//
//	S: text   sends it
//	C: text   expects it; * stands for the rest of the line
//	content   expects content up to its dot, and keeps it
//	cut       closes the connection
//	cut off   expects the end of the connection, and no line of a single dot before it
//	hang      reads what comes and says nothing until the relay has gone
//	pause     reads nothing for a minute, then 32 KiB
//	deaf      does not even read, until told
//	refuse    as the only line: there is no connection
//
// At its end only RSET and QUIT may come.
type stage struct {
	*rig
	upstream *outbound.Upstream
	hearing  chan struct{} // closed: the deaf may end

	mu       sync.Mutex
	scripts  []string
	contents []string
	signals  []health.Signal
	heard    []string
	state    health.State
	talks    sync.WaitGroup
}

func front(t testing.TB, change func(*Options), scripts ...string) *stage {
	t.Helper()
	return frontOf(t, outbound.Options{}, change, scripts...)
}

func frontOf(t testing.TB, primary outbound.Options, change func(*Options), scripts ...string) *stage {
	t.Helper()
	g := &stage{scripts: scripts, state: health.Up, hearing: make(chan struct{})}
	primary.Name, primary.Hosts, primary.Hello = "exo", []string{"192.0.2.9"}, "mx2.example"
	primary.TLS.Policy, primary.Dial, primary.Hear = outbound.TLSNone, g.open, g.hear
	var err error
	if g.upstream, err = outbound.NewUpstream(primary); err != nil {
		t.Fatal(err)
	}
	g.rig = newRig(t, func(o *Options) {
		o.Domains = map[string]string{"d.example": "exo", "e.example": "exo", "f.example": "other"}
		o.Rules = map[string]Rule{"d.example": {Role: Front}, "e.example": {WhenUp: Pass, WhenBusy: DeferBusy}}
		o.Primaries = map[string]*outbound.Upstream{"exo": g.upstream}
		o.State = func(string) health.State { g.mu.Lock(); defer g.mu.Unlock(); return g.state }
		o.Observe = func(s health.Signal) { g.mu.Lock(); defer g.mu.Unlock(); g.signals = append(g.signals, s) }
		if change != nil {
			change(o)
		}
	})
	return g
}

// hear notes what the primary says of recipients: - does not exist, + does, and
// ++ if a message was taken for it.
func (g *stage) hear(h outbound.Heard) {
	sign := map[bool]string{false: "-", true: "+"}[h.Exists]
	if h.Delivered {
		sign += "+"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heard = append(g.heard, sign+h.Path.String())
}

func (g *stage) open(ctx context.Context, _, _ string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.scripts) == 0 || strings.TrimSpace(g.scripts[0]) == "refuse" {
		if len(g.scripts) > 0 {
			g.scripts = g.scripts[1:]
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	ours, theirs := net.Pipe()
	script := g.scripts[0]
	g.scripts = g.scripts[1:]
	g.talks.Go(func() { g.talk(theirs, script) })
	return ours, nil
}

// over ends everything and checks that all scripts were played to their end.
func (g *stage) over() {
	g.t.Helper()
	g.finish()
	g.upstream.Close()
	g.talks.Wait()
	if len(g.scripts) > 0 {
		g.t.Errorf("%d connections were not opened", len(g.scripts))
	}
}

// begin is how a session with the primary begins.
const begin = `
	S: 220 primary.example ready [08DE8A01A0B45E1B]
	C: EHLO mx2.example
	S: 250-primary.example
	S: 250-PIPELINING
	S: 250-8BITMIME
	S: 250-SMTPUTF8
	S: 250-DSN
	S: 250 SIZE 1000000
`

// agreed is a transaction of one recipient up to the content.
const agreed = `
	C: MAIL FROM:<s@far.example>
	C: RCPT TO:<a@d.example>
	S: 250 2.1.0 ok
	S: 250 2.1.5 ok
	C: DATA
	S: 354 go ahead
`

func (g *stage) talk(conn net.Conn, script string) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	for i, line := range strings.Split(strings.TrimSpace(script), "\n") {
		act := strings.TrimSpace(line)
		var err error
		switch word, text, _ := strings.Cut(act, " "); {
		case act == "":
		case word == "S:":
			_, err = io.WriteString(conn, text+"\r\n")
		case word == "C:":
			err = expect(in, text)
		case act == "content":
			err = g.readContent(in)
		case act == "cut":
			return
		case act == "cut off":
			if rest, _ := io.ReadAll(in); strings.Contains("\n"+string(rest), "\n.\r\n") {
				err = fmt.Errorf("got %q", rest)
			} else {
				return
			}
		case act == "hang":
			io.Copy(io.Discard, in)
			return
		case act == "pause":
			time.Sleep(time.Minute)
			_, err = io.CopyN(io.Discard, in, 32<<10)
		case act == "deaf":
			<-g.hearing
			return
		default:
			err = errors.New("no such act")
		}
		if err != nil {
			g.t.Errorf("script, line %d, %s: %v", i+1, act, err)
			return
		}
	}
	for {
		switch rest, _ := in.ReadString('\n'); rest {
		case "RSET\r\n":
			io.WriteString(conn, "250 reset\r\n")
		case "QUIT\r\n":
			io.WriteString(conn, "221 bye\r\n")
		case "":
			return
		default:
			g.t.Errorf("after the script: %q", rest)
			return
		}
	}
}

func expect(in *bufio.Reader, want string) error {
	got, err := in.ReadString('\n')
	got = strings.TrimSuffix(got, "\r\n")
	if prefix, open := strings.CutSuffix(want, "*"); err != nil || got != want && !(open && strings.HasPrefix(got, prefix)) {
		return fmt.Errorf("got %q, %v", got, err)
	}
	return nil
}

func (g *stage) readContent(in *bufio.Reader) error {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == ".\r\n" {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.contents = append(g.contents, b.String())
			return err
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

// entries are the ledger lines.
func (g *stage) entries() (all []queue.Entry) {
	for e, err := range g.store.Ledger(context.Background(), queue.LedgerFilter{}) {
		if err != nil {
			g.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// account is what became of recipients: accepted and passed, and the signals.
func (g *stage) account() string {
	stats, err := g.store.Stats(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	return fmt.Sprintf("kept %d, passed %d", stats.Account.Accepted, stats.Account.Passed)
}

func (g *stage) observed() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var words []string
	for _, s := range g.signals {
		words = append(words, s.Class.String()+"@"+string(s.Phase))
	}
	return strings.Join(words, " ")
}
