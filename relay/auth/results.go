package auth

import (
	"fmt"
	"strings"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	maxLine      = 76  // where a field is folded; a word that is longer has a line of its own
	maxExplained = 100 // of a reason in a header
)

// Field writes the Authentication-Results field (RFC 8601), with its line end.
// It is ASCII, whatever the message said.
func (v Verdicts) Field(more ...string) []byte {
	return []byte(resultsField + ": " + v.Results(more...) + "\r\n")
}

// Results is the value of the field: our authserv-id, and a line for each
// result. Lines of other methods may follow, as "method=result property=value".
func (v Verdicts) Results(more ...string) string {
	var lines []string
	if v.MailFrom.Result != "" {
		lines = append(lines, result("spf", v.MailFrom.Result, v.MailFrom.trouble(), property("smtp.mailfrom", v.MailFrom.Domain)))
	}
	if v.Hello.Result != "" && (v.Hello.Result != None || v.MailFrom.Result == "") {
		lines = append(lines, result("spf", v.Hello.Result, v.Hello.trouble(), property("smtp.helo", v.Hello.Domain)))
	}
	for _, s := range v.DKIM {
		lines = append(lines, result("dkim", s.Result, s.Reason, property("header.d", s.Domain), identifier(s.Identifier),
			property("header.s", s.Selector), property("header.a", s.Algorithm), property("header.b", s.Value)))
	}
	if len(v.DKIM) == 0 {
		lines = append(lines, "dkim=none")
	}
	if d := v.DMARC; d.Result != "" {
		name := "dmarc=" + d.Result
		if d.Policy != "" {
			name += " (p=" + d.Policy + ")"
		}
		lines = append(lines, strings.TrimSpace(name+property("header.from", d.Domain)))
	}
	var b strings.Builder
	b.WriteString(v.By)
	for _, line := range append(lines, more...) {
		b.WriteString(";\r\n\t" + folded(line))
	}
	return b.String()
}

// trouble is the reason of a result that is none.
func (s SPF) trouble() string {
	if s.Result == TempError || s.Result == PermError {
		return s.Reason
	}
	return ""
}

func result(method, word, reason string, properties ...string) string {
	line := method + "=" + word
	if reason != "" {
		line += " reason=" + quote(reason[:min(len(reason), maxExplained)])
	}
	return line + strings.Join(properties, "")
}

// property writes a property behind a blank; "" if it has no value.
func property(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + "=" + wordOrQuoted(value)
}

// identifier writes i=, which may have an @ without quotes (RFC 8601 2.2).
func identifier(i string) string {
	local, domain, found := strings.Cut(i, "@")
	if ascii, err := smtp.ASCIIDomain(domain); err == nil && found && isWord(ascii) && (local == "" || isWord(local)) {
		return " header.i=" + local + "@" + ascii
	}
	return property("header.i", i)
}

// wordOrQuoted writes a token, or a quoted-string of what is none.
func wordOrQuoted(s string) string {
	if isWord(s) {
		return s
	}
	return quote(s)
}

func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c == '+')
	})
}

// quote writes a quoted-string of printable ASCII. Every other character is a
// question mark: nothing from outside may end the field, or hide in it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		case c < ' ' || c > '~':
			c = '?'
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}

// folded breaks a line before words that would make it too long. Blanks within
// quotes are no places to break.
func folded(line string) string {
	var b strings.Builder
	length, quoted := 8, false // of the tab
	begin := 0
	write := func(word string) {
		if b.Len() > 0 {
			if length+1+len(word) > maxLine {
				b.WriteString("\r\n\t  ")
				length = 10
			} else {
				b.WriteByte(' ')
				length++
			}
		}
		b.WriteString(word)
		length += len(word)
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			write(line[begin:i])
			begin = i + 1
		}
	}
	write(line[begin:])
	return b.String()
}

// ReceivedSPF writes the Received-SPF field (RFC 7208 9.1), with its line end:
// of the reverse-path, or of the name of the client if that is null.
func (v Verdicts) ReceivedSPF(id Identity) []byte {
	spf, of := v.MailFrom, "mailfrom"
	if spf.Result == "" {
		spf, of = v.Hello, "helo"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Received-SPF: %s (%s)", spf.Result, v.By)
	pair := func(name, value string) {
		if value != "" {
			b.WriteString("\r\n\t" + name + "=" + wordOrQuoted(value[:min(len(value), 512)]) + ";")
		}
	}
	pair("identity", of)
	if id.Client.IsValid() {
		pair("client-ip", id.Client.Unmap().WithZone("").String())
	}
	pair("helo", id.Hello)
	pair("envelope-from", id.ReversePath)
	pair("receiver", v.By)
	return []byte(strings.TrimSuffix(b.String(), ";") + "\r\n")
}
