package outbound

import (
	"sync"
	"time"
)

// SpikeRules say when a primary is taken to refuse recipients that it has.
// Fields that are zero get the default named.
type SpikeRules struct {
	Share  float64       // of the recipients known to exist that were heard of; default 0.1
	Least  int           // and at least so many of them; default 5
	Window time.Duration // within which they count; default 30 minutes
	// Patience is how long a spike may last before its refusals are believed after
	// all; default 24 hours.
	Patience time.Duration
}

func (r *SpikeRules) complete() {
	if r.Share == 0 {
		r.Share = 0.1
	}
	setDefault(&r.Least, 5)
	setDefault(&r.Window, 30*time.Minute)
	setDefault(&r.Patience, 24*time.Hour)
}

// exceeded decides: refused of all recipients that are known to exist were
// refused as unknown, and the others taken. It is pure.
func (r SpikeRules) exceeded(refused, all int) bool {
	return refused >= r.Least && float64(refused) > r.Share*float64(all)
}

// Spike is what a primary said lately about recipients that are known to exist.
type Spike struct {
	Active  bool // it refuses too many of them: what it says of recipients is not believed
	Since   time.Time
	Refused int // as unknown
	Known   int // of so many
}

// spikeGuard remembers the last word about each recipient that is known to
// exist. A mailbox that has gone counts once, however much mail comes for it.
//
// A spike begins when the rules are exceeded. It does not end by silence, since
// what was refused is tried again to see: it ends when enough recipients, or all
// that were asked for, are taken. Until then refusals count for as long as it
// may last.
type spikeGuard struct {
	rules SpikeRules

	mu    sync.Mutex
	said  map[string]said // by forward-path
	since time.Time       // the spike began; zero if there is none
}

type said struct {
	at      time.Time
	refused bool
}

// maxSaid bounds what a guard remembers.
const maxSaid = 10_000

func newSpikeGuard(rules SpikeRules) *spikeGuard {
	return &spikeGuard{rules: rules, said: map[string]said{}}
}

// note takes what was said about a recipient that is known to exist.
func (g *spikeGuard) note(recipient string, refused bool, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.said[recipient]; !known && len(g.said) >= maxSaid {
		g.sweep(now)
		for other := range g.said { // it is still full: any of them make room, so many that this is seldom
			if len(g.said) <= maxSaid*9/10 {
				break
			}
			delete(g.said, other)
		}
	}
	g.said[recipient] = said{now, refused}
}

// sweep forgets what is too old.
func (g *spikeGuard) sweep(now time.Time) {
	keep := g.rules.Window
	if !g.since.IsZero() {
		keep = max(keep, g.rules.Patience)
	}
	for recipient, s := range g.said {
		if now.Sub(s.at) >= keep {
			delete(g.said, recipient)
		}
	}
}

// suspect begins a spike because one was going on before the last stop.
func (g *spikeGuard) suspect(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since.IsZero() {
		g.since = now
	}
}

// look says how it stands now.
func (g *spikeGuard) look(now time.Time) Spike {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sweep(now)
	s := Spike{Known: len(g.said)}
	for _, one := range g.said {
		if one.refused {
			s.Refused++
		}
	}
	exceeded, over := g.rules.exceeded(s.Refused, s.Known), now.Sub(g.since) >= g.rules.Patience
	switch {
	case exceeded && g.since.IsZero():
		g.since, over = now, false
	case exceeded:
	case s.Known >= g.rules.Least, s.Known > 0 && s.Refused == 0, s.Known == 0 && over:
		g.since = time.Time{}
	}
	s.Since, s.Active = g.since, !g.since.IsZero() && !over
	return s
}
