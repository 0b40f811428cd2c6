package health

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// finding is all that a decision rests on.
type finding struct {
	status            Status // with the signal counted, still in its old state
	window            Window
	rules             Rules
	now               time.Time
	mail              mail // of Rules.Span
	attempts, senders int  // failed with no accepted one after them, and returned, within Rules.Span
}

func (r Rules) find(s Status, w Window, now time.Time) finding {
	at := now.Add(-r.Span)
	return finding{status: s, window: w, rules: r, now: now, mail: w.mailSince(at),
		attempts: len(w.failedAttempts(at)), senders: len(w.returningSenders(at))}
}

// decide names the next state, and why.
func (f finding) decide() (State, string) {
	if f.status.Network.Active() {
		return f.whenBlind()
	}
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

// mailFails says how much what messages met stands against the primary: 1 if
// most failed, 2 if it is beyond doubt and not about one address of several.
func (f finding) mailFails() int {
	m := f.mail
	switch least := float64(f.rules.Attempts); {
	case m.bad < least || m.bad < 2*m.good:
		return 0
	case m.bad >= least+2 && (m.nowhere || m.addresses >= min(2, f.window.last.size)):
		return 2
	}
	return 1
}

// against weighs the passive evidence that stands against the primary.
func (f finding) against() int {
	weight := f.mailFails()
	if f.senders >= f.rules.Senders {
		weight++
	}
	return weight
}

// lingers reports whether still too many messages fail to call it well.
func (f finding) lingers() bool { return f.mail.bad >= 2 && 2*f.mail.bad >= f.mail.good }

// isOutage: enough bad rounds in a row. Passive evidence, another vantage point
// that sees it too, or a long wait, makes it faster, but does not suffice; what lets up again and again needs more of
// them, or enough of the probes failing for long.
func (f finding) isOutage() bool {
	s := f.status
	if s.BadRounds == 0 || f.isThin() || f.mayBeOurs() || f.passes() {
		return false
	}
	weight := s.BadRounds + f.against() + f.seconds()
	if f.window.last.isLong() {
		weight++
	}
	return weight >= f.needed() || f.isMostlyBad()
}

// needed is how many bad rounds in a row make an outage. Where trouble lets up
// again and again some in a row are chance; once is forgiven.
func (f finding) needed() int {
	return min(f.rules.Bad+max(0, f.window.letUps()-1), mostNeeded*f.rules.Bad)
}

const (
	mostNeeded = 4 // times Rules.Bad

	// A share of probes that is an outage although some go well, and over how
	// many rounds: half of them is reached by chance too often to be told apart sooner.
	mostlyShare  = 0.75
	mostlyRounds = 24

	// lately is how long it is remembered how many addresses there are.
	lately = 2 * time.Minute
)

func (f finding) isMostlyBad() bool {
	share, rounds := f.window.share()
	return rounds >= mostlyRounds && share >= mostlyShare
}

// isThin reports whether the bad rounds saw one address only of a primary that
// has more. That is believed in the end: it may have given them up.
func (f finding) isThin() bool {
	last := f.window.last
	return last.size == 1 && last.quoted.Address != "" && f.window.widest(f.now.Add(-lately)) > 1
}

// mayBeOurs reports whether nobody knows yet if our own network is broken: the
// primary is not reached, and neither is the target outside, or it has not been
// looked at since. That look is not waited for in vain.
func (f finding) mayBeOurs() bool {
	w := f.window
	if !w.last.isUnreached() || w.control.At.IsZero() {
		return false
	}
	return w.control.Class != OK || !w.control.At.After(w.badSince()) && f.status.BadRounds < 2*f.rules.Bad
}

// passes reports whether messages go through while the probes fail: at least
// half of those of the last minute.
func (f finding) passes() bool {
	at := f.window.badSince()
	if lately := f.now.Add(-passing); at.Before(lately) {
		at = lately
	}
	m := f.window.mailSince(at)
	return m.good >= 1 && m.good >= m.bad
}

// passing is how long an accepted message contradicts probes that fail.
const passing = time.Minute

// narrowRun is how many messages for one domain have to fail in a row, while
// others go through.
const narrowRun = 5

// narrow is the domain, or the address of ours, for which alone messages fail;
// zero if there is none.
func (f finding) narrow() Scope {
	at := f.now.Add(-f.rules.Span)
	for _, l := range f.window.lanes {
		if l.bad >= narrowRun && !l.failed.Before(at) {
			return f.window.scope(lane.failedAt, at)
		}
	}
	return Scope{}
}

// scope is what the trouble is limited to.
func (f finding) scope(next State) Scope {
	last := f.window.last
	switch narrow := f.narrow(); {
	case next == Up || next == Recovering || f.status.Network.Active():
		return Scope{}
	case narrow != Scope{}:
		return narrow
	case last.isPartial() && last.bad == 1 && f.mailFails() == 0:
		return Scope{Host: last.quoted.Host, Address: last.quoted.Address}
	}
	return Scope{}
}

// good is how many good rounds in a row end trouble: more where it lets up, and
// comes back, again and again.
func (f finding) good() int {
	least := f.rules.Good
	return min(max(least<<min(f.status.Relapses, maxDoublings), least+max(0, f.window.letUps()-least)), least<<maxDoublings)
}

// answers is how many rounds in a row have to be answered to try again.
func (f finding) answers() int { return min(1+f.status.Relapses, maxAnswers) }

// The caps of what relapses make slower: a recovery is still noticed within a
// minute, and believed within ten.
const (
	maxDoublings = 3
	maxAnswers   = 5
)

// whenBlind: nothing is known of the primary, so mail is taken, and an outage
// that was declared stays.
func (f finding) whenBlind() (State, string) {
	state := f.status.State
	if state == Up {
		state = Degraded
	}
	return state, "our own network is broken: neither the primary nor a target outside is reached; " + quote(f.window.last.quoted)
}

func (f finding) whenUp() (State, string) {
	last := f.window.last
	switch {
	case f.isOutage():
		return Down, f.whyBad()
	case f.window.ended && (last.isBad() || last.disowning > 0 || f.window.unclean(2*f.rules.Bad) >= f.rules.Bad):
		return Degraded, f.whyRound()
	case f.against() > 0:
		return Degraded, f.whyAgainst()
	case f.narrow() != Scope{}:
		return Degraded, f.whyNarrow()
	case f.window.ended:
		return Up, f.whyRound()
	}
	return Up, f.status.Why
}

func (f finding) whenDegraded() (State, string) {
	enough := f.status.GoodRounds >= f.good() || !f.window.trouble
	switch {
	case f.isOutage():
		return Down, f.whyBad()
	case f.against() > 0 && f.status.BadRounds == 0:
		return Degraded, f.whyAgainst()
	case f.narrow() != Scope{} && f.status.BadRounds == 0:
		return Degraded, f.whyNarrow()
	case !f.window.ended:
		return Degraded, f.status.Why
	case f.window.last.isGood() && enough && !f.lingers():
		return Up, f.whyRound()
	case f.window.last.isGood() && enough:
		return Degraded, "probes go well, but too many of the last messages failed; " + quote(f.window.last.quoted)
	case f.window.last.isGood():
		return Degraded, fmt.Sprintf("there was trouble; %s since, %d are needed", rounds(f.status.GoodRounds, "good"), f.good())
	}
	return Degraded, f.whyRound()
}

func (f finding) whenDown() (State, string) {
	answered := f.window.last.isAnswered()
	switch {
	case !f.window.ended:
		return Down, f.status.Why
	case answered && f.status.GoodRounds >= f.answers():
		return Recovering, "it answers again; trial messages are delivered; " + quote(f.window.last.quoted)
	case answered:
		return Down, fmt.Sprintf("it answers again, as it did before it failed again: %d rounds in a row are needed, this was number %d; %s",
			f.answers(), f.status.GoodRounds, quote(f.window.last.quoted))
	}
	return Down, f.whyRound()
}

func (f finding) whenRecovering() (State, string) {
	s, r := f.status, f.rules
	failed := f.window.failedTrials(s.Since)
	rested := s.GoodRounds >= max(r.Quiet, f.good()) && len(failed) == 0
	switch {
	case f.window.ended && s.BadRounds >= min(1+s.Relapses, r.Bad) && !f.mayBeOurs():
		return Down, "it failed again while recovering, on every address; " + quote(f.window.last.quoted)
	case f.isRelapse(failed):
		return Down, fmt.Sprintf("it failed again while recovering, in %d delivery attempts; %s", len(failed), quote(failed[len(failed)-1]))
	case s.GoodRounds < f.good() || s.Trials < r.Trials && !rested:
		return Recovering, fmt.Sprintf("%s since the outage; %d of %d trial messages accepted", rounds(s.GoodRounds, "good"), s.Trials, r.Trials)
	case f.window.last.isGood():
		return Up, f.whyRound()
	}
	return Degraded, f.whyRound()
}

// isRelapse: one bad address among several takes nobody down again. Each time
// that it is one more failures are needed: where half of them fail, two in a row are chance.
func (f finding) isRelapse(failed []Signal) bool {
	if len(failed) < f.rules.Relapse*min(1+f.status.Relapses, mostNeeded) {
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
	if f.mailFails() == 0 || len(f.window.attempts) == 0 {
		return why
	}
	return why + "; " + quote(f.window.attempts[len(f.window.attempts)-1])
}

func (f finding) whyNarrow() string {
	return f.narrow().String() + " is in trouble: its last messages failed, others are taken"
}

// evidence is what stands against the primary besides probes.
func (f finding) evidence() string {
	var parts []string
	switch {
	case f.mailFails() > 0 && f.mail.good == 0:
		parts = append(parts, fmt.Sprintf("%d delivery attempts in a row failed", f.attempts))
	case f.mailFails() > 0:
		parts = append(parts, "most of the last delivery attempts failed")
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
