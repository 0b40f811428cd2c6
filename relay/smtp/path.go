package smtp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrPath is wrapped by every error about a path or a domain.
var ErrPath = errors.New("invalid path")

// RFC 5321 4.5.3.1, in octets. A path may have 256 with its angle brackets.
const (
	maxPath   = 254
	maxLocal  = 64
	maxDomain = 253 // of a name in the DNS (RFC 1035 2.3.4); an SMTP path has no room for more
	maxLabel  = 63
)

const postmaster = "postmaster"

// Path is a reverse-path or forward-path without its angle brackets. The zero
// Path is the null reverse-path. Make one with ParsePath or UnquotedPath: what
// they return can be written to a peer.
type Path struct {
	Local  string // decoded: a quoted local part without its quotes and backslashes
	Domain string // as written; "" for <postmaster> and the null reverse-path
}

// ParsePath reads what stands between the angle brackets of MAIL FROM or RCPT
// TO (RFC 5321 4.1.2, with the UTF-8 of RFC 6531 3.3). The empty string is the
// null reverse-path; postmaster needs no domain (RFC 5321 4.1.1.3).
//
// It differs from the RFC in three points. Source routes are refused, though
// RFC 5321 C asks a server to strip them: nobody needs them today, and they were
// made to pass mail on. An underscore may stand where a letter may, because
// there are senders with such names. The only address literals are IPv4 and
// IPv6, because no other tag was ever registered.
func ParsePath(s string) (Path, error) {
	if s == "" {
		return Path{}, nil
	}
	if len(s) > maxPath {
		return Path{}, pathError(s, "longer than 254 octets")
	}
	local, domain, found, err := cutLocal(s)
	if err != nil {
		return Path{}, err
	}
	if err := checkLocal(s, local); err != nil {
		return Path{}, err
	}
	if !found {
		return bare(s)
	}
	if _, err := ASCIIDomain(domain); err != nil {
		return Path{}, err
	}
	return Path{Local: local, Domain: domain}, nil
}

// UnquotedPath reads a path from an engine that has decoded the local part
// already: a b@x.example for "a b"@x.example. Everything before the last @ is
// the local part, whatever it is made of.
func UnquotedPath(s string) (Path, error) {
	if s == "" {
		return Path{}, nil
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return bare(s)
	}
	p := Path{Local: s[:at], Domain: s[at+1:]}
	switch {
	case p.Local == "": // nobody's mailbox, and the rest of a mangled source route
		return Path{}, pathError(s, "no local part")
	case len(p.String()) > maxPath:
		return Path{}, pathError(s, "longer than 254 octets")
	}
	if err := checkLocal(s, p.Local); err != nil {
		return Path{}, err
	}
	if _, err := ASCIIDomain(p.Domain); err != nil {
		return Path{}, err
	}
	return p, nil
}

// String writes the path as it stands between angle brackets, with a quoted
// local part where the grammar asks for one.
func (p Path) String() string {
	local := p.Local
	if !isDotString(local) && !p.IsNull() {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	if p.Domain == "" {
		return local
	}
	return local + "@" + p.Domain
}

// IsNull reports whether it is the null reverse-path.
func (p Path) IsNull() bool { return p == Path{} }

// ASCII reports whether the path can be sent without SMTPUTF8 (RFC 6531).
func (p Path) ASCII() bool { return isASCII(p.Local) && isASCII(p.Domain) }

// ASCIIDomain returns the form of a domain to compare and look up: A-labels in
// lower case. U-labels are mapped as IDNA look-up maps them (RFC 5891 5, UTS
// 46); a name that is ASCII already is only checked and lowered, so an
// underscore may pass. Address literals stay as they are.
func ASCIIDomain(domain string) (string, error) {
	if strings.HasPrefix(domain, "[") {
		if err := checkLiteral(domain); err != nil {
			return "", err
		}
		return domain, nil
	}
	if !utf8.ValidString(domain) { // idna lets it pass
		return "", pathError(domain, "domain name is not UTF-8")
	}
	ascii := strings.ToLower(domain)
	if !isASCII(domain) {
		var err error
		if ascii, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", pathError(domain, "no domain name of IDNA")
		}
	}
	if len(ascii) > maxDomain {
		return "", pathError(domain, "domain name longer than 253 octets")
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if !isLabel(label) {
			return "", pathError(domain, "no domain name")
		}
	}
	return ascii, nil
}

// bare makes a path without a domain, which only postmaster has.
func bare(s string) (Path, error) {
	if !strings.EqualFold(s, postmaster) || !isASCII(s) {
		return Path{}, pathError(s, "no domain")
	}
	return Path{Local: s}, nil
}

// cutLocal divides s at the @ behind its local part, which it decodes.
func cutLocal(s string) (local, domain string, found bool, err error) {
	if s[0] == '"' {
		local, rest, ok := cutQuoted(s)
		if !ok {
			return "", "", false, pathError(s, "bad quoted local part")
		}
		domain, found = strings.CutPrefix(rest, "@")
		if !found {
			return "", "", false, pathError(s, "no @ behind the quoted local part")
		}
		return local, domain, true, nil
	}
	local, domain, found = strings.Cut(s, "@")
	if !isDotString(local) {
		return "", "", false, pathError(s, "bad local part")
	}
	return local, domain, found, nil
}

// cutQuoted decodes the quoted-string at the start of s. Which characters it
// has is left to checkLocal.
func cutQuoted(s string) (decoded, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) || s[i] >= utf8.RuneSelf { // quoted-pairSMTP is ASCII, also in RFC 6531
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func checkLocal(s, local string) error {
	switch {
	case len(local) > maxLocal:
		return pathError(s, "local part longer than 64 octets")
	case !utf8.ValidString(local):
		return pathError(s, "local part is not UTF-8")
	case strings.ContainsFunc(local, unicode.IsControl):
		return pathError(s, "control character in the local part")
	}
	return nil
}

// checkLiteral checks an address literal (RFC 5321 4.1.3).
func checkLiteral(literal string) error {
	text, closed := strings.CutSuffix(literal[1:], "]")
	six := len(text) > 5 && strings.EqualFold(text[:5], "IPv6:")
	if six {
		text = text[5:]
	}
	address, err := netip.ParseAddr(text)
	if !closed || err != nil || address.Is6() != six || address.Zone() != "" {
		return pathError(literal, "bad address literal")
	}
	return nil
}

// isDotString reports whether a local part needs no quotes: atoms with dots between them.
func isDotString(local string) bool {
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, notAtext) {
			return false
		}
	}
	return true
}

// notAtext: RFC 5322 3.2.3, and any non-ASCII character of RFC 6531 3.3.
func notAtext(r rune) bool {
	return r < utf8.RuneSelf && !isAlnum(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

// isLabel: letters, digits, hyphens between them, and underscores anywhere.
func isLabel(label string) bool {
	return label != "" && len(label) <= maxLabel && label[0] != '-' && label[len(label)-1] != '-' &&
		!strings.ContainsFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' && r != '_' })
}

func isAlnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// pathError tells what is wrong without a byte of s that could harm a log.
func pathError(s, what string) error { return fmt.Errorf("%w: %s: %.80q", ErrPath, what, s) }
