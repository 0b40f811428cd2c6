package health

import (
	"fmt"
	"strings"
	"unicode"
)

// finding is all that a decision rests on.
type finding struct {
	status            Status // with the signal counted, still in its old state
	window            Window
	rules             Rules
	attempts, senders int // failed and returned within Rules.Span
}

// decide names the next state, and why.
func (f finding) decide() (State, string) {
	switch f.status.State {
	case Up:
		return f.whenUp()
	case Down:
		return f.whenDown()
	case Recovering:
		return f.whenRecovering()
	}
	return f.whenDegraded()
}

// against counts the kinds of passive evidence that stand against the primary.
func (f finding) against() int {
	kinds := 0
	if f.attempts >= f.rules.Attempts {
		kinds++
	}
	if f.senders >= f.rules.Senders {
		kinds++
	}
	return kinds
}

// isOutage: passive evidence makes it faster, but does not suffice.
func (f finding) isOutage() bool {
	return f.status.BadRounds > 0 && f.status.BadRounds+f.against() >= f.rules.Bad
}

func (f finding) whenUp() (State, string) {
	last := f.window.last
	switch {
	case f.isOutage():
		return Down, f.whyBad()
	case f.window.ended && (last.isBad() || last.isPartial() || last.disowning > 0):
		return Degraded, f.whyRound()
	case f.against() > 0:
		return Degraded, f.whyAgainst()
	case f.window.ended:
		return Up, f.whyRound()
	}
	return Up, f.status.Why
}

func (f finding) whenDegraded() (State, string) {
	enough := f.status.GoodRounds >= f.rules.Good || !f.window.trouble
	switch {
	case f.isOutage():
		return Down, f.whyBad()
	case f.against() > 0 && f.status.BadRounds == 0:
		return Degraded, f.whyAgainst()
	case !f.window.ended:
		return Degraded, f.status.Why
	case f.window.last.isGood() && enough:
		return Up, f.whyRound()
	case f.window.last.isGood():
		return Degraded, fmt.Sprintf("there was trouble; %s since, %d are needed", rounds(f.status.GoodRounds, "good"), f.rules.Good)
	}
	return Degraded, f.whyRound()
}

func (f finding) whenDown() (State, string) {
	switch {
	case !f.window.ended:
		return Down, f.status.Why
	case f.window.last.isAnswered():
		return Recovering, "it answers again; trial messages are delivered; " + quote(f.window.last.quoted)
	}
	return Down, f.whyRound()
}

func (f finding) whenRecovering() (State, string) {
	s, r := f.status, f.rules
	failed := f.window.failedTrials(s.Since)
	rested := s.GoodRounds >= r.Quiet && len(failed) == 0
	switch {
	case f.window.ended && f.window.last.isBad():
		return Down, "it failed again while recovering, on every address; " + quote(f.window.last.quoted)
	case f.isRelapse(failed):
		return Down, fmt.Sprintf("it failed again while recovering, in %d delivery attempts; %s", len(failed), quote(failed[len(failed)-1]))
	case s.GoodRounds < r.Good || s.Trials < r.Trials && !rested:
		return Recovering, fmt.Sprintf("%s since the outage; %d of %d trial messages accepted", rounds(s.GoodRounds, "good"), s.Trials, r.Trials)
	case f.window.last.isGood():
		return Up, f.whyRound()
	}
	return Degraded, f.whyRound()
}

// isRelapse: one bad address among several takes nobody down again.
func (f finding) isRelapse(failed []Signal) bool {
	if len(failed) < f.rules.Relapse {
		return false
	}
	addresses := map[string]bool{}
	for _, s := range failed {
		addresses[s.Address] = true
	}
	// Without an address the way to all of them failed.
	return addresses[""] || len(addresses) >= min(2, f.window.last.size)
}

// whyRound says what the last round means.
func (f finding) whyRound() string {
	last := f.window.last
	switch {
	case last.isBad():
		return f.whyBad()
	case last.isPartial():
		verb := "fail"
		if last.bad == 1 {
			verb = "fails"
		}
		return fmt.Sprintf("%d of %d addresses %s; %s", last.bad, last.size, verb, quote(last.quoted))
	case last.disowning > 0:
		return "it refuses the recipient of the probe, whom it took before: its refusals are not believed; " + quote(last.quoted)
	case last.isGood() && last.quoted.Class == Recipient:
		return "it takes mail, but not for the recipient of the probe: check that address; " + quote(last.quoted)
	case last.isGood():
		return "probes go well"
	case last.refusing > 0:
		return "it answers, but refuses us as we are configured; " + quote(last.quoted)
	}
	return "it answers, but no probe was accepted; " + quote(last.quoted)
}

func (f finding) whyBad() string {
	why := rounds(f.status.BadRounds, "bad") + " in a row, no address takes mail; "
	if f.against() > 0 {
		why = rounds(f.status.BadRounds, "bad") + " in a row, and " + f.evidence() + "; "
	}
	return why + quote(f.window.last.quoted)
}

func (f finding) whyAgainst() string {
	why := f.evidence() + ", although no probe round was bad"
	if f.attempts < f.rules.Attempts {
		return why
	}
	return why + "; " + quote(f.window.attempts[len(f.window.attempts)-1])
}

// evidence is what stands against the primary besides probes.
func (f finding) evidence() string {
	var parts []string
	if f.attempts >= f.rules.Attempts {
		parts = append(parts, fmt.Sprintf("%d delivery attempts in a row failed", f.attempts))
	}
	if f.senders >= f.rules.Senders {
		parts = append(parts, fmt.Sprintf("%d senders keep coming back", f.senders))
	}
	return strings.Join(parts, " and ")
}

// rounds writes a number of probe rounds.
func rounds(n int, kind string) string {
	if n == 1 {
		return "1 " + kind + " probe round"
	}
	return fmt.Sprintf("%d %s probe rounds", n, kind)
}

// maxQuote is how many characters of a reply people get to see here; the signal has all.
const maxQuote = 160

// quote repeats the reply of a signal on one line, or says how far it came without.
func quote(sig Signal) string {
	reply := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, sig.Reply)), " ")
	switch {
	case reply == "" && sig.Phase == "":
		return "no reply"
	case reply == "":
		return "no reply in phase " + string(sig.Phase)
	}
	if runes := []rune(reply); len(runes) > maxQuote {
		reply = string(runes[:maxQuote-1]) + "…"
	}
	return "last reply: " + reply
}
