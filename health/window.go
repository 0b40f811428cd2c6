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
	maxPassive = 32 // failed attempts; returning senders
)

// Window holds the recent signals, as far as they may still count. The zero
// Window is empty. Add returns another one, the old one stays as it is.
type Window struct {
	open     []Signal // probes of rounds that have not ended
	attempts []Signal // outages of attempts since the last accepted message
	senders  []Signal
	last     round // the last round that ended
	ended    bool  // the signal added last ended it
	trouble  bool  // there has been evidence of an outage
	taken    bool  // the recipient of the probes has been taken once
}

// Add adds a signal and drops passive evidence that is older than span.
func (w Window) Add(sig Signal, span time.Duration) Window {
	w.ended = false
	w.trouble = w.trouble || sig.Class == Outage || sig.Source == SourceSender
	switch {
	case sig.Source == SourceProbe:
		return w.addProbe(sig, span)
	case sig.Source == SourceSender:
		w.senders = appended(w.senders, sig, span, maxPassive)
	case sig.Class == Outage:
		w.attempts = appended(w.attempts, sig, span, maxPassive)
	case sig.Class == OK:
		w.attempts = nil
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
	disowning                 int
	quoted                    Signal // one of the worst kind that there is
	refusal                   Signal // one that refuses, if any
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
