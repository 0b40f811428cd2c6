package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/reply"
)

// nat64 wraps IPv4 addresses (RFC 6052 2.1): what it wraps is what we would reach.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// hops lists the addresses of all hosts, in the order of the hosts. Within a
// host, turn says which is the first: if it changes, its addresses share the
// load and none that is dead is always asked first. failures has an answer for
// each host without an address, and for each address that is ours: that one is
// never dialled.
func (u *Upstream) hops(ctx context.Context, turn uint32) (hops []hop, failures []unresolved) {
	for _, h := range u.hosts {
		addresses, err := u.addresses(ctx, h)
		if err != nil {
			a := failed(health.PhaseResolve, "connect", err)
			a.ours = errors.Is(ctx.Err(), context.Canceled)
			failures = append(failures, unresolved{h.name, a})
			continue
		}
		first := turn % uint32(len(addresses))
		for _, address := range slices.Concat(addresses[first:], addresses[:first]) {
			at := netip.AddrPortFrom(address, h.port)
			switch {
			case u.options.Ourselves != nil && u.options.Ourselves(at):
				failures = append(failures, unresolved{h.name, circular(health.PhaseResolve, "connect", "we listen at "+at.String())})
			case len(hops) < maxAddresses:
				hops = append(hops, hop{host: h.name, address: at})
			}
		}
	}
	return hops, failures
}

// circular is the answer of a host that leads to this relay itself.
func circular(phase health.Phase, command, how string) answer {
	return answer{phase: phase, command: command, failure: reply.Ourselves, cause: fmt.Errorf("the host is %s: %s", health.Ourselves, how)}
}

// unresolved is a host without an address, or with one that is not to be dialled.
type unresolved struct {
	host string
	answer
}

// addresses resolves a host to what may be dialled: the address that was
// checked is the one that is used.
func (u *Upstream) addresses(ctx context.Context, h host) ([]netip.Addr, error) {
	if h.literal.IsValid() {
		return []netip.Addr{h.literal}, nil
	}
	found, err := u.options.Resolver.LookupHost(ctx, h.name)
	if err != nil {
		return nil, err
	}
	var good []netip.Addr
	for _, address := range found {
		address = address.Unmap()
		if u.mayDial(address) && !slices.Contains(good, address) {
			good = append(good, address)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("%s has no address that may be used, only %v", h.name, found[:min(len(found), maxAddresses)])
	}
	return good, nil
}

// mayDial reports whether an address that the DNS gave may be connected to.
func (u *Upstream) mayDial(a netip.Addr) bool {
	if source := u.options.SourceAddress; source.IsValid() && source.Unmap().Is4() != a.Is4() {
		return false
	}
	return public(a) || !a.IsMulticast() && !a.IsUnspecified() &&
		slices.ContainsFunc(u.options.Private, func(p netip.Prefix) bool { return p.Contains(a) })
}

// public reports whether an address is one of the Internet at large.
func public(a netip.Addr) bool {
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && a.Zone() == "" && !shared.Contains(a) && !this.Contains(a)
}

// Networks that netip counts as global: of carriers (RFC 6598), and of this host (RFC 1122 3.2.1.3).
var (
	shared = netip.MustParsePrefix("100.64.0.0/10")
	this   = netip.MustParsePrefix("0.0.0.0/8")
)
