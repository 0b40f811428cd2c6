package outbound

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// mxHost is a host that takes mail for a domain.
type mxHost struct {
	Name       string `json:"name"` // lower case, no final dot
	Preference uint16 `json:"preference"`
}

// mxSet are the hosts of a domain, in the order in which to try them.
type mxSet struct {
	hosts    []mxHost
	secure   bool // validated by DNSSEC
	implicit bool // there is no MX record: the domain is its own host
}

// ExchangeResolver finds the hosts of domains.
type ExchangeResolver interface {
	LookupExchanges(ctx context.Context, domain string) (dns.Exchanges, error)
}

// maxAliases is how many CNAME records may lead from one name to its answer.
const maxAliases = 3

// statusNoHost: the domain does not exist (RFC 3463 3.2); statusNullMX: it takes
// no mail (RFC 7505 4.2).
var (
	statusNoHost = smtp.EnhancedStatus{5, 1, 2}
	statusNullMX = smtp.EnhancedStatus{5, 1, 10}
)

// findExchanges looks the hosts of a domain up (RFC 5321 5.1): those of its MX
// records, or the domain itself if it has none. The error is a smtp.Reply if the
// domain takes no mail, else one of the DNS.
func findExchanges(ctx context.Context, r ExchangeResolver, domain string) (mxSet, error) {
	found, err := r.LookupExchanges(ctx, domain)
	switch {
	case found.Aliases > maxAliases:
		return mxSet{}, fmt.Errorf("%s: a chain of %d aliases, more than %d", domain, found.Aliases, maxAliases)
	case isNotFound(err):
		return mxSet{hosts: []mxHost{{Name: domain}}, secure: found.Secure, implicit: true}, nil
	case err != nil:
		return mxSet{}, err
	}
	hosts := ordered(found.List, rand.Shuffle)
	if len(hosts) == 0 { // RFC 7505 3: "." stands alone, or means nothing
		return mxSet{}, smtp.NewReply(556, statusNullMX, "the domain %s takes no mail (null MX)", domain)
	}
	return mxSet{hosts: hosts, secure: found.Secure}, nil
}

// ordered are the hosts of MX records by preference, equal ones as shuffle puts
// them, each once and at most maxHosts. shuffle is rand.Shuffle, or a test's.
func ordered(list []net.MX, shuffle func(n int, swap func(i, j int))) []mxHost {
	var hosts []mxHost
	for _, mx := range list {
		if name := strings.TrimSuffix(strings.ToLower(mx.Host), "."); name != "" {
			hosts = append(hosts, mxHost{name, mx.Pref})
		}
	}
	shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b mxHost) int { return cmp.Compare(a.Preference, b.Preference) })
	seen := map[string]bool{}
	hosts = slices.DeleteFunc(hosts, func(e mxHost) bool {
		before := seen[e.Name]
		seen[e.Name] = true
		return before
	})
	return hosts[:min(len(hosts), maxHosts)]
}

// before cuts the list where we are in it: a relay gives mail only to hosts of
// better preference than its own (RFC 5321 5.1), or it would go in circles.
func before(hosts []mxHost, ours func(mxHost) bool) []mxHost {
	for _, mine := range hosts { // in order, so the first one of ours is the best
		if ours(mine) {
			return slices.DeleteFunc(slices.Clone(hosts), func(e mxHost) bool { return e.Preference >= mine.Preference })
		}
	}
	return hosts
}
