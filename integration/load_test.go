package integration

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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

// refusedError is a reply that is no good one.
type refusedError string

func (e refusedError) Error() string { return fmt.Sprintf("the server says %q", string(e)) }

// reply reads a reply, which must be a good one.
func (s *sender) reply() error {
	for {
		line, err := s.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case len(line) < 4 || line[0] != '2' && line[0] != '3':
			return refusedError(line)
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
