package health

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestWindowIsBounded(t *testing.T) {
	var w Window
	for i := range 1000 {
		at := start.Add(time.Duration(i) * time.Millisecond)
		w = w.Add(Signal{At: at, Source: SourceProbe, Round: uint64(i + 1)}, time.Hour)
		w = w.Add(Signal{At: at, Source: SourceAttempt, Class: Outage}, time.Hour)
		w = w.Add(Signal{At: at, Source: SourceSender}, time.Hour)
	}
	if len(w.open) != maxOpen || len(w.attempts) != maxPassive || len(w.senders) != maxPassive {
		t.Errorf("%d, %d, %d", len(w.open), len(w.attempts), len(w.senders))
	}
	for i := range 1000 {
		at := start.Add(time.Duration(i) * time.Millisecond)
		sig := Signal{At: at, Source: SourceAttempt, Class: Temporary, Domain: strconv.Itoa(i), Address: strconv.Itoa(i)}
		w = w.Add(sig, time.Hour)
		sig.Class = OK
		w = w.Add(sig, time.Hour)
		w = w.Add(Signal{At: at, Source: SourceProbe}, time.Hour)
	}
	if len(w.refusals) != maxPassive || len(w.lanes) != maxLanes || len(w.sights) != maxSights || len(w.rounds) != maxPast {
		t.Errorf("%d, %d, %d, %d", len(w.refusals), len(w.lanes), len(w.sights), len(w.rounds))
	}
	if !slices.ContainsFunc(w.lanes, func(l lane) bool { return l.domain == "" }) {
		t.Errorf("a lane that is used was dropped: %+v", w.lanes)
	}
	if newest := w.open[len(w.open)-1].Round; newest != 1000 {
		t.Errorf("the newest is %d", newest)
	}
}

func TestWindowForgets(t *testing.T) {
	var w Window
	for _, second := range []int{0, 1, 61} {
		at := start.Add(time.Duration(second) * time.Second)
		w = w.Add(Signal{At: at, Source: SourceProbe, Round: uint64(second + 1)}, time.Minute)
		w = w.Add(Signal{At: at, Source: SourceAttempt, Class: Outage}, time.Minute)
		w = w.Add(Signal{At: at, Source: SourceSender}, time.Minute)
	}
	if len(w.open) != 2 || len(w.attempts) != 2 || len(w.senders) != 2 {
		t.Errorf("%d, %d, %d", len(w.open), len(w.attempts), len(w.senders))
	}
}

func TestWindowStaysAsItIs(t *testing.T) {
	var base Window
	for range 3 { // so that there is room behind them
		base = base.Add(Signal{At: start, Class: Outage, Reply: "base"}, time.Hour)
	}
	one := base.Add(Signal{At: start, Class: Outage, Reply: "one"}, time.Hour)
	two := base.Add(Signal{At: start, Class: Outage, Reply: "two"}, time.Hour)
	if len(base.attempts) != 3 || one.attempts[3].Reply != "one" || two.attempts[3].Reply != "two" {
		t.Errorf("%v, %v, %v", base.attempts, one.attempts, two.attempts)
	}
}
