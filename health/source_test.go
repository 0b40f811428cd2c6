package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever annotations say, and whenever, the states are those without them.
func TestAnnotationsNeverCount(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	classes := []Class{OK, Outage, Throttle, Misconfigured, Temporary, Recipient, Policy}
	for range 50 {
		var with, without Window
		var noted, plain Status
		rules, at := DefaultRules(), time.Unix(1e9, 0)
		for range 200 {
			at = at.Add(time.Duration(random.IntN(20)) * time.Second)
			for _, source := range []Source{SourceDNS, SourceHTTPS, SourcePublic} {
				s := Signal{At: at, Source: source, Class: classes[random.IntN(len(classes))], Phase: PhaseConnect, Host: "x"}
				with = with.Add(s, rules.Span)
				noted = rules.Next(noted, with, s)
			}
			s := Signal{At: at, Source: SourceProbe, Class: classes[random.IntN(3)], Address: "192.0.2.1:25", Phase: PhaseRcpt}
			with, without = with.Add(s, rules.Span), without.Add(s, rules.Span)
			noted, plain = rules.Next(noted, with, s), rules.Next(plain, without, s)
			if noted != plain {
				t.Fatalf("with annotations\n%+v, without\n%+v", noted, plain)
			}
		}
	}
}

func TestAnotherVantagePointMakesItFaster(t *testing.T) {
	for _, test := range []struct {
		rule    string
		vantage Class
		age     time.Duration
		probes  Class
		want    State
	}{
		{"it sees an outage, too", Outage, 0, Outage, Down},
		{"it sees none", OK, 0, Outage, Degraded},
		{"it does not know", Temporary, 0, Outage, Degraded},
		{"it is limited, too", Throttle, 0, Outage, Degraded},
		{"that was long ago", Outage, time.Hour, Outage, Degraded},
		{"what it alone sees is its own trouble", Outage, 0, OK, Up},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := NewMonitor(MonitorOptions{Upstream: "exo"})
			m.Observe(probe(OK))
			m.Observe(Signal{Source: SourceVantage, Host: "mx3", Class: test.vantage})
			time.Sleep(test.age)
			for range 2 {
				m.Observe(probe(test.probes))
			}
			s := m.Status()
			if s.State != test.want || s.Throttled.Active() || s.Misconfigured.Active() {
				t.Errorf("%s: %+v", test.rule, s)
			}
		})
	}
}

func TestTheLastOfEachVantagePointCounts(t *testing.T) {
	var w Window
	for i := range 2 * maxVantages {
		for _, class := range []Class{Outage, OK} {
			w = w.Add(Signal{Source: SourceVantage, Host: fmt.Sprint(i), Class: class}, time.Hour)
		}
	}
	if n := len(w.vantages); n != maxVantages || w.vantages[0].Host != fmt.Sprint(maxVantages) || w.vantages[0].Class != OK {
		t.Errorf("%d: %+v", n, w.vantages)
	}
}

func TestACanaryIsMail(t *testing.T) {
	m := NewMonitor(MonitorOptions{Upstream: "exo"})
	m.Observe(probe(OK))
	m.Observe(Signal{Source: SourceCanary, Class: Throttle, Reply: "451 4.7.500 Server busy"})
	if s := m.Status(); !s.Throttled.Active() || s.Throttled.Source != SourceCanary {
		t.Errorf("%+v", s)
	}
}

func TestTopics(t *testing.T) {
	m := NewMonitor(MonitorOptions{Upstream: "exo"})
	for _, s := range []Signal{
		{Source: SourceProbe, Address: "192.0.2.1:25", Session: "1"}, {Source: SourceProbe, Address: "192.0.2.2:25", Session: "2"},
		{Source: SourceDNS, Host: "a.example", Address: "192.0.2.53:53", Session: "3"}, {Source: SourceDNS, Host: "a.example", Address: "192.0.2.54:53", Session: "4"},
		{Source: SourceDNS, Host: "a.example", Address: "192.0.2.53:53", Session: "5"}, {Source: SourceControl, Host: "c.example", Session: "6"},
	} {
		m.Observe(s)
	}
	got := ""
	for _, s := range m.Topics() {
		got += s.Session
	}
	if got != "6542" {
		t.Errorf("%s: %+v", got, m.Topics())
	}
	if recent := m.Recent(); len(recent) != 3 { // what annotates pushes no evidence out
		t.Errorf("%+v", recent)
	}
	began := time.Unix(1e9, 0)
	for i := range maxTopics {
		m.Observe(Signal{At: began.Add(time.Duration(maxTopics-i) * time.Second), Source: SourceHTTPS, Host: fmt.Sprint(i)})
	}
	all := m.Topics()
	if len(all) != maxTopics || all[len(all)-1].Session != "2" {
		t.Errorf("%d, the last %+v", len(all), all[len(all)-1])
	}
}

func TestChangesOfWindows(t *testing.T) {
	at := time.Unix(1e9, 0).UTC()
	held := Status{Planned: &Override{State: Down, Until: at, Actor: "jo", Reason: "move", Window: "WIN-1"}}
	got := append(Changes("exo", Status{}, held, at), Changes("exo", held, Status{}, at)...)
	want := []Change{{At: at, Upstream: "exo", Kind: ChangeWindow, From: "none", To: "down", Actor: "jo", Why: "until 2001-09-09T01:46:40Z: move"},
		{At: at, Upstream: "exo", Kind: ChangeWindow, From: "down", To: "none", Why: "the planned window ended"}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestPlannedWindowsSteer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(MonitorOptions{Upstream: "exo"})
		stop := run(m)
		defer stop()
		m.Observe(probe(OK))
		began := time.Now()
		plan := &Override{State: Down, Until: began.Add(time.Hour), Actor: "jo", Reason: "move", Window: "WIN-1"}
		effective := func(rule string, want State) {
			t.Helper()
			if got := m.Status().Effective(time.Now()); got != want {
				t.Errorf("%s: %v, want %v", rule, got, want)
			}
		}
		m.Plan(nil)
		m.Plan(plan)
		tokens, _ := m.Changed()
		m.Plan(plan)
		if effective("a window holds", Down); taken(tokens) {
			t.Error("the same window is told twice")
		}
		m.Override(&Override{State: Up, Until: began.Add(time.Minute), Actor: "jo", Reason: "no"})
		effective("an override goes before it", Up)
		time.Sleep(2 * time.Minute)
		effective("the override is over", Down)
		time.Sleep(time.Hour)
		effective("the window is over", Up)
		m.Plan(&Override{State: Down, Window: "WIN-2", Actor: "jo", Reason: "move"})
		time.Sleep(1000 * time.Hour)
		effective("a window without an end", Down)
		m.Plan(nil)
		effective("it was removed", Up)
		m.Plan(&Override{State: Down, Until: began, Window: "WIN-3"})
		effective("a window that is over", Up)
		var whys []string
		for _, tr := range m.Transitions()[1:] {
			whys = append(whys, tr.Why)
		}
		want := []string{
			"planned window WIN-1 by jo until 2000-01-01T01:00:00Z: move", "override by jo until 2000-01-01T00:01:00Z: no",
			"planned window WIN-1 by jo until 2000-01-01T01:00:00Z: move", "the planned window ended",
			"planned window WIN-2 by jo until it is removed: move", "the planned window ended",
		}
		if fmt.Sprint(whys) != fmt.Sprint(want) {
			t.Errorf("%q", whys)
		}
	})
}
