package outbound

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"net"
	"strings"
	"sync"
	"time"
)

// town is a small primary of many connections, for where a script would be too
// long. It takes mail as fast as it can, or does what mood says.
type town struct {
	delay time.Duration // of the reply to content
	// mood gives the reply to a command, "" to go on, or cut to end the
	// connection. The verb is connect, the command's, or "." for content.
	mood func(verb string) string

	mu          sync.Mutex
	took        map[[sha256.Size]byte]int // by digest of the content
	commands    map[string]int            // how often each verb came
	connections int                       // open now
	most        int                       // open at once, so far
}

const cut = "cut"

func newTown() *town {
	return &town{mood: func(string) string { return "" }, took: map[[sha256.Size]byte]int{}, commands: map[string]int{}}
}

func (s *town) count(verb string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands[verb]++
	return s.mood(verb)
}

// serve talks to one client until one of the two has enough.
func (s *town) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.connections++
	s.most = max(s.most, s.connections)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.connections--
		s.mu.Unlock()
	}()
	in, out := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	if !s.say(out, s.count("connect"), "220 corp.example ESMTP") || out.Flush() != nil {
		return
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(string(line[:min(4, len(line))]))
		usual := map[string]string{"EHLO": "250-corp.example\r\n250 PIPELINING", "DATA": "354 go on", "QUIT": "221 bye"}[verb]
		if usual == "" {
			usual = "250 2.0.0 ok"
		}
		reply := s.count(verb)
		if !s.say(out, reply, usual) {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil || verb == "QUIT" {
			return
		}
		if verb == "DATA" && reply == "" && !s.content(in, out) {
			return
		}
	}
}

func (s *town) say(out *bufio.Writer, reply, usual string) bool {
	if reply == "" {
		reply = usual
	}
	if reply != cut {
		out.WriteString(reply + "\r\n")
	}
	return reply != cut
}

// content reads to the dot and answers.
func (s *town) content(in *bufio.Reader, out *bufio.Writer) bool {
	sum := sha256.New()
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return false
		}
		if bytes.Equal(line, []byte(".\r\n")) {
			break
		}
		sum.Write(bytes.TrimPrefix(line, dot))
	}
	time.Sleep(s.delay)
	reply := s.count(".")
	if reply == "" || reply == cut {
		s.mu.Lock()
		s.took[[sha256.Size]byte(sum.Sum(nil))]++
		s.mu.Unlock()
	}
	return s.say(out, reply, "250 2.6.0 Queued mail for delivery") && out.Flush() == nil
}

// pipe connects to the town, in a bubble.
func (s *town) pipe() net.Conn {
	ours, theirs := net.Pipe()
	go s.serve(theirs)
	return ours
}
