package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// sessions is how many connections send at the same time.
const sessions = 50

// step is what a client says before it waits for replies.
type step struct {
	text    []byte
	replies int
}

// dialogue is how a client sends one message over a connection that it keeps.
type dialogue []step

const (
	mailCommand = "MAIL FROM:<alice@client.example>\r\n"
	rcptCommand = "RCPT TO:<bob@corp.example>\r\n"
	dataCommand = "DATA\r\n"
)

// pipelined is the dialogue of a client that says MAIL, RCPT and DATA at once
// (RFC 2920): two round trips for a message.
func pipelined(size int) dialogue {
	return dialogue{{[]byte(mailCommand + rcptCommand + dataCommand), 3}, {content(size), 1}}
}

// oneByOne is the dialogue of a client that waits for each reply: four round trips.
func oneByOne(size int) dialogue {
	return dialogue{{[]byte(mailCommand), 1}, {[]byte(rcptCommand), 1}, {[]byte(dataCommand), 1}, {content(size), 1}}
}

// content is a message of size octets as it goes over the wire, with the dot that ends it.
func content(size int) []byte {
	text := "From: alice@client.example\r\nTo: bob@corp.example\r\nSubject: figures\r\nMessage-ID: <1@client.example>\r\n\r\n"
	line := strings.Repeat("0123456789", 7) + "abcdef\r\n"
	text += strings.Repeat(line, (size-len(text))/len(line))
	text += strings.Repeat("x", max(0, size-len(text)-2))
	return []byte(text + "\r\n.\r\n")
}

// sender is one SMTP session. It does as little as it can, because it shares
// the processors with the server that it drives.
type sender struct {
	net.Conn
	in *bufio.Reader
}

// connect opens a session.
func connect(address string) (*sender, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &sender{conn, bufio.NewReader(conn)}
	if err := s.reply(); err != nil {
		return nil, err
	}
	return s, s.say(step{[]byte("EHLO client.example\r\n"), 1})
}

// send sends one message.
func (s *sender) send(d dialogue) error {
	for _, step := range d {
		if err := s.say(step); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) say(step step) error {
	if _, err := s.Write(step.text); err != nil {
		return err
	}
	for range step.replies {
		if err := s.reply(); err != nil {
			return err
		}
	}
	return nil
}

// reply reads a reply, which must be a good one.
func (s *sender) reply() error {
	for {
		line, err := s.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case len(line) < 4 || line[0] != '2' && line[0] != '3':
			return fmt.Errorf("the server says %q", line)
		case line[3] != '-':
			return nil
		}
	}
}

// crowd is all sessions together.
type crowd []*sender

// gather opens the sessions, and sends one message over each.
func gather(t testing.TB, address string, d dialogue) crowd {
	t.Helper()
	var c crowd
	for range sessions {
		s, err := connect(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c = append(c, s)
	}
	c.send(t, d, sessions)
	return c
}

// send sends n messages over the sessions, each as fast as it gets its replies.
func (c crowd) send(t testing.TB, d dialogue, n int) {
	var next atomic.Int64
	var group sync.WaitGroup
	for _, s := range c {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := s.send(d); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// leave ends the sessions.
func (c crowd) leave(t testing.TB) {
	for _, s := range c {
		if err := s.say(step{[]byte("QUIT\r\n"), 1}); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}

// holdConfig makes a relay that takes all mail, because nobody answers at the
// upstream's address. One machine sends it all, and is greeted at once.
const holdConfig = `hostname: mx2.corp.example
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  limits:
    sessions_per_address: 500
  timeouts:
    greeting: 0s
domains:
  - name: corp.example
upstreams:
  - name: exo
    hosts: ["127.0.0.9:1"]
    probe:
      every: 1s
      every_bad: 1s
dns:
  servers: ["127.0.0.9:1"]
`

// hold starts a relay whose upstream is down, and returns it with its address.
// It writes what the garbage collector does to its log.
func hold(t testing.TB) (d *daemon, address string) {
	t.Helper()
	old, given := os.LookupEnv("GODEBUG")
	os.Setenv("GODEBUG", "gctrace=1") // for the relay alone: it is too late for this process
	defer func() {
		if os.Unsetenv("GODEBUG"); given {
			os.Setenv("GODEBUG", old)
		}
	}()
	folder, address := t.TempDir(), unused(t)
	d = serve(t, folder, fmt.Sprintf(holdConfig, folder+"/data", folder+"/admin.sock", address))
	return d, address
}

// unused finds a port that nobody has. Clients call from 127.0.0.1, so it
// stays free at another address.
func unused(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.8:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// heap is the largest heap of a daemon that hold started, in bytes, at the ends
// of its collections: objects that live, and those that are not swept yet. So
// /memory/classes/heap/objects:bytes was never larger.
func heap(t testing.TB, d *daemon) (most int64) {
	t.Helper()
	log, err := os.ReadFile(d.folder + "/relay.log")
	if err != nil {
		t.Fatal(err)
	}
	found := heapSizes.FindAllSubmatch(log, -1)
	for _, sizes := range found {
		mib, _ := strconv.ParseInt(string(sizes[1]), 10, 64)
		most = max(most, (mib+1)<<20) // it is rounded down
	}
	if len(found) == 0 {
		t.Fatal("nothing about the garbage collector in the log")
	}
	return most
}

// heapSizes are, in the line about a collection, the sizes at its beginning, at
// its end, and of what lives. Lines of the log may stand between its parts.
var heapSizes = regexp.MustCompile(`\d+->(\d+)->\d+ MB, `)

// discardEnv tells the test binary to be the server of discard, and where.
const discardEnv = "MXKEEP_TEST_DISCARD"

// discard is a server of go-smtp as plain as it can be: it reads mail and
// throws it away. The relay is measured against it.
func discard(address string) error {
	s := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return void{}, nil }))
	s.Addr, s.Domain, s.EnableSMTPUTF8, s.EnableDSN = address, "mx.example", true, true
	return s.ListenAndServe()
}

// void takes everything and keeps nothing.
type void struct{}

func (void) Mail(string, *gosmtp.MailOptions) error { return nil }
func (void) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (void) Reset()                                 {}
func (void) Logout() error                          { return nil }

func (void) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// startDiscard runs discard in a process of its own.
func startDiscard(t testing.TB) (process *os.Process, address string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address = unused(t)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), discardEnv+"="+address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only if it has ended
		_ = cmd.Wait()         // it was killed
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		s, err := connect(address)
		if err == nil {
			crowd{s}.leave(t)
			return cmd.Process, address
		}
		if tries == 1000 {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// processorTime is what a process has used of the processors so far, in steps of 10 ms.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the third field on
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// statusLine is the number behind a word of a status file of proc(5).
func statusLine(t testing.TB, path, word string) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+word+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatalf("%s has no %s", path, word)
	}
	number, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// privateMemory is the memory of a process that no file is behind, in bytes.
func privateMemory(t testing.TB, pid int) int64 {
	t.Helper()
	return statusLine(t, fmt.Sprintf("/proc/%d/status", pid), "RssAnon") << 10
}
