package dns

import (
	"time"

	"github.com/miekg/dns"
)

// How long answers are kept, whatever they say of themselves.
const (
	minTTL      = 5 * time.Second
	maxTTL      = time.Hour
	maxDenial   = 5 * time.Minute // of "there is no such name"
	failureTTL  = 5 * time.Second // of a failed look-up (RFC 9520 3.2: at least a second)
	cacheLength = 4096
	cacheTexts  = 8 << 20 // bytes of text in all

	maxStaleRecords = 24 * time.Hour // how old an answer may be that is used because the DNS fails (RFC 8767 5)
)

// cache keeps answers, failures too, for a time. It is not safe for concurrent use.
type cache struct {
	entries map[question]cached
	texts   int // bytes
}

type cached struct {
	answer
	at, until time.Time
}

func (c *cache) get(q question, now time.Time) (answer, bool) {
	found, ok := c.entries[q]
	if !ok || !now.Before(found.until) {
		return answer{}, false
	}
	return found.answer, true
}

// put keeps an answer, and returns what is to be used: if it is a failure, and
// an earlier answer about mail is not too old, that one, again for a short time.
// When there are too many, those whose time is over go, or else any: whoever
// asks for it again gets it from the DNS.
func (c *cache) put(q question, a answer, now time.Time) answer {
	kept := cached{a, now, now.Add(a.lifetime())}
	if old, ok := c.stale(q, now); ok && a.failed() {
		kept = cached{old.answer, old.at, now.Add(recheck)}
	}
	c.drop(q)
	if !c.room(kept.answer) {
		for old, entry := range c.entries {
			if !now.Before(entry.until) {
				c.drop(old)
			}
		}
	}
	for old := range c.entries {
		if c.room(kept.answer) {
			break
		}
		c.drop(old)
	}
	if c.entries == nil {
		c.entries = map[question]cached{}
	}
	c.entries[q] = kept
	c.texts += kept.size()
	return kept.answer
}

// stale returns an answer about mail whose time is over, if it is not too old.
func (c *cache) stale(q question, now time.Time) (cached, bool) {
	old, ok := c.entries[q]
	return old, ok && q.mayBeStale() && old.found() && now.Sub(old.at) < maxStaleRecords
}

func (c *cache) room(a answer) bool {
	return len(c.entries) < cacheLength && c.texts+a.size() <= cacheTexts
}

func (c *cache) drop(q question) {
	c.texts -= c.entries[q].size()
	delete(c.entries, q)
}

// mayBeStale reports whether an old answer is better than none: a policy or a
// way of yesterday. Not so for addresses, which LookupHost remembers by itself
// and lists of addresses must not.
func (q question) mayBeStale() bool { return q.kind == dns.TypeTXT || q.kind == dns.TypeMX }

// lifetime is how long an answer is kept.
func (a answer) lifetime() time.Duration {
	ttl := time.Duration(a.ttl) * time.Second
	switch {
	case a.err == nil:
		return min(max(ttl, minTTL), maxTTL)
	case a.err.IsNotFound:
		return min(max(ttl, minTTL), maxDenial)
	}
	return failureTTL
}
