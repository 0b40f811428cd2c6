package inbound

import (
	"strings"

	"github.com/mxkeep/mxkeep/queue"
)

// stamped reports whether the value of a Received field is one that we wrote:
// it says "by" our name, and "id" in the form of our own. A message with it has
// been here already.
func stamped(value, by string) bool {
	var name, id, last string
	for rest := value; ; {
		var word string
		if word, rest = receivedWord(rest); word == "" {
			break
		}
		switch last {
		case "by":
			if name == "" {
				name = word
			}
		case "id":
			if id == "" {
				id = word
			}
		}
		if last == "from" { // a client may call itself "by"
			word = ""
		}
		last = strings.ToLower(word)
	}
	_, err := queue.ParseID(id)
	return err == nil && strings.EqualFold(name, by)
}

// receivedWord returns the next word of a Received field and what is behind it.
// Comments are no words, whatever they say, and a quoted string is one. The
// date, which begins with a semicolon, ends the words: then there is "".
func receivedWord(s string) (word, rest string) {
	for s = trimSpace(s); s != "" && s[0] == '('; s = trimSpace(s) {
		s = s[commentEnd(s):]
	}
	if s == "" || s[0] == ';' {
		return "", ""
	}
	end, quoted := 0, false
	for ; end < len(s); end++ {
		switch c := s[end]; {
		case quoted && c == '\\' && end+1 < len(s):
			end++
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(" \t\r\n(;", c) >= 0:
			return s[:end], s[end:]
		}
	}
	return s, ""
}

// commentEnd is where a comment ends that s begins with (RFC 5322 3.2.2): the
// end of s if it has none.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

func trimSpace(s string) string { return strings.TrimLeft(s, " \t\r\n") }
