package smtp

import (
	"regexp"
	"strings"
	"testing"
)

// The grammar of RFC 5321 4.1.2, as far as it is ASCII and has no address
// literal, with the underscore that is borne in a domain. A null path and the
// postmaster stand for themselves.
var (
	atext       = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
	quoted      = `"(?:[ !#-\[\]-~]|\\[ -~])*"`
	label       = "[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
	mailboxForm = regexp.MustCompile("^(" + atext + "(?:\\." + atext + ")*|" + quoted + ")@(" + label + "(?:\\." + label + ")*)$")
	escaped     = regexp.MustCompile(`\\(.)`)
)

// slowPath reads a path by the grammar.
func slowPath(s string) (p Path, ok bool) {
	if s == "" || strings.EqualFold(s, "postmaster") {
		return Path{Local: s}, true
	}
	parts := mailboxForm.FindStringSubmatch(s)
	if parts == nil || len(s) > 254 || len(parts[2]) > 253 {
		return Path{}, false
	}
	for _, label := range strings.Split(parts[2], ".") {
		if len(label) > 63 {
			return Path{}, false
		}
	}
	p = Path{Local: parts[1], Domain: parts[2]}
	if strings.HasPrefix(p.Local, `"`) {
		p.Local = escaped.ReplaceAllString(p.Local[1:len(p.Local)-1], "$1")
	}
	return p, len(p.Local) <= 64
}

// FuzzPathGrammar: a path is read as the grammar has it.
func FuzzPathGrammar(f *testing.F) {
	for _, seed := range []string{"", "Postmaster", "a@b.example", `"a b"@c.example`, `"a\"\\b"@c_d`, `""@d`, "@a:b@c", "a..b@c", ".a@b", "a@b.", "a@-b", "a@b-", `"a"b@c`, `"a"@"@b`, `"\`, "a@b@c",
		strings.Repeat("a", 65) + "@b", "a@" + strings.Repeat("b", 64)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isASCII(s) || strings.Contains(s, "@[") {
			return
		}
		got, err := ParsePath(s)
		if want, ok := slowPath(s); (err == nil) != ok || got != want && ok {
			t.Fatalf("%q: %+v, %v, want %+v, %v", s, got, err, want, ok)
		}
	})
}
