package health

import (
	"slices"
	"time"
)

// allFrontEnds is the condition under which a refusal of our configuration is
// an outage: every address shows it.
const allFrontEnds = "all_front_ends"

// What a Window holds at most: of one kind of evidence, no flood pushes out another.
const (
	maxOpen    = 64 // probes of rounds that have not ended
	maxPassive = 32 // failed attempts; refused messages; returning senders
)

// Window holds the recent signals, as far as they may still count. The zero
// Window is empty. Add returns another one, the old one stays as it is.
type Window struct {
	open     []Signal // probes of rounds that have not ended
	attempts []Signal // outages of attempts since the last accepted message
	senders  []Signal
	refusals []Signal // of messages, for now and for their own sake
	sights   []sight
	lanes    []lane
	rounds   []past
	vantages []Signal // the last of each
	control  Signal   // the last look at the target outside; its time is zero if there was none
	looks    int      // in a row that found the same there
	last     round    // the last round that ended
	ended    bool     // the signal added last ended it
	trouble  bool     // there has been evidence of an outage
	taken    bool     // the recipient of the probes has been taken once
}

// Add adds a signal and drops passive evidence that is older than span.
func (w Window) Add(sig Signal, span time.Duration) Window {
	w.ended = false
	if sig.Source.Annotates() {
		return w
	}
	switch sig.Source {
	case SourceVantage:
		w.vantages = seconded(w.vantages, sig)
		return w
	case SourceControl:
		if w.control.Class != sig.Class {
			w.looks = 0
		}
		w.control, w.looks = sig, w.looks+1
		return w
	case SourceSender:
		w.trouble = true
		w.senders = appended(w.senders, sig, span, maxPassive)
		return w
	}
	w.trouble = w.trouble || sig.Class == Outage
	if sig.Class == OK || sig.Class.limited() || sig.Source != SourceProbe {
		w.lanes = travelled(w.lanes, sig)
	}
	if sig.Source == SourceProbe {
		return w.addProbe(sig, span)
	}
	return w.addMail(sig, span)
}

// addMail takes what a message met into account; of one session only the first failure.
func (w Window) addMail(sig Signal, span time.Duration) Window {
	switch sig.Class {
	case OK:
		w.attempts = nil
		w.sights = seen(w.sights, sig, span)
	case Outage:
		if sig.Session == "" || !slices.ContainsFunc(w.attempts, func(f Signal) bool { return f.Session == sig.Session }) {
			w.sights = seen(w.sights, sig, span)
		}
		w.attempts = appended(w.attempts, sig, span, maxPassive)
	case Temporary:
		w.refusals = appended(w.refusals, sig, span, maxPassive)
	}
	return w
}

// addProbe ends the round with its last probe. A probe without a number is a round of its own.
func (w Window) addProbe(sig Signal, span time.Duration) Window {
	w.taken = w.taken || sig.Class == OK
	if sig.Round == 0 {
		return w.end([]Signal{sig})
	}
	w.open = appended(w.open, sig, span, maxOpen)
	if !sig.Last {
		return w
	}
	var members, others []Signal
	for _, s := range w.open {
		if s.Round == sig.Round {
			members = append(members, s)
		} else {
			others = append(others, s)
		}
	}
	w.open = others
	return w.end(members)
}

func (w Window) end(probes []Signal) Window {
	w.last, w.ended = judge(probes, w.taken), true
	w.rounds = remember(w.rounds, w.last.past(probes))
	w.trouble = w.trouble || w.last.bad+w.last.disowning > 0
	return w
}

// appended copies, so that the list of another Window is never written to.
func appended(list []Signal, sig Signal, span time.Duration, most int) []Signal {
	list = since(list, sig.At.Add(-span))
	if len(list) >= most {
		list = list[len(list)-most+1:]
	}
	return append(slices.Clone(list), sig)
}

// since leaves out what happened before at.
func since(list []Signal, at time.Time) []Signal {
	if !slices.ContainsFunc(list, func(s Signal) bool { return s.At.Before(at) }) {
		return list
	}
	var left []Signal
	for _, s := range list {
		if !s.At.Before(at) {
			left = append(left, s)
		}
	}
	return left
}

// failedAttempts are the outages of attempts since at with no accepted message
// after them; of one session only the first.
func (w Window) failedAttempts(at time.Time) []Signal {
	var failed []Signal
	for _, s := range since(w.attempts, at) {
		if s.Session == "" || !slices.ContainsFunc(failed, func(f Signal) bool { return f.Session == s.Session }) {
			failed = append(failed, s)
		}
	}
	return failed
}

// failedTrials are the failed attempts that were begun at or after at.
func (w Window) failedTrials(at time.Time) []Signal {
	var failed []Signal
	for _, s := range w.failedAttempts(at) {
		if !s.At.Add(-s.Took).Before(at) {
			failed = append(failed, s)
		}
	}
	return failed
}

// returningSenders are those that came back since at, each once.
func (w Window) returningSenders(at time.Time) []Signal {
	var senders []Signal
	for _, s := range since(w.senders, at) {
		if s.Address == "" || !slices.ContainsFunc(senders, func(o Signal) bool { return o.Address == s.Address }) {
			senders = append(senders, s)
		}
	}
	return senders
}

// round is what the probes of one round said, one probe for each address.
//
//	OK                            good: the dialogue came to its end
//	Recipient                     good as well, the address of the probe may be wrong; but if it was taken before,
//	                              disowning: it does not know its own recipients
//	Outage                        bad
//	Misconfigured                 refusing: says nothing about outages, unless every address shows it and it is of the kind that is one then
//	Throttle, Temporary, Policy   answered, but neither good nor bad
type round struct {
	size, good, bad, refusing int
	disowning, unreached      int
	longest                   time.Duration // that a dialogue took
	quoted                    Signal        // one of the worst kind that there is
	refusal                   Signal        // one that refuses, if any
}

func judge(probes []Signal, taken bool) round {
	r := round{size: len(probes)}
	everywhere := !slices.ContainsFunc(probes, func(s Signal) bool {
		return s.Class != Outage && (s.Class != Misconfigured || s.Condition != allFrontEnds)
	})
	for _, s := range probes {
		switch {
		case s.Class == Recipient && taken:
			r.disowning++
		case s.Class == OK, s.Class == Recipient:
			r.good++
		}
		if s.Class == Outage || everywhere {
			r.bad++
		}
		if s.Class == Outage && (s.Phase == PhaseResolve || s.Phase == PhaseConnect) {
			r.unreached++
		}
		r.longest = max(r.longest, s.Took)
		if s.Class == Misconfigured {
			r.refusing++
			r.refusal = s
		}
		if weight(s.Class) >= weight(r.quoted.Class) {
			r.quoted = s
		}
	}
	return r
}

// weight puts first what people should read first.
func weight(c Class) int {
	switch c {
	case Outage:
		return 5
	case Misconfigured:
		return 4
	case Throttle:
		return 3
	case Temporary, Policy:
		return 2
	case Recipient:
		return 1
	}
	return 0
}

func (r round) isBad() bool     { return r.size > 0 && r.bad == r.size }
func (r round) isPartial() bool { return r.bad > 0 && r.bad < r.size }
func (r round) isGood() bool    { return r.good > 0 && r.bad+r.disowning == 0 }

// isAnswered reports whether at least one address neither fails nor refuses us
// nor disowns its recipient.
func (r round) isAnswered() bool { return r.size > r.bad+r.refusing+r.disowning }

// isUnreached reports whether nothing at all answered: the primary, or our network.
func (r round) isUnreached() bool { return r.size > 0 && r.unreached == r.size }

// isLong reports whether a bad round let us wait in vain for long.
func (r round) isLong() bool { return r.isBad() && r.longest >= longRound }

// longRound is as long as the time between two bad rounds: waiting in vain for
// so long says as much as two of quick refusals.
const longRound = 10 * time.Second

// past is what is remembered of the round.
func (r round) past(probes []Signal) past {
	p := past{began: probes[0].At, size: r.size, bad: r.bad}
	for _, s := range probes {
		if began := s.At.Add(-s.Took); began.Before(p.began) {
			p.began = began
		}
		if s.At.After(p.ended) {
			p.ended = s.At
		}
	}
	return p
}
