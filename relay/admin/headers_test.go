package admin

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCopyHeaders(t *testing.T) {
	for content, want := range map[string]string{
		"":                             "",
		"\r\nbody":                     "",
		"A: b\r\n\r\nbody":             "A: b\r\n",
		"A: b\n\nbody":                 "A: b\n",
		"A: b\r\n c\r\nB: d":           "A: b\r\n c\r\nB: d",
		"A: b\r\n \r\nB: d\r\n\r\nC: ": "A: b\r\n \r\nB: d\r\n",
	} {
		var out bytes.Buffer
		if err := copyHeaders(&out, strings.NewReader(content)); err != nil || out.String() != want {
			t.Errorf("%q: %q, %v, want %q", content, out.String(), err, want)
		}
	}
	cut := errors.New("cut")
	if err := copyHeaders(&bytes.Buffer{}, iotest.ErrReader(cut)); !errors.Is(err, cut) {
		t.Errorf("an error: %v", err)
	}
	var out bytes.Buffer
	if err := copyHeaders(&out, strings.NewReader(strings.Repeat("x", 2*maxHeaders))); err != nil || out.Len() != maxHeaders {
		t.Errorf("a header without an end: %d bytes, %v", out.Len(), err)
	}
}

// FuzzCopyHeaders: what is shown is the begin of the content, up to the first
// line that is empty, however it comes in pieces.
func FuzzCopyHeaders(f *testing.F) {
	f.Add([]byte("Received: a\r\n\tb\r\nSubject: x\r\n\r\nbody\r\n\r\n"))
	f.Add([]byte("\n\r\r\n"))
	f.Add([]byte("a\r\r\n\r\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var out, pieces bytes.Buffer
		if err := errors.Join(copyHeaders(&out, bytes.NewReader(content)), copyHeaders(&pieces, iotest.OneByteReader(bytes.NewReader(content)))); err != nil {
			t.Fatal(err)
		}
		want := ""
		for line := range strings.SplitAfterSeq(string(content), "\n") {
			if strings.Trim(line, "\r\n") == "" {
				break
			}
			want += line
		}
		if out.String() != want || pieces.String() != want {
			t.Fatalf("%q: %q, in pieces %q, want %q", content, out.String(), pieces.String(), want)
		}
	})
}
