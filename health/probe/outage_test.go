package probe

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// part is how a primary acts: what the probe of an address (from 0) finds so
// long after the outage began, and after how long.
type part func(elapsed time.Duration, address int) (health.Signal, time.Duration)

var (
	healthy    = health.Signal{Class: health.OK, Reply: "250 2.1.5 OK"}
	busy       = health.Signal{Class: health.Outage, Reply: "451 4.3.2 Temporary server error. Please try again later ATTR2"}
	silent     = health.Signal{Class: health.Outage, Phase: health.PhaseBanner}
	throttling = health.Signal{Class: health.Throttle, Reply: "451 4.7.500 Server busy"}
	foreign    = health.Signal{Class: health.Misconfigured, Reply: "550 5.7.51 TenantInboundAttribution"}
)

const quick = 200 * time.Millisecond

func always(s health.Signal) part {
	return func(time.Duration, int) (health.Signal, time.Duration) { return s, quick }
}

// stage is a real Prober and a real Monitor before a played primary of two addresses.
type stage struct {
	monitor *health.Monitor
	prober  *Prober

	mu    sync.Mutex
	acts  part
	began time.Time // of the first part that is not healthy
	round uint64
}

// next is the part to be acted now, how long the trouble lasts and the number of the round.
func (s *stage) next() (part, time.Duration, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	return s.acts, time.Since(s.began), s.round
}

func (s *stage) cast(p part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = p
}

func (s *stage) check(ctx context.Context) []health.Signal {
	acts, elapsed, round := s.next()
	signals := make([]health.Signal, 2)
	var group sync.WaitGroup
	for i := range signals {
		group.Go(func() {
			began := time.Now()
			sig, delay := acts(elapsed, i)
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				sig = silent
			}
			sig.At, sig.Source, sig.Round, sig.Address = time.Now(), health.SourceProbe, round, fmt.Sprint(i)
			sig.Took = time.Since(began)
			signals[i] = sig
		})
	}
	group.Wait()
	signals[1].Last = true
	return signals
}

// perform plays the part for so long, beginning just after a good round of a
// primary that is up, which is the worst moment. It returns when each state was
// entered, from the beginning of the part.
func perform(t *testing.T, random float64, plan func(*stage)) []health.Transition {
	var transitions []health.Transition
	synctest.Test(t, func(t *testing.T) {
		s := &stage{acts: always(healthy), began: time.Now().Add(quick)}
		s.monitor = health.NewMonitor(health.MonitorOptions{Upstream: "exo"})
		s.prober = New(Options{Jitter: 0.1, Random: func() float64 { return random }, Check: s.check, Observe: s.monitor.Observe, Status: s.monitor.Status})
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		group.Go(func() { s.monitor.Run(ctx) })
		group.Go(func() { s.prober.Run(ctx) })
		time.Sleep(quick)
		synctest.Wait()
		if got := s.monitor.Status().State; got != health.Up {
			t.Errorf("begins %v", got)
		}
		plan(s)
		cancel()
		group.Wait()
		transitions = s.monitor.Transitions()[1:]
		for i := range transitions {
			transitions[i].At = time.Time{}.Add(transitions[i].At.Sub(s.began))
		}
	})
	return transitions
}

func (s *stage) act(p part, last time.Duration) {
	s.cast(p)
	time.Sleep(last)
	synctest.Wait()
}

// entered is when the state was entered first; false if never.
func entered(transitions []health.Transition, state health.State) (time.Duration, bool) {
	for _, tr := range transitions {
		if tr.To == state {
			return tr.At.Sub(time.Time{}), true
		}
	}
	return 0, false
}

// extremes of the jitter, and none.
var extremes = []float64{0, 0.5, 0.999}

func TestOutagesAreDeclared(t *testing.T) {
	for _, test := range []struct {
		name string
		acts part
		by   time.Duration
	}{
		{"451 on every address", always(busy), time.Minute},
		{"one refuses, the other is silent", func(_ time.Duration, address int) (health.Signal, time.Duration) {
			return []health.Signal{busy, silent}[address], []time.Duration{quick, time.Hour}[address]
		}, time.Minute},
		{"blackhole: silence until the time-out", func(time.Duration, int) (health.Signal, time.Duration) { return silent, time.Hour }, time.Minute},
	} {
		for _, random := range extremes {
			transitions := perform(t, random, func(s *stage) { s.act(test.acts, 10*time.Minute) })
			down, ok := entered(transitions, health.Down)
			if !ok || down > test.by || len(transitions) != 2 || transitions[0].To != health.Degraded {
				t.Errorf("%s, jitter %v: %v", test.name, random, transitions)
			}
			t.Logf("%s, jitter %v: down after %v", test.name, random, down)
		}
	}
}

// While mail flows an outage is declared within the time between two probes:
// what fails lets a probe look at once.
func TestOutagesAreDeclaredSoonerByMail(t *testing.T) {
	for _, random := range extremes {
		transitions := perform(t, random, func(s *stage) {
			s.cast(always(busy))
			for n := range 60 {
				sig := busy
				sig.Source, sig.Address, sig.Phase = health.SourceAttempt, fmt.Sprint(n%2), health.PhaseRcpt
				s.monitor.Observe(sig)
				if status := s.monitor.Status(); status.State == health.Degraded && status.BadRounds == 0 {
					s.prober.Kick() // as whoever follows the status does
				}
				time.Sleep(time.Second)
			}
		})
		down, ok := entered(transitions, health.Down)
		if !ok || down > DefaultEvery {
			t.Errorf("jitter %v: %v", random, transitions)
		}
		t.Logf("jitter %v: down after %v", random, down)
	}
}

func TestTroubleThatIsNoOutage(t *testing.T) {
	for _, test := range []struct {
		name     string
		acts     part
		degraded bool
		holds    func(health.Status) bool
	}{
		{"one bad address", func(_ time.Duration, address int) (health.Signal, time.Duration) {
			return []health.Signal{busy, healthy}[address], quick
		}, true, func(s health.Status) bool { return s.State == health.Degraded }},
		{"one silent address", func(_ time.Duration, address int) (health.Signal, time.Duration) {
			return []health.Signal{silent, healthy}[address], []time.Duration{time.Hour, quick}[address]
		}, true, func(s health.Status) bool { return s.State == health.Degraded }},
		{"throttling", always(throttling), false, func(s health.Status) bool { return s.Throttled.Reply == throttling.Reply }},
		{"a configuration to mend", always(foreign), false, func(s health.Status) bool { return s.Misconfigured.Reply == foreign.Reply }},
		{"slow, but within the time", func(time.Duration, int) (health.Signal, time.Duration) { return healthy, 12 * time.Second }, false,
			func(s health.Status) bool { return s.State == health.Up }},
	} {
		for _, random := range extremes {
			var status health.Status
			transitions := perform(t, random, func(s *stage) {
				s.act(test.acts, time.Hour)
				status = s.monitor.Status()
			})
			if _, down := entered(transitions, health.Down); down || len(transitions) > 1 || (len(transitions) == 1) != test.degraded {
				t.Errorf("%s, jitter %v: %v", test.name, random, transitions)
			}
			if !test.holds(status) {
				t.Errorf("%s, jitter %v: %+v", test.name, random, status)
			}
		}
	}
}

func TestFlapping(t *testing.T) {
	const span, periods = 30 * time.Second, 20
	flap := func(elapsed time.Duration, _ int) (health.Signal, time.Duration) {
		return []health.Signal{healthy, busy}[elapsed/span%2], quick
	}
	for _, random := range extremes {
		transitions := perform(t, random, func(s *stage) { s.act(flap, 2*periods*span) })
		times := map[health.State]int{}
		for _, tr := range transitions {
			times[tr.To]++
		}
		// Each healthy span is used for trial messages, but never believed.
		if times[health.Up] > 0 || times[health.Degraded] != 1 || times[health.Down] > periods || times[health.Recovering] > periods {
			t.Errorf("jitter %v: %v", random, times)
		}
		t.Logf("jitter %v: %v in %d periods", random, times, periods)
	}
}

func TestRecovery(t *testing.T) {
	for _, test := range []struct {
		name   string
		trials int
		by     time.Duration
	}{
		{"with twenty trials", 20, time.Minute},
		{"with too little mail", 2, 130 * time.Second},
		{"with none", 0, 130 * time.Second},
	} {
		for _, random := range extremes {
			var end time.Duration
			transitions := perform(t, random, func(s *stage) {
				tokens, unsubscribe := s.monitor.Changed()
				defer unsubscribe()
				s.act(always(busy), 6*time.Hour)
				<-tokens
				end = time.Since(s.began)
				s.cast(always(healthy))
				<-tokens // recovering
				for range test.trials {
					s.monitor.Observe(health.Signal{Source: health.SourceAttempt, Class: health.OK})
				}
				<-tokens
			})
			up, ok := entered(transitions, health.Up)
			if !ok || up-end > test.by || len(transitions) != 4 {
				t.Errorf("%s, jitter %v: up %v after the end: %v", test.name, random, up-end, transitions)
			}
			t.Logf("%s, jitter %v: up %v after the end", test.name, random, up-end)
		}
	}
}
