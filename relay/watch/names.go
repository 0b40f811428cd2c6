package watch

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/dns"
)

// Names looks at what resolvers say of the names of a primary, each by itself
// and without a cache. Make it with NewNames.
type Names struct {
	resolver *dns.Resolver
	hosts    []string // names, or "mx:DOMAIN"
	others   []string

	looking sync.Mutex          // held during a look
	last    map[string][]string // good answers by server and name
}

const (
	byMX         = "mx:"
	maxExchanges = 3   // of a domain, whose addresses are looked at
	maxLast      = 256 // answers that are remembered
)

// NewNames looks at hosts as they are configured, with the servers of the
// resolver and others, "ip:port". Hosts that are addresses have no name.
func NewNames(resolver *dns.Resolver, hosts, others []string) *Names {
	n := &Names{resolver: resolver, others: others, last: map[string][]string{}}
	for _, h := range hosts {
		if name, _, err := net.SplitHostPort(h); err == nil && !strings.HasPrefix(h, byMX) {
			h = name
		}
		if net.ParseIP(strings.Trim(h, "[]")) == nil && !slices.Contains(n.hosts, h) {
			n.hosts = append(n.hosts, h)
		}
	}
	return n
}

// Any reports whether there is a name to look at.
func (n *Names) Any() bool { return len(n.hosts) > 0 }

// Look gives one signal for each server and name.
func (n *Names) Look(ctx context.Context) (all []health.Signal) {
	n.looking.Lock()
	defer n.looking.Unlock()
	servers := n.resolver.Servers()
	for _, s := range n.others {
		if !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	sights := make([][]dns.Sight, len(servers))
	var running sync.WaitGroup
	for i, server := range servers {
		running.Go(func() { sights[i] = n.ask(ctx, server) })
	}
	running.Wait()
	if over(ctx) {
		return nil
	}
	for _, s := range slices.Concat(sights...) {
		all = append(all, n.signal(s))
	}
	return all
}

// ask asks one server for everything.
func (n *Names) ask(ctx context.Context, server string) (all []dns.Sight) {
	for _, h := range n.hosts {
		domain, mx := strings.CutPrefix(h, byMX)
		if !mx {
			all = append(all, n.resolver.Look(ctx, server, h))
			continue
		}
		found := n.resolver.LookExchanges(ctx, server, domain)
		for _, name := range found.Addresses[:min(maxExchanges, len(found.Addresses))] {
			all = append(all, n.resolver.Look(ctx, server, name))
		}
		found.Name = h
		all = append(all, found)
	}
	return all
}

// signal says what was found, and whether it differs from the last good answer:
// that is no trouble by itself.
func (n *Names) signal(s dns.Sight) health.Signal {
	sig := health.Signal{At: time.Now(), Source: health.SourceDNS, Host: s.Name, Address: s.Server, Phase: health.PhaseResolve, Took: s.Took, Reply: cut(s.String())}
	key := s.Server + " " + s.Name
	switch last, known := n.last[key]; {
	case s.Outcome == dns.Answered:
		if known && !slices.Equal(last, s.Addresses) {
			sig.Reply = cut("changed: " + strings.Join(s.Addresses, " ") + " (before: " + strings.Join(last, " ") + ")")
		}
		if len(n.last) >= maxLast {
			clear(n.last)
		}
		n.last[key] = s.Addresses
	case s.Outcome == dns.NoSuchName, s.Outcome == dns.Empty:
		sig.Class = health.Misconfigured
		if known {
			sig.Reply = cut(fmt.Sprintf("%s (before: %s)", sig.Reply, strings.Join(last, " ")))
		}
	default:
		sig.Class = health.Outage
	}
	return sig
}
