package inbound

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// maxLine is the longest command line, in octets. RFC 5321 4.5.3.1.4 asks for
// 512, and each extension adds to it.
const maxLine = 2048

const maxHello = 255

// command is a command line as far as the framing has to know it.
type command struct {
	verb  string // in upper case
	arg   string
	path  smtp.Path // forward-path of RCPT
	chunk int64     // octets that follow a BDAT
	last  bool      // and it is the last one
}

// fatal marks a refusal after which nobody knows where the next command begins,
// or the client is not one to talk to.
func (r *refusal) fatal() *refusal {
	r.cut = true
	return r
}

// trimEnd drops white space before the line end, which RFC 5321 4.1.1 asks a
// server to bear: the engine would refuse "DATA ".
func trimEnd(line []byte) []byte {
	text, crlf := bytes.CutSuffix(line, []byte("\r\n"))
	if !crlf {
		return line
	}
	return append(bytes.TrimRight(text, " \t"), "\r\n"...) // it stays within the line
}

// parseCommand reads a command line with its line end. It refuses whatever
// could mean another thing to the engine than to us, and all bytes that should
// not come back in a reply. What begins like BDAT is followed by content, also
// if nobody knows how much.
func parseCommand(line []byte) (command, *refusal) {
	c, no := readCommand(line)
	if no != nil && len(line) >= 4 && strings.EqualFold(string(line[:4]), "BDAT") {
		no.fatal()
	}
	return c, no
}

func readCommand(line []byte) (command, *refusal) {
	text, crlf := bytes.CutSuffix(line, []byte("\r\n"))
	switch {
	case len(line) > maxLine:
		return command{}, refuse(reasonLineLength, 500, smtp.StatusSyntax, "command line too long").fatal()
	case isHTTP(text):
		return command{}, refuse(reasonForeign, 554, smtp.StatusProtocolMismatch, "this is SMTP").fatal()
	case !crlf: // RFC 5321 2.3.8: a lone LF does not end a line
		return command{}, refuse(reasonLineEnd, 500, smtp.StatusSyntax, "a line ends with CR and LF").fatal()
	case !utf8.Valid(text), bytes.ContainsFunc(text, unicode.IsControl):
		return command{}, refuse(reasonControl, 501, smtp.StatusSyntax, "control characters in a command")
	}
	verb, arg, _ := strings.Cut(string(text), " ")
	c := command{verb: strings.ToUpper(verb), arg: strings.TrimSpace(arg)}
	if !isWord(c.verb) { // the engine would echo part of it
		return c, refuse(reasonSyntax, 500, smtp.StatusSyntax, "no command")
	}
	switch c.verb {
	case "EHLO", "HELO":
		return parseHello(c)
	case "MAIL":
		return parseSender(c)
	case "RCPT":
		return parseRecipient(c)
	case "BDAT":
		return parseChunk(c)
	case "AUTH":
		return c, refuse(reasonNotSupported, 502, smtp.StatusSequence, "AUTH is not supported")
	case "STARTTLS", "DATA", "RSET", "QUIT": // RFC 5321 4.1.1 and RFC 3207 4
		if c.arg != "" {
			return c, refuse(reasonSyntax, 501, smtp.StatusBadArguments, c.verb+" has no argument")
		}
	case "VRFY":
		if c.arg == "" {
			return c, refuse(reasonSyntax, 501, smtp.StatusBadArguments, "VRFY wants an argument")
		}
	case "NOOP", "HELP", "EXPN", "SEND", "SOML", "SAML", "TURN": // the engine answers the last five with 502
	default: // after the fourth one the engine would leave without 421
		return c, refuse(reasonSyntax, 500, smtp.StatusSequence, "no such command")
	}
	return c, nil
}

// parseHello takes the first word as the name, as the engine does.
func parseHello(c command) (command, *refusal) {
	c.arg, _, _ = strings.Cut(c.arg, " ")
	if len(c.arg) > maxHello || strings.ContainsFunc(c.arg, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return c, refuse(reasonHello, 501, smtp.StatusSyntax, "no host name")
	}
	return c, nil
}

// parseSender reads the reverse-path by the grammar. The engine takes more: it
// reads a@b@c as a mailbox of b@c, which would then be taken for "a@b" at c, and
// "a"@"@c as one of c. A source route, which it drops, may come before.
func parseSender(c command) (command, *refusal) {
	const from = "FROM:"
	if len(c.arg) < len(from) || !strings.EqualFold(c.arg[:len(from)], from) {
		return c, refuse(reasonSyntax, 501, smtp.StatusBadArguments, "MAIL wants FROM:<path>")
	}
	mailbox, behind := cutPath(strings.TrimSpace(c.arg[len(from):]))
	if strings.HasPrefix(mailbox, "@") {
		_, mailbox, _ = strings.Cut(mailbox, ":")
	}
	if strings.HasPrefix(mailbox, "<") {
		return c, refuse(reasonPath, 501, smtp.StatusSyntax, "the path does not end")
	}
	if _, err := smtp.ParsePath(mailbox); err != nil {
		return c, refuse(reasonPath, 553, smtp.StatusBadSender, "bad reverse-path")
	}
	return c, checkParameters(behind)
}

// parseRecipient reads the forward-path by the grammar. The engine takes more:
// it drops source routes, and reads a@b@c as a mailbox of b@c.
func parseRecipient(c command) (command, *refusal) {
	const to = "TO:"
	if len(c.arg) < len(to) || !strings.EqualFold(c.arg[:len(to)], to) {
		return c, refuse(reasonSyntax, 501, smtp.StatusBadArguments, "RCPT wants TO:<path>")
	}
	text, behind := cutPath(strings.TrimSpace(c.arg[len(to):]))
	path, err := smtp.ParsePath(text)
	if err != nil || path.IsNull() {
		return c, refuse(reasonPath, 501, smtp.StatusBadRecipient, "bad forward-path")
	}
	c.path = path
	return c, checkParameters(behind)
}

// cutPath returns what stands within the angle brackets at the beginning of s,
// or the first word if there are none, and what is behind it. A > within quotes
// is no end.
func cutPath(s string) (path, behind string) {
	if !strings.HasPrefix(s, "<") {
		word, _, _ := strings.Cut(s, " ")
		return word, s[len(word):]
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return s[1:i], s[i+1:]
		}
	}
	return s, "" // with its bracket it is no path
}

// parseChunk reads BDAT (RFC 3030 2).
func parseChunk(c command) (command, *refusal) {
	size, last, more := strings.Cut(c.arg, " ")
	n, err := strconv.ParseUint(size, 10, 63)
	switch {
	case more && !strings.EqualFold(last, "LAST"), err != nil, size[0] == '+':
		return c, refuse(reasonChunk, 501, smtp.StatusBadArguments, "BDAT wants a size and perhaps LAST")
	case n > math.MaxUint32: // as much as the engine can count
		return c, refuse(reasonSize, 552, smtp.StatusTooBig, "chunk too big")
	}
	c.chunk, c.last = int64(n), more
	return c, nil
}

func isWord(verb string) bool {
	return verb != "" && !strings.ContainsFunc(verb, func(r rune) bool { return r < 'A' || r > 'Z' })
}

// isHTTP reports whether a browser was made to talk to us. The body of its
// request may hold SMTP commands.
func isHTTP(line []byte) bool {
	method, _, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return false
	}
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI":
		return true
	}
	return false
}
