package outbound

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stuff sends content in pieces of the given size.
func stuff(content string, piece int) (string, error) {
	var b bytes.Buffer
	d := &dotWriter{to: &b}
	for rest := content; rest != ""; {
		n := min(piece, len(rest))
		if _, err := io.WriteString(d, rest[:n]); err != nil {
			return b.String(), err
		}
		rest = rest[n:]
	}
	err := d.Close()
	return b.String(), err
}

func TestDotWriter(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"no content", "", ".\r\n"},
		{"a line", "a\r\n", "a\r\n.\r\n"},
		{"a line without an end is completed", "a", "a\r\n.\r\n"},
		{"a dot at the start is doubled", ".a\r\n.\r\n..\r\n", "..a\r\n..\r\n...\r\n.\r\n"},
		{"a dot elsewhere is not", "a.\r\nb.c\r\n", "a.\r\nb.c\r\n.\r\n"},
		{"a lone dot without an end", ".", "..\r\n.\r\n"},
		{"empty lines", "\r\n\r\n", "\r\n\r\n.\r\n"},
		{"NUL and 8-bit pass", "a\x00\xff\r\n", "a\x00\xff\r\n.\r\n"},
	} {
		for piece := 1; piece <= 4; piece++ {
			got, err := stuff(test.content, piece)
			if err != nil || got != test.want {
				t.Errorf("%s, in pieces of %d: %q, %v; want %q", test.name, piece, got, err, test.want)
			}
		}
	}
}

func TestDotWriterRefusesBareLines(t *testing.T) {
	for _, content := range []string{"a\n", "\n", "a\r", "\r", "a\rb\r\n", "a\r\r\n", "a\r\n.\n", "\n.\r\n", "a\n.\r\nb\r\n", "\r\n\r", "a\r.\r\n"} {
		for piece := 1; piece <= 4; piece++ {
			got, err := stuff(content, piece)
			if !errors.Is(err, errBareLine) {
				t.Errorf("%q in pieces of %d: %q, %v", content, piece, got, err)
			}
		}
	}
}

func TestDotWriterPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	for room, content := range []string{".a", ".a", "a\r\n.b", "a\r\n.b"} {
		d := &dotWriter{to: &limited{room: room % 2, err: broken}}
		if _, err := io.WriteString(d, content); !errors.Is(err, broken) {
			t.Errorf("%q with room for %d writes: %v", content, room%2, err)
		}
	}
	if err := (&dotWriter{to: &limited{err: broken}}).Close(); !errors.Is(err, broken) {
		t.Errorf("close: %v", err)
	}
}

// limited takes so many writes and then fails.
type limited struct {
	room int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.room == 0 {
		return 0, l.err
	}
	l.room--
	return len(p), nil
}

// unstuff is what a server makes of DATA (RFC 5321 4.5.2), written independently.
func unstuff(t *testing.T, wire string) string {
	t.Helper()
	var content strings.Builder
	for {
		line, rest, found := strings.Cut(wire, "\r\n")
		if !found {
			t.Fatalf("%q ends without the line that ends it", wire)
		}
		wire = rest
		if line == "." {
			if rest != "" {
				t.Fatalf("%q follows the end of the content", rest)
			}
			return content.String()
		}
		content.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
}

func FuzzDotWriter(f *testing.F) {
	for _, seed := range []string{"", ".", "a\r\n.\r\nb", "\r\n..\r\n", "a\nb", "a\rb", "\r", "\n.\n", "\r\n.\r\n"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, content string, piece int) {
		if piece < 1 || piece > 1<<20 {
			piece = 1
		}
		wire, err := stuff(content, piece)
		clean := !strings.ContainsAny(strings.ReplaceAll(content, "\r\n", ""), "\r\n")
		if clean != (err == nil) || err != nil && !errors.Is(err, errBareLine) {
			t.Fatalf("%q: %v", content, err)
		}
		if !clean {
			if strings.HasSuffix(wire, "\r\n.\r\n") || wire == ".\r\n" {
				t.Fatalf("%q was refused and yet ended as %q", content, wire)
			}
			return
		}
		whole := content
		if whole != "" && !strings.HasSuffix(whole, "\r\n") {
			whole += "\r\n"
		}
		if got := unstuff(t, wire); got != whole {
			t.Fatalf("%q arrives as %q", content, got)
		}
	})
}

func TestDotWriterBehindAnyReader(t *testing.T) {
	content := strings.Repeat(".x\r\n", 100)
	var b bytes.Buffer
	d := &dotWriter{to: &b}
	if _, err := io.Copy(d, iotest.OneByteReader(strings.NewReader(content))); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil || unstuff(t, b.String()) != content {
		t.Errorf("%q, %v", b.String(), err)
	}
}
