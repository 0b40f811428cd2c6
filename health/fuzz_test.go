package health

import (
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzNext feeds any signals, in any order of time, and holds the rules to what
// they promise whatever happens.
func FuzzNext(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 20, 0, 1, 10, 0, 1, 10, 0, 0, 10})
	f.Add([]byte{0x10, 1, 0, 0x10, 1, 1, 0x10, 1, 2, 0x20, 1, 3})
	f.Add([]byte{0x40, 1, 5, 0x80, 0, 5, 0xc0, 3, 200})
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 600)] // more finds nothing more
		rules := DefaultRules()
		var s Status
		var w Window
		at := start
		for ; len(data) >= 3; data = data[3:] {
			at = at.Add(time.Duration(int8(data[2])) * time.Second)
			sig := Signal{At: at, Source: []Source{SourceProbe, SourceAttempt, SourceSender, SourceControl, SourcePassage, "", SourceProbe, SourceAttempt}[data[0]>>3&7], Class: Class(data[1] % 9),
				Round: uint64(data[0] & 3), Last: data[0]&4 != 0, Address: string(data[0] >> 6), Took: time.Duration(data[1]>>4) * time.Second, Reply: string(data[:3])}
			if data[1]&8 != 0 {
				sig.Condition = allFrontEnds
			}
			sig.Phase = []Phase{PhaseRcpt, PhaseConnect, PhaseFinal, PhaseResolve}[data[1]>>4&3]
			sig.Domain, sig.SourceIP = string(data[1]>>6&1), string(data[1]>>7)
			old := w
			w = w.Add(sig, rules.Span)
			next := rules.Next(s, w, sig)
			checkStep(t, s, next, w, sig)
			if again := rules.Next(s, old.Add(sig, rules.Span), sig); again != next {
				t.Fatalf("not pure: %+v and %+v", next, again)
			}
			s = next
		}
	})
}

func checkStep(t *testing.T, was, is Status, w Window, sig Signal) {
	t.Helper()
	switch {
	case is.State > Recovering:
		t.Fatalf("no such state: %v", is.State)
	case is.State == Down && (was.State == Up || was.State == Degraded) && is.BadRounds == 0:
		t.Fatalf("down without a bad round: %+v", is)
	case is.State == Up && was.State == Down:
		t.Fatalf("up without recovering: %+v", is)
	case is.State == Up && was.State != Up && (is.BadRounds > 0 || w.last.good == 0 || w.last.bad > 0):
		t.Fatalf("up without a good round: %+v", is)
	case is.State == Recovering && was.State != Recovering && was.State != Down:
		t.Fatalf("recovering from %v", was.State)
	case is.BadRounds > 0 && is.GoodRounds > 0:
		t.Fatalf("good and bad in a row: %+v", is)
	case is.State != was.State && (is.Since != sig.At || is.Why == ""):
		t.Fatalf("a change without time or reason: %+v", is)
	case !utf8.ValidString(is.Why) || utf8.RuneCountInString(is.Why) > 2*maxQuote:
		t.Fatalf("not fit to be read: %q", is.Why)
	case is.Waits(sig.At) && !is.Network.Active() && !is.Misconfigured.Active():
		t.Fatalf("deliveries wait for nothing: %+v", is)
	case is.Network.Active() && is.State == Up:
		t.Fatalf("up, and nothing is known: %+v", is)
	case len(w.sights) > maxSights || len(w.lanes) > maxLanes || len(w.rounds) > maxPast || len(w.refusals) > maxPassive:
		t.Fatalf("the window grows: %d, %d, %d, %d", len(w.sights), len(w.lanes), len(w.rounds), len(w.refusals))
	case len(w.open) > maxOpen || len(w.attempts) > maxPassive || len(w.senders) > maxPassive:
		t.Fatalf("the window grows: %d, %d, %d", len(w.open), len(w.attempts), len(w.senders))
	}
}
