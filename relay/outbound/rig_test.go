package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
)

// rig is an Upstream whose connections are pipes to scripts. Use it in a bubble.
//
// A script has a line for each act of the primary:
//
//	S: text   sends it
//	C: text   expects it
//	S| text   sends it in one piece with the line before
//	tls       does the handshake, as corp.example; tls-other as other.example
//	cut       closes the connection
//	hear      waits until something comes
//	hang      reads what comes and says nothing until the relay has gone
//	deaf      does not even read, until the relay has gone
//	dot       reads content, whatever it is, to its final dot
//	no dot    reads to the end of the connection: no line of content may be "."
//	refuse    as the only line: there is no connection
//
// At its end the primary reads on, and nothing but QUIT may come.
type rig struct {
	*testing.T
	*Upstream
	authority *primary.Authority

	mu      sync.Mutex
	scripts []string
	dialled []string
	talks   sync.WaitGroup
}

func newRig(t *testing.T, change func(*Options), scripts ...string) *rig {
	t.Helper()
	r := &rig{T: t, scripts: scripts}
	o := Options{Name: "exo", Hosts: []string{"corp.example"}, Hello: "relay.example", TLS: TLS{Policy: TLSNone},
		Resolver: names{"corp.example": {"192.0.2.1"}}, Dial: r.dial}
	if change != nil {
		change(&o)
	}
	if o.TLS.Policy != TLSNone {
		var err error
		if r.authority, err = primary.NewAuthority(); err != nil { // now, by the bubble's clock
			t.Fatal(err)
		}
		o.TLS.Roots = r.authority.Pool()
	}
	u, err := NewUpstream(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Upstream = u
	return r
}

// names is a resolver.
type names map[string][]string

func (n names) LookupHost(_ context.Context, name string) ([]netip.Addr, error) {
	var addresses []netip.Addr
	for _, a := range n[name] {
		addresses = append(addresses, netip.MustParseAddr(a))
	}
	if addresses == nil {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return addresses, nil
}

func (r *rig) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dialled = append(r.dialled, address)
	if len(r.scripts) == 0 || strings.TrimSpace(r.scripts[0]) == "refuse" {
		if len(r.scripts) > 0 {
			r.scripts = r.scripts[1:]
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	ours, theirs := net.Pipe()
	script := r.scripts[0]
	r.scripts = r.scripts[1:]
	r.talks.Go(func() { r.talk(theirs, script) })
	return ours, nil
}

// end closes the upstream and checks that all scripts were played to their end.
func (r *rig) end() {
	r.Helper()
	r.Close()
	r.talks.Wait()
	if len(r.scripts) > 0 {
		r.Errorf("%d connections were not opened", len(r.scripts))
	}
}

// talk plays a script.
func (r *rig) talk(conn net.Conn, script string) {
	defer func() { conn.Close() }()
	in := bufio.NewReaderSize(conn, 64<<10)
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for i := 0; i < len(lines); i++ {
		act, text, _ := strings.Cut(strings.TrimSpace(lines[i]), " ")
		var err error
		switch act {
		case "S:":
			text += "\r\n"
			for i+1 < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[i+1]), "S| ") {
				i++
				text += strings.TrimSpace(lines[i])[3:] + "\r\n"
			}
			_, err = io.WriteString(conn, text)
		case "C:":
			var got string
			if got, err = in.ReadString('\n'); err == nil && got != text+"\r\n" {
				err = fmt.Errorf("got %q", got)
			}
		case "tls", "tls-other":
			name := map[string]string{"tls": "corp.example", "tls-other": "other.example"}[act]
			certificate, failure := r.authority.Certificate(name)
			if failure != nil {
				r.Error(failure)
				return
			}
			secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
			if failure = secured.Handshake(); failure != nil && act == "tls" {
				err = failure
			}
			conn, in = secured, bufio.NewReaderSize(secured, 64<<10)
		case "cut":
			return
		case "hear":
			_, err = in.Peek(1)
		case "hang":
			io.Copy(io.Discard, in)
			return
		case "deaf":
			io.WriteString(conn, "250 never read\r\n") // waits, as nobody reads it
			return
		case "dot":
			for got := ""; err == nil && got != ".\r\n"; {
				got, err = in.ReadString('\n')
			}
		case "no":
			if rest, _ := io.ReadAll(in); strings.Contains("\n"+string(rest), "\n.\r\n") {
				err = fmt.Errorf("got %q", rest)
			}
		case "": // an empty line
		default:
			err = errors.New("no such act")
		}
		if err != nil {
			r.Errorf("script, line %d, %s: %v", i+1, strings.TrimSpace(lines[i]), err)
			return
		}
	}
	rest, _ := in.ReadString('\n')
	if rest == "QUIT\r\n" {
		io.WriteString(conn, "221 bye\r\n")
		rest, _ = in.ReadString('\n')
	}
	if rest != "" {
		r.Errorf("after the script: %q", rest)
	}
}

// hello is how a session begins that offers the keywords.
func hello(keywords ...string) string {
	return "S: 220 corp.example ESMTP ready [08DE8A01A0B45E1B]\n" + ehlo(keywords...)
}

func ehlo(keywords ...string) string {
	all := append([]string{"corp.example"}, keywords...)
	lines := "C: EHLO relay.example\n"
	for i, k := range all {
		mark := "-"
		if i == len(all)-1 {
			mark = " "
		}
		lines += "S: 250" + mark + k + "\n"
	}
	return lines
}

const text = "Subject: a\r\n\r\n.b\r\n"

// textLines is text on the wire, with its end.
const textLines = `
	C: Subject: a
	C:
	C: ..b
	C: .
`

// message is a message to recipients, from a@x.example.
func message(recipients ...string) queue.Message {
	m := queue.Message{ID: "0000000000m1", Size: int64(len(text)), Envelope: queue.Envelope{Upstream: "exo", ReversePath: "a@x.example"}}
	for _, r := range recipients {
		m.Envelope.Recipients = append(m.Envelope.Recipients, queue.Recipient{ForwardPath: r})
	}
	return m
}

func opened(content string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}

func (r *rig) deliver(m queue.Message) Report {
	r.Helper()
	return r.Deliver(r.Context(), m, opened(text))
}

// results writes the results in order: what became of each recipient, with the
// scope unless it is none, and ? if there may be a duplicate.
func results(r Report) string {
	var all []string
	for _, i := range slices.Sorted(maps.Keys(r.Results)) {
		result := r.Results[i]
		s := result.Action.String()
		if result.Scope != queue.ScopeNone {
			s += "/" + result.Scope.String()
		}
		if result.MaybeDuplicate {
			s += "?"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// signals writes the class and phase of each signal.
func signals(all []health.Signal) string {
	var words []string
	for _, s := range all {
		words = append(words, s.Class.String()+"@"+string(s.Phase))
	}
	return strings.Join(words, " ")
}

// want checks the two.
func (r *rig) want(report Report, wantResults, wantSignals string) {
	r.Helper()
	if got := results(report); got != wantResults {
		r.Errorf("results: %s\nwant     %s", got, wantResults)
		for _, i := range slices.Sorted(maps.Keys(report.Results)) {
			r.Logf("%d: %s", i, report.Results[i].Reply)
		}
	}
	if got := signals(report.Signals); got != wantSignals {
		r.Errorf("signals: %s\nwant     %s", got, wantSignals)
	}
}
