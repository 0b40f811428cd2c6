package inbound

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// returning remembers senders that were told to use the primary. One that comes
// back again and again cannot reach it, whatever we think.
//
// It holds at most maxVisitors. The one that has not been seen for longest is
// forgotten first, and all after memory.
type returning struct {
	rule Returning

	mu    sync.Mutex
	seed  maphash.Seed
	of    map[visitor]*list.Element
	order *list.List // of *visits; the latest in front
}

const (
	maxVisitors = 10000
	memory      = 6 * time.Hour // longer than senders usually wait between attempts
)

// visitor is a sender with its mail: a prefix of its address, because large
// senders use many, and a hash of reverse-path and recipient, so that the
// length of paths costs no memory.
type visitor struct {
	from netip.Prefix
	mail uint64
}

type visits struct {
	visitor
	first, last time.Time
	returns     int
}

func newReturning(rule Returning) *returning {
	return &returning{rule: rule, seed: maphash.MakeSeed(), of: map[visitor]*list.Element{}, order: list.New()}
}

// visit counts a visit and reports whether the sender is believed. Visits in
// quick succession are one.
func (r *returning) visit(address netip.Addr, reversePath, recipient string, now time.Time) bool {
	who := r.visitor(address, reversePath, recipient)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	e, ok := r.of[who]
	if !ok {
		r.of[who] = r.order.PushFront(&visits{visitor: who, first: now, last: now})
		return false
	}
	r.order.MoveToFront(e)
	v := e.Value.(*visits)
	if now.Sub(v.last) >= r.rule.Over/10 {
		v.returns++
		v.last = now
	}
	return v.returns >= r.rule.Times && v.last.Sub(v.first) >= r.rule.Over
}

// peek says how often a sender has come back, and over what time, without
// counting the look as a visit; known is false if it never came.
func (r *returning) peek(address netip.Addr, reversePath, recipient string, now time.Time) (returns int, over time.Duration, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	e, known := r.of[r.visitor(address, reversePath, recipient)]
	if !known {
		return 0, 0, false
	}
	v := e.Value.(*visits)
	return v.returns, v.last.Sub(v.first), true
}

func (r *returning) visitor(address netip.Addr, reversePath, recipient string) visitor {
	return visitor{network(address, 24, 64), maphash.String(r.seed, reversePath+"\x00"+recipient)}
}

// forget drops who was not seen for long, and makes room for one.
func (r *returning) forget(now time.Time) {
	for e := r.order.Back(); e != nil; e = r.order.Back() {
		v := e.Value.(*visits)
		if now.Sub(v.last) < memory && r.order.Len() < maxVisitors {
			return
		}
		r.order.Remove(e)
		delete(r.of, v.visitor)
	}
}
