//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// diskConfig is a relay that takes mail and delivers it: its primary is well,
// but has an address at which nobody answers, so it is never believed to be up.
// What a life of the relay left half done, the next one does at once.
const diskConfig = `hostname: mx2.corp.example
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: ["127.0.0.8:0"]
  min_free: %s
  timeouts:
    greeting: 0s
%sdomains:
  - name: corp.example
upstreams:
  - name: exo
    hosts: [%q, "127.0.0.9:1"]
    tls:
      policy: none
    delivery:
      start_rate: 1000000
    probe:
      every: 1h
      every_bad: 1h
queue:
  interrupted: 1ms
%sdns:
  servers: ["127.0.0.9:1"]
`

// diskLimit is how long anything may take. It is no part of a test that goes well.
const diskLimit = 30 * time.Second

// diskRelay is a relay that may end by itself.
type diskRelay struct {
	t       testing.TB
	cmd     *exec.Cmd
	socket  string
	ready   chan struct{} // closed when it accepts mail
	ended   chan struct{} // closed when it has ended and been waited for
	address string        // of SMTP, when it is ready

	mu  sync.Mutex
	log strings.Builder
}

// smtpAddress is where the line about a relay that is ready says it listens.
var smtpAddress = regexp.MustCompile(`event=relay\.ready .*smtp=\[([0-9.:]+)\]`)

// diskSettings are lines of the configuration that differ from test to test.
type diskSettings struct{ minFree, inbound, queue string }

// startDiskRelay starts the binary with its data in a folder. It does not wait.
func startDiskRelay(t testing.TB, base, data, upstream string, s diskSettings) *diskRelay {
	t.Helper()
	if s.minFree == "" {
		s.minFree = "1MiB"
	}
	r := &diskRelay{t: t, socket: filepath.Join(base, "s"), ready: make(chan struct{}), ended: make(chan struct{})}
	config := filepath.Join(base, "mxkeep.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, diskConfig, data, r.socket, s.minFree, s.inbound, upstream, s.queue), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(binary, "serve", "--allow-root", "--config", config)
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			r.mu.Lock()
			fmt.Fprintln(&r.log, lines.Text())
			r.mu.Unlock()
			if found := smtpAddress.FindStringSubmatch(lines.Text()); found != nil {
				r.address = found[1]
				close(r.ready)
			}
		}
		_ = r.cmd.Wait() // its exit code is asked for where it matters
	}()
	t.Cleanup(r.kill)
	return r
}

// isReady waits until the relay accepts mail, or has ended.
func (r *diskRelay) isReady() bool {
	r.t.Helper()
	select {
	case <-r.ready:
		return true
	case <-r.ended:
		return false
	case <-time.After(diskLimit):
		r.fatal("neither ready nor ended")
		return false
	}
}

// exit waits for the end and returns the exit code.
func (r *diskRelay) exit() int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(diskLimit):
		r.fatal("it does not end")
	}
	return r.cmd.ProcessState.ExitCode()
}

// stop asks it to end, as a service manager would, and returns the exit code.
func (r *diskRelay) stop() int {
	r.t.Helper()
	_ = r.cmd.Process.Signal(os.Interrupt) // fails only if it has ended
	return r.exit()
}

// kill ends it as it is.
func (r *diskRelay) kill() {
	_ = r.cmd.Process.Kill() // fails only if it has ended
	<-r.ended
}

// story is the log so far.
func (r *diskRelay) story() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func (r *diskRelay) fatal(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s\nlog of the relay:\n%s", fmt.Sprintf(format, args...), r.story())
}

// command runs the command line against the relay.
func (r *diskRelay) command(args ...string) error {
	out, err := exec.Command(binary, append([]string{"--socket", r.socket}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mxkeep %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// diskMail is a message that a client sends.
type diskMail struct {
	recipient string
	content   string // without dots at the beginning of lines, with CRLF at their ends
}

// newDiskMail makes a message of about size octets. No two with different names are equal.
func newDiskMail(name, recipient string, size int) diskMail {
	head := diskFirst + recipient + "\r\nMessage-ID: <" + name + "@client.example>\r\n\r\n"
	line := fmt.Sprintf("%-76.76s\r\n", name+strings.Repeat(" 0123456789", 7))
	return diskMail{recipient, head + strings.Repeat(line, size/len(line)+1)}
}

// diskReply is the last reply that a client got; with the code 0, a connection that broke.
type diskReply struct {
	code int
	text string
	last bool // it is the reply to the content
}

// queuedAs is the ID in the reply that takes a message.
var queuedAs = regexp.MustCompile(`queued as ([0-9a-z]{12})$`)

// id is that of the message, "" if it was not taken.
func (r diskReply) id() string {
	if found := queuedAs.FindStringSubmatch(r.text); r.code == 250 && found != nil {
		return found[1]
	}
	return ""
}

// diskClient is an SMTP session.
type diskClient struct {
	conn net.Conn
	*textproto.Conn
}

// dialDisk opens a session, if the relay lets it.
func dialDisk(address string) (*diskClient, diskReply) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, diskReply{}
	}
	c := &diskClient{conn, textproto.NewConn(conn)}
	conn.SetDeadline(time.Now().Add(diskLimit)) // of an open socket: it does not fail
	for _, line := range []string{"", "EHLO client.example"} {
		if reply := c.say(line); reply.code/100 != 2 {
			c.Close()
			return nil, reply
		}
	}
	return c, diskReply{}
}

// say sends a line, if there is one, and reads the reply.
func (c *diskClient) say(line string) diskReply {
	if line != "" {
		if err := c.PrintfLine("%s", line); err != nil {
			return diskReply{}
		}
	}
	code, text, err := c.ReadResponse(0)
	if err != nil {
		return diskReply{}
	}
	return diskReply{code: code, text: text}
}

// begin opens the content of a message. A reply other than 354 is the end of it.
func (c *diskClient) begin(m diskMail) (reply diskReply) {
	for _, line := range []string{"MAIL FROM:<alice@client.example>", "RCPT TO:<" + m.recipient + ">", "DATA"} {
		if reply = c.say(line); reply.code/100 != 2 {
			break
		}
	}
	return reply
}

// send sends a message whole.
func (c *diskClient) send(m diskMail) diskReply {
	if reply := c.begin(m); reply.code != 354 {
		return reply
	}
	reply := c.say(m.content + ".")
	reply.last = true
	return reply
}
