package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/outbound/dane"
	"github.com/mxkeep/mxkeep/relay/outbound/mtasts"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// mxFound is a host of a domain with all that the DNS says of it.
type mxFound struct {
	mxHost
	all       []netip.Addr // its addresses
	addresses []netip.Addr // those that may be dialled
	base      string       // of its TLSA records: the name that it has to prove
	keys      []dns.TLSA   // usable ones
	secured   bool         // there are secure TLSA records, usable or not
	err       error        // why it must not be used
}

// way finds the hosts of a domain and what each has to prove. The error is a
// smtp.Reply if there is no use in trying again, else one of the DNS.
func (n *Internet) way(ctx context.Context, domain string) (way, error) {
	set, err := findExchanges(ctx, n.options.Resolver, domain)
	if err != nil {
		return way{}, err
	}
	hosts := set.hosts
	set.hosts = before(hosts, func(e mxHost) bool { return e.Name == strings.ToLower(n.options.Hello) })
	found := n.lookUp(ctx, set)
	if set.implicit && len(found) == 1 && isNotFound(found[0].err) {
		return way{}, smtp.NewReply(550, statusNoHost, "there is no host for the domain %s", domain)
	}
	set.hosts = before(set.hosts, func(e mxHost) bool {
		return slices.ContainsFunc(found, func(f mxFound) bool { return f.Name == e.Name && n.areWe(f) })
	})
	policy := n.policies.Policy(ctx, domain)
	var w way
	for _, f := range found[:len(set.hosts)] { // what was cut off was at the end
		if f.err == nil && policy.Enforced() && !policy.Lists(f.Name) {
			f.err = fmt.Errorf("the MTA-STS policy of %s does not list the host", domain)
		}
		if f.err != nil {
			w.failures = append(w.failures, unresolved{f.Name, failed(health.PhaseResolve, "connect", f.err)})
			continue
		}
		secured := n.secure(f, domain, policy)
		for _, a := range f.addresses[:min(len(f.addresses), maxAddresses-len(w.hops))] {
			w.hops = append(w.hops, hop{host: f.Name, address: netip.AddrPortFrom(a, uint16(n.options.Port)), tls: secured, plain: secured.Policy == TLSOpportunistic})
		}
	}
	if len(w.hops)+len(w.failures) == 0 {
		a := circular(health.PhaseResolve, "connect", "none of the domain is before us in its MX records")
		w.failures = []unresolved{{hosts[0].Name, a}}
	}
	return w, nil
}

// lookUp looks all hosts up at the same time, which is why the caller bounds ctx
// and the number of hosts.
func (n *Internet) lookUp(ctx context.Context, set mxSet) []mxFound {
	found := make([]mxFound, len(set.hosts))
	var running sync.WaitGroup
	for i, e := range set.hosts {
		running.Go(func() {
			f := mxFound{mxHost: e}
			addresses, usable, err := n.addresses(ctx, e.Name)
			f.all, f.addresses, f.err = addresses.List, usable, err
			if err == nil && set.secure && addresses.Secure {
				f.err = n.lookUpKeys(ctx, &f, addresses.Name)
			}
			found[i] = f
		})
	}
	running.Wait()
	return found
}

// lookUpKeys finds the TLSA records of a host: at the name at the end of its
// CNAME records, or else at its own (RFC 7672 2.2.2). That they cannot be looked
// up is an error: somebody may be hiding them.
func (n *Internet) lookUpKeys(ctx context.Context, f *mxFound, canonical string) error {
	for _, base := range slices.Compact([]string{canonical, f.Name}) {
		list, secure, err := n.options.Resolver.LookupTLSA(ctx, "_"+strconv.Itoa(n.options.Port)+"._tcp."+base)
		if err != nil && !isNotFound(err) {
			return fmt.Errorf("TLSA records: %w", err)
		}
		if secure && len(list) > 0 {
			f.base, f.keys, f.secured = base, dane.Usable(list), true
			return nil
		}
	}
	return nil
}

// secure says what a host has to prove.
func (n *Internet) secure(f mxFound, domain string, policy mtasts.Policy) *TLS {
	switch {
	case len(f.keys) > 0:
		names := []string{f.base, domain} // RFC 7672 3.2.2; the MX records are secure
		return &TLS{Policy: TLSRequired, ServerName: f.base, Verify: func(s tls.ConnectionState) error {
			return dane.Verify(f.keys, names, s.PeerCertificates, time.Now())
		}}
	case policy.Enforced():
		return &TLS{Policy: TLSRequired, Roots: n.options.Roots}
	case f.secured:
		return &TLS{Policy: TLSEncrypted}
	}
	return &TLS{Policy: TLSOpportunistic}
}

// areWe reports whether a host is this relay.
func (n *Internet) areWe(f mxFound) bool {
	return n.options.Ourselves != nil && slices.ContainsFunc(f.all, func(a netip.Addr) bool {
		return n.options.Ourselves(netip.AddrPortFrom(a.Unmap(), uint16(n.options.Port)))
	})
}

func isNotFound(err error) bool {
	var trouble *net.DNSError
	return errors.As(err, &trouble) && trouble.IsNotFound
}
