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

// hops lists the addresses of all hosts, in the order of the hosts. Within a
// host, turn says which is the first: if it changes, its addresses share the
// load and none that is dead is always asked first. failures has an answer for
// each host without an address, and for each address that is ours: that one is
// never dialled.
func (u *Upstream) hops(ctx context.Context, turn uint32) (hops []hop, failures []unresolved) {
	if u.way != nil {
		return u.way.hops, u.way.failures
	}
	hosts, failures := u.standing(ctx)
	for _, h := range hosts {
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

// way is where to, for one domain.
type way struct {
	hops     []hop
	failures []unresolved
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
	return u.options.usable(h.name, found)
}

// usable are the addresses of a host that may be dialled.
func (o *Options) usable(host string, found []netip.Addr) ([]netip.Addr, error) {
	var good []netip.Addr
	for _, address := range found {
		address = address.Unmap()
		if o.mayDial(address) && !slices.Contains(good, address) {
			good = append(good, address)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("%s has no address that may be used, only %v", host, found[:min(len(found), maxAddresses)])
	}
	return good, nil
}

// mayDial reports whether an address that the DNS gave may be connected to.
func (o *Options) mayDial(a netip.Addr) bool {
	if source := o.SourceAddress; source.IsValid() && source.Unmap().Is4() != a.Is4() {
		return false
	}
	return public(a) || !a.IsMulticast() && !a.IsUnspecified() &&
		slices.ContainsFunc(o.Private, func(p netip.Prefix) bool { return p.Contains(a) })
}
