package outbound

import (
	"context"
	"sync"
	"time"
)

// destinations are the domains that mail goes to, or went to lately. One
// message at a time goes to each. A message whose domain is busy waits a moment
// for its turn; if that does not come it gives its place up, so that a domain
// that is slow cannot take all of them.
type destinations struct {
	mu  sync.Mutex
	all map[string]*destination
}

// destination is one domain. The lock of destinations guards it.
type destination struct {
	owner *destinations
	busy  bool
	since time.Time     // it is busy
	free  chan struct{} // closed when it is no longer
	until time.Time     // it could not be reached, and is left alone
	wait  time.Duration // for how long the last time
}

const (
	maxDestinations = 1000
	patience        = 10 * time.Second // with the message before
	busyWait        = time.Minute      // of a message that gave its place up
	firstBackOff    = time.Minute      // after a domain could not be reached
	mostBackOff     = 30 * time.Minute
)

// wait says when to come back, and why.
type wait struct {
	time   time.Duration
	why    string // with %s for the domain
	others bool   // it is for other mail
}

// enter takes the place of a domain, to be given back by leave. It returns nil
// and how long to wait if there is none, or nil alone if ctx ended.
func (d *destinations) enter(ctx context.Context, domain string) (*destination, wait) {
	for {
		d.mu.Lock()
		now := time.Now()
		p := d.find(domain, now)
		left, free := p.since.Add(patience).Sub(now), p.free
		switch {
		case now.Before(p.until):
			d.mu.Unlock()
			return nil, wait{time: p.until.Sub(now), why: "the hosts of %s could not be reached a moment ago"}
		case !p.busy:
			p.busy, p.since, p.free = true, now, make(chan struct{})
			d.mu.Unlock()
			return p, wait{}
		}
		d.mu.Unlock()
		if left <= 0 {
			return nil, wait{time: busyWait, why: "other mail is on its way to %s", others: true}
		}
		timer := time.NewTimer(left)
		select {
		case <-ctx.Done():
		case <-free:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil, wait{}
		}
	}
}

// leave gives the place back. A domain that was not reached is left alone for a
// while, each time for longer.
func (p *destination) leave(reached bool) {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	p.busy = false
	close(p.free)
	if reached {
		p.wait, p.until = 0, time.Time{}
		return
	}
	p.wait = min(max(firstBackOff, 2*p.wait), mostBackOff)
	p.until = time.Now().Add(p.wait)
}

// find returns a domain, and forgets others if there are too many: what is left
// alone no longer first, then any that is not busy.
func (d *destinations) find(domain string, now time.Time) *destination {
	p := d.all[domain]
	if p != nil {
		return p
	}
	for _, only := range []bool{true, false} {
		for name, other := range d.all {
			if len(d.all) < maxDestinations {
				break
			}
			if !other.busy && !(only && now.Before(other.until)) {
				delete(d.all, name)
			}
		}
	}
	p = &destination{owner: d}
	d.all[domain] = p
	return p
}
