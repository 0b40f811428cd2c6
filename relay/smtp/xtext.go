package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrXtext is wrapped by every error of DecodeXtext.
var ErrXtext = errors.New("invalid xtext")

const upperHex = "0123456789ABCDEF"

// EncodeXtext writes s as xtext (RFC 3461 4), the form of ENVID and ORCPT.
func EncodeXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if isXchar(s[i]) {
			b.WriteByte(s[i])
		} else {
			b.WriteString("+" + upperHex[s[i]>>4:][:1] + upperHex[s[i]&15:][:1])
		}
	}
	return b.String()
}

// DecodeXtext reads xtext. What it decodes to goes into header fields of
// notifications, so a control character or a byte that is no UTF-8 is an
// error. Hexadecimal digits may be lower case, though RFC 3461 4 wants upper.
func DecodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case isXchar(s[i]):
			b.WriteByte(s[i])
		case s[i] == '+' && i+2 < len(s):
			c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", xtextError(s, "bad hexadecimal digits")
			}
			b.WriteByte(byte(c))
			i += 2
		default:
			return "", xtextError(s, "bad character")
		}
	}
	if decoded := b.String(); utf8.ValidString(decoded) && !strings.ContainsFunc(decoded, unicode.IsControl) {
		return decoded, nil
	}
	return "", xtextError(s, "stands for control characters or for no text")
}

// isXchar: RFC 3461 4.
func isXchar(c byte) bool { return c > ' ' && c < 0x7f && c != '+' && c != '=' }

func xtextError(s, what string) error { return fmt.Errorf("%w: %s: %.80q", ErrXtext, what, s) }
