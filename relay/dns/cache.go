package dns

import "time"

// How long answers are kept, whatever they say of themselves.
const (
	minTTL      = 5 * time.Second
	maxTTL      = time.Hour
	maxDenial   = 5 * time.Minute // of "there is no such name"
	failureTTL  = 5 * time.Second // of a failed look-up (RFC 9520 3.2: at least a second)
	cacheLength = 4096
)

// cache keeps answers, failures too, for a time. It is not safe for concurrent use.
type cache struct{ entries map[question]cached }

type cached struct {
	answer
	until time.Time
}

func (c *cache) get(q question, now time.Time) (answer, bool) {
	found, ok := c.entries[q]
	if !ok || !now.Before(found.until) {
		return answer{}, false
	}
	return found.answer, true
}

// put keeps an answer. When there are too many, those whose time is over go,
// or else any: whoever asks for it again gets it from the DNS.
func (c *cache) put(q question, a answer, now time.Time) {
	if c.entries == nil {
		c.entries = map[question]cached{}
	}
	if len(c.entries) >= cacheLength {
		for old, entry := range c.entries {
			if !now.Before(entry.until) {
				delete(c.entries, old)
			}
		}
	}
	for old := range c.entries {
		if len(c.entries) < cacheLength {
			break
		}
		delete(c.entries, old)
	}
	c.entries[q] = cached{a, now.Add(a.lifetime())}
}

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
