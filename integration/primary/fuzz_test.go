package primary

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// FuzzCommands feeds a session with anything. It has to end when the client
// does, to answer in lines that begin with a code, and to record no more than
// it said 250 to.
func FuzzCommands(f *testing.F) {
	for _, seed := range []string{
		"", "QUIT\r\n", "EHLO c\r\nSTARTTLS\r\n\x16\x03\x01\x00\x05hello", "EHLO\r\nHELO\r\nHELO x\r\n", "BDAT 99999999999999 LAST\r\nabc",
		"EHLO c\r\nMAIL FROM:<> SIZE=1 BODY=8BITMIME\r\nRCPT TO:<b@c.example> NOTIFY=NEVER\r\nDATA\r\nMessage-ID: <\x00>\r\n\r\n..\r\n.\r\nQUIT\r\n",
		"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<b@c.example>\r\nBDAT 3\r\n\r\n.BDAT 2 LAST\r\n\n\nNOOP\r\n",
		"EHLO c\r\nMAIL FROM:<\"a\\\">b\"@c.example>\r\nRCPT TO:<\"\r\nRCPT TO:<postmaster>\r\nDATA\r\na\n.\n\r\n.\r\n",
		"\n\r\n\r\r\n \r\nnoop\n", strings.Repeat("x", bufferSize) + "\r\n", strings.Repeat("X\r\n", 30),
	} {
		f.Add([]byte(seed))
	}
	s, err := Start(f.Context(), Options{Domains: []string{"c.example"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		s.record.kept = nil
		ours, theirs := net.Pipe()
		var said bytes.Buffer
		read, served := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(read)
			io.Copy(&said, ours)
		}()
		go func() {
			defer close(served)
			s.serve(theirs, 1)
		}()
		ours.SetWriteDeadline(time.Now().Add(longTest))
		ours.Write(stream) // fails when the session has ended before
		go ours.Close()
		<-served
		<-read
		checkReplies(t, said.Bytes())
		if taken, answered := len(s.Received()), bytes.Count(said.Bytes(), []byte("Queued mail for delivery")); taken < answered || taken > answered+1 {
			t.Errorf("%d messages recorded, %d answered", taken, answered)
		}
		s.memory.Store(0)
	})
}

// checkReplies wants codes on all lines up to a handshake. The last line may
// be torn, because the client leaves without listening to the end.
func checkReplies(t *testing.T, said []byte) {
	t.Helper()
	said, _, _ = bytes.Cut(said, []byte("220 2.0.0 SMTP server ready"))
	for line := range bytes.SplitAfterSeq(said, []byte("\r\n")) {
		line, whole := bytes.CutSuffix(line, []byte("\r\n"))
		if whole && (len(line) < 4 || line[0] < '2' || line[0] > '5' || bytes.ContainsAny(line, "\r\n\x00")) {
			t.Errorf("said %q", line)
		}
	}
}

func FuzzReadDots(f *testing.F) {
	for _, seed := range []string{"", ".", "..\r\n", "a\r\n.b\r\n", "\n.\n", "\r.\r", "\x00\xff\r\r\n.\r\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		content += "\r\n"
		c := newContent("", &new(Server).memory)
		in := bufio.NewReaderSize(strings.NewReader(stuff(content)+"rest"), 16)
		bare, err := readDots(in, c)
		rest, _ := io.ReadAll(in)
		if err != nil || string(c.bytes) != content || string(rest) != "rest" {
			t.Fatalf("%q becomes %q, rest %q, %v", content, c.bytes, rest, err)
		}
		if want := strings.Contains(strings.ReplaceAll(content, "\r\n", ""), "\n"); bare != want {
			t.Errorf("%q: bare is %v", content, bare)
		}
	})
}
