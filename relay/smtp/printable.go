package smtp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes text from outside safe for a terminal or a text log. Letters,
// marks, digits, punctuation, symbols and the ASCII space stay. All else, such
// as controls, line ends, direction overrides and bytes that are no UTF-8,
// becomes \xNN (a byte) or \u{NNNN} (a code point). A backslash stays as it is:
// the result is for eyes and cannot be decoded again.
func Printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}
