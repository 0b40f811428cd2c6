package configs

import (
	"fmt"
	"strings"
)

// sealedField is a header field that a seal may cover: none that relays on the
// way take out or add to.
func sealedField(s string) verdict {
	lower := strings.ToLower(s)
	switch {
	case s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' || r == ';' }):
		return verdict{fmt.Sprintf("%q is not the name of a header field", s), "Write it like subject"}
	case lower == "authentication-results", lower == "return-path", strings.HasPrefix(lower, "arc-"):
		return verdict{fmt.Sprintf("%q must not be sealed: relays on the way take it out, or add to it", s), "Take it out"}
	}
	return verdict{}
}

// selectorName is one label or several; unlike a domain it may be a number.
func selectorName(s string) verdict {
	if isASCII(s) && isDomain(s) {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is not a selector", s), "Write it like arc1"}
}

// checkARC finds parts of a seal without the others.
func (c *Config) checkARC(say report) {
	a := c.Auth.ARC
	for _, part := range []struct{ key, value, next string }{
		{"auth.arc.key", a.Key, "Write key: and the file of mxkeep auth keygen, or take arc out"},
		{"auth.arc.selector", a.Selector, "Write selector: and the name that was given to mxkeep auth keygen"},
		{"auth.arc.domain", a.Domain, "Write domain: and the domain that was given to mxkeep auth keygen"},
	} {
		if part.value == "" && (a.Key != "" || a.Selector != "" || a.Domain != "" || len(a.Headers) > 0) {
			say(part.key, "it is missing", part.next)
		}
	}
	if a.Key != "" && c.Auth.Verify == No {
		say("auth.arc.key", "a seal says what was found out, and with verify: no nothing is", "Write verify: yes, or take arc out")
	}
}
