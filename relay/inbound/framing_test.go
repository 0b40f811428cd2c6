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
// if a CRLF came before the content; bare is what is left when all CRLF are taken out.
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
	})
}
