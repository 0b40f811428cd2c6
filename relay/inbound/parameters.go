package inbound

import (
	"math"
	"strconv"
	"strings"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// checkParameters reads what stands behind the path of MAIL or RCPT by the
// grammar (RFC 5321 4.1.2). The engine takes more: of a keyword that comes twice
// it keeps either, it takes a value of SMTPUTF8, and no space before the first.
// Which keywords there are, and what their values mean, is left to it.
func checkParameters(behind string) *refusal {
	if behind != "" && behind[0] != ' ' {
		return badParameter("a space comes before a parameter")
	}
	seen := map[string]bool{}
	for _, word := range strings.Fields(behind) { // as the engine divides them
		keyword, value, valued := strings.Cut(word, "=")
		keyword = strings.ToUpper(keyword)
		switch {
		case !isKeyword(keyword), valued && value == "", strings.Contains(value, "="):
			return badParameter("bad parameter")
		case seen[keyword]: // which of the two would count?
			return badParameter("a parameter comes twice")
		case keyword == "SMTPUTF8" && valued: // RFC 6531 3.4
			return badParameter("SMTPUTF8 has no value")
		case keyword == "SIZE":
			if no := checkSize(value); no != nil {
				return no
			}
		}
		seen[keyword] = true
	}
	return nil
}

// checkSize reads SIZE (RFC 1870 3): up to 20 digits, of which the engine takes
// fewer. A message of that many octets is too big, not badly announced.
func checkSize(value string) *refusal {
	n, err := strconv.ParseUint(value, 10, 64)
	switch {
	case value == "", len(value) > 20, strings.ContainsFunc(value, func(r rune) bool { return r < '0' || r > '9' }):
		return badParameter("SIZE wants up to 20 digits")
	case err != nil, n > math.MaxUint32:
		return tooBig()
	}
	return nil
}

// isKeyword reports whether s, in upper case, is an esmtp-keyword.
func isKeyword(s string) bool {
	letter := func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool { return !letter(r) && r != '-' })
}

func badParameter(text string) *refusal {
	return refuse(reasonParameter, 501, smtp.StatusBadArguments, text)
}
