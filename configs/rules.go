package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// optional lets a rule pass what is not given.
func optional(rule func(string) verdict) func(string) verdict {
	return func(s string) verdict {
		if s == "" {
			return verdict{}
		}
		return rule(s)
	}
}

func anything(string) verdict { return verdict{} }

// domainName: letters, digits, hyphens and underscores, with dots between.
func domainName(s string) verdict {
	if isASCII(s) {
		if isDomain(s) && !isNumber(s[strings.LastIndexByte(s, '.')+1:]) {
			return verdict{}
		}
		return verdict{fmt.Sprintf("%q is not a domain name", s), "Write it like corp.example"}
	}
	return verdict{fmt.Sprintf("%q has letters that the DNS has not", s), "Write its ASCII form, which begins with xn--"}
}

func hostName(s string) verdict {
	v := domainName(s)
	if v.message == "" && !strings.Contains(s, ".") {
		return verdict{fmt.Sprintf("%q has no domain", s), "Write the whole name, like mx2.corp.example: servers refuse others at EHLO"}
	}
	return v
}

// upstreamName appears in metrics, logs and commands.
func upstreamName(s string) verdict {
	if isDomain(s) && isASCII(s) && !strings.Contains(s, ".") {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is not a name for an upstream", s), "Take up to 63 letters, digits, hyphens and underscores"}
}

// byMX stands for the hosts of the upstream's domain by its MX records, and with
// a domain behind a colon for the hosts of that one.
const byMX = "mx"

// upstreamHost is a name or an IP address, or one of them with a port; or byMX.
func upstreamHost(s string) verdict {
	if domain, found := strings.CutPrefix(s, byMX+":"); found && domainName(domain).message == "" {
		return verdict{}
	}
	next := "Write a name or an IP address, with or without a port: mail.corp.example, 192.0.2.25, 192.0.2.25:2525 or [2001:db8::25]:25"
	host, _, ok := splitHost(s)
	if !ok {
		return verdict{fmt.Sprintf("%q is not a host", s), next}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return verdict{}
	}
	if v := domainName(host); v.message != "" {
		return verdict{fmt.Sprintf("%q is not a host", s), next}
	}
	return verdict{}
}

// splitHost divides a host from its port, which is 0 if there is none.
func splitHost(s string) (host string, port int, ok bool) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return s, 0, true
	}
	port, err = strconv.Atoi(text)
	return host, port, err == nil && port > 0 && port < 1<<16
}

// userName is one that the system may have; whether it does is seen at the start.
func userName(s string) verdict {
	if !isASCII(s) || strings.ContainsFunc(s, func(r rune) bool { return notInLabel(r) && r != '.' && r != '$' }) || s[0] == '-' {
		return verdict{fmt.Sprintf("%q is not the name of a user", s), "Write it like mxkeep"}
	}
	return verdict{}
}

// domainTLS is what a domain asks of those who send to it.
func domainTLS(s string) verdict {
	words := []string{TLSRequired, TLSOpportunistic}
	if slices.Contains(words, s) {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is not one of %s", s, strings.Join(words, ", ")), "Take " + meant(s, words, "one of them")}
}

// secureURL is one that nobody on the way can change.
func secureURL(s string) verdict {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		return verdict{fmt.Sprintf("%q is not a secure URL", s), "Write it like https://acme-v02.api.letsencrypt.org/directory"}
	}
	return verdict{}
}

// listenAddress is a port, with or without an IP address before it. Port 0 is any that is free.
func listenAddress(s string) verdict {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil {
		return verdict{fmt.Sprintf("%q is not an address to listen at", s), "Write :25 for all addresses, or one of them, like 192.0.2.7:25 or [2001:db8::7]:25"}
	}
	return verdict{}
}

func serverAddress(s string) verdict {
	if a, err := netip.ParseAddrPort(s); err != nil || a.Port() == 0 {
		return verdict{fmt.Sprintf("%q is not an IP address with a port", s), "Write it like 192.0.2.53:53 or [2001:db8::53]:53"}
	}
	return verdict{}
}

// mailbox is an address for probes: a plain one, without quotes.
func mailbox(s string) verdict {
	local, domain, _ := strings.Cut(s, "@")
	odd := strings.ContainsFunc(local, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<>@[\]`, r) })
	if local == "" || len(local) > 64 || odd || domainName(domain).message != "" {
		return verdict{fmt.Sprintf("%q is not an address", s), "Write it like postmaster@corp.example"}
	}
	return verdict{}
}

func isDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return true
}

func notInLabel(r rune) bool {
	return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

func isNumber(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f })
}
