package smtp

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ rule, text, want string }{
		{"empty", "", ""},
		{"ASCII stays", `a "b" <c@d.example> \ ~`, `a "b" <c@d.example> \ ~`},
		{"letters of any script stay", "Grüße 日本 עברית ก็", "Grüße 日本 עברית ก็"},
		{"symbols stay", "€ ☃ 😀", "€ ☃ 😀"},
		{"window title", "\x1b]0;own\x07", `\x1b]0;own\x07`},
		{"clear screen", "\x1b[2J", `\x1b[2J`},
		{"line ends and tabs", "a\r\n\tb", `a\x0d\x0a\x09b`},
		{"NUL and DEL", "\x00\x7f", `\x00\x7f`},
		{"C1 as a byte", "\x9b2J", `\x9b2J`},
		{"C1 as a code point", "\u009b2J", `\u{9b}2J`},
		{"right-to-left override", "a\u202eb", `a\u{202e}b`},
		{"isolates", "\u2066a\u2069", `\u{2066}a\u{2069}`},
		{"line and paragraph separator", "\u2028\u2029", `\u{2028}\u{2029}`},
		{"zero width", "\u200b\u200d\ufeff", `\u{200b}\u{200d}\u{feff}`},
		{"soft hyphen", "\u00ad", `\u{ad}`},
		{"no-break space", "\u00a0", `\u{a0}`},
		{"private use and tags", "\ue000\U000e0041", `\u{e000}\u{e0041}`},
		{"bytes that are no UTF-8", "\xc3\xff", `\xc3\xff`},
		{"surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"overlong", "\xc0\x9b", `\xc0\x9b`},
		{"replacement character stays", "\ufffd", "\ufffd"},
	} {
		if got := Printable(test.text); got != test.want {
			t.Errorf("%s: %q becomes %q, want %q", test.rule, test.text, got, test.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"", "abc", "\x1b[2J", "\u202e", "\xff\xfe", "a\r\nb", "Grüße", "\U000e0041", `\x1b`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q becomes %q", s, got)
		}
		if again := Printable(got); again != got {
			t.Fatalf("%q becomes %q, then %q", s, got, again)
		}
		clean := utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
		if clean != (got == s) {
			t.Fatalf("%q becomes %q", s, got)
		}
	})
}
