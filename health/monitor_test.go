package health

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func probe(class Class) Signal {
	return Signal{Source: SourceProbe, Class: class, Upstream: "exo", Reply: "what it said"}
}

// outage brings a monitor down at once: three bad rounds.
func outage(m *Monitor) {
	for range 3 {
		m.Observe(probe(Outage))
	}
}

// run starts Run and returns what ends it and waits for it.
func run(m *Monitor) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	return func() { cancel(); <-done }
}

func taken(tokens <-chan struct{}) bool {
	select {
	case <-tokens:
		return true
	default:
		return false
	}
}

func TestMonitorBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ended, running := &Override{State: Up, Until: now}, &Override{State: Up, Until: now.Add(1)}
		for _, test := range []struct {
			rule          string
			initial, want Status
		}{
			{"with nothing known: degraded", Status{}, Status{Since: now, Why: unknown}},
			{"with what was saved", Status{State: Down, Since: now.Add(-1), Why: "so", Trials: 2}, Status{State: Down, Since: now.Add(-1), Why: "so", Trials: 2}},
			{"but rounds are counted anew", Status{Since: now, Why: "so", BadRounds: 2}, Status{Since: now, Why: "so"}},
			{"and not in the future", Status{Since: now.Add(time.Hour), Why: "so"}, Status{Since: now, Why: "so"}},
			{"with an override", Status{Since: now, Why: "so", Override: running}, Status{Since: now, Why: "so", Override: running}},
			{"without one that has ended", Status{Since: now, Why: "so", Override: ended}, Status{Since: now, Why: "so"}},
		} {
			if got := NewMonitor(MonitorOptions{Initial: test.initial}).Status(); got != test.want {
				t.Errorf("%s: %+v, want %+v", test.rule, got, test.want)
			}
		}
	})
}

func TestMonitorObserves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(MonitorOptions{Upstream: "exo"})
		began := time.Now()
		m.Observe(probe(OK))
		time.Sleep(time.Minute)
		m.Observe(Signal{Upstream: "another", Source: SourceProbe, Class: Outage})
		m.Observe(Signal{Source: SourceProbe, Class: Outage, At: time.Now().Add(time.Hour)})
		if s := m.Status(); s.State != Degraded || s.BadRounds != 1 || !s.Since.Equal(time.Now()) {
			t.Errorf("%+v", s)
		}
		recent := m.Recent()
		if len(recent) != 2 || !recent[0].At.Equal(began) || !recent[1].At.Equal(time.Now()) || recent[1].Upstream != "exo" {
			t.Errorf("%+v", recent)
		}
		want := []Transition{{began, Degraded, Up, "probes go well"}, {time.Now(), Up, Degraded, "1 bad probe round in a row, no address takes mail; no reply"}}
		if got := m.Transitions(); !slices.Equal(got, want) {
			t.Errorf("%+v", got)
		}
	})
}

func TestMonitorRemembersTheLast(t *testing.T) {
	m := NewMonitor(MonitorOptions{Upstream: "exo"})
	if got := len(m.Recent()) + len(m.Transitions()); got != 0 {
		t.Errorf("%d at first", got)
	}
	for i := range 2*maxRecent + 7 {
		m.Observe(Signal{Source: SourceProbe, Class: []Class{OK, Outage, OK, OK}[i%4], Session: fmt.Sprint(i)})
	}
	recent := m.Recent()
	if len(recent) != maxRecent || recent[0].Session != fmt.Sprint(maxRecent+7) || recent[maxRecent-1].Session != fmt.Sprint(2*maxRecent+6) {
		t.Errorf("%d, from %s to %s", len(recent), recent[0].Session, recent[len(recent)-1].Session)
	}
}

func TestMonitorTells(t *testing.T) {
	m := NewMonitor(MonitorOptions{Upstream: "exo"})
	tokens, unsubscribe := m.Changed()
	others, _ := m.Changed()
	for _, test := range []struct {
		rule string
		do   func()
		want bool
	}{
		{"nothing happened", func() {}, false},
		{"up", func() { m.Observe(probe(OK)) }, true},
		{"still up", func() { m.Observe(probe(OK)) }, false},
		{"throttled", func() { m.Observe(probe(Throttle)) }, true},
		{"still throttled", func() { m.Observe(probe(Throttle)) }, false},
		{"misconfigured", func() { m.Observe(probe(Misconfigured)) }, true},
		{"not any more", func() { m.Observe(probe(OK)) }, true},
		{"several changes leave one token", func() { outage(m) }, true},
		{"an override", func() { m.Override(&Override{State: Up, Until: time.Now().Add(time.Hour)}) }, true},
		{"another state below an override", func() { m.Observe(probe(OK)) }, false},
		{"the override is taken back", func() { m.Override(nil) }, true},
		{"there is none to take back", func() { m.Override(nil) }, false},
		{"nobody listens any more", func() { unsubscribe(); unsubscribe(); outage(m) }, false},
	} {
		test.do()
		if got := taken(tokens); got != test.want {
			t.Errorf("%s: %v", test.rule, got)
		}
		if taken(tokens) {
			t.Errorf("%s: a second token", test.rule)
		}
	}
	if !taken(others) {
		t.Error("the other subscriber got nothing")
	}
}

func TestMonitorOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(MonitorOptions{Upstream: "exo"})
		outage(m)
		given := &Override{State: Up, Until: time.Now().Add(time.Minute), Actor: "j.doe", Reason: "it works"}
		m.Override(given)
		given.State = Down // what is handed over is copied
		if s := m.Status(); s.State != Down || s.Effective(time.Now()) != Up {
			t.Errorf("%+v", s)
		}
		m.Observe(probe(OK))
		if s := m.Status(); s.State != Recovering || s.Effective(time.Now()) != Up {
			t.Errorf("signals are recorded all the same: %+v", s)
		}
		time.Sleep(time.Minute) // nothing runs: the status is right all the same
		if s := m.Status(); s.Override != nil || s.Effective(time.Now()) != Recovering {
			t.Errorf("it has ended: %+v", s)
		}
		m.Override(&Override{State: Down, Until: time.Now()})
		if s := m.Status(); s.Override != nil {
			t.Errorf("it had ended before it began: %+v", s)
		}
		m.Override(&Override{State: Recovering, Until: time.Now().Add(time.Minute)}) // changes nothing: no transition
		m.Override(nil)
		var got []string
		for _, c := range m.Transitions()[1:] {
			got = append(got, fmt.Sprintf("%v %v: %s", c.From, c.To, c.Why))
		}
		want := []string{"down up: override by j.doe until 2000-01-01T00:01:00Z: it works",
			"down recovering: it answers again; trial messages are delivered; last reply: what it said", "up recovering: the override ended"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestRunEndsWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(MonitorOptions{Upstream: "exo"})
		stop := run(m)
		m.Observe(probe(OK))
		synctest.Wait()
		tokens, unsubscribe := m.Changed()
		defer unsubscribe()
		began := time.Now()
		m.Override(&Override{State: Down, Until: began.Add(time.Hour)})
		m.Observe(Signal{Source: SourceAttempt, Class: Throttle})
		<-tokens
		for _, test := range []struct {
			what  string
			after time.Duration
		}{
			{"the throttling", 10 * time.Minute},
			{"the override", time.Hour},
		} {
			<-tokens
			if took := time.Since(began); took != test.after {
				t.Errorf("%s ended after %v", test.what, took)
			}
		}
		if got := viewOf(m.Status(), time.Now()); got != (view{state: Up}) {
			t.Errorf("%+v", got)
		}
		stop()
	})
}

func TestRunSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var saved []string
		m := NewMonitor(MonitorOptions{Upstream: "exo", Save: func(s Status) {
			saved = append(saved, fmt.Sprintf("%v %v", s.Effective(time.Now()), s.Throttled.Active()))
			time.Sleep(time.Minute) // a slow disk: nobody waits for it, and only the newest is written
		}})
		stop := run(m)
		synctest.Wait()
		began := time.Now()
		m.Observe(probe(OK))
		synctest.Wait()
		m.Observe(probe(OK))
		outage(m)
		m.Override(&Override{State: Up, Until: time.Now().Add(time.Hour)})
		m.Observe(Signal{Source: SourceAttempt, Class: Throttle})
		if time.Since(began) != 0 {
			t.Error("somebody waited for the disk")
		}
		time.Sleep(10 * time.Minute)
		m.Observe(probe(Outage)) // nothing new
		synctest.Wait()
		m.Override(nil)
		stop()
		if want := []string{"up false", "up true", "up false", "down false"}; !slices.Equal(saved, want) {
			t.Errorf("%q, want %q", saved, want)
		}
	})
}

func TestRunSavesAtTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var saved Status
	m := NewMonitor(MonitorOptions{Upstream: "exo", Save: func(s Status) { saved = s }})
	m.Observe(probe(OK))
	m.Run(ctx)
	if saved.State != Up {
		t.Errorf("%+v", saved)
	}
}

func TestMonitorTogether(t *testing.T) {
	m := NewMonitor(MonitorOptions{Upstream: "exo", Save: func(Status) {}})
	stop := run(m)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			tokens, unsubscribe := m.Changed()
			for n := range 200 {
				m.Observe(Signal{Source: []Source{SourceProbe, SourceAttempt}[n%2], Class: Class(n / (i + 1) % 4)})
				m.Override(&Override{State: Up, Until: time.Now().Add(time.Duration(n%3) * time.Microsecond)})
				_, _, _, _ = m.Status(), m.Recent(), m.Transitions(), taken(tokens)
			}
			unsubscribe()
		})
	}
	group.Wait()
	stop()
	if got := len(m.Recent()); got != maxRecent {
		t.Errorf("%d signals", got)
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, bench := range []struct {
		name    string
		classes []Class
	}{
		{"accepted", []Class{OK}},
		{"failed", []Class{Outage}},
		{"mixed", []Class{OK, Outage, Outage, Throttle}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := NewMonitor(MonitorOptions{Upstream: "exo"})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Observe(Signal{Source: SourceAttempt, Class: bench.classes[i%len(bench.classes)], Reply: "451 4.3.2 Temporary server error. Please try again later ATTR2"})
			}
		})
	}
}
