package outbound

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

func read(text string) (smtp.Reply, string, error) {
	in := bufio.NewReaderSize(strings.NewReader(text), readBuffer)
	r, err := readReply(in)
	rest, _ := io.ReadAll(in)
	return r, string(rest), err
}

func TestReadReply(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       smtp.Reply
		rest       string
	}{
		{"one line", "250 2.1.0 fine\r\n", smtp.Reply{Code: 250, Status: smtp.EnhancedStatus{2, 1, 0}, Lines: []string{"fine"}}, ""},
		{"no text", "250\r\n", smtp.Reply{Code: 250, Lines: []string{""}}, ""},
		{"LF alone ends a line", "250 a\n", smtp.Reply{Code: 250, Lines: []string{"a"}}, ""},
		{"lines", "250-relay.example\r\n250-SIZE 1\r\n250 DSN\r\n", smtp.Reply{Code: 250, Lines: []string{"relay.example", "SIZE 1", "DSN"}}, ""},
		{"every line has the status", "550-5.1.1 a\r\n550 5.1.1 b\r\n", smtp.Reply{Code: 550, Status: smtp.EnhancedStatus{5, 1, 1}, Lines: []string{"a", "b"}}, ""},
		{"another status is text", "550-5.1.1 a\r\n550 5.7.1 b\r\n", smtp.Reply{Code: 550, Status: smtp.EnhancedStatus{5, 1, 1}, Lines: []string{"a", "5.7.1 b"}}, ""},
		{"the next reply stays", "250 a\r\n251 b\r\n", smtp.Reply{Code: 250, Lines: []string{"a"}}, "251 b\r\n"},
	} {
		r, rest, err := read(test.text)
		if err != nil || r.Code != test.want.Code || r.Status != test.want.Status ||
			strings.Join(r.Lines, "|") != strings.Join(test.want.Lines, "|") || rest != test.rest {
			t.Errorf("%s: %+v, rest %q, %v; want %+v, rest %q", test.name, r, rest, err, test.want, test.rest)
		}
	}
}

func TestReadReplyFails(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", io.EOF},
		{"a line that breaks off", "250 a", io.ErrUnexpectedEOF},
		{"a reply that breaks off", "250-a\r\n", io.EOF},
		{"no code", "hello\r\n", errGarbled},
		{"an empty line", "\r\n", errGarbled},
		{"a code with a sign", "+50 a\r\n", errGarbled},
		{"a code of two digits", "25 a\r\n", errGarbled},
		{"a code that no command has", "199 a\r\n", errGarbled},
		{"a code beyond the range", "600 a\r\n", errGarbled},
		{"a code of four digits", "2500 a\r\n", errGarbled},
		{"another code within a reply", "250-a\r\n251 b\r\n", errGarbled},
		{"a line that is too long", "250 " + strings.Repeat("a", maxReplyLine) + "\r\n", errGarbled},
		{"a line that fills the buffer", "250 " + strings.Repeat("a", readBuffer) + "\r\n", errGarbled},
		{"too many lines", strings.Repeat("250-a\r\n", maxReplyLines) + "250 a\r\n", errGarbled},
	} {
		if r, _, err := read(test.text); !errors.Is(err, test.want) {
			t.Errorf("%s: %+v, %v; want %v", test.name, r, err, test.want)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"250 a\r\n", "250-a\r\n250 b\r\n", "550-5.1.1 a\r\n550 5.1.1 b\n", "25", "451 4.3.2\r\n", "250-\r\n\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, rest, err := read(text)
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Lines) > maxReplyLines || !strings.HasSuffix(text, rest) {
			t.Fatalf("%q gives %+v, rest %q", text, r, rest)
		}
		for _, line := range r.Lines {
			if strings.Contains(line, "\n") || len(line) > maxReplyLine {
				t.Fatalf("%q gives the line %q", text, line)
			}
		}
	})
}
