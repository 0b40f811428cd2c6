// Package admintest has the parts of a relay that tests of admin and of its
// clients play themselves: a primary, the side that accepts mail, and a store
// that fails when it is told to.
package admintest

import (
	"context"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// Upstream is a primary that is as the test says. Its fields may be set while
// nobody asks, or within Set.
type Upstream struct {
	mu          sync.Mutex
	Status      health.Status
	Recent      []health.Signal
	Topics      []health.Signal
	Transitions []admin.Transition
	NextProbe   time.Time
	Delivery    admin.Delivery
	Dialogue    []string              // what a probe says
	Probing     func(context.Context) // what a probe does first; may be nil
	Probed      string                // the recipient of the last probe
	Fail        error                 // of Override, Pause, Resume and Probe
}

// Set changes fields while others look at them.
func (u *Upstream) Set(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change()
}

func (u *Upstream) unlessFailing(do func()) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.Fail == nil {
		do()
	}
	return u.Fail
}

func look[T any](u *Upstream, field *T) func() T {
	return func() T {
		u.mu.Lock()
		defer u.mu.Unlock()
		return *field
	}
}

// Part is the primary as admin sees it.
func (u *Upstream) Part(name string, domains ...string) admin.Upstream {
	return admin.Upstream{
		Name: name, Domains: domains, Hosts: []string{"mx." + domains[0] + ":25"},
		Status:      look(u, &u.Status),
		Recent:      look(u, &u.Recent),
		Topics:      look(u, &u.Topics),
		Transitions: look(u, &u.Transitions),
		NextProbe:   look(u, &u.NextProbe),
		Delivery:    look(u, &u.Delivery),
		Override:    func(o *health.Override) error { return u.unlessFailing(func() { u.Status.Override = o }) },
		Pause:       func(p admin.Pause) error { return u.unlessFailing(func() { u.Delivery.Paused = p }) },
		Resume:      func() error { return u.unlessFailing(func() { u.Delivery.Paused = admin.Pause{} }) },
		Probe: func(ctx context.Context, recipient string, say func(string)) (signals []health.Signal, err error) {
			if u.Probing != nil {
				u.Probing(ctx)
			}
			err = u.unlessFailing(func() {
				u.Probed = recipient
				for _, line := range u.Dialogue {
					say(line)
				}
				signals = u.Recent
			})
			return signals, err
		},
	}
}

// Inbound accepts what the test says. Its fields may be set while nobody asks,
// or within Set.
type Inbound struct {
	mu      sync.Mutex
	Stats   admin.InboundStats
	Given   admin.Explanation
	Fail    error                // of Pause, Resume and Explain
	Explain admin.ExplainRequest // the last one
}

// Set changes fields while others look at them.
func (i *Inbound) Set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// Part is the side that accepts mail, as admin sees it.
func (i *Inbound) Part() admin.Inbound {
	pause := func(p admin.Pause) error {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.Fail == nil {
			i.Stats.Paused = p
		}
		return i.Fail
	}
	return admin.Inbound{
		Stats:  func() admin.InboundStats { i.mu.Lock(); defer i.mu.Unlock(); return i.Stats },
		Pause:  pause,
		Resume: func() error { return pause(admin.Pause{}) },
		Explain: func(r admin.ExplainRequest) (admin.Explanation, error) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.Explain = r
			return i.Given, i.Fail
		},
	}
}
