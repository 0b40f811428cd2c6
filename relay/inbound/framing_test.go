package inbound

import (
	"bytes"
	"testing"
)

func TestFraming(t *testing.T) {
	for _, test := range []struct {
		rule, content string
		n             int // octets up to the end; 0: no end
		bare          bool
	}{
		{"an empty message", ".\r\n", 3, false},
		{"lines", "a\r\nb\r\n.\r\nQUIT\r\n", 9, false},
		{"dots that are content", "..\r\n.a\r\n.\r\n", 11, false},
		{"empty lines", "\r\n\r\n.\r\n", 7, false},
		{"no end yet", "a\r\n.\r", 0, false},
		{"LF . LF", "a\n.\nb\r\n.\r\n", 10, true},
		{"LF . CRLF", "a\n.\r\nb\r\n.\r\n", 11, true},
		{"CRLF . LF", "a\r\n.\nb\r\n.\r\n", 11, true},
		{"CR . CR", "a\r.\rb\r\n.\r\n", 10, true},
		{"CR . CRLF", "a\r.\r\nb\r\n.\r\n", 11, true},
		{"CRLF . CR", "a\r\n.\rb\r\n.\r\n", 11, true},
		{"LF . CR", "a\n.\rb\r\n.\r\n", 10, true},
		{"CR . LF", "a\r.\nb\r\n.\r\n", 10, true},
		{"CRLF . CR CRLF", "a\r\n.\r\r\nb\r\n.\r\n", 13, true},
		{"CR CRLF . CRLF is a true end", "a\r\r\n.\r\n", 7, true},
		{"CR CRLF . CR CRLF", "a\r\r\n.\r\r\nb\r\n.\r\n", 14, true},
		{"NUL before the dot", "a\r\n\x00.\r\nb\r\n.\r\n", 13, false},
		{"NUL behind the dot", "a\r\n.\x00\r\nb\r\n.\r\n", 13, false},
		{"LF LF . LF LF", "a\n\n.\n\nb\r\n.\r\n", 12, true},
		{"CR CR", "\r\ra\r\n.\r\n", 8, true},
		{"a lone LF first", "\na\r\n.\r\n", 7, true},
	} {
		for size := 1; size <= len(test.content); size++ { // in pieces of every size
			f := framing{dots: true}
			total, ended := 0, false
			for p := []byte(test.content); len(p) > 0 && !ended; {
				n, end := f.scan(p[:min(size, len(p))])
				total, ended, p = total+n, end, p[n:]
			}
			if ended != (test.n > 0) || ended && total != test.n || f.bare != test.bare {
				t.Errorf("%s, in pieces of %d: end %v after %d, bare %v", test.rule, size, ended, total, f.bare)
			}
		}
	}
}

func TestUnstuff(t *testing.T) {
	for _, test := range []struct{ rule, content, want string }{
		{"an empty message", ".\r\nQUIT", ""},
		{"lines", "a\r\n\r\nb\r\n.\r\nQUIT", "a\r\n\r\nb\r\n"},
		{"a dot that was doubled", "..\r\n...\r\n.\r\n", ".\r\n..\r\n"},
		{"a dot that should have been", ".a\r\n.\r\n", "a\r\n"},
		{"dots elsewhere", "a.\r\nb.c\r\n.\r\n", "a.\r\nb.c\r\n"},
		{"nothing from a bare LF on", "a\r\n\nc\r\nd\r\n.\r\n", "a\r\n"},
	} {
		for size := 1; size <= len(test.content); size++ {
			if got, ended, _ := unstuffed(test.content, size); !ended || got != test.want {
				t.Errorf("%s, in pieces of %d: %q, end %v", test.rule, size, got, ended)
			}
		}
	}
}

// unstuffed reads content in pieces and with room for as much at a time.
func unstuffed(content string, size int) (got string, ended bool, f framing) {
	f = framing{dots: true}
	out := make([]byte, size)
	for p := []byte(content); len(p) > 0 && !ended; {
		n, copied, end := f.unstuff(out, p[:min(size, len(p))])
		got, ended, p = got+string(out[:copied]), end, p[n:]
	}
	return got, ended, f
}

func TestFramingOfChunks(t *testing.T) {
	for _, test := range []struct {
		rule, content string
		flawed        bool
	}{
		{"empty", "", false},
		{"dots mean nothing", "a\r\n.\r\nb\r\n", false},
		{"no line end at the end", "a\r\nb", false},
		{"CR at the end", "a\r", true},
		{"LF", "a\nb", true},
		{"CR", "a\rb", true},
		{"CR CR LF", "a\r\r\n", true},
	} {
		for size := 1; size <= len(test.content)+1; size++ {
			f := framing{}
			for p := []byte(test.content); len(p) > 0; {
				n, end := f.scan(p[:min(size, len(p))])
				if end {
					t.Errorf("%s: an end", test.rule)
				}
				p = p[n:]
			}
			if f.flawed() != test.flawed {
				t.Errorf("%s, in pieces of %d: flawed is %v", test.rule, size, f.flawed())
			}
		}
	}
}

// FuzzFraming compares with the definition: the end is the first CRLF.CRLF, as
// if a CRLF came before the content; bare is what is left when all CRLF are taken
// out; a dot behind a CRLF does not count.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{"a\r\n.\r\nb", ".\r\n", "a\n.\r\n.\r\n", "\r\r\n.\r\n", "a\r\n.\r\r\n.\r\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, content []byte, size int) {
		size = max(1, size)
		want := bytes.Index(append([]byte("\r\n"), content...), []byte("\r\n.\r\n"))
		if want >= 0 {
			want += 3
		}
		s := framing{dots: true}
		total, ended := 0, false
		for p := content; len(p) > 0 && !ended; {
			n, end := s.scan(p[:min(size, len(p))])
			total, ended, p = total+n, end, p[n:]
		}
		if ended != (want >= 0) || ended && total != want {
			t.Fatalf("%q: end %v after %d, want %d", content, ended, total, want)
		}
		rest := bytes.ReplaceAll(content[:total], []byte("\r\n"), []byte("x"))
		if want := bytes.ContainsAny(rest, "\r\n"); s.flawed() != want && !(want && s.state == afterDotCR) {
			t.Fatalf("%q: flawed is %v", content[:total], s.flawed())
		}
		said := bytes.TrimSuffix(append([]byte("\r\n"), content[:total]...), []byte(".\r"))
		if ended {
			said = bytes.TrimSuffix(said, []byte(".\r\n"))
		}
		got, _, end := unstuffed(string(content), size)
		if want := bytes.ReplaceAll(said, []byte("\r\n."), []byte("\r\n"))[2:]; !end.flawed() && got != string(want) {
			t.Fatalf("%q: content is %q, want %q", content[:total], got, want)
		}
	})
}
