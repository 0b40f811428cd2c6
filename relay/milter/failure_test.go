package milter

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	milter "github.com/d--j/go-milter"
)

// packet is one as it stands on the wire.
func packet(command byte, data string) string {
	n := len(data) + 1
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), command}) + data
}

// agreed is a negotiation in which a filter wants nothing.
var agreed = packet('O', "\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00")

// reads answers each packet with the next of these, and then goes.
func answers(all ...string) func(net.Conn) {
	return func(c net.Conn) {
		for _, text := range all {
			if readPacket(c) != nil {
				return
			}
			io.WriteString(c, text)
		}
	}
}

// readPacket reads a packet that wants an answer: no macros.
func readPacket(c net.Conn) error {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(c, head); err != nil {
			return err
		}
		n := int64(head[0])<<24 | int64(head[1])<<16 | int64(head[2])<<8 | int64(head[3])
		if _, err := io.CopyN(io.Discard, c, n-1); err != nil {
			return err
		}
		if head[4] != 'D' {
			return nil
		}
	}
}

// TestFailures: however a filter fails, the policy decides, and nothing waits for
// longer than the time-out.
func TestFailures(t *testing.T) {
	again := make([]string, 12) // as many answers as there are questions before the end
	for i := range again {
		again[i] = packet('c', "")
	}
	again[0] = agreed
	for name, talk := range map[string]func(net.Conn){
		"gone at once":          func(net.Conn) {},
		"gone after a word":     answers(agreed),
		"gone in the envelope":  answers(again[:4]...),
		"gone before the end":   answers(again[:9]...),
		"gone within a packet":  answers(agreed, packet('c', "")[:3]),
		"gone within an answer": answers(agreed, packet('y', "550 5.7.1 no\x00")[:9]),
		"silent":                func(c net.Conn) { io.Copy(io.Discard, c) },
		"deaf":                  func(c net.Conn) { time.Sleep(time.Hour) },
		"silent in the middle": func(c net.Conn) {
			answers(again[:5]...)(c)
			io.Copy(io.Discard, c)
		},
		"only progress": func(c net.Conn) {
			answers(again[:5]...)(c)
			for err := readPacket(c); err == nil; time.Sleep(time.Second) {
				_, err = io.WriteString(c, packet('p', ""))
			}
		},
		"progress without end": func(c net.Conn) {
			answers(again[:5]...)(c)
			for err := readPacket(c); err == nil; {
				_, err = io.WriteString(c, packet('p', strings.Repeat("x", 1000)))
			}
		},
		"trickles": func(c net.Conn) {
			for err := error(nil); err == nil; time.Sleep(time.Second) {
				_, err = io.WriteString(c, "\x00")
			}
		},
		"garbage":             answers("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"an empty packet":     answers("\x00\x00\x00\x00"),
		"a huge packet":       answers("\x10\x00\x00\x00O"),
		"a short negotiation": answers(packet('O', "\x00\x00\x00\x06")),
		"another version":     answers(packet('O', "\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00")),
		"another command":     answers(packet('c', "")),
		"no such answer":      answers(agreed, packet('?', "")),
		"a bad reply":         answers(agreed, packet('y', "999 no\x00")),
		"a skip unasked":      answers(agreed, packet('s', "")),
		"a bad change":        answers(append(again[:9:9], packet('c', ""), packet('h', "X"))...),
	} {
		for _, policy := range []Action{Accept, Hold, Defer} {
			t.Run(name+", "+policy.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, l := raw(t, talk), &logs{}
					f := filter(t, "one", p, func(o *Options) { o.OnFailure = policy; toLog(l)(o) })
					began := time.Now()
					v := ask(t, message(letter), f)
					if took := time.Since(began); took > 30*time.Second {
						t.Errorf("took %s", took)
					}
					s := f.Status()
					if s.Failed != 1 || s.Failure == "" || s.FailingAt.IsZero() || !strings.Contains(l.String(), "filter.failed") {
						t.Errorf("%+v\n%s", s, l)
					}
					switch {
					case v.Action != policy:
						t.Errorf("%+v", v)
					case policy == Defer && (v.Reply.Error() != "451 4.3.0 the message cannot be checked now, try again later" || !v.Failed):
						t.Errorf("%+v", v)
					case policy == Hold && !strings.HasPrefix(v.Reason, "filter one could not be asked: "):
						t.Errorf("%+v", v)
					case policy == Accept && v.Reason != "":
						t.Errorf("%+v", v)
					}
					p.Close()
				})
			})
		}
	}
}

// TestNobodyListens: neither at a port nor at a path.
func TestNobodyListens(t *testing.T) {
	f, err := New(Options{Name: "one", Network: "unix", Address: filepath.Join(t.TempDir(), "none"), OnFailure: Hold})
	if err != nil {
		t.Fatal(err)
	}
	if v := ask(t, message(letter), f); v.Action != Hold || !strings.Contains(v.Reason, "no such file") {
		t.Errorf("%+v", v)
	}
}

// TestRestored: a filter that answers again is no longer down; the log says both once.
func TestRestored(t *testing.T) {
	p, _ := server(t, nil)
	down, l := true, &logs{}
	f := filter(t, "one", p, func(o *Options) {
		toLog(l)(o)
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if down {
				return nil, errors.New("connection refused")
			}
			return p.dial(ctx, network, address)
		}
	})
	ask(t, message(letter), f)
	first := f.Status().FailingAt
	ask(t, message(letter), f)
	if s := f.Status(); s.Failed != 2 || s.FailingAt != first || !strings.Contains(s.Failure, "connection refused") {
		t.Errorf("%+v", s)
	}
	down = false
	ask(t, message(letter), f)
	ask(t, message(letter), f)
	if s := f.Status(); s.Failed != 2 || s.Failure != "" || !s.FailingAt.IsZero() || s.Answers["accept"] != 2 {
		t.Errorf("%+v", s)
	}
	if strings.Count(l.String(), "filter.failed") != 1 || strings.Count(l.String(), "filter.restored") != 1 {
		t.Error(l)
	}
}

// TestConnections: no more than allowed are in use, and waiting for one counts.
func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := server(t, nil)
		f := filter(t, "one", p, func(o *Options) { o.Connections, o.OnFailure = 1, Hold })
		f.places <- struct{}{} // somebody has it
		if v := ask(t, message(letter), f); v.Reason != "filter one could not be asked: all 1 connections were in use for 30s" {
			t.Errorf("%+v", v)
		}
		waiting := make(chan Verdict)
		go func() { waiting <- ask(t, message(letter), f) }()
		synctest.Wait()
		<-f.places
		if v := <-waiting; v.Action != Accept || len(f.places) != 0 {
			t.Errorf("%+v", v)
		}
	})
}

// TestUndone: what a filter asks for though it was not offered is not done. As
// rspamd does, it names all actions that it knows.
func TestUndone(t *testing.T) {
	all := milter.OptAddHeader | milter.OptQuarantine | milter.OptChangeBody | milter.OptAddRcpt | milter.OptRemoveRcpt | milter.OptChangeHeader | milter.OptChangeFrom
	p, _ := server(t, on{"end": do(func(m milter.Modifier) error {
		return errors.Join(m.ChangeHeader(1, "Subject", "spam"), m.ChangeHeader(1, "Content-Type", "text/html"), m.ChangeHeader(1, "X-Space", "three"), m.ReplaceBody(strings.NewReader("other")), m.AddRecipient("<x@d.example>", ""),
			m.DeleteRecipient("<a@d.example>"), m.ChangeFrom("<y@d.example>", ""), m.ChangeHeader(2, "Subject", ""), m.AddHeader("X", "1"))
	})}, milter.WithActions(all), milter.WithNegotiationCallback(func(version, _ uint32, _, _ milter.OptAction, _, _ milter.OptProtocol, size milter.DataSize) (uint32, milter.OptAction, milter.OptProtocol, milter.DataSize, error) {
		return version, all, 0, size, nil
	}))
	l := &logs{}
	f := filter(t, "one", p, toLog(l))
	v := ask(t, message(letter), f)
	ask(t, message(letter), f)
	if v.Action != Accept || string(v.Header) != "X-Space: three\r\nX: 1\r\n" || f.Status().Ignored != 2 {
		t.Errorf("%+v %+v", v, f.Status())
	}
	if strings.Count(l.String(), `what="[change_field replace_body add_recipient delete_recipient change_sender delete_field]"`) != 1 || strings.Count(l.String(), "filter.ignored") != 1 {
		t.Error(l)
	}
}

// FuzzFilter: whatever a filter says, it is an answer or a failure, and what it
// adds is header fields.
func FuzzFilter(f *testing.F) {
	end := agreed + strings.Repeat(packet('c', ""), 10)
	f.Add([]byte(end + packet('h', "X\x001\x00") + packet('i', "\x00\x00\x00\x00Y\x00a\nb\x00") + packet('q', "why\x00") + packet('a', "")))
	f.Add([]byte(end + packet('y', "550-5.7.1 a\r\n550 5.7.1 b\x00")))
	f.Add([]byte(end + packet('m', "\x00\x00\x00\x01X\x00\x00") + packet('b', "x") + packet('+', "a\x00") + packet('d', "")))
	f.Add([]byte(packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00\x00\x00\x00\x00i j\x00") + packet('r', "")))
	f.Add([]byte(agreed + packet('p', "") + packet('t', "")))
	f.Fuzz(func(t *testing.T, said []byte) {
		p := raw(t, func(c net.Conn) {
			go io.Copy(io.Discard, c)
			c.Write(said)
		})
		v := ask(t, message(letter), filter(t, "one", p, func(o *Options) { o.Timeout = never }))
		rest := string(v.Header)
		for rest != "" {
			line, after, ok := strings.Cut(rest, "\r\n")
			if rest = after; !ok || line == "" || strings.ContainsAny(line, "\r\n\x00") || !strings.ContainsAny(line, ":\t ") {
				t.Fatalf("%q", v.Header)
			}
		}
		if v.Action > Hold && (len(v.Reply.Lines) != 1 || len(v.Reply.Error()) > 500 || strings.ContainsAny(v.Reply.Error(), "\r\n") || v.Reply.Code < 400 || v.Reply.Code > 599) {
			t.Fatalf("%+v", v.Reply)
		}
	})
}

// FuzzContent: any content is told to its end.
func FuzzContent(f *testing.F) {
	f.Add([]byte(letter))
	f.Add([]byte("A:\r\n\t\r\nB\r\n\r\n"))
	f.Add([]byte("A \x00:\x00\r\n \x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, h := server(t, nil)
		if v := ask(t, message(string(content)), filter(t, "one", p, nil)); v.Action != Accept || !strings.HasSuffix(h.String(), "end i=k3m9x2q7w4te") {
			t.Errorf("%+v\n%s", v, h)
		}
	})
}
