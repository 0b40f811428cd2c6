package auth

import (
	"bytes"
	"errors"
	"hash/fnv"
	"io"
	"strings"
)

const (
	maxHeader = 128 << 10 // of a longer one the library would take seconds
	maxFields = 1000
	maxLines  = 4000 // the library needs the square of the lines of a field
)

// head is the header of a message.
type head struct {
	raw    []byte // its lines, without the empty one behind them
	rest   []byte // what of the content has been read behind raw
	fields []field
	over   string // why it is not whole, "" if it is
	err    error  // that reading it ended with, but for its end
	more   io.Reader
}

// field is a header field. The value is as it stands, with its folds.
type field struct{ name, value string }

// is reports whether a field has a name. It is compared as every reader of mail
// does: blanks before the colon do not count.
func (f field) is(name string) bool { return strings.EqualFold(f.name, name) }

// readHead reads the header of a message, or its beginning if it is too long.
// The body is what follows the empty line. An error of the reader is one of the body.
func readHead(r io.Reader) (h head, body io.Reader) {
	text := make([]byte, 0, 8<<10)
	end, after := -1, -1
	var err error
	for end < 0 && len(text) <= maxHeader+4 && err == nil {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		was := len(text)
		var n int
		n, err = r.Read(text[was:cap(text)])
		text = text[:was+n]
		end, after = emptyLine(text, was)
	}
	more := r
	if err != nil {
		more = failing{err}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		h.err = err
	}
	switch {
	case end < 0 && err != nil: // all of it is header
		end, after = len(text), len(text)
	case end < 0:
		h.over = "the header is longer than 128 KiB"
		end, after = len(text), len(text)
	case end > maxHeader:
		h.over = "the header is longer than 128 KiB"
	}
	h.raw, h.rest, h.more = text[:end], text[end:], more
	h.split()
	return h, io.MultiReader(bytes.NewReader(text[after:]), more)
}

// ended is the header with its empty line. A message without a body may come by
// BDAT without the end of its last line, which it gets on its way out.
func (h *head) ended() string {
	if len(h.raw) > 0 && !bytes.HasSuffix(h.raw, []byte("\r\n")) {
		return string(h.raw) + "\r\n\r\n"
	}
	return string(h.raw) + "\r\n"
}

// emptyLine finds the line that ends the header, looking only at what came
// after the first "was" bytes and a little before.
func emptyLine(text []byte, was int) (end, after int) {
	if bytes.HasPrefix(text, []byte("\r\n")) {
		return 0, 2
	}
	from := max(0, was-3)
	if i := bytes.Index(text[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 2, from + i + 4
	}
	return -1, -1
}

// failing is the end of what could be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// split divides the header into fields.
func (h *head) split() {
	lines := 0
	begin := 0
	for i := 0; i < len(h.raw); {
		end := len(h.raw)
		if n := bytes.IndexByte(h.raw[i:], '\n'); n >= 0 {
			end = i + n + 1
		}
		if lines++; lines > maxLines {
			h.over = "the header has more than 4000 lines"
			return
		}
		i = end
		if i < len(h.raw) && (h.raw[i] == ' ' || h.raw[i] == '\t') {
			continue
		}
		if len(h.fields) == maxFields {
			h.over = "the header has more than 1000 fields"
			return
		}
		name, value, _ := strings.Cut(string(h.raw[begin:i]), ":")
		h.fields = append(h.fields, field{strings.TrimSpace(name), value})
		begin = i
	}
}

// named returns the fields of a name, in their order.
func (h *head) named(name string) (all []field) {
	for _, f := range h.fields {
		if f.is(name) {
			all = append(all, f)
		}
	}
	return all
}

// claims counts the fields that claim to be ours. A header that is too long is
// read to its end for them.
func (h *head) claims(id string) int {
	s := NewStripper(id)
	s.Next(h.raw)
	if h.over == "" {
		s.Flush()
		return s.Stripped()
	}
	s.Next(h.rest)
	piece := make([]byte, 32<<10)
	for !s.Done() {
		n, err := h.more.Read(piece)
		s.Next(piece[:n])
		if err != nil {
			break
		}
	}
	s.Flush()
	return s.Stripped()
}

// dice is a number from 0 to 99 that the same message always has: a sender that
// tries again has no other luck with a policy that is for a share of messages.
func (h *head) dice() int {
	sum := fnv.New32a()
	sum.Write(h.raw)
	return int(sum.Sum32() % 100)
}
