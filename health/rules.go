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
//	Up, Degraded -> Down        Bad bad rounds in a row. If attempts or senders stand against the primary,
//	                            each of the two counts as one of them; without a bad round never
//	Up -> Degraded              a bad or partial round, or one that disowns; Attempts or Senders
//	Degraded -> Up              the first good round, if there was never evidence of an outage;
//	                            else Good good rounds in a row with nothing else against the primary
//	Down -> Recovering          a round in which at least one address neither fails nor refuses us nor disowns
//	Recovering -> Down          a bad round; Relapse
//	Recovering -> Up            Good good rounds, and Trials (or, with too little mail, Quiet good rounds and no failed attempt);
//	                            Degraded instead, if the last round was not good
//
// One bad reply is nothing, and time alone changes no state.
type Rules struct {
	Bad    int // bad rounds in a row
	Good   int // good rounds in a row
	Quiet  int // good rounds in a row that stand for the trials
	Trials int // trial messages accepted

	Attempts int           // failed attempts with no accepted message between
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

// Next is the status after a signal; the window has the signal already. It is pure.
func (r Rules) Next(s Status, w Window, sig Signal) Status {
	r = r.filled()
	next := r.conditions(r.At(s, sig.At), w, sig)
	next.ProbeTaken = w.taken
	if w.ended {
		next = count(next, w.last)
	}
	if next.State == Recovering && sig.Source == SourceAttempt && sig.Class == OK {
		next.Trials++
	}
	f := finding{status: next, window: w, rules: r,
		attempts: len(w.failedAttempts(sig.At.Add(-r.Span))), senders: len(w.returningSenders(sig.At.Add(-r.Span)))}
	next.State, next.Why = f.decide()
	if next.State == Degraded && (s.State != Degraded || f.against() > 0) {
		next.GoodRounds = 0 // the good ones in a row are counted from the end of the trouble
	}
	if next.State == Recovering && s.State != Recovering {
		next.Trials = 0
	}
	if next.State != s.State {
		next.Since = sig.At
	}
	return next
}

// At is what is left of a status at now: an override and conditions that are over are gone.
func (r Rules) At(s Status, now time.Time) Status {
	if s.Override != nil && !now.Before(s.Override.Until) {
		s.Override = nil
	}
	ease := cmp.Or(r.Ease, DefaultRules().Ease)
	if s.Throttled.Active() && !now.Before(s.Throttled.Last.Add(ease)) {
		s.Throttled = Condition{}
	}
	if s.Misconfigured.Active() && !now.Before(s.Misconfigured.Last.Add(ease)) {
		s.Misconfigured = Condition{}
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
	for _, c := range []Condition{s.Throttled, s.Misconfigured} {
		if c.Active() {
			earlier(c.Last.Add(r.Ease))
		}
	}
	return next
}

// conditions: neither is an outage. What probes found, a good round ends; what
// attempts found, an accepted message, but not at once: throttling lets some
// messages pass, and the condition would come and go with each.
func (r Rules) conditions(s Status, w Window, sig Signal) Status {
	if sig.Source == SourceSender {
		return s
	}
	accepted := sig.Source == SourceAttempt && sig.Class == OK
	switch {
	case sig.Class == Throttle:
		s.Throttled = s.Throttled.renewed(sig)
	case accepted && sig.At.Sub(s.Throttled.Last) >= r.Relief:
		s.Throttled = Condition{}
	}
	switch {
	case sig.Class == Misconfigured && sig.Source != SourceProbe:
		s.Misconfigured = s.Misconfigured.renewed(sig)
	case w.ended && w.last.refusing > 0:
		s.Misconfigured = s.Misconfigured.renewed(w.last.refusal)
	case w.ended && w.last.isGood() && s.Misconfigured.Source == SourceProbe,
		accepted && s.Misconfigured.Source == SourceAttempt && sig.At.Sub(s.Misconfigured.Last) >= r.Relief:
		s.Misconfigured = Condition{}
	}
	return s
}

// renewed is the condition with one more signal for it.
func (c Condition) renewed(sig Signal) Condition {
	if !c.Active() {
		c.Since = sig.At
	}
	c.Last, c.Source, c.Reply = sig.At, sig.Source, sig.Reply
	return c
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
