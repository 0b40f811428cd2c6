package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// limit is when a test gives up to wait.
const limit = 30 * time.Second

// exchange is a simulated primary, also in the part of the relay.
func exchange(t *testing.T, scenario string) *primary.Server {
	t.Helper()
	s, err := primary.Start(context.Background(), primary.Options{Addresses: []string{"127.0.0.41:0"}, Hostname: PrimaryHost, Domains: []string{domain}, RequireTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	playing, err := primary.Named(scenario)
	if err == nil {
		err = s.Play(playing)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// senderOf offers to one primary and to a relay.
func senderOf(t *testing.T, exo, relay *primary.Server) SenderOptions {
	t.Helper()
	folder := t.TempDir()
	o := SenderOptions{Primaries: []string{exo.Addrs()[0].String()}, Relay: relay.Addrs()[0].String(), CAFile: filepath.Join(folder, "ca.pem"),
		Journal: filepath.Join(folder, "journal.jsonl"), Domain: domain, Every: time.Millisecond}
	if err := os.WriteFile(o.CAFile, exo.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// writtenOnce gives its end of file when the first progress has been written: the sender is to stop then.
type writtenOnce struct {
	bytes.Buffer
	in io.Closer
}

func (w *writtenOnce) Write(text []byte) (int, error) {
	defer w.in.Close()
	return w.Buffer.Write(text)
}

// send lets the sender write at least one message, and returns its journal and its last words.
func send(t *testing.T, o SenderOptions) ([]Line, Progress) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	in, stop := io.Pipe()
	out := &writtenOnce{in: stop}
	if err := RunSender(ctx, o, in, out); err != nil {
		t.Fatal(err)
	}
	lines, err := ReadJournal(o.Journal)
	if err != nil {
		t.Fatal(err)
	}
	var last Progress
	for words := json.NewDecoder(&out.Buffer); words.More(); {
		if err := words.Decode(&last); err != nil {
			t.Fatal(err)
		}
	}
	return lines, last
}

// TestSender walks the list of mail exchangers as a mail server does.
func TestSender(t *testing.T) {
	for _, test := range []struct {
		primary, relay string // scenarios
		first          Line   // of the journal, in part
		taken          string // by whom the first message was taken in the end; "" is nobody
	}{
		{"healthy", "healthy", Line{Via: "primary", Outcome: Taken, Reply: "250", Attempt: 1}, "primary"},
		{"down", "healthy", Line{Via: "relay", Outcome: Taken, Reply: "250", Attempt: 1}, "relay"},
		{"tls-broken", "healthy", Line{Via: "relay", Outcome: Taken, Reply: "250", Attempt: 1}, "relay"},
		{"451-4.3.2", "healthy", Line{Via: "relay", Outcome: Taken, Reply: "250", Attempt: 1}, "relay"},
		{"421-forest", "healthy", Line{Via: "relay", Outcome: Taken, Reply: "250", Attempt: 1}, "relay"},
		{"lost-ack-every=1", "healthy", Line{Via: "primary", Outcome: Unknown, Reply: "EOF", Attempt: 1}, "relay"},
		{"5xx-burst=1h", "healthy", Line{Via: "primary", Outcome: Bounced, Attempt: 1}, ""},
	} {
		t.Run(test.primary, func(t *testing.T) {
			t.Parallel()
			exo, relay := exchange(t, test.primary), exchange(t, test.relay)
			lines, last := send(t, senderOf(t, exo, relay))
			if len(lines) == 0 || last.Waiting != 0 || last.Written < 1 || last.Written != last.Primary+last.Relay+last.Bounced {
				t.Fatalf("%d lines, %+v", len(lines), last)
			}
			first, taken := Line{}, ""
			for _, line := range lines {
				if line.ID != newMessage(1, domain).id {
					continue
				}
				if first.ID == "" {
					first = line
				}
				if line.Outcome == Taken {
					taken = line.Via
				}
			}
			if first.Via != test.first.Via || first.Outcome != test.first.Outcome || first.Attempt != 1 || !strings.HasPrefix(first.Reply, test.first.Reply) || taken != test.taken {
				t.Errorf("first line %+v, taken by %q", first, taken)
			}
			a := MakeAccount(lines, append(exo.Received(), relay.Received()...))
			if len(a.Lost)+len(a.Changed) > 0 || a.Delivered != a.Sent {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestSenderComesAgain: what nobody takes is offered again.
func TestSenderComesAgain(t *testing.T) {
	t.Parallel()
	exo, relay := exchange(t, "down"), exchange(t, "healthy")
	once := primary.Rule{Phase: primary.Rcpt, Act: primary.Answer, Reply: "451 4.3.2 later", When: primary.When{UpTo: 1}}
	if err := relay.Play(primary.Scenario{Name: "once", Rules: []primary.Rule{once}}); err != nil {
		t.Fatal(err)
	}
	again := 0
	lines, _ := send(t, senderOf(t, exo, relay))
	for _, line := range lines {
		if line.Attempt == 2 && line.Outcome == Taken {
			again++
		}
	}
	if again != 1 {
		t.Errorf("%d messages were offered again: %+v", again, lines)
	}
}

type closer func() error

func (c closer) Close() error { return c() }

// TestSenderIsBrokenOff also while a server says nothing.
func TestSenderIsBrokenOff(t *testing.T) {
	t.Parallel()
	exo := exchange(t, "blackhole")
	ctx, cancel := context.WithCancelCause(context.Background())
	in, stop := io.Pipe()
	defer stop.Close()
	enough := errors.New("enough")
	out := &writtenOnce{in: closer(func() error { cancel(enough); return nil })}
	if err := RunSender(ctx, senderOf(t, exo, exo), in, out); !errors.Is(err, enough) {
		t.Errorf("RunSender: %v", err)
	}
}

func TestSenderThatCannot(t *testing.T) {
	t.Parallel()
	exo := exchange(t, "healthy")
	good := senderOf(t, exo, exo)
	for _, test := range []struct {
		name  string
		spoil func(*SenderOptions)
		out   io.Writer
		words string
	}{
		{"no authority", func(o *SenderOptions) { o.CAFile += ".gone" }, io.Discard, "no such file"},
		{"no certificate", func(o *SenderOptions) { o.CAFile = o.Journal + ".2"; os.WriteFile(o.CAFile, []byte("hello"), 0o600) }, io.Discard, "has no certificate"},
		{"no journal", func(o *SenderOptions) { o.Journal = filepath.Join(o.CAFile, "journal") }, io.Discard, "not a directory"},
		{"a journal on a full disk", func(o *SenderOptions) { o.Journal = "/dev/full" }, io.Discard, "journal: "},
		{"nobody who listens", func(*SenderOptions) {}, broken{}, "broken"},
	} {
		o := good
		test.spoil(&o)
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		in, stop := io.Pipe()
		if err := RunSender(ctx, o, in, test.out); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", test.name, err)
		}
		stop.Close()
		cancel()
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

// TestMessages: no two are the same, each has what shows careless handling, and
// every line ends with CRLF.
func TestMessages(t *testing.T) {
	seen := map[string]bool{}
	for n := 1; n <= 200; n++ {
		m := newMessage(n, domain)
		text := string(m.content)
		if seen[m.id] || seen[m.digest()] || messageID(m.content) != m.id || !strings.HasSuffix(m.to, "@"+domain) {
			t.Fatalf("message %d: %s", n, m.id)
		}
		seen[m.id], seen[m.digest()] = true, true
		for _, odd := range []string{"\r\n.. ", "\r\n.\t", "  \r\n", "\xff", "\r\n\ttwo", "\r\n\r\n"} {
			if !strings.Contains(text, odd) {
				t.Fatalf("message %d has no %q", n, odd)
			}
		}
		if strings.Count(text, "\r") != strings.Count(text, "\r\n") || strings.Count(text, "\n") != strings.Count(text, "\r\n") || len(text) > 110<<10 {
			t.Fatalf("message %d: bare line ends, or %d bytes", n, len(text))
		}
	}
}
