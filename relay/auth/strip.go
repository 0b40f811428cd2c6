package auth

import (
	"bytes"
	"io"
	"strings"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	resultsField  = "Authentication-Results"
	receivedField = "Received"

	// maxUndecided is how much of a field is kept until it is known whose it is.
	// One that says nothing in 8 KiB hides something, and is taken for a claim.
	maxUndecided = 8 << 10
)

// Stripper takes Authentication-Results fields out of the header of a message
// that claim our authserv-id but are not ours (RFC 8601 5): whoever reads the
// message behind us would believe them. No other byte is touched. The content
// comes in pieces of any size. Its zero value is not usable.
type Stripper struct {
	id       string
	ours     bool // our own fields stand at the top: they end with the first Received field
	held     []byte
	out      []byte
	state    stripState
	start    bool // a line begins
	stripped int
	received bool // the field is Received
}

type stripState uint8

const (
	stripUndecided stripState = iota // the field is held until it is known whose it is
	stripPassing
	stripDropping
	stripDone // the body has begun
)

// NewStripper makes a stripper for content as it came.
func NewStripper(id string) *Stripper { return &Stripper{id: id, start: true, state: stripPassing} }

// Next takes the next piece and returns what may leave. It is valid until the
// next call.
func (s *Stripper) Next(piece []byte) []byte {
	if s.state == stripDone {
		return piece
	}
	s.out = s.out[:0]
	for len(piece) > 0 {
		if s.start && piece[0] != ' ' && piece[0] != '\t' {
			s.endField()
			if piece[0] == '\r' || piece[0] == '\n' { // the empty line
				s.state = stripDone
				s.out = append(s.out, piece...)
				return s.out
			}
			s.state, s.received = stripUndecided, false
		}
		line := len(piece)
		for i, c := range piece {
			if c == '\n' {
				line = i + 1
				break
			}
		}
		s.line(piece[:line])
		s.start = piece[line-1] == '\n'
		piece = piece[line:]
	}
	return s.out
}

// Flush returns what is left at the end of the content.
func (s *Stripper) Flush() []byte {
	s.out = s.out[:0]
	s.endField()
	s.state = stripDone
	return s.out
}

// Stripped is the number of fields that were taken out.
func (s *Stripper) Stripped() int { return s.stripped }

// Done reports whether the header has ended.
func (s *Stripper) Done() bool { return s.state == stripDone }

// line takes a line, or a part of one.
func (s *Stripper) line(text []byte) {
	switch s.state {
	case stripPassing:
		s.out = append(s.out, text...)
	case stripUndecided:
		s.held = append(s.held, text...)
		s.decide(false)
	}
}

// endField decides about a field that has ended.
func (s *Stripper) endField() {
	if s.state == stripUndecided {
		s.decide(true)
	}
	if s.received && s.ours {
		s.ours = false
	}
}

// decide finds out what the held field is. whole says that there is no more of it.
func (s *Stripper) decide(whole bool) {
	name, value, ok := strings.Cut(string(s.held), ":")
	name = strings.TrimSpace(name)
	long := len(s.held) >= maxUndecided
	if !ok && !whole && !long && couldBe(name) {
		return
	}
	s.received = ok && strings.EqualFold(name, receivedField)
	if s.ours || !strings.EqualFold(name, resultsField) || !ok && !long {
		s.pass()
		return
	}
	if whole {
		value += "\n"
	}
	switch claim := claims(value, s.id); {
	case claim == claimOurs, claim == claimOpen && long:
		s.stripped++
		s.state, s.held = stripDropping, s.held[:0]
	case claim == claimOther, whole:
		s.pass()
	}
}

func (s *Stripper) pass() {
	s.state = stripPassing
	s.out = append(s.out, s.held...)
	s.held = s.held[:0]
}

// couldBe reports whether a name is the beginning of one that matters here.
func couldBe(name string) bool {
	for _, whole := range []string{resultsField, receivedField} {
		if len(name) <= len(whole) && strings.EqualFold(name, whole[:len(name)]) {
			return true
		}
	}
	return false
}

// claim says whose results a field has.
type claim uint8

const (
	claimOpen  claim = iota // it does not say so far
	claimOurs               // ours
	claimOther              // somebody else's
)

// claims reads the authserv-id at the start of a value that may go on.
func claims(value, id string) claim {
	rest, ok := skipComments(value)
	if !ok {
		return claimOpen
	}
	var name string
	if rest[0] == '"' {
		if name, ok = cutQuotedString(rest); !ok {
			return claimOpen
		}
	} else {
		end := strings.IndexAny(rest, " \t\r\n;(")
		if end < 0 {
			return claimOpen
		}
		name = rest[:end]
	}
	name, _, _ = strings.Cut(name, "/") // old writers put a version behind a stroke
	if same(name, id) {
		return claimOurs
	}
	return claimOther
}

// same reports whether a name is our authserv-id.
func same(name, id string) bool {
	name = strings.TrimSuffix(strings.TrimSpace(name), ".")
	if ascii, err := smtp.ASCIIDomain(name); err == nil {
		name = ascii
	}
	return strings.EqualFold(name, id)
}

// skipComments passes over blanks, folds and comments (RFC 5322 3.2.2). ok is
// false if nothing is behind them, or a comment has no end.
func skipComments(s string) (rest string, ok bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case depth > 0 && c == '\\':
			i++
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			depth--
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return s[i:], true
		}
	}
	return "", false
}

// cutQuotedString decodes the quoted-string at the start of s.
func cutQuotedString(s string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), true
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}

// Strip reads a message as it leaves: our own trace fields, which end with our
// Received field, and then the content, out of which fields are taken that claim
// to be ours.
func Strip(message io.Reader, id string) io.Reader {
	s := NewStripper(id)
	s.ours = true
	return &stripReader{from: message, stripper: s}
}

type stripReader struct {
	from     io.Reader
	stripper *Stripper
	piece    []byte
	ready    []byte
	err      error
}

func (r *stripReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.ready) == 0 && r.err == nil {
		if r.stripper.Done() {
			return r.from.Read(p)
		}
		if r.piece == nil {
			r.piece = make([]byte, 4<<10)
		}
		var n int
		n, r.err = r.from.Read(r.piece)
		r.ready = r.stripper.Next(r.piece[:n])
		if r.err != nil {
			r.ready = append(bytes.Clone(r.ready), r.stripper.Flush()...) // which uses what Next returned
		}
	}
	n := copy(p, r.ready)
	if r.ready = r.ready[n:]; n > 0 {
		return n, nil
	}
	return 0, r.err
}
