package smtp

import (
	"errors"
	"strings"
	"testing"
	"unicode"
)

func TestParsePath(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	long := label63 + "." + label63 + "." + label63 // 191 octets
	for _, test := range []struct {
		rule, path string
		want       Path
	}{
		{"the null reverse-path", "", Path{}},
		{"dot-string", "john.smith@corp.example", Path{"john.smith", "corp.example"}},
		{"case is kept", "John@Corp.Example", Path{"John", "Corp.Example"}},
		{"every special of atext", "!#$%&'*+-/=?^_`{|}~@d.example", Path{"!#$%&'*+-/=?^_`{|}~", "d.example"}},
		{"postmaster without a domain", "postmaster", Path{Local: "postmaster"}},
		{"postmaster in any case", "PostMaster", Path{Local: "PostMaster"}},
		{"postmaster with a domain", "postmaster@d.example", Path{"postmaster", "d.example"}},
		{"quoted-string", `"a b"@d.example`, Path{"a b", "d.example"}},
		{"quoted-pair", `"a\"b\\c\d"@d.example`, Path{`a"b\cd`, "d.example"}},
		{"quoted without need", `"john"@d.example`, Path{"john", "d.example"}},
		{"quoted @", `"a@b"@d.example`, Path{"a@b", "d.example"}},
		{"quoted >", `"foo> NOTIFY=NEVER"@x.y`, Path{"foo> NOTIFY=NEVER", "x.y"}},
		{"empty quoted-string", `""@d.example`, Path{"", "d.example"}},
		{"quoted dots", `".a..b."@d.example`, Path{".a..b.", "d.example"}},
		{"UTF-8 local part", "dörte@d.example", Path{"dörte", "d.example"}},
		{"UTF-8 in a quoted-string", `"dörte b"@d.example`, Path{"dörte b", "d.example"}},
		{"U-label", "a@bücher.example", Path{"a", "bücher.example"}},
		{"A-label", "a@xn--bcher-kva.example", Path{"a", "xn--bcher-kva.example"}},
		{"one label", "a@localhost", Path{"a", "localhost"}},
		{"underscore in a label", "a@_mail_.d.example", Path{"a", "_mail_.d.example"}},
		{"IPv4 literal", "a@[192.0.2.5]", Path{"a", "[192.0.2.5]"}},
		{"IPv6 literal", "a@[IPv6:2001:db8::1]", Path{"a", "[IPv6:2001:db8::1]"}},
		{"IPv6 tag in any case", "a@[ipv6:::1]", Path{"a", "[ipv6:::1]"}},
		{"label of 63 octets", "a@" + label63, Path{"a", label63}},
		{"local part of 64 octets", strings.Repeat("a", 64) + "@d", Path{strings.Repeat("a", 64), "d"}},
		{"64 octets are counted without quotes", `"` + strings.Repeat(`\"`, 64) + `"@d`, Path{strings.Repeat(`"`, 64), "d"}},
		{"path of 254 octets", strings.Repeat("a", 62) + "@" + long, Path{strings.Repeat("a", 62), long}},
	} {
		got, err := ParsePath(test.path)
		if err != nil || got != test.want {
			t.Errorf("%s: %q is %+v, %v; want %+v", test.rule, test.path, got, err, test.want)
		}
		if again, err := ParsePath(got.String()); again != got || err != nil {
			t.Errorf("%s: %q comes back from %q as %+v, %v", test.rule, test.path, got.String(), again, err)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for _, test := range []struct{ rule, path, says string }{
		{"no domain", "john", "no domain"},
		{"postmaster is ASCII", "poſtmaster", "no domain"},
		{"postmaster is not quoted", `"postmaster"`, "no @"},
		{"empty domain", "john@", "no domain name"},
		{"empty local part", "@d.example", "bad local part"},
		{"source route", "@a.example,@b.example:user@c.example", "bad local part"},
		{"angle brackets", "<john@d.example>", "bad local part"},
		{"space in the local part", "a b@d.example", "bad local part"},
		{"space behind the domain", "a@d.example ", "no domain name"},
		{"parameter behind the path", "a@d.example> NOTIFY=NEVER", "no domain name"},
		{"two addresses", "a@d.example,b@d.example", "no domain name"},
		{"two @", "user@d@f", "no domain name"},
		{"comment", "user(x)@d.example", "bad local part"},
		{"leading dot", ".a@d.example", "bad local part"},
		{"trailing dot", "a.@d.example", "bad local part"},
		{"two dots", "a..b@d.example", "bad local part"},
		{"quote inside an atom", `a"b"@d.example`, "bad local part"},
		{"unbalanced quote", `"a@d.example`, "bad quoted"},
		{"backslash at the end", `"a\`, "bad quoted"},
		{"backslash before UTF-8", `"\ö"@d.example`, "bad quoted"},
		{"text behind the quotes", `"a"b@d.example`, "no @"},
		{"NUL in the local part", "a\x00b@d.example", "bad local part"},
		{"NUL in quotes", "\"a\x00b\"@d.example", "control character"},
		{"line end in quotes", "\"a\r\nRCPT TO:<x@y>\"@d.example", "control character"},
		{"escaped line end in quotes", "\"a\\\n\"@d.example", "control character"},
		{"DEL in quotes", "\"\x7f\"@d.example", "control character"},
		{"C1 in the local part", "a\u009bb@d.example", "control character"},
		{"local part is no UTF-8", "a\xffb@d.example", "not UTF-8"},
		{"domain is no UTF-8", "a@d\xff.example", "not UTF-8"},
		{"replacement character in the domain", "a@d\ufffd.example", "no domain name"},
		{"NUL in the domain", "a@d.example\x00", "no domain name"},
		{"port", "a@d.example:25", "no domain name"},
		{"root dot", "a@d.example.", "no domain name"},
		{"leading dot in the domain", "a@.d.example", "no domain name"},
		{"empty label", "a@d..example", "no domain name"},
		{"only a dot", "a@.", "no domain name"},
		{"ideographic root dot", "a@d.example。", "no domain name"},
		{"hyphen first in a label", "a@-d.example", "no domain name"},
		{"hyphen last in a label", "a@d-.example", "no domain name"},
		{"fullwidth @ in the domain", "a@b＠d.example", "no domain name"},
		{"direction override in the domain", "a@d\u202e.example", "no domain name"},
		{"label of 64 octets", "a@a" + label63, "no domain name"},
		{"U-label whose A-label is too long", "a@" + strings.Repeat("ö", 60), "no domain name"},
		{"local part of 65 octets", strings.Repeat("a", 65) + "@d", "longer than 64"},
		{"UTF-8 local part of 66 octets", strings.Repeat("ö", 33) + "@d", "longer than 64"},
		{"path of 255 octets", strings.Repeat("a", 63) + "@" + label63 + "." + label63 + "." + label63, "longer than 254"},
		{"literal without end", "a@[192.0.2.5", "bad address literal"},
		{"text behind a literal", "a@[192.0.2.5].d.example", "bad address literal"},
		{"IPv4 out of range", "a@[192.0.2.256]", "bad address literal"},
		{"IPv6 without its tag", "a@[2001:db8::1]", "bad address literal"},
		{"IPv4 with the tag of IPv6", "a@[IPv6:192.0.2.5]", "bad address literal"},
		{"IPv6 zone", "a@[IPv6:fe80::1%eth0]", "bad address literal"},
		{"unregistered tag", "a@[x400:c=de]", "bad address literal"},
		{"empty literal", "a@[]", "bad address literal"},
	} {
		got, err := ParsePath(test.path)
		if !errors.Is(err, ErrPath) || got != (Path{}) {
			t.Errorf("%s: %q is %+v, %v", test.rule, test.path, got, err)
		} else if !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.rule, err, test.says)
		}
	}
}

func TestErrorsOfPathsAreSafeAndShort(t *testing.T) {
	for _, path := range []string{
		"\x1b]0;own\x07@d.example", "a@d\u202e.example", "\xff", "a@[\r\n]", strings.Repeat("\U0010ffff", 100000),
	} {
		_, err := ParsePath(path)
		if err == nil {
			t.Fatalf("%q is taken", path)
		}
		if s := err.Error(); len(s) > 1000 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%.100q: error %q", path, s)
		}
	}
}

// TestOpenRelayForms: d.example is ours, f.example is not. Each form is refused,
// or has a domain that is not ours, or a local part for the primary to judge.
func TestOpenRelayForms(t *testing.T) {
	refused := Path{}
	for _, test := range []struct {
		path string
		want Path
	}{
		{"user@f.example", Path{"user", "f.example"}},
		{"user%f.example@d.example", Path{"user%f.example", "d.example"}},
		{"user%f.example", refused},
		{"user%f.example@localhost", Path{"user%f.example", "localhost"}},
		{"user%f.example@[127.0.0.1]", Path{"user%f.example", "[127.0.0.1]"}},
		{"f.example!user@d.example", Path{"f.example!user", "d.example"}},
		{"f.example!user", refused},
		{"d.example!f.example!user", refused},
		{"@d.example:user@f.example", refused},
		{"@d.example,@mx.d.example:user@f.example", refused},
		{"@d.example:user%f.example@d.example", refused},
		{`"user@f.example"@d.example`, Path{"user@f.example", "d.example"}},
		{`"user%f.example"@d.example`, Path{"user%f.example", "d.example"}},
		{`"user@f.example"`, refused},
		{"user@f.example@d.example", refused},
		{"user@d.example@f.example", refused},
		{"user@[192.0.2.5]", Path{"user", "[192.0.2.5]"}},
		{"user@[127.0.0.1]", Path{"user", "[127.0.0.1]"}},
		{"user@[IPv6:::1]", Path{"user", "[IPv6:::1]"}},
		{"user@localhost", Path{"user", "localhost"}},
		{"user@notd.example", Path{"user", "notd.example"}},
		{"user@d.example.f.example", Path{"user", "d.example.f.example"}},
		{"user@sub.d.example", Path{"user", "sub.d.example"}},
		{"user@f.example%00@d.example", refused},
		{"user@f.example%00.d.example", refused},
		{"user@f.example\x00@d.example", refused},
		{"user@f.example(@d.example)", refused},
		{"user(@d.example)@f.example", refused},
		{"user@f.example＠d.example", refused},
		{"user＠f.example@d.example", Path{"user＠f.example", "d.example"}},
		{"user@f.example;user@d.example", refused},
		{"user@f.example,user@d.example", refused},
		{"user@f.example user@d.example", refused},
		{"<user@f.example>", refused},
		{"user@", refused},
		{"user@.", refused},
		{"user@d.example:25", refused},
	} {
		got, err := ParsePath(test.path)
		if got != test.want || (err == nil) == (test.want == refused) {
			t.Errorf("%q is %+v, %v; want %+v", test.path, got, err, test.want)
		}
	}
}

func TestUnquotedPath(t *testing.T) {
	for _, test := range []struct {
		rule, path string
		want       Path
		written    string
	}{
		{"the null reverse-path", "", Path{}, ""},
		{"postmaster", "postmaster", Path{Local: "postmaster"}, "postmaster"},
		{"dot-string", "john.smith@d.example", Path{"john.smith", "d.example"}, "john.smith@d.example"},
		{"space", "a b@x.example", Path{"a b", "x.example"}, `"a b"@x.example`},
		{"parameter injection", "foo> NOTIFY=NEVER@x.y", Path{"foo> NOTIFY=NEVER", "x.y"}, `"foo> NOTIFY=NEVER"@x.y`},
		{"quote and backslash", `a"b\c@x.y`, Path{`a"b\c`, "x.y"}, `"a\"b\\c"@x.y`},
		{"the last @ counts", "user@d@f", Path{"user@d", "f"}, `"user@d"@f`},
		{"quotes are text", `"a"@x.y`, Path{`"a"`, "x.y"}, `"\"a\""@x.y`},
		{"literal", "a b@[192.0.2.5]", Path{"a b", "[192.0.2.5]"}, `"a b"@[192.0.2.5]`},
		{"UTF-8", "dörte b@bücher.example", Path{"dörte b", "bücher.example"}, `"dörte b"@bücher.example`},
	} {
		got, err := UnquotedPath(test.path)
		if err != nil || got != test.want || got.String() != test.written {
			t.Errorf("%s: %q is %+v, %v, written %q", test.rule, test.path, got, err, got.String())
		}
	}
}

func TestUnquotedPathRefuses(t *testing.T) {
	domain := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 60) // 188 octets
	if _, err := UnquotedPath(strings.Repeat("x", 64) + "@" + domain); err != nil {
		t.Errorf("a path of 253 octets: %v", err)
	}
	for _, test := range []struct{ rule, path, says string }{
		{"no domain", "john", "no domain"},
		{"no local part", "@d.example", "no local part"},
		{"empty domain", "john@", "no domain name"},
		{"line end", "a\r\nb@x.y", "control character"},
		{"NUL", "a\x00@x.y", "control character"},
		{"no UTF-8", "a\xff@x.y", "not UTF-8"},
		{"control in the domain", "a@x\x01.y", "no domain name"},
		{"0xFF in the domain", "a@x\xff.y", "not UTF-8"},
		{"bracket behind the domain", "a@x.y>", "no domain name"},
		{"literal", "a@[1]", "bad address literal"},
		{"local part of 65 octets", strings.Repeat("a", 65) + "@x.y", "longer than 64"},
		{"254 octets are counted with quotes", strings.Repeat(`"`, 64) + "@" + domain, "longer than 254"},
	} {
		if got, err := UnquotedPath(test.path); !errors.Is(err, ErrPath) || got != (Path{}) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %q is %+v, %v", test.rule, test.path, got, err)
		}
	}
}

func TestPathQuestions(t *testing.T) {
	for _, test := range []struct {
		path        string
		null, ascii bool
	}{
		{"", true, true},
		{"postmaster", false, true},
		{`""@d.example`, false, true},
		{"a@d.example", false, true},
		{"ä@d.example", false, false},
		{"a@dä.example", false, false},
	} {
		p, err := ParsePath(test.path)
		if err != nil || p.IsNull() != test.null || p.ASCII() != test.ascii {
			t.Errorf("%q: null %v, ASCII %v, %v", test.path, p.IsNull(), p.ASCII(), err)
		}
	}
}

func TestASCIIDomain(t *testing.T) {
	for domain, want := range map[string]string{
		"Corp.Example":          "corp.example",
		"bücher.example":        "xn--bcher-kva.example",
		"BÜCHER.example":        "xn--bcher-kva.example",
		"bu\u0308cher.example":  "xn--bcher-kva.example", // decomposed
		"XN--bcher-KVA.example": "xn--bcher-kva.example",
		"例え。テスト":                "xn--r8jz45g.xn--zckzah",
		"a_b.example":           "a_b.example",
		"r3---sn.example":       "r3---sn.example",
		"127.0.0.1":             "127.0.0.1",
		"[192.0.2.5]":           "[192.0.2.5]",
		"[IPv6:2001:DB8::1]":    "[IPv6:2001:DB8::1]",
	} {
		if got, err := ASCIIDomain(domain); got != want || err != nil {
			t.Errorf("%q is %q, %v; want %q", domain, got, err, want)
		}
	}
	long := strings.Repeat("a.", 126) + "a" // 253 octets
	if _, err := ASCIIDomain(long); err != nil {
		t.Errorf("a name of 253 octets: %v", err)
	}
	for _, domain := range []string{"", ".", "a..b", "a.", "a b", "a\x00", "ü_.example", "b＠d", "[", "[]", "[1.2.3]", long + "a"} {
		if got, err := ASCIIDomain(domain); !errors.Is(err, ErrPath) {
			t.Errorf("%q is %q, %v", domain, got, err)
		}
	}
}

// FuzzParsePath: what is accepted comes back from its own text, and that text
// cannot end a command line or leave its brackets.
func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{
		"", "postmaster", "a@b.example", `"a b"@c.example`, `"a\"\\b"@[192.0.2.5]`, `""@d`, "@a,@b:c@d", "dörte@bücher.example",
		"a@[IPv6:::1]", "user@d@f", "a..b@c", `"> NOTIFY=NEVER"@x`, "a\x00@b", "a@b:25", "a@b.", "poſtmaster", "a@例え。テスト", "a@xn--a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			if !errors.Is(err, ErrPath) || p != (Path{}) || len(err.Error()) > 1000 {
				t.Fatalf("%q: %+v, %v", s, p, err)
			}
			return
		}
		checkWritten(t, p)
	})
}

// FuzzUnquotedPath: a decoded path is quoted so that it reads as the same one.
func FuzzUnquotedPath(f *testing.F) {
	for _, seed := range []string{
		"", "postmaster", "a b@x.example", "foo> NOTIFY=NEVER@x.y", `a"\@x.y`, "user@d@f", "@d", "a\r\nb@c", "ä ö@bücher.example", `\@[192.0.2.5]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := UnquotedPath(s)
		if err != nil {
			if !errors.Is(err, ErrPath) || p != (Path{}) || len(err.Error()) > 1000 {
				t.Fatalf("%q: %+v, %v", s, p, err)
			}
			return
		}
		if at := strings.LastIndexByte(s, '@'); at >= 0 && (p.Local != s[:at] || p.Domain != s[at+1:]) {
			t.Fatalf("%q is read as %+v", s, p)
		}
		checkWritten(t, p)
	})
}

func checkWritten(t *testing.T, p Path) {
	t.Helper()
	written := p.String()
	if again, err := ParsePath(written); err != nil || again != p {
		t.Fatalf("%+v is written as %q and read as %+v, %v", p, written, again, err)
	}
	if len(written) > maxPath || strings.ContainsFunc(written, unicode.IsControl) {
		t.Fatalf("%+v is written as %q", p, written)
	}
	inQuotes := false
	for i := 0; i < len(written); i++ {
		switch c := written[i]; {
		case inQuotes && c == '\\':
			i++
		case c == '"':
			inQuotes = !inQuotes
		case !inQuotes && (c == '>' || c == '<' || c == ' '):
			t.Fatalf("%q leaves its brackets", written)
		}
	}
	if p.Domain == "" {
		return
	}
	ascii, err := ASCIIDomain(p.Domain)
	if err != nil || !isASCII(ascii) {
		t.Fatalf("domain of %+v is %q, %v", p, ascii, err)
	}
	if again, err := ASCIIDomain(ascii); again != ascii || err != nil {
		t.Fatalf("%q becomes %q, %v", ascii, again, err)
	}
}
