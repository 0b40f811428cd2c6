package outbound

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// keptExchanges is the last good answer about a domain's hosts, as it is on disk.
type keptExchanges struct {
	Hosts []mxHost  `json:"hosts"`
	At    time.Time `json:"at"`
}

const (
	mxOwner  = "mx"
	keptMost = 30 * 24 * time.Hour // how old a last good answer may be
	keptLeap = time.Hour           // an unchanged one is stored again after it, for its age
)

// standing are the hosts to try, those of MX records in the place of their
// domain. failures has an answer for each domain without any.
func (u *Upstream) standing(ctx context.Context) (hosts []host, failures []unresolved) {
	for _, h := range u.hosts {
		if !h.mx {
			hosts = append(hosts, h)
			continue
		}
		found, err := u.exchanges(ctx, h)
		if err != nil {
			a := failed(health.PhaseResolve, "connect", err)
			a.ours = errors.Is(ctx.Err(), context.Canceled)
			failures = append(failures, unresolved{byMX + h.name, a})
			continue
		}
		all := len(found)
		found = before(found, func(e mxHost) bool { return e.Name == strings.ToLower(u.options.Hello) })
		found = before(found, func(e mxHost) bool { return u.areWe(ctx, e, h.port) })
		if len(found) == 0 && all > 0 {
			failures = append(failures, unresolved{byMX + h.name, circular(health.PhaseResolve, "connect", "none of the domain is before us in its MX records")})
		}
		for _, e := range found {
			hosts = append(hosts, host{name: e.Name, port: h.port})
		}
	}
	return hosts, failures
}

// areWe reports whether a host of a domain is this relay.
func (u *Upstream) areWe(ctx context.Context, e mxHost, port uint16) bool {
	if u.options.Ourselves == nil {
		return false
	}
	addresses, _ := u.options.Resolver.LookupHost(ctx, e.Name) // hops finds and tells the same error
	return slices.ContainsFunc(addresses, func(a netip.Addr) bool { return u.options.Ourselves(netip.AddrPortFrom(a.Unmap(), port)) })
}

// exchanges are the hosts of a domain, or those of the last good answer if the
// DNS fails, or says now that there are none.
func (u *Upstream) exchanges(ctx context.Context, h host) ([]mxHost, error) {
	set, err := findExchanges(ctx, u.options.Exchanges, h.name)
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	last := u.lastExchanges(h.name)
	if err != nil || set.implicit {
		if len(last.Hosts) == 0 || now.Sub(last.At) > keptMost || errors.Is(err, context.Canceled) {
			return set.hosts, err
		}
		return last.Hosts, nil
	}
	next := keptExchanges{Hosts: set.hosts, At: now}
	same := len(next.Hosts) == len(last.Hosts) && !slices.ContainsFunc(next.Hosts, func(e mxHost) bool { return !slices.Contains(last.Hosts, e) })
	if same && now.Sub(last.At) < keptLeap {
		return set.hosts, nil
	}
	if u.options.Keep != nil && u.options.Keep.Put(mxOwner, h.name, next) != nil {
		next.At = now.Add(-keptLeap) // it is stored the next time
	}
	u.last[h.name] = next
	return set.hosts, nil
}

// lastExchanges is the last good answer, at first from disk.
func (u *Upstream) lastExchanges(domain string) keptExchanges {
	if last, ok := u.last[domain]; ok || u.options.Keep == nil {
		return last
	}
	var last keptExchanges
	if _, err := u.options.Keep.Get(mxOwner, domain, &last); err != nil {
		last = keptExchanges{} // as good as none; the next good one takes its place
	}
	u.last[domain] = last
	return last
}
