package admin

import (
	"math"

	"github.com/mxkeep/mxkeep/queue"
)

// forecast is when a limit leaves no room for new mail, at the rate of now.
type forecast struct {
	seconds float64 // +Inf is never
	of      string  // what is full then: "the disk", "the limit of messages in all"
}

// nearest is the one that comes first.
func (f forecast) nearest(other forecast) forecast {
	if other.seconds < f.seconds {
		return other
	}
	return f
}

// wire is the number as it stands on the wire: null is never.
func (f forecast) wire() *float64 {
	if math.IsInf(f.seconds, 1) {
		return nil
	}
	return &f.seconds
}

// growth is what is held of an upstream, or in all, and how much more each minute.
type growth struct {
	held            queue.Held
	messages, bytes float64 // per minute; below zero it shrinks
}

func (g *growth) add(more growth) {
	g.held.Add(more.held)
	g.messages += more.messages
	g.bytes += more.bytes
}

// until says when the growth meets a limit of that name.
func (g growth) until(l queue.Limit, whose string) forecast {
	messages := forecast{seconds(l.Messages, g.held.Messages, g.messages), "the limit of messages " + whose}
	return messages.nearest(forecast{seconds(l.Bytes, g.held.Bytes, g.bytes), "the limit of bytes " + whose})
}

// seconds is the time until most is held, for something that grows so fast.
func seconds(most, held int64, perMinute float64) float64 {
	switch {
	case most == 0:
		return math.Inf(1)
	case held >= most:
		return 0
	case perMinute <= 0:
		return math.Inf(1)
	}
	return float64(most-held) / perMinute * 60
}

// theDisk is what is full if no limit is.
const theDisk = "the disk"

// untilDisk says when the disk has nothing left but what is kept for
// deliveries, if messages of the size of those that are held come in at the
// rate. What leaves does not count: its room comes back later.
func untilDisk(free, reserve, inPerMinute float64, all queue.Held) forecast {
	f := forecast{math.Inf(1), theDisk}
	if bytes := inPerMinute * float64(all.Bytes) / float64(max(all.Messages, 1)); bytes > 0 {
		f.seconds = max(0, free-reserve) / bytes * 60
	}
	return f
}

// shares fills in what is held of which limit, and when it is full. Those that
// are full now are given by upstream.
func (s *Server) shares(st *Status, stats queue.Stats, full map[string]string) {
	limits, growths := s.options.Limits, s.rates.growths()
	all := growth{}
	for upstream, held := range stats.Upstreams {
		one := growths[upstream]
		one.held = held
		growths[upstream] = one
	}
	for _, one := range growths {
		all.add(one)
	}
	q := st.Queue
	q.MaxMessages, q.MaxBytes, q.DiskReserve = limits.All.Messages, limits.All.Bytes, s.options.Reserve
	first := all.until(limits.All, "in all")
	if q.InPerMinute != nil {
		first = first.nearest(untilDisk(float64(q.DiskFree), float64(q.DiskReserve), *q.InPerMinute, queue.Held{Messages: q.Messages, Bytes: q.Bytes}))
	}
	for i := range st.Upstreams {
		u := &st.Upstreams[i]
		limit, one := limits.Upstreams[u.Name], growths[u.Name]
		own := one.until(limit, "for "+u.Name)
		u.Held = &Share{Messages: one.held.Messages, Bytes: one.held.Bytes, MaxMessages: limit.Messages, MaxBytes: limit.Bytes,
			RoomSeconds: own.wire(), Full: full[u.Name]}
		first = first.nearest(own)
	}
	if q.RoomSeconds = first.wire(); q.RoomSeconds != nil {
		q.RoomOf = first.of
	}
}
