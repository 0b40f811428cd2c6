package dns

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	keepOwner   = "dns"
	keepAgain   = time.Hour        // an unchanged answer is stored again after this time, for its age
	recheck     = 30 * time.Second // while last good answers are used (RFC 8767 5)
	maxLastGood = 1000             // names
)

// lastGood remembers for each host the last addresses that the DNS had for it.
type lastGood struct {
	keep   Keep
	log    *slog.Logger
	maxAge time.Duration

	mu    sync.Mutex
	hosts map[string]*remembered
}

type remembered struct {
	kept
	storedAt time.Time // zero if it is not on disk
	until    time.Time // the DNS is not asked again before, for it has just failed
}

// kept is what is on disk.
type kept struct {
	Addresses []netip.Addr `json:"addresses"`
	At        time.Time    `json:"at"`
}

// fallback returns the last good answer if the DNS has failed a moment ago.
func (l *lastGood) fallback(name string, now time.Time) ([]netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosts[name]
	if h == nil || !now.Before(h.until) || now.Sub(h.At) > l.maxAge {
		return nil, false
	}
	return slices.Clone(h.Addresses), true
}

// store remembers what the DNS has answered.
func (l *lastGood) store(name string, addresses []netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.find(name)
	if !h.until.IsZero() {
		h.until = time.Time{}
		l.log.Info("dns.recovered", "name", name)
	}
	same := slices.Equal(sorted(addresses), sorted(h.Addresses))
	h.kept = kept{slices.Clone(addresses), now}
	if l.keep == nil || same && now.Sub(h.storedAt) < keepAgain {
		return
	}
	if err := l.keep.Put(keepOwner, name, h.kept); err != nil {
		l.log.Warn("dns.keep_failed", "name", name, "error", err)
		return
	}
	h.storedAt = now
}

// use returns the last good answer because the DNS has failed.
func (l *lastGood) use(name string, why error, now time.Time) ([]netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.find(name)
	if len(h.Addresses) == 0 || now.Sub(h.At) > l.maxAge {
		return nil, false
	}
	if h.until.IsZero() {
		l.log.Warn("dns.stale", "name", name, "age", now.Sub(h.At).Round(time.Second), "error", why)
	}
	h.until = now.Add(recheck)
	return slices.Clone(h.Addresses), true
}

// find returns what is remembered of a host, at first from disk.
func (l *lastGood) find(name string) *remembered {
	if h := l.hosts[name]; h != nil {
		return h
	}
	h := new(remembered)
	if l.keep != nil {
		if _, err := l.keep.Get(keepOwner, name, &h.kept); err != nil {
			l.log.Warn("dns.keep_failed", "name", name, "error", err)
			h.kept = kept{}
		}
		h.storedAt = h.At
	}
	if l.hosts == nil {
		l.hosts = map[string]*remembered{}
	}
	for other := range l.hosts { // any: they are few, and what is needed comes back
		if len(l.hosts) < maxLastGood {
			break
		}
		delete(l.hosts, other)
	}
	l.hosts[name] = h
	return h
}

func sorted(addresses []netip.Addr) []netip.Addr {
	return slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)
}
