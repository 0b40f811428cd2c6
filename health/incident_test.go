package health

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

var one = time.Date(2026, 3, 12, 13, 0, 0, 0, time.UTC)

// minute is so many minutes after one o'clock.
func minute(n int) time.Time { return one.Add(time.Duration(n) * time.Minute) }

// glance is what an incident sees at a minute: D down, r recovering, d degraded,
// u up while mail waits, U up while none does, S the same with the account settled.
type glance struct {
	minute int
	sees   byte
}

func (s glance) seen() Seen {
	seen := Seen{At: minute(s.minute), Quiet: 15 * time.Minute, Waiting: s.sees == 'u', Settled: s.sees == 'S', Why: "because"}
	seen.State = map[byte]State{'D': Down, 'r': Recovering, 'd': Degraded, 'u': Up, 'U': Up, 'S': Up}[s.sees]
	return seen
}

func TestIncident(t *testing.T) {
	tests := []struct {
		rule   string
		opener string
		steps  []glance // the first one opens it
		want   IncidentState
		what   string // of all moments
	}{
		{"it goes its way", ByRelay, []glance{{0, 'D'}, {10, 'r'}, {12, 'u'}, {20, 'U'}, {36, 'S'}}, IncidentClosed, "opened recovering up drained closed"},
		{"it lasts", ByRelay, []glance{{0, 'D'}, {10, 'D'}}, IncidentOpen, "opened"},
		{"it is down again while recovering", ByRelay, []glance{{0, 'D'}, {10, 'r'}, {12, 'D'}}, IncidentOpen, "opened recovering down"},
		{"up at once", ByRelay, []glance{{0, 'D'}, {10, 'U'}}, IncidentDrained, "opened recovering up drained"},
		{"mail waits", ByRelay, []glance{{0, 'D'}, {10, 'u'}, {11, 'u'}}, IncidentRecovering, "opened recovering up"},
		{"degraded is not up", ByRelay, []glance{{0, 'D'}, {10, 'd'}, {30, 'd'}}, IncidentRecovering, "opened recovering"},
		{"up, degraded, up", ByRelay, []glance{{0, 'D'}, {10, 'u'}, {11, 'd'}, {12, 'U'}}, IncidentDrained, "opened recovering up up drained"},
		{"not quiet for long enough", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {24, 'S'}}, IncidentDrained, "opened recovering up drained"},
		{"a bad moment while quiet", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {20, 'd'}, {21, 'U'}, {30, 'S'}}, IncidentDrained, "opened recovering up drained"},
		{"a bad moment, and then quiet", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {20, 'd'}, {21, 'U'}, {36, 'S'}}, IncidentClosed, "opened recovering up drained closed"},
		{"down while quiet", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {20, 'D'}}, IncidentOpen, "opened recovering up drained down"},
		{"without its account", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {60, 'U'}}, IncidentDrained, "opened recovering up drained"},
		{"closed stays closed", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {60, 'S'}, {61, 'D'}}, IncidentClosed, "opened recovering up drained closed"},
		{"the clock is set back while quiet", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {-60, 'S'}, {-50, 'S'}}, IncidentDrained, "opened recovering up drained"},
		{"the clock is set back, and then quiet", ByRelay, []glance{{0, 'D'}, {10, 'U'}, {-60, 'S'}, {-45, 'S'}}, IncidentClosed, "opened recovering up drained closed"},
		{"a person's stays open", "j.doe", []glance{{0, 'U'}, {10, 'U'}, {20, 'r'}}, IncidentOpen, "opened"},
		{"a person's that was down", "j.doe", []glance{{0, 'U'}, {10, 'D'}, {20, 'U'}}, IncidentDrained, "opened down recovering up drained"},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			i := OpenIncident("INC-2026-03-12-1", "exo", test.steps[0].seen(), test.opener, time.Time{})
			for _, s := range test.steps[1:] {
				i = i.Next(s.seen())
			}
			var what []string
			for _, m := range i.Moments {
				what = append(what, m.What)
			}
			if i.State != test.want || strings.Join(what, " ") != test.what {
				t.Errorf("%s, %q", i.State, what)
			}
			if i.Lasts() != (i.State == IncidentOpen || i.State == IncidentRecovering) {
				t.Error("it lasts, or not, in state", i.State)
			}
		})
	}
}

func TestWhichMailIsOfAnIncident(t *testing.T) {
	i := OpenIncident("x", "exo", glance{10, 'D'}.seen(), ByRelay, minute(8))
	if !i.Began.Equal(minute(8)) || !i.From.Equal(minute(8)) || !i.Opened.Equal(minute(10)) {
		t.Errorf("%+v", i)
	}
	if later := OpenIncident("x", "exo", glance{10, 'D'}.seen(), ByRelay, minute(11)); !later.Began.Equal(minute(10)) {
		t.Errorf("it began after it was opened: %+v", later)
	}
	i = i.Next(glance{5, 'D'}.seen()) // the clock was set back
	from, until := i.Stopped()
	if !from.Equal(minute(5)) || !until.IsZero() {
		t.Errorf("%v %v", from, until)
	}
	i = i.Next(glance{20, 'u'}.seen())
	if !i.Until.Equal(minute(20)) {
		t.Errorf("until %v", i.Until)
	}
	if again := i.Next(glance{21, 'D'}.seen()); !again.Until.IsZero() {
		t.Errorf("until %v", again.Until)
	}
	i = i.Next(glance{30, 'U'}.seen())
	if _, until = i.Stopped(); !until.Equal(minute(30)) || !i.Until.Equal(minute(20)) {
		t.Errorf("stopped until %v, mail until %v", until, i.Until)
	}
	closed := OpenIncident("x", "exo", glance{10, 'U'}.seen(), "j.doe", time.Time{}).Close(minute(40), "j.doe", "no trouble")
	if _, until = closed.Stopped(); !until.Equal(minute(40)) || !closed.Until.Equal(minute(40)) {
		t.Errorf("%+v", closed)
	}
}

func TestWhatPeopleAdd(t *testing.T) {
	i := OpenIncident("x", "exo", glance{0, 'D'}.seen(), ByRelay, time.Time{})
	was := len(i.Moments)
	a := i.Acknowledge(minute(1), "j.doe", "").Acknowledge(minute(2), "a.roe", "me too").Link(minute(3), "j.doe", "MO1221364").With(Moment{At: minute(4), What: "note"})
	if a.Acked.Actor != "j.doe" || !reflect.DeepEqual(a.Links, []string{"MO1221364"}) || len(a.Moments) != was+4 || len(i.Moments) != was {
		t.Errorf("%+v", a)
	}
}

func TestNewIncidentID(t *testing.T) {
	known := []string{"INC-2026-03-11-7", "INC-2026-03-12-2", "INC-2026-03-12-x", "DRILL-2026-03-12-9"}
	for want, day := range map[string]time.Time{"INC-2026-03-12-3": one, "INC-2026-03-13-1": one.Add(24 * time.Hour), "INC-2026-03-11-8": one.Add(-24 * time.Hour)} {
		if got := NewIncidentID(day, known); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	override := &Override{State: Down, Until: minute(60), Actor: "j.doe", Reason: "test"}
	was := Status{State: Up, Throttled: Condition{Since: minute(0)}}
	is := Status{State: Down, Why: "bad", Override: override, Misconfigured: Condition{Since: minute(1), Reply: "550 5.7.51"}}
	want := []Change{
		{At: minute(2), Upstream: "exo", Kind: ChangeState, From: "up", To: "down", Why: "bad"},
		{At: minute(2), Upstream: "exo", Kind: ChangeOverride, From: "none", To: "down", Actor: "j.doe", Why: "until 2026-03-12T14:00:00Z: test"},
		{At: minute(2), Upstream: "exo", Kind: ChangeThrottled, To: "ended"},
		{At: minute(2), Upstream: "exo", Kind: ChangeMisconfigured, To: "began", Why: "550 5.7.51"},
	}
	if got := Changes("exo", was, is, minute(2)); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := Changes("exo", is, is, minute(2)); got != nil {
		t.Errorf("nothing changed: %+v", got)
	}
	is.Override = nil
	if got := Changes("exo", Status{State: Down, Misconfigured: is.Misconfigured, Override: override}, is, minute(3)); len(got) != 1 || got[0].To != "none" || got[0].Why != "the override ended" {
		t.Errorf("%+v", got)
	}
}
