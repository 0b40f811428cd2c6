package queue

import (
	"testing"
	"time"
)

// at is a number of minutes after noon.
func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func TestStopsWithin(t *testing.T) {
	tests := []struct {
		rule     string
		stops    Stops
		from, to int
		want     int // minutes
	}{
		{"there is none", nil, 0, 60, 0},
		{"one lies within", Stops{{at(10), at(20)}}, 0, 60, 10},
		{"one began before", Stops{{at(-10), at(20)}}, 0, 60, 20},
		{"one lasts", Stops{{From: at(50)}}, 0, 60, 10},
		{"one ends later", Stops{{at(50), at(90)}}, 0, 60, 10},
		{"one is over before", Stops{{at(-50), at(-10)}}, 0, 60, 0},
		{"one begins later", Stops{{From: at(61)}}, 0, 60, 0},
		{"one ends before it begins: the clock was set back", Stops{{at(20), at(10)}}, 0, 60, 0},
		{"two apart, the later one first", Stops{{at(30), at(40)}, {at(10), at(15)}}, 0, 60, 15},
		{"two overlap", Stops{{at(10), at(30)}, {at(20), at(40)}}, 0, 60, 30},
		{"one within another", Stops{{at(10), at(40)}, {at(20), at(30)}}, 0, 60, 30},
		{"the same twice", Stops{{at(10), at(40)}, {at(10), at(40)}}, 0, 60, 30},
		{"two that begin alike", Stops{{at(10), at(20)}, {at(10), at(40)}}, 0, 60, 30},
		{"no time at all", Stops{{From: at(0)}}, 60, 60, 0},
		{"backwards", Stops{{From: at(0)}}, 60, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			if got := test.stops.Within(at(test.from), at(test.to)); got != time.Duration(test.want)*time.Minute {
				t.Errorf("%v, want %d minutes", got, test.want)
			}
		})
	}
}

// TestTheClockStandsStill: an outage and a hold each stop the clock, and
// together they stop it once.
func TestTheClockStandsStill(t *testing.T) {
	m := Message{ID: "000000000001", AcceptedAt: at(0), Lifetime: time.Hour,
		Envelope: Envelope{Recipients: []Recipient{{ForwardPath: "a@corp.example"}}}}
	expires := func(m Message, now, want int) {
		t.Helper()
		if got := m.Expires(at(now)); !got.Equal(at(want)) {
			t.Errorf("at %d: %v, want %v", now, got, at(want))
		}
	}
	expires(m, 30, 60)
	m.Stops = Stops{{From: at(10)}} // an outage
	expires(m, 5, 60)
	expires(m, 30, 80)

	hold := Amendment{ID: m.ID, At: at(20), Event: Hold, Actor: "j.doe"}
	m, _, err := m.Amended(hold)
	if err != nil {
		t.Fatal(err)
	}
	expires(m, 30, 80)
	m.Stops[0].Until = at(40) // the outage is over, the hold is not
	expires(m, 50, 100)
	m, _, err = m.Amended(Amendment{ID: m.ID, At: at(50), Event: Release, Actor: "j.doe"})
	if err != nil || m.Extended != 10*time.Minute {
		t.Fatalf("extended by %v, %v; want the 10 minutes after the outage", m.Extended, err)
	}
	expires(m, 50, 100)
	expires(m, 90, 100)

	plan := func(now int) Action {
		deferral := Result{Action: Deferred, Scope: ScopeOneRecipient, Reply: Reply{Code: 452}}
		return Plan(DefaultSchedule(), m, map[int]Result{0: deferral}, at(now)).Results[0].Action
	}
	if plan(99) != Deferred || plan(100) != Refused {
		t.Errorf("the plan says %v and %v", plan(99), plan(100))
	}
}
