package auth

import (
	"slices"
	"strings"
)

// author is whose message it says to be.
type author struct {
	domain string // "" if it is not exactly one
	flaw   string // why it is none
	many   bool   // it says to be of several
	unread bool   // the header could not be read
}

// author finds the domain of From (RFC 7489 6.6.1).
func (h *head) author() author {
	if h.err != nil {
		return author{flaw: "the header could not be read", unread: true}
	}
	if h.over != "" {
		return author{flaw: h.over}
	}
	fields := h.named("From")
	switch len(fields) {
	case 0:
		return author{flaw: "the message has no From field"}
	case 1:
		return authorOf(fields[0].value)
	}
	return author{flaw: "the message has more than one From field", many: true}
}

// authorOf reads a From field as tolerantly as programs that show mail do: what
// they may take for the author's address has to be of one domain.
func authorOf(value string) author {
	var domains []string
	for _, address := range addresses(value) {
		domain := hostDomain(address[strings.LastIndexByte(address, '@')+1:])
		if domain == "" {
			return author{flaw: "an address in From has no domain name"}
		}
		if !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	switch len(domains) {
	case 0:
		return author{flaw: "From has no address"}
	case 1:
		return author{domain: domains[0]}
	}
	return author{flaw: "From has addresses of several domains", many: true}
}

// addresses lists the addresses of a field: what stands between angle brackets,
// and in an element without any, the words with an @. Comments and quoted
// strings are no addresses, whatever stands in them; a quoted local part is
// left empty, as only the domain matters.
func addresses(value string) (all []string) {
	for element := range strings.SplitSeq(plain(value), ",") {
		if !strings.Contains(element, "<") {
			for word := range strings.FieldsFuncSeq(element, func(c rune) bool { return strings.ContainsRune(" \t\r\n:;>", c) }) {
				if strings.Contains(word, "@") {
					all = append(all, word)
				}
			}
			continue
		}
		for _, piece := range strings.Split(element, "<")[1:] {
			address, _, _ := strings.Cut(piece, ">")
			if address = unfolded(address); strings.Contains(address, "@") {
				all = append(all, address)
			}
		}
	}
	return all
}

// plain takes comments and quoted strings out of a field. A comment separates
// words, a quoted string does not.
func plain(s string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case (depth > 0 || quoted) && c == '\\':
			i++
		case quoted:
			quoted = c != '"'
		case depth == 0 && c == '"':
			quoted = true
		case c == '(':
			depth++
			b.WriteByte(' ')
		case depth > 0:
			if c == ')' {
				depth--
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
