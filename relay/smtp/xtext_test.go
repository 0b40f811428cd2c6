package smtp

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestXtext(t *testing.T) {
	for _, test := range []struct{ rule, plain, encoded string }{
		{"empty", "", ""},
		{"printable stays", "QQ314159", "QQ314159"},
		{"plus and equals", "a+b=c", "a+2Bb+3Dc"},
		{"space", "rfc822;a b@c.example", "rfc822;a+20b@c.example"},
		{"first and last of xchar", "!~", "!~"},
		{"UTF-8 byte by byte", "ö", "+C3+B6"},
	} {
		if got := EncodeXtext(test.plain); got != test.encoded {
			t.Errorf("%s: %q is encoded as %q, want %q", test.rule, test.plain, got, test.encoded)
		}
		if got, err := DecodeXtext(test.encoded); got != test.plain || err != nil {
			t.Errorf("%s: %q is decoded as %q, %v", test.rule, test.encoded, got, err)
		}
	}
	if got, err := DecodeXtext("a+2bb+c3+B6+41"); got != "a+böA" || err != nil {
		t.Errorf("lower-case digits: %q, %v", got, err)
	}
}

func TestDecodeXtextRefuses(t *testing.T) {
	for _, test := range []struct{ rule, encoded, says string }{
		{"plus at the end", "a+", "bad character"},
		{"one digit", "a+4", "bad character"},
		{"no digits", "a+zz", "hexadecimal"},
		{"sign", "a++1", "hexadecimal"},
		{"bare equals", "a=b", "bad character"},
		{"bare space", "a b", "bad character"},
		{"bare control", "a\tb", "bad character"},
		{"bare UTF-8", "ö", "bad character"},
		{"line end", "rfc822;a+0D+0AX-Injected:+20y", "control"},
		{"NUL", "+00", "control"},
		{"DEL", "+7F", "control"},
		{"C1", "+C2+9B", "control"},
		{"no UTF-8", "+FF", "no text"},
	} {
		got, err := DecodeXtext(test.encoded)
		if !errors.Is(err, ErrXtext) || got != "" || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %q is %q, %v", test.rule, test.encoded, got, err)
		}
	}
}

func FuzzXtext(f *testing.F) {
	for _, seed := range []string{"", "a+b=c d", "+0D+0A", "+", "+4", "rfc822;a+20b@c", "ö", "+c3+b6", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
		encoded := EncodeXtext(s)
		if strings.ContainsFunc(encoded, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '=' }) {
			t.Fatalf("%q is encoded as %q", s, encoded)
		}
		if got, err := DecodeXtext(encoded); text && (got != s || err != nil) || !text && err == nil {
			t.Fatalf("%q is encoded as %q and decoded as %q, %v", s, encoded, got, err)
		}
		decoded, err := DecodeXtext(s)
		if err != nil {
			if !errors.Is(err, ErrXtext) {
				t.Fatalf("%q: %v is no ErrXtext", s, err)
			}
			return
		}
		if strings.ContainsFunc(decoded, unicode.IsControl) || !utf8.ValidString(decoded) {
			t.Fatalf("%q is decoded as %q", s, decoded)
		}
		if again, err := DecodeXtext(EncodeXtext(decoded)); again != decoded || err != nil {
			t.Fatalf("%q: %q, then %q, %v", s, decoded, again, err)
		}
	})
}
