package recipients

import (
	"strings"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// keyOf is what is compared. Cases make no difference, in the domain as in the
// DNS and in the local part as in Exchange.
func keyOf(p smtp.Path) (string, error) {
	domain, err := smtp.ASCIIDomain(p.Domain)
	if err != nil {
		return "", err
	}
	return strings.ToLower(p.Local) + "@" + domain, nil
}

// domainOf is the domain of a key.
func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }

// keysOf are the addresses under which a recipient may exist: its own first, as
// Exchange Online looks for it, then those without a tag behind the delimiter,
// the longest first. delimiter "" is no sub-addressing.
func keysOf(key, delimiter string) []string {
	keys := []string{key}
	at := strings.LastIndexByte(key, '@')
	local, domain := key[:at], key[at:]
	for delimiter != "" {
		cut := strings.LastIndex(local, delimiter)
		if cut <= 0 {
			break
		}
		local = local[:cut]
		keys = append(keys, local+domain)
	}
	return keys
}

// isPostmaster: the postmaster is always known (RFC 5321 4.5.1).
func isPostmaster(p smtp.Path) bool { return strings.EqualFold(p.Local, "postmaster") }
