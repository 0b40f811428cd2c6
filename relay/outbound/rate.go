package outbound

import "time"

// rate says how many messages a second may be offered to a primary that does
// not tell its limits. It is pure: time is an argument.
//
//	never throttled      begins with start, and doubles every 10 s
//	throttled            a little less than what the primary has taken in the last minute; half, if that is next to nothing
//	since then           a hundredth more every minute, or every 200 messages if they take longer
//	far above that       the steps double: it has changed its mind
//
// It grows only while messages are accepted at no less than half of it: what
// was never offered says nothing about what would be taken.
type rate struct {
	start, most float64 // a second; most 0 is no limit

	speed   float64
	taken   float64 // a second, when it last throttled us; 0 if it never did
	step    float64 // share by which speed grows
	since   time.Time
	good    int // accepted since
	refused bool

	tokens float64 // messages that may begin
	filled time.Time

	minute counter
}

const (
	rampSpan   = 10 * time.Second // between doublings of a primary that never throttled us
	climbSpan  = time.Minute      // between steps since it did
	climbGood  = 200              // accepted messages that a step needs
	climbStep  = 0.01
	telling    = 10   // messages that have to be taken in a minute to tell a limit
	belowLimit = 0.92 // of what it took: each meeting with a limit costs refusals
	beyond     = 1.1  // of what it took: the limit is another one now
	busyShare  = 0.5  // of speed: less says that the queue, or the primary's slowness, is the limit

	// slowest is a message in a minute.
	slowest = 1.0 / 60
	// burst is how much may begin at once, so that a fast drain is not a
	// matter of timers.
	burst = 50 * time.Millisecond
)

// restart forgets what the primary took before an outage.
func (r *rate) restart() {
	*r = rate{start: r.start, most: r.most, tokens: 1}
	r.set(r.start, time.Time{})
}

// set changes the speed.
func (r *rate) set(speed float64, now time.Time) {
	if r.most > 0 {
		speed = min(speed, r.most)
	}
	r.speed, r.since, r.good = max(speed, slowest), now, 0
}

// free is how many messages may begin now, and when the next may if none.
func (r *rate) free(now time.Time) (messages int, next time.Time) {
	if gone := now.Sub(r.filled); gone > 0 {
		r.tokens = min(r.tokens+gone.Seconds()*r.speed, max(1, r.speed*burst.Seconds()))
		r.filled = now
	}
	if r.tokens >= 1 {
		return int(r.tokens), now
	}
	// The nanosecond makes up for rounding: at next there is a whole one.
	return 0, now.Add(time.Duration((1-r.tokens)/r.speed*float64(time.Second)) + 1)
}

// began takes note of messages that are offered.
func (r *rate) began(messages int) { r.tokens -= float64(messages) }

// count counts an accepted message, however long ago it began.
func (r *rate) count(now time.Time) { r.minute.add(now) }

// accepted learns from a message that began after the last setback.
func (r *rate) accepted(now time.Time) {
	if r.refused || r.since.IsZero() {
		r.refused, r.since, r.good = false, now, 0
		return
	}
	r.good++
	span := rampSpan
	if r.taken > 0 {
		span = climbSpan
	}
	past := now.Sub(r.since)
	switch busy := float64(r.good) >= busyShare*r.speed*past.Seconds(); {
	case past < span:
	case !busy:
		r.since, r.good = now, 0
	case r.taken == 0:
		r.set(2*r.speed, now)
	case r.good >= climbGood:
		if r.speed > beyond*r.taken {
			r.step *= 2
		}
		r.set(r.speed*(1+r.step), now)
	}
}

// throttled learns from a refusal for our pace. Those that follow before
// anything was accepted say the same.
func (r *rate) throttled(now time.Time) {
	r.tokens = 0
	if r.refused {
		return
	}
	r.refused = true
	taken := r.minute.total(now)
	if taken < telling {
		r.set(r.speed/2, now)
		return
	}
	r.taken = min(float64(taken)/time.Minute.Seconds(), r.speed)
	r.step = climbStep
	r.set(belowLimit*r.taken, now)
}

// counter counts what happened in the last minute, in seconds.
type counter struct {
	seconds [60]int
	last    int64 // second that was counted last
}

func (c *counter) roll(now time.Time) {
	second := now.Unix()
	if second-c.last >= int64(len(c.seconds)) {
		c.seconds = [60]int{}
		c.last = second
	}
	for ; c.last < second; c.last++ {
		c.seconds[(c.last+1)%60] = 0
	}
}

func (c *counter) add(now time.Time) {
	c.roll(now)
	c.seconds[c.last%60]++
}

func (c *counter) total(now time.Time) int {
	c.roll(now)
	sum := 0
	for _, n := range c.seconds {
		sum += n
	}
	return sum
}
