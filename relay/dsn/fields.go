package dsn

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	lineWidth  = 76
	maxLine    = 998  // RFC 5322 2.1.1, without CRLF
	maxValue   = 4000 // bytes of a field: a reply may be longer, and nobody reads that
	maxHeading = 250  // bytes of a Message-ID that is repeated
)

// fields writes header fields. Whatever is in a value, it stays within it: what
// does not print, and what is not ASCII where only that may be, is written as
// the number of its code point, \x{NN} (RFC 6533 3).
type fields struct {
	out  *bytes.Buffer
	utf8 bool
}

// add writes a field, folded at its spaces, or within a word that is too long
// for a line.
func (f fields) add(name, value string) {
	value = cut(f.safe(value), maxValue)
	f.out.WriteString(name + ":")
	width, before := len(name)+1, "" // before is the last word: "" at a second space, where nothing is folded
	for _, word := range strings.Split(strings.TrimSpace(value), " ") {
		if width+1+len(word) > lineWidth && before != "" && word != "" {
			f.out.WriteString("\r\n")
			width = 0
		}
		before = word
		for width+1+len(word) > maxLine {
			piece := cut(word, maxLine-1-width)
			f.out.WriteString(" " + piece + "\r\n")
			word, width = word[len(piece):], 0
		}
		f.out.WriteString(" " + word)
		width += 1 + len(word)
	}
	f.out.WriteString("\r\n")
}

// address writes a field of a typed address. One that is not ASCII, where only
// that may be, is in the form utf-8-addr-xtext.
func (f fields) address(name, kind, address string) {
	if strings.ContainsFunc(kind, func(r rune) bool { return r > '~' || r <= ' ' || strings.ContainsRune(`()<>@,;:\"/[]?=`, r) }) || kind == "" {
		return
	}
	if !isASCII(address) {
		kind = "utf-8"
	}
	if strings.EqualFold(kind, "utf-8") && !f.utf8 {
		address = strings.NewReplacer(`\`, `\x{5C}`, `+`, `\x{2B}`, `=`, `\x{3D}`).Replace(address)
	}
	f.add(name, kind+"; "+address)
}

// safe keeps what may stand in a field.
func (f fields) safe(value string) string {
	var b strings.Builder
	for i, size := 0, 0; i < len(value); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(value[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x{%02X}`, value[i])
		case r < utf8.RuneSelf && unicode.IsPrint(r), r >= utf8.RuneSelf && f.utf8 && unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
	}
	return b.String()
}

// cut leaves at most max bytes, and no half character.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// isMessageID reports whether a Message-ID can be repeated as it is.
func isMessageID(id string) bool {
	return len(id) > 2 && len(id) <= maxHeading && id[0] == '<' && id[len(id)-1] == '>' &&
		!strings.ContainsFunc(id[1:len(id)-1], func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' })
}
