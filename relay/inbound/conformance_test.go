package inbound

import (
	"bufio"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

// TestConformance plays each transcript of testdata/conformance against a server
// of its own over a socket. A transcript begins with comments (#) that name the
// RFC, its section and the rule. Its other lines are
//
//	C: text      a line that the client writes
//	P: text      the same, in one write with the next C: or X:
//	X: "text"    octets as a Go string, without a line end
//	S: text      the next line of the server begins like that; gone: it has closed
//	TLS:         the client begins TLS
//	TIMES: n     the next two lines come n times; {i} in them is the number
//	STORED: n    how many messages the server has taken
//	CONTENT: "x" the content of the last one
//	TO: path     its last recipient
//
// and {a*64} stands for 64 times a.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("testdata/conformance/*.txt")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	secured := withTLS(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), "# RFC ") {
				t.Error("it names no RFC")
			}
			conform(t, secured, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
		})
	}
}

// conform plays a transcript.
func conform(t *testing.T, change func(*Options), lines []string) {
	r := newRig(t, func(o *Options) { change(o); o.Limits.MessageSize = 5000 })
	defer r.finish()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx := t.Context()
	go func() { served <- r.server.Serve(ctx, l) }()
	defer func() { l.Close(); <-served }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, rig: r, conn: conn, in: bufio.NewReader(conn)}
	defer func() { p.conn.Close() }()
	for i := 0; i < len(lines); i++ {
		p.at = i + 1
		count, repeated := strings.CutPrefix(lines[i], "TIMES: ")
		if !repeated {
			p.play(lines[i])
			continue
		}
		for n := range p.number(count) {
			for _, line := range lines[i+1 : i+3] {
				p.play(strings.ReplaceAll(line, "{i}", strconv.Itoa(n+1)))
			}
		}
		i += 2
	}
}

// player is the client of a transcript.
type player struct {
	t    *testing.T
	rig  *rig
	conn net.Conn
	in   *bufio.Reader
	held string // for the next write
	at   int    // line of the transcript
}

var repeatedText = regexp.MustCompile(`\{([^{}*]+)\*(\d+)\}`)

func (p *player) play(line string) {
	p.t.Helper()
	line = repeatedText.ReplaceAllStringFunc(line, func(s string) string {
		m := repeatedText.FindStringSubmatch(s)
		return strings.Repeat(m[1], p.number(m[2]))
	})
	what, rest, _ := strings.Cut(line, ":")
	rest = strings.TrimPrefix(rest, " ")
	switch {
	case line == "" || line[0] == '#':
	case what == "C":
		p.write(rest + "\r\n")
	case what == "P":
		p.held += rest + "\r\n"
	case what == "X":
		p.write(p.unquote(rest))
	case what == "S":
		p.want(rest)
	case what == "TLS":
		p.secure()
	case what == "STORED":
		if n := len(p.rig.messages()); n != p.number(rest) {
			p.t.Fatalf("line %d: %d messages", p.at, n)
		}
	case what == "CONTENT":
		if _, got := p.rig.content(p.last().ID); got != p.unquote(rest) {
			p.t.Fatalf("line %d: content %q", p.at, got)
		}
	case what == "TO":
		if to := p.last().Envelope.Recipients; to[len(to)-1].ForwardPath != rest {
			p.t.Fatalf("line %d: recipients %+v", p.at, to)
		}
	default:
		p.t.Fatalf("line %d: %q", p.at, line)
	}
}

// write sends what is held, and text. The server may have gone.
func (p *player) write(text string) {
	p.conn.Write([]byte(p.held + text))
	p.held = ""
}

func (p *player) want(prefix string) {
	p.t.Helper()
	got, err := p.in.ReadString('\n')
	got = strings.TrimSuffix(got, "\r\n")
	if err != nil {
		got = "gone"
	}
	if !strings.HasPrefix(got, prefix) {
		p.t.Fatalf("line %d: reply %q, want %q", p.at, got, prefix)
	}
}

func (p *player) secure() {
	p.t.Helper()
	secured := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true})
	if err := secured.Handshake(); err != nil {
		p.t.Fatalf("line %d: %v", p.at, err)
	}
	p.conn, p.in = secured, bufio.NewReader(secured)
}

// last is the message that was taken last.
func (p *player) last() queue.Message {
	all := p.rig.messages()
	if len(all) == 0 {
		p.t.Fatalf("line %d: no message", p.at)
	}
	return all[len(all)-1]
}

func (p *player) unquote(s string) string {
	p.t.Helper()
	text, err := strconv.Unquote(s)
	if err != nil {
		p.t.Fatalf("line %d: %v", p.at, err)
	}
	return text
}

func (p *player) number(s string) int {
	p.t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatalf("line %d: %v", p.at, err)
	}
	return n
}
