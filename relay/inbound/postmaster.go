package inbound

import "strings"

// addressed gives RCPT TO:<postmaster>, which RFC 5321 4.5.1 wants to be taken
// without a domain and the engine does not read, the domain that is ours. It
// returns the line for the engine.
func (c *conn) addressed(cmd *command) []byte {
	cmd.path.Domain = postmasterDomain(c.hostname(), c.guard.server.options.Domains)
	_, behind := cutPath(strings.TrimSpace(cmd.arg[len("TO:"):]))
	return []byte("RCPT TO:<" + cmd.path.String() + ">" + behind + "\r\n")
}

// postmasterDomain is the relay domain whose postmaster is the one of this host:
// the nearest that its name is in, or the first of all.
func postmasterDomain(hostname string, domains map[string]string) string {
	first, nearest := "", ""
	for domain := range domains {
		if first == "" || domain < first {
			first = domain
		}
		if belongs(strings.ToLower(hostname), domain) && len(domain) > len(nearest) {
			nearest = domain
		}
	}
	if nearest != "" {
		return nearest
	}
	return first
}

// belongs reports whether a host is a domain, or is in it.
func belongs(host, domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }
