package primary

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestReadDots(t *testing.T) {
	for _, test := range []struct {
		rule, stream, content, rest string
		bare                        bool
	}{
		{"empty", ".\r\n", "", "", false},
		{"what follows stays", "a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n", false},
		{"one dot of two is ours", "..\r\n.\r\n", ".\r\n", "", false},
		{"two dots of three are theirs", "...a\r\n.\r\n", "..a\r\n", "", false},
		{"a dot that was not doubled is dropped too", ".a\r\n.\r\n", "a\r\n", "", false},
		{"dots within lines stay", "a.\r\nb..c\r\n.\r\n", "a.\r\nb..c\r\n", "", false},
		{"LF dot LF is content", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", "", true},
		{"LF dot CRLF is content", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", "", true},
		{"CRLF dot LF is content, less its dot", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", "", true},
		{"CR dot CR is content", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", "", false},
		{"CR CRLF ends a line", "a\r\r\n.\r\n", "a\r\r\n", "", false},
		{"dot CR without LF", ".\ra\r\n.\r\n", "\ra\r\n", "", false},
		{"dot CR CRLF is no end", "a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", "", false},
		{"NUL and high bytes", "\x00\xff\xfe\r\n.\r\n", "\x00\xff\xfe\r\n", "", false},
	} {
		// Buffers down to the smallest, so that lines are cut in every way.
		for size := 16; size < 24; size++ {
			long := strings.Repeat("x", size-len("\r\n"))
			for _, filler := range []string{"", long + "\r\n", long + "x\r\n", long + "xx\r\n", strings.Repeat(long, 2) + "\r\n"} {
				in := bufio.NewReaderSize(strings.NewReader(filler+test.stream), size)
				var got bytes.Buffer
				bare, err := readDots(in, &got)
				rest, _ := io.ReadAll(in)
				if err != nil || got.String() != filler+test.content || bare != test.bare || string(rest) != test.rest {
					t.Errorf("%s, buffer of %d: %q, bare %v, rest %q, %v", test.rule, size, got.String(), bare, rest, err)
				}
			}
		}
	}
	for _, cut := range []string{"", "a", "a\r\n", "a\r\n.", "a\r\n.\r", "a\r\n.\n", strings.Repeat("x", 100)} {
		_, err := readDots(bufio.NewReaderSize(strings.NewReader(cut), 16), io.Discard)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", cut, err)
		}
	}
}

// stuff is what a client does to content for DATA.
func stuff(content string) string {
	lines := strings.SplitAfter(content, "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = "." + line
		}
	}
	return strings.Join(lines, "") + ".\r\n"
}

func TestDataIsExact(t *testing.T) {
	s := start(t, Options{Folder: t.TempDir()})
	c := dial(t, s, 0).greeted()
	random := rand.New(rand.NewPCG(1, 2))
	var sent []string
	for range 200 {
		var b strings.Builder
		for range random.IntN(40) {
			b.WriteString([]string{".", "..", "a", ".a", "\r", "\r\n", "\r\n.", "\x00\xff", strings.Repeat("x", 5000)}[random.IntN(9)])
		}
		content := strings.TrimSuffix(b.String(), "\r\n") + "\r\n"
		c.envelope().say("DATA", "354 ")
		c.send(stuff(content))
		c.want("250 2.6.0 <")
		sent = append(sent, content)
	}
	received, err := ReadRecord(s.options.Folder)
	if err != nil || len(received) != len(sent) {
		t.Fatalf("%d of %d messages, %v", len(received), len(sent), err)
	}
	for i, d := range received {
		if string(d.Content) != sent[i] {
			t.Errorf("sent %q, recorded %q", sent[i], d.Content)
		}
	}
}

func TestBareLinefeedsAreRefused(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0).greeted()
	got := c.deliver("a\nb\r\n", "550 5.6.11 Invalid characters, message contains bare linefeeds [")
	if !where.MatchString(got) || len(s.Received()) != 0 {
		t.Errorf("%q, %d messages recorded", got, len(s.Received()))
	}
	c.deliver(note, "250 ")
}

func TestChunksAreExact(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0).greeted()
	var binary strings.Builder
	for i := range 3 * bufferSize {
		binary.WriteByte(byte(i * 7))
	}
	content := note + "\r\n.\r\nQUIT\r\n\n\r" + binary.String()
	for _, cuts := range [][]int{{len(content)}, {0, len(content)}, {1, 2, 3, 50, 51, bufferSize, len(content)}, {len(content), len(content)}} {
		c.say("MAIL FROM:<a@b.example> BODY=BINARYMIME", "250 ")
		c.say("RCPT TO:<b@corp.example>", "250 ")
		from := 0
		var stream strings.Builder
		for i, to := range cuts {
			last := map[bool]string{true: " LAST"}[i == len(cuts)-1]
			fmt.Fprintf(&stream, "BDAT %d%s\r\n%s", to-from, last, content[from:to])
			from = to
		}
		c.send(stream.String() + "NOOP\r\n") // all at once
		from = 0
		for _, to := range cuts[:len(cuts)-1] {
			c.want(fmt.Sprintf("250 2.6.0 CHUNK received OK, %d octets", to-from))
			from = to
		}
		c.want("250 2.6.0 <note@sender.example>")
		c.want("250 2.0.0 OK")
		if d := s.Received()[len(s.Received())-1]; string(d.Content) != content || d.Size != int64(len(content)) {
			t.Errorf("cut at %v: recorded %d bytes, sent %d", cuts, d.Size, len(content))
		}
	}
	if n := len(s.Received()); n != 4 {
		t.Errorf("%d messages recorded", n)
	}
}

func TestRefusedChunksAreNoCommands(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0).greeted()
	const chunk = "MAIL FROM:<smuggled@b.example>\r\n"
	c.send(fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%sNOOP\r\n", len(chunk), chunk, len(chunk), chunk))
	c.want("503 5.5.2 Need mail command")
	c.want("503 5.5.2 Need mail command")
	c.want("250 2.0.0 OK")
	c.say("MAIL FROM:<a@b.example>", "250 ")
	c.say(fmt.Sprintf("BDAT %d\r\n%s", len(chunk)+2, chunk), "503 5.5.2 Need rcpt command")

	act(t, s, "healthy")
	if err := s.Play(Scenario{Rules: []Rule{{Phase: Data, Act: Answer, Reply: lowOnResources}}}); err != nil {
		t.Fatal(err)
	}
	c.say("RCPT TO:<b@corp.example>", "250 ")
	c.say(fmt.Sprintf("BDAT %d\r\n%s", len(chunk)+2, chunk), "452 4.3.1")
	c.say("RCPT TO:<b@corp.example>", "503 5.5.2 Need mail command")
	if n := len(s.Received()); n != 0 {
		t.Errorf("%d messages recorded", n)
	}
}

func TestChunkOfUnknownSizeEndsTheSession(t *testing.T) {
	s := start(t, Options{})
	for _, line := range []string{"BDAT", "BDAT x", "BDAT -1", "BDAT 1 FIRST", "BDAT 9223372036854775808", "BDAT  1"} {
		c := dial(t, s, 0).greeted().envelope()
		c.say(line, "501 5.5.4")
		c.wantClosed()
	}
}

// What breaks off within content is not recorded, and leaves no file behind.
func TestCutContentIsNotRecorded(t *testing.T) {
	s := start(t, Options{Folder: t.TempDir()})
	for _, text := range []string{"DATA\r\nhello\r\n", "BDAT 10\r\nhello", "BDAT 10 LAST\r\nhello", "BDAT 5\r\nhello"} {
		c := dial(t, s, 0).greeted().envelope()
		c.send(text)
		c.conn.Close()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files := list(t, s.options.Folder); len(files) != 1 || files[0] != recordName {
		t.Errorf("the folder has %v", files)
	}
	if n := len(s.Received()); n != 0 {
		t.Errorf("%d messages recorded", n)
	}
}

func TestContentLimits(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0).greeted()
	s.memory.Store(memoryLimit - int64(len(note)))
	c.deliver(note, "250 2.6.0")
	c.deliver(note, "452 4.3.1 Insufficient system resources [")
	c.envelope()
	c.say("BDAT 3\r\na", "452 4.3.1")
	c.say("RCPT TO:<b@corp.example>", "503 5.5.2 Need mail")
	if used := s.memory.Load(); used != memoryLimit || len(s.Received()) != 1 {
		t.Errorf("%d bytes are counted, %d messages recorded", used, len(s.Received()))
	}
}

func TestContentTooBig(t *testing.T) {
	s := new(Server)
	c := newContent("", &s.memory)
	c.size = sizeLimit - 1
	c.Write([]byte("a"))
	if c.refusal != "" {
		t.Errorf("at the limit: %s", c.refusal)
	}
	c.Write([]byte("b"))
	if c.refusal != tooBig || len(c.bytes) != 1 {
		t.Errorf("over the limit: %q, %d bytes kept", c.refusal, len(c.bytes))
	}
	c.discard()
	if s.memory.Load() != 0 {
		t.Errorf("%d bytes are counted", s.memory.Load())
	}
}

func TestMessageID(t *testing.T) {
	for _, test := range []struct{ rule, content, want string }{
		{"as written", "Received: x\r\n y\r\nMESSAGE-id:  <a b@c>  \r\n\r\nbody", "<a b@c>"},
		{"none", "Subject: x\r\n\r\nMessage-ID: <in@body>\r\n", ""},
		{"before a broken line", "Message-ID: <1@x>\r\nno header\r\n\r\n", "<1@x>"},
		{"empty", "", ""},
		{"beyond what we look at", "X: " + strings.Repeat("x", headLimit) + "\r\nMessage-ID: <1@x>\r\n\r\n", ""},
	} {
		s := new(Server)
		c := newContent("", &s.memory)
		c.Write([]byte(test.content))
		if got := c.messageID(); got != test.want {
			t.Errorf("%s: %q", test.rule, got)
		}
	}
	s := start(t, Options{})
	got := dial(t, s, 0).greeted().deliver("Subject: none\r\n\r\n", "250 2.6.0 <08DE")
	if d := s.Received()[0]; d.MessageID == "" || !strings.Contains(got, d.MessageID) {
		t.Errorf("%q is recorded as %q", got, d.MessageID)
	}
}
