package health

import (
	"slices"
	"time"
)

// What single failures of mail weigh. One that a message may cause by itself,
// or that is met at all times, says less.
const (
	weightContent = 0.5 // at DATA, or after the content
	weightLow     = 0.5 // the catalogue calls it low
)

// weigh says how much the failure of a message says about the primary.
func weigh(sig Signal) float64 {
	weight := 1.0
	if sig.Phase == PhaseData || sig.Phase == PhaseFinal {
		weight *= weightContent
	}
	if sig.Low {
		weight *= weightLow
	}
	return weight
}

// sight is what messages met at one address within one slot of time. Many at
// once are one observation: a host that restarts breaks off all its sessions.
type sight struct {
	slot      time.Time
	address   string
	bad, good float64 // weights
}

const (
	slotOf    = 5 * time.Second
	maxSights = 8
)

// seen returns the sights after one more signal of a message.
func seen(sights []sight, sig Signal, span time.Duration) []sight {
	slot := sig.At.Truncate(slotOf)
	next := slices.DeleteFunc(slices.Clone(sights), func(s sight) bool { return s.slot.Before(sig.At.Add(-span)) })
	i := slices.IndexFunc(next, func(s sight) bool { return s.slot.Equal(slot) && s.address == sig.Address })
	if i < 0 {
		if len(next) == maxSights {
			next = slices.Delete(next, 0, 1)
		}
		i = len(next)
		next = append(next, sight{slot: slot, address: sig.Address})
	}
	if sig.Class == OK {
		next[i].good++
	} else {
		next[i].bad += weigh(sig)
	}
	return next
}

// mail is what the last sights come to.
type mail struct {
	bad, good float64 // at most one for each sight
	addresses int     // that failed
	nowhere   bool    // some found no address at all
}

// mailSince sums up the sights whose slot began at or after at.
func (w Window) mailSince(at time.Time) mail {
	var m mail
	var failing []string
	for _, s := range w.sights {
		if s.slot.Before(at) {
			continue
		}
		most := max(1, s.bad+s.good)
		m.bad, m.good = m.bad+s.bad/most, m.good+s.good/most
		switch {
		case s.bad > 0 && s.address == "":
			m.nowhere = true
		case s.bad > 0 && !slices.Contains(failing, s.address):
			failing = append(failing, s.address)
		}
	}
	m.addresses = len(failing)
	return m
}

// past is a round that ended.
type past struct {
	began, ended time.Time
	size, bad    int
}

const (
	maxPast = 64
	// pastFor is how long rounds are remembered, however few there were.
	pastFor = 6 * time.Hour
)

func (p past) isBad() bool     { return p.bad == p.size }
func (p past) isPartial() bool { return p.bad > 0 && p.bad < p.size }

// remember adds a round to those that ended.
func remember(rounds []past, p past) []past {
	next := slices.DeleteFunc(slices.Clone(rounds), func(o past) bool { return o.ended.Before(p.ended.Add(-pastFor)) })
	if len(next) == maxPast {
		next = slices.Delete(next, 0, 1)
	}
	return append(next, p)
}

// badSince is when the first of the bad rounds in a row began; zero if the last was not bad.
func (w Window) badSince() time.Time {
	var began time.Time
	for _, p := range slices.Backward(w.rounds) {
		if !p.isBad() {
			break
		}
		began = p.began
	}
	return began
}

// unclean is how many of the last n rounds failed, at one address at least.
func (w Window) unclean(n int) int {
	unclean := 0
	for _, p := range w.rounds[max(0, len(w.rounds)-n):] {
		if p.bad > 0 {
			unclean++
		}
	}
	return unclean
}

// letUps is how often trouble has let up: rounds that failed in part, and such
// that did not after one that did.
func (w Window) letUps() int {
	n := 0
	for i, p := range w.rounds {
		if p.isPartial() || p.bad == 0 && i > 0 && w.rounds[i-1].bad > 0 {
			n++
		}
	}
	return n
}

// share is how many of the probes failed since the first that did, and in how many rounds.
func (w Window) share() (share float64, rounds int) {
	bad, all := 0, 0
	for _, p := range w.rounds {
		if all > 0 || p.bad > 0 {
			bad, all, rounds = bad+p.bad, all+p.size, rounds+1
		}
	}
	return float64(bad) / float64(max(1, all)), rounds
}

// widest is the largest number of addresses of a round since at.
func (w Window) widest(at time.Time) int {
	most := 0
	for _, p := range w.rounds {
		if !p.ended.Before(at) {
			most = max(most, p.size)
		}
	}
	return most
}
