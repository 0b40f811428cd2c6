package inbound

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxField is how much of a header field is looked at; the rest passes by.
const maxField = 1000

// header reads the header of a message as it comes. It keeps one field at a
// time, and of that no more than maxField octets.
type header struct {
	by        string // our name; "" looks for no field of ours
	received  int    // Received fields
	own       int    // of them, those that we wrote
	messageID string

	field []byte
	start bool // a line begins: the field may have ended
	cut   bool // the field was longer than maxField
	done  bool // the body has begun
}

func newHeader() *header { return &header{start: true} }

// scan reads the next octets of the message.
func (h *header) scan(p []byte) {
	for len(p) > 0 && !h.done {
		if h.start && p[0] != ' ' && p[0] != '\t' {
			h.end()
			if p[0] == '\r' || p[0] == '\n' { // the empty line
				h.done = true
				return
			}
		}
		line := p
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line = p[:i+1]
		}
		h.start = line[len(line)-1] == '\n'
		room := maxField - len(h.field)
		h.cut = h.cut || len(line) > room
		h.field = append(h.field, line[:min(len(line), room)]...)
		p = p[len(line):]
	}
}

// finish ends the header of a message that may have no body.
func (h *header) finish() {
	if !h.done {
		h.end()
		h.done = true
	}
}

// end looks at a whole field.
func (h *header) end() {
	name, value, ok := bytes.Cut(h.field, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	switch {
	case !ok:
	case bytes.EqualFold(name, []byte("Received")):
		h.received++
		if h.by != "" && stamped(string(value), h.by) {
			h.own++
		}
	case h.messageID == "" && !h.cut && bytes.EqualFold(name, []byte("Message-ID")):
		h.messageID = messageID(string(value))
	}
	h.field, h.cut = h.field[:0], false
}

// messageID is the first msg-id of the field, with its brackets; "" if it has
// none that is text.
func messageID(value string) string {
	begin := strings.IndexByte(value, '<')
	if begin < 0 {
		return ""
	}
	length := strings.IndexByte(value[begin:], '>')
	if length < 0 {
		return ""
	}
	id := value[begin : begin+length+1]
	if !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return ""
	}
	return id
}
