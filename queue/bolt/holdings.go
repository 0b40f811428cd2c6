package bolt

import (
	"sync"

	"github.com/mxkeep/mxkeep/queue"
)

// room is what a message takes of the limits.
type room struct {
	upstream string
	held     queue.Held
}

// holdings are what the limits look at: what the counters of all generations
// say, and what is on its way into them. So however many senders commit at
// once, no limit is exceeded. Settling and amending ask nobody: they go on when
// there is no room.
type holdings struct {
	limits queue.Limits

	mu        sync.Mutex
	all       queue.Held
	upstreams map[string]queue.Held
}

// recount begins with what the generations say. No transaction may run.
func (h *holdings) recount(generations []*generation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all, h.upstreams = queue.Held{}, map[string]queue.Held{}
	for _, g := range generations {
		h.count(g.standing().counters.Upstreams, 1)
	}
}

// count adds (sign 1) or takes out (sign -1). The caller holds mu.
func (h *holdings) count(upstreams map[string]queue.Held, sign int64) {
	for upstream, held := range upstreams {
		h.add(room{upstream, held}, sign)
	}
}

func (h *holdings) add(r room, sign int64) {
	change := queue.Held{Messages: sign * r.held.Messages, Bytes: sign * r.held.Bytes}
	h.all.Add(change)
	addHeld(h.upstreams, r.upstream, change)
}

// publish makes known what a transaction has changed. What was reserved for its
// new messages has been counted, and what moves stays counted as it is.
func (h *holdings) publish(b *batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count(b.generation.standing().counters.Upstreams, -1)
	h.count(b.now.counters.Upstreams, 1)
	for _, r := range b.known {
		h.add(r, -1)
	}
	b.generation.now.Store(&b.now)
}

// room reports whether a message would be within the limits.
func (h *holdings) room(upstream string, size int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limits.Room(h.all, h.upstreams[upstream], upstream, size)
}

// reserve takes room for a message before it is committed, if there is some.
func (h *holdings) reserve(r room) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.limits.Room(h.all, h.upstreams[r.upstream], r.upstream, r.held.Bytes); err != nil {
		return err
	}
	h.add(r, 1)
	return nil
}

// release gives back the room of a message that was not committed.
func (h *holdings) release(r room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(r, -1)
}

// addHeld adds to the sum of an upstream, and forgets one that has nothing.
func addHeld(upstreams map[string]queue.Held, upstream string, change queue.Held) {
	sum := upstreams[upstream]
	sum.Add(change)
	if sum == (queue.Held{}) {
		delete(upstreams, upstream)
		return
	}
	upstreams[upstream] = sum
}
