package arc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Message is a message that has been read: its header, and hashes of its body.
// It is not changed by anything, so it may be used by many at once.
type Message struct {
	fields          []field
	relaxed, simple [32]byte // SHA-256 of the canonical body
	flaw            error    // of the header: too much of it
}

// field is one field of the header.
type field struct {
	name  string // lower case, without white space
	raw   []byte // as it stands, with its last line end
	value []byte // what is behind the colon, with the last line end
}

// ErrHeader is the flaw of a message whose header is beyond all measure.
var ErrHeader = fmt.Errorf("the header is longer than %d KiB, or has more than %d fields", maxHeader>>10, maxFields)

// Read reads a message to its end, unless its header is too large. The only
// errors are those of the reader; what is wrong with the message is said by
// Verify and Seal.
func Read(r io.Reader) (*Message, error) {
	in := bufio.NewReaderSize(r, 16<<10)
	m := &Message{}
	head, err := readHeader(in)
	switch {
	case errors.Is(err, ErrHeader):
		m.flaw = err
		return m, nil
	case err != nil:
		return nil, err
	}
	if m.fields = split(head); len(m.fields) > maxFields {
		m.flaw = ErrHeader
		return m, nil
	}
	relaxed, simple := newRelaxedBody(), newSimpleBody()
	var body io.Writer = relaxed
	if m.wantsSimple() {
		body = io.MultiWriter(relaxed, simple)
	}
	if _, err := in.WriteTo(body); err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	m.relaxed, m.simple = relaxed.sum(), simple.sum()
	return m, nil
}

// wantsSimple: something signs the simple form of the body, which few do.
func (m *Message) wantsSimple() bool {
	for _, f := range m.fields {
		if f.name != nameMessage && f.name != nameDKIM {
			continue
		}
		if tags, err := parseTags(f.value); err == nil && !strings.HasSuffix(tags.form(), "/relaxed") {
			return true
		}
	}
	return false
}

// Behind is the message with fields in front, as it leaves; fields is whole lines.
func (m *Message) Behind(fields []byte) *Message {
	whole, front, rest := *m, split(fields), m.fields
	if len(front) > 0 && m.continues() {
		front = append(front[:len(front)-1], split(slices.Concat(front[len(front)-1].raw, rest[0].raw))...)
		rest = rest[1:]
	}
	whole.fields = append(front, rest...)
	return &whole
}

// continues: the message begins with white space, so that its first line belongs
// to what is put in front.
func (m *Message) continues() bool {
	return len(m.fields) > 0 && (m.fields[0].raw[0] == ' ' || m.fields[0].raw[0] == '\t')
}

// readHeader reads to the empty line, which it drops.
func readHeader(in *bufio.Reader) ([]byte, error) {
	var head []byte
	for start := true; ; {
		line, err := in.ReadSlice('\n')
		if start && (string(line) == "\r\n" || string(line) == "\n") {
			return head, nil
		}
		if head = append(head, line...); len(head) > maxHeader {
			return nil, ErrHeader
		}
		start = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return head, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("read the header: %w", err)
		}
	}
}

// split cuts a header into its fields. A line that is none is a field without a
// name, which no signature can cover.
func split(head []byte) []field {
	var fields []field
	for len(head) > 0 {
		end := 0
		for end < len(head) && (end == 0 || head[end] == ' ' || head[end] == '\t') {
			n := bytes.IndexByte(head[end:], '\n')
			if n < 0 {
				n = len(head) - end - 1
			}
			end += n + 1
		}
		f := field{raw: head[:end:end]}
		if name, value, ok := bytes.Cut(f.raw, []byte(":")); ok {
			f.name, f.value = string(bytes.ToLower(bytes.TrimRight(name, " \t"))), value
		}
		fields = append(fields, f)
		head = head[end:]
	}
	return fields
}
