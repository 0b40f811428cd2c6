package milter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	milter "github.com/d--j/go-milter"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// field is a header field. Its value has no line end behind it.
type field struct{ name, value string }

const (
	maxField = 60 << 10 // of a field that is told: with its name it fits into the 64 KiB of a packet
	maxName  = 1000     // octets in which a colon has to come; RFC 5322 2.1.1 allows lines of 998
)

// readField reads the next field of a header; ok is false at its end, which is an
// empty line or a line that is no field, as the body begins with it. Of a longer
// field than maxField the rest is left out. Lines of its value end with LF, as
// filters expect it.
func readField(in *bufio.Reader) (f field, ok bool) {
	if ends, _ := in.Peek(2); string(ends) == "\r\n" {
		in.Discard(2)
		return field{}, false
	}
	begin, _ := in.Peek(maxName) // less, if there is not so much
	colon := bytes.IndexByte(begin, ':')
	if colon < 1 || !isName(bytes.TrimRight(begin[:colon], " \t")) {
		return field{}, false
	}
	f.name = string(bytes.TrimRight(begin[:colon], " \t"))
	in.Discard(colon + 1)
	var value []byte
	for more := true; more; {
		var line []byte
		line, more = readLine(in, maxField-len(value))
		value = append(value, line...)
		if next, _ := in.Peek(1); len(next) == 0 || next[0] != ' ' && next[0] != '\t' {
			break
		}
		if len(value) < maxField {
			value = append(value, '\n')
		}
	}
	f.value = string(bytes.ReplaceAll(value, []byte{0}, []byte{' '})) // NUL ends a string of the protocol
	return f, true
}

// readLine reads a line to its end, and returns up to room octets of it without
// the end; more is false if it was the last one.
func readLine(in *bufio.Reader, room int) (line []byte, more bool) {
	for {
		piece, err := in.ReadSlice('\n')
		end := err == nil
		if end {
			piece = bytes.TrimRight(piece, "\r\n")
		}
		line = append(line, piece[:min(len(piece), max(0, room-len(line)))]...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(line, "\r"), end
		}
	}
}

// isName reports whether a name of a field is one (RFC 5322 3.6.8).
func isName(name []byte) bool {
	return len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

// What filters may add to one message.
const (
	maxAdded      = 100      // fields of one filter
	maxAddedBytes = 32 << 10 // of one filter
	maxAddedLine  = 998      // RFC 5322 2.1.1
)

// take takes the changes that a filter of that name asks for into its verdict.
func (s *said) take(name string, changes []milter.ModifyAction, utf8Allowed bool) {
	size := 0
	for _, c := range changes {
		switch c.Type {
		case milter.ActionQuarantine:
			s.Action, s.Reason = Hold, brief("filter "+name+": "+c.Reason)
		case milter.ActionAddHeader, milter.ActionInsertHeader, milter.ActionChangeHeader:
			if word := unchangeable(c); word != "" {
				s.ignore(word)
				continue
			}
			added, err := clean(c.HeaderName, c.HeaderValue, utf8Allowed)
			if size += len(added.name) + len(added.value); err != nil || len(s.fields) == maxAdded || size > maxAddedBytes {
				s.ignore("bad_field")
				continue
			}
			s.fields = append(s.fields, added)
		default:
			s.ignore(undone(c.Type))
		}
	}
}

// undone is the word for a change that is not done.
func undone(change milter.ModifyActionType) string {
	switch change {
	case milter.ActionAddRcpt:
		return "add_recipient"
	case milter.ActionDelRcpt:
		return "delete_recipient"
	case milter.ActionReplaceBody:
		return "replace_body"
	}
	return "change_sender"
}

// unchangeable is the word for a change of a field that is not done. A field that
// is changed is added before the content, where it counts for who trusts us:
// rspamd asks for its own fields so. But what a message may have only once
// (RFC 5322 3.6) stays as it is, and nothing can be taken out.
func unchangeable(c milter.ModifyAction) string {
	if c.Type != milter.ActionChangeHeader {
		return ""
	}
	switch name := strings.ToLower(c.HeaderName); {
	case c.HeaderValue == "":
		return "delete_field"
	case strings.HasPrefix(name, "content-"), slices.Contains([]string{"date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id",
		"in-reply-to", "references", "subject", "mime-version"}, name):
		return "change_field"
	}
	return ""
}

// ignore notes what is not done.
func (s *said) ignore(what string) {
	if !slices.Contains(s.ignored, what) {
		s.ignored = append(s.ignored, what)
	}
}

// clean makes a field of a filter one that may stand in a header: lines that end
// with CRLF and are continued with white space, without other controls.
func clean(name, value string, utf8Allowed bool) (field, error) {
	if !isName([]byte(name)) || len(name) > 100 || strings.EqualFold(name, "Received") { // a Received field ends what is ours
		return field{}, fmt.Errorf("%.100q is no name of a field", name)
	}
	value = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(value)
	var lines []string
	for line := range strings.SplitSeq(value, "\n") {
		line = strings.TrimRight(strings.Map(func(r rune) rune {
			switch {
			case r == '\t':
				return r
			case r < ' ', r == 0x7f:
				return ' '
			case r >= 0x80 && !utf8Allowed, r == utf8.RuneError:
				return '?'
			}
			return r
		}, line), " \t")
		switch {
		case len(lines) == 0:
			line = strings.TrimLeft(line, " \t")
		case line == "": // an empty line would end the header
			continue
		case line[0] != ' ' && line[0] != '\t':
			line = "\t" + line
		}
		if len(line)+len(name)+2 > maxAddedLine {
			return field{}, fmt.Errorf("a line of %d octets in %s", len(line), name)
		}
		lines = append(lines, line)
	}
	return field{name, strings.Join(lines, "\r\n")}, nil
}

// replyOf is the reply that a filter wants to be given, as any client can be
// told it: one line of printable ASCII. 421 would end the session, so it is 451.
func replyOf(a milter.Action) smtp.Reply {
	code, status, text := int(a.SMTPCode), smtp.StatusPolicyLater, "the message is not taken now, try again later"
	if code >= 500 {
		status, text = smtp.StatusRelayDenied, "the message was refused"
	}
	if code == 421 {
		code = 451
	}
	if a.Type == milter.ActionRejectWithCode {
		var words []string
		for line := range strings.SplitSeq(a.SMTPReply, "\n") {
			line = strings.TrimSpace(line[min(len(line), 4):]) // behind the code
			own, rest, ok := smtp.ParseEnhancedStatus(line)
			if ok && own[0] == code/100 {
				status = own
			}
			if ok {
				line = strings.TrimSpace(rest)
			}
			words = append(words, line)
		}
		if said := printable(strings.Join(words, " ")); said != "" {
			text = said
		}
	}
	return smtp.NewReply(code, status, "%s", text)
}

// maxText bounds the text of a filter that a client sees. RFC 5321 4.5.3.1.5
// promises 512 octets for the whole line.
const maxText = 400

func printable(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
	return strings.TrimSpace(text[:min(len(text), maxText)])
}
