package health

import (
	"cmp"
	"time"
)

// Rules are the thresholds of the decision. A zero field stands for its default.
//
// A probe round is bad if every address fails as an outage, partial if some do,
// good if none does and at least one took the dialogue to its end (or refused
// only the probe's recipient); otherwise it says nothing about outages. A round
// disowns if the probe's recipient is refused as unknown that was taken before.
//
//	Up, Degraded -> Down        Bad bad rounds in a row, see finding.isOutage for what makes them fewer or more;
//	                            without a bad round never
//	Up -> Degraded              a bad round, or one that disowns; Bad partial ones of twice as many; messages fail, or Senders;
//	                            our network is broken
//	Degraded -> Up              the first good round, if there was never evidence of an outage;
//	                            else Good good rounds in a row with nothing else against the primary
//	Down -> Recovering          a round in which at least one address neither fails nor refuses us nor disowns
//	Recovering -> Down          a bad round; Relapse
//	Recovering -> Up            Good good rounds, and Trials (or, with too little mail, Quiet good rounds and no failed attempt);
//	                            Degraded instead, if the last round was not good
//
// Each time that trouble comes back within an hour, twice as many good rounds
// are needed, up to eight times Good, and one more that is answered to leave
// Down, up to five; and Recovering bears one more bad round, up to Bad, and
// more failed trials, up to four times Relapse.
//
// One bad reply is nothing, and time alone changes no state.
type Rules struct {
	Bad    int // bad rounds in a row
	Good   int // good rounds in a row
	Quiet  int // good rounds in a row that stand for the trials
	Trials int // trial messages accepted

	Attempts int           // failed messages, if they are two thirds of the last ones
	Relapse  int           // failed trials with no accepted one between, on at least two addresses if there are two
	Senders  int           // different senders that came back
	Span     time.Duration // attempts and senders count for so long

	Relief time.Duration // an accepted message ends a condition if the last signal for it is at least so old
	Ease   time.Duration // a condition ends by itself after so long without a signal for it
}

// DefaultRules are the thresholds for a probe every 20 s, and every 10 s after a bad round.
func DefaultRules() Rules {
	return Rules{Bad: 3, Good: 3, Quiet: 6, Trials: 20, Attempts: 3, Relapse: 2, Senders: 3, Span: 10 * time.Minute,
		Relief: time.Minute, Ease: 10 * time.Minute}
}

// filled replaces what is not set.
func (r Rules) filled() Rules {
	d := DefaultRules()
	return Rules{Bad: cmp.Or(r.Bad, d.Bad), Good: cmp.Or(r.Good, d.Good), Quiet: cmp.Or(r.Quiet, d.Quiet), Trials: cmp.Or(r.Trials, d.Trials),
		Attempts: cmp.Or(r.Attempts, d.Attempts), Relapse: cmp.Or(r.Relapse, d.Relapse), Senders: cmp.Or(r.Senders, d.Senders),
		Span: cmp.Or(r.Span, d.Span), Relief: cmp.Or(r.Relief, d.Relief), Ease: cmp.Or(r.Ease, d.Ease)}
}

// settled is how long trouble has to be over before more of it counts as new.
const settled = time.Hour

// Next is the status after a signal; the window has the signal already. It is pure.
func (r Rules) Next(s Status, w Window, sig Signal) Status {
	if sig.Source.Annotates() {
		return r.At(s, sig.At)
	}
	r = r.filled()
	next := r.conditions(r.At(s, sig.At), w, sig)
	next.ProbeTaken = w.taken
	if w.ended {
		next = count(next, w.last)
	}
	if next.Network.Active() { // nothing is known of the primary
		next.BadRounds, next.GoodRounds = 0, 0
	}
	if next.State == Recovering && sig.Source == SourceAttempt && sig.Class == OK {
		next.Trials++
	}
	f := r.find(next, w, sig.At)
	next.State, next.Why = f.decide()
	next.Scope = f.scope(next.State)
	if next.State == Degraded && (s.State != Degraded || f.against() > 0 || f.narrow() != Scope{}) {
		next.GoodRounds = 0 // the good ones in a row are counted from the end of the trouble
	}
	return changed(s, next, w.trouble, sig.At)
}

// changed notes what a change of state brings with it.
func changed(s, next Status, trouble bool, now time.Time) Status {
	if next.State == s.State {
		return next
	}
	next.Since = now
	switch {
	case next.State == Recovering:
		next.Trials = 0
	case next.State == Up && trouble:
		next.Mended = now
	case s.State == Up && (s.Mended.IsZero() || now.Sub(s.Mended) >= settled):
		next.Relapses = 0
	case s.State == Up, s.State == Recovering && next.State == Down:
		next.Relapses++
	}
	return next
}

// At is what is left of a status at now: an override and conditions that are over are gone.
func (r Rules) At(s Status, now time.Time) Status {
	if !s.Override.lasts(now) {
		s.Override = nil
	}
	if !s.Planned.lasts(now) {
		s.Planned = nil
	}
	r = r.filled()
	for _, c := range []*Condition{&s.Throttled, &s.Misconfigured, &s.Recipients, &s.Network} {
		if c.Active() && !now.Before(r.over(*c)) {
			*c = Condition{}
		}
	}
	return s
}

// ends is when At will next change the status by itself; zero if it will not.
func (r Rules) ends(s Status) time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if s.Override != nil {
		earlier(s.Override.Until)
	}
	if s.Planned != nil && !s.Planned.Until.IsZero() {
		earlier(s.Planned.Until)
	}
	for _, c := range []Condition{s.Throttled, s.Misconfigured, s.Recipients, s.Network} {
		if c.Active() {
			earlier(r.over(c))
		}
	}
	return next
}

// count counts the round. While Recovering, an answer is enough: trial
// messages say the rest.
func count(s Status, last round) Status {
	switch {
	case last.isBad():
		s.BadRounds, s.GoodRounds = s.BadRounds+1, 0
	case last.isGood(), s.State == Recovering && last.isAnswered(), s.State == Down && last.isAnswered():
		s.BadRounds, s.GoodRounds = 0, s.GoodRounds+1
	case last.isPartial(), last.disowning > 0:
		s.BadRounds, s.GoodRounds = 0, 0
	default:
		s.BadRounds = 0
	}
	return s
}
