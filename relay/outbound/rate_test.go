package outbound

import (
	"container/heap"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// meter is a primary that takes so many messages in each minute and refuses the
// others, as Exchange Online does with 4.7.500.
type meter struct {
	limit  func(elapsed time.Duration) int
	phase  time.Duration // of its minute, when the drain begins
	answer time.Duration // that a message takes

	minute, count int
}

func (m *meter) takes(elapsed time.Duration) bool {
	if minute := int((elapsed + m.phase) / time.Minute); minute != m.minute {
		m.minute, m.count = minute, 0
	}
	m.count++
	return m.count <= m.limit(elapsed)
}

// offer is an attempt that runs.
type offer struct {
	ends  time.Time
	taken bool
	epoch int
}

// offers is a heap, the one that ends first is in front.
type offers []offer

func (o offers) Len() int           { return len(o) }
func (o offers) Less(i, j int) bool { return o[i].ends.Before(o[j].ends) }
func (o offers) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *offers) Push(x any)        { *o = append(*o, x.(offer)) }
func (o *offers) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}

// drained is how a drain went.
type drained struct {
	took      time.Duration
	throttled int
}

// drain plays the loop of a dispatcher: a queue of so many messages, and nothing else.
func drain(messages int, m *meter) drained {
	start := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	p := pace{max: 20, first: time.Second, most: time.Minute, rate: rate{start: 10}}
	p.restart()
	var running offers
	var result drained
	for now := start; messages > 0 || len(running) > 0; {
		next := now.Add(time.Hour)
		if messages > 0 && len(running) < p.limit(health.Up) {
			free, begins := p.rate.free(now)
			if begins.Before(p.until) {
				begins = p.until
			}
			if free > 0 && !begins.After(now) {
				p.rate.began(1)
				messages--
				heap.Push(&running, offer{now.Add(m.answer), m.takes(now.Sub(start)), p.epoch})
				continue
			}
			next = begins
		}
		if len(running) == 0 || running[0].ends.After(next) {
			now = next
			continue
		}
		o := heap.Pop(&running).(offer)
		now = o.ends
		p.ended(o.epoch, lesson{accepted: o.taken, throttle: !o.taken, unmoved: !o.taken}, now)
		if !o.taken {
			messages++
			result.throttled++
		}
		result.took = now.Sub(start)
	}
	return result
}

// TestDrain: limits that nobody tells us are found, with few refusals and
// little time lost, and found again when they change.
func TestDrain(t *testing.T) {
	const messages = 20_000
	for _, limit := range []int{60, 300, 3000} {
		for _, answer := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
			for _, phase := range []time.Duration{0, 20 * time.Second, 45 * time.Second} {
				ideal := messages * time.Minute / time.Duration(limit)
				steady := drain(messages, &meter{limit: func(time.Duration) int { return limit }, phase: phase, answer: answer})
				halved := drain(messages, &meter{phase: phase, answer: answer, limit: func(elapsed time.Duration) int {
					if elapsed > ideal/2 {
						return limit / 2
					}
					return limit
				}})
				t.Logf("%d a minute, %v, phase %v: %.3f of the ideal time, %d refused; halved: %.3f, %d", limit, answer, phase,
					float64(steady.took)/float64(ideal), steady.throttled, float64(halved.took)/float64(ideal*3/2), halved.throttled)
				if steady.throttled >= 50 || steady.took > ideal*115/100 {
					t.Errorf("%d a minute: %+v, ideal %v", limit, steady, ideal)
				}
				if halved.throttled >= 60 || halved.took > ideal*3/2*115/100 {
					t.Errorf("%d a minute, halved midway: %+v, ideal %v", limit, halved, ideal*3/2)
				}
			}
		}
	}
}
