package outbound

import (
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// pace says how many attempts may run at once, and when the next may begin. It
// is pure: time is an argument.
//
//	Down                 none
//	Recovering           one at a time until the trial messages were accepted, then the ramp
//	the ramp             1, 2, 4 ... up to the maximum: doubled when as many were accepted
//	an outage            back to one, and the ramp again
//	throttling           back to one within the ramp, else half; then one more when as many were accepted
//
// How many may begin in a time is the matter of rate.
//
// After a failure that left its message due at once nothing begins for a while:
// first, then twice as long each time up to most, until a message is accepted.
// Until then one at a time is tried. The wait for a primary that throttles us
// stays short at first: most of them count by the minute.
type pace struct {
	max, trials int
	first, most time.Duration
	independent bool // there is nothing to learn from one attempt for another: the maximum, always
	rate        rate

	window  int  // at most so many attempts at once
	ramping bool // the window has not reached its maximum since the last restart
	owed    int  // trial messages that have to be accepted before the ramp
	good    int  // accepted messages since the window changed
	wait    time.Duration
	stuck   time.Time // when the first of the failures in a row was met; zero if the last attempt was accepted
	until   time.Time // nothing begins before
	// epoch counts the setbacks. What began before the last one says nothing
	// new: twenty attempts that meet the same outage are one setback.
	epoch int
}

// enter takes note of a change of state.
func (p *pace) enter(before, after health.State) {
	switch {
	case before == after:
	case after == health.Recovering:
		p.restart()
		p.owed = p.trials
	case before == health.Down:
		p.restart()
	case after == health.Up:
		p.owed = 0
	}
}

func (p *pace) restart() {
	p.window, p.ramping, p.owed, p.good = 1, true, 0, 0
	p.wait, p.stuck, p.until = 0, time.Time{}, time.Time{}
	p.rate.restart()
	p.epoch++
}

// limit is how many attempts may run at once now.
func (p *pace) limit(state health.State) int {
	switch {
	case state == health.Down:
		return 0
	case p.independent:
		return p.max
	case state == health.Recovering && p.owed > 0, p.wait > 0:
		return 1
	}
	return p.window
}

// ended learns from an attempt of the given epoch.
func (p *pace) ended(epoch int, l lesson, now time.Time) {
	if l.accepted {
		p.rate.count(now)
	}
	if epoch != p.epoch || p.independent {
		return
	}
	switch {
	case l.outage:
		p.setBack(1)
		p.ramping = true
		if p.owed > 0 {
			p.owed = p.trials
		}
	case l.throttle && p.ramping:
		p.setBack(1)
	case l.throttle:
		p.setBack(p.window / 2)
	case l.accepted:
		p.wait, p.stuck = 0, time.Time{}
		p.grow()
		p.rate.accepted(now)
	}
	if l.throttle {
		p.rate.throttled(now)
	}
	if l.unmoved {
		p.postpone(l.throttle, now)
	}
}

// A primary that throttles us is asked again after at most shortWait, until a
// minute is over for sure.
const (
	shortWait = 10 * time.Second
	shortSpan = time.Minute + shortWait
)

// postpone waits longer after each failure in a row.
func (p *pace) postpone(throttled bool, now time.Time) {
	if p.stuck.IsZero() {
		p.stuck = now
	}
	most := p.most
	if throttled && now.Sub(p.stuck) < shortSpan {
		most = min(most, shortWait)
	}
	p.wait = min(max(p.first, 2*p.wait), most)
	p.until = now.Add(p.wait)
	p.epoch++
}

func (p *pace) setBack(window int) {
	p.window, p.good = max(1, window), 0
	p.epoch++
}

func (p *pace) grow() {
	if p.owed > 0 {
		p.owed--
		return
	}
	p.good++
	if p.good < p.window || p.window >= p.max {
		return
	}
	step := 1
	if p.ramping {
		step = p.window
	}
	p.window, p.good = min(p.window+step, p.max), 0
	p.ramping = p.ramping && p.window < p.max
}

// lesson is what an attempt says about the pace. The zero lesson is none: the
// message was refused for its own sake, or we broke off.
type lesson struct {
	accepted bool // the primary took a message
	outage   bool
	throttle bool
	unmoved  bool // a failure that is not about the message: the next one will meet it as well
}

// learn reads a report. One address that fails is no setback if the message
// was accepted at another.
func learn(r Report) lesson {
	var l lesson
	for _, s := range r.Signals {
		switch s.Class {
		case health.OK:
			l.accepted = true
		case health.Outage:
			l.outage = true
		case health.Throttle:
			l.throttle = true
		}
	}
	for _, result := range r.Results {
		kept := result.Action == queue.Deferred || result.Action == queue.Refused
		l.unmoved = l.unmoved || kept && (result.Scope == queue.ScopeUpstream || result.Scope == queue.ScopeOwn)
	}
	l.outage = l.outage && !l.accepted
	return l
}
