package probe

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// watched is a Prober whose rounds are recorded.
type watched struct {
	*Prober
	began time.Time
	check func(ctx context.Context, round int) []health.Signal

	mu     sync.Mutex
	rounds []time.Duration // when they began
	seen   []health.Signal
}

func watch(o Options) *watched {
	w := &watched{began: time.Now(), check: func(context.Context, int) []health.Signal { return []health.Signal{{}} }}
	o.Check = func(ctx context.Context) []health.Signal { return w.check(ctx, w.begin()) }
	o.Observe = func(s health.Signal) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, s)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	w.Prober = New(o)
	return w
}

// begin records a round and numbers it, from 1.
func (w *watched) begin() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rounds = append(w.rounds, time.Since(w.began))
	return len(w.rounds)
}

func (w *watched) observed() []health.Signal {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// start runs it and returns what ends it and waits for it.
func (w *watched) start() func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func seconds(all ...float64) []time.Duration {
	var list []time.Duration
	for _, s := range all {
		list = append(list, time.Duration(s*float64(time.Second)))
	}
	return list
}

func (w *watched) want(t *testing.T, all ...float64) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if want := seconds(all...); !slices.Equal(w.rounds, want) {
		t.Errorf("rounds at %v, want %v", w.rounds, want)
	}
}

func TestRoundsComeAtTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(Options{})
		if !w.Next().IsZero() {
			t.Error("a plan before the start")
		}
		stop := w.start()
		if got := w.Next().Sub(w.began); got != DefaultEvery {
			t.Errorf("the next in %v", got)
		}
		time.Sleep(45 * time.Second)
		stop()
		w.want(t, 0, 20, 40)
		if len(w.observed()) != 3 || !w.Next().IsZero() {
			t.Errorf("%d signals, next %v", len(w.observed()), w.Next())
		}
	})
}

func TestSoonerAfterABadRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last atomic.Int64
		w := watch(Options{Status: func() health.Status { return health.Status{BadRounds: []int{0, 0, 1, 2, 0, 0}[last.Load()]} }})
		w.check = func(_ context.Context, round int) []health.Signal { last.Store(int64(round)); return nil }
		defer w.start()()
		time.Sleep(65 * time.Second)
		w.want(t, 0, 20, 30, 40, 60)
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := []float64{0, 0.5, 0.75}
		w := watch(Options{Every: 10 * time.Second, Jitter: 0.2, Random: func() float64 {
			defer func() { random = append(random[1:], random[0]) }()
			return random[0]
		}})
		defer w.start()()
		time.Sleep(40 * time.Second)
		w.want(t, 0, 8, 18, 29, 37)
	})
}

func TestUsualJitterStaysInItsBounds(t *testing.T) {
	p := New(Options{Every: time.Minute, Jitter: 0.1, Check: func(context.Context) []health.Signal { return nil }, Observe: func(health.Signal) {}})
	for range 1000 {
		if got := p.wait(); got < 54*time.Second || got >= 66*time.Second {
			t.Fatal(got)
		}
	}
}

func TestOneRoundAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(Options{})
		w.check = func(context.Context, int) []health.Signal {
			if !w.Next().IsZero() {
				t.Error("a plan while a round runs")
			}
			time.Sleep(25 * time.Second)
			return nil
		}
		stop := w.start()
		time.Sleep(60 * time.Second)
		stop()
		w.want(t, 0, 25, 50)
	})
}

func TestARoundHasATimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(Options{Timeout: 5 * time.Second})
		w.check = func(ctx context.Context, _ int) []health.Signal {
			<-ctx.Done()
			return []health.Signal{{Class: health.Outage, Took: time.Since(w.began)}}
		}
		defer w.start()()
		time.Sleep(10 * time.Second)
		w.want(t, 0)
		if len(w.observed()) != 1 || w.observed()[0].Took != 5*time.Second {
			t.Errorf("%+v", w.observed())
		}
	})
}

func TestKick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(Options{})
		w.check = func(context.Context, int) []health.Signal { time.Sleep(time.Second); return nil }
		defer w.start()()
		time.Sleep(5 * time.Second)
		w.Kick()
		time.Sleep(500 * time.Millisecond)
		w.Kick() // while one runs: another follows it
		w.Kick()
		time.Sleep(20 * time.Second)
		w.want(t, 0, 5, 6)
		time.Sleep(time.Second)
		w.want(t, 0, 5, 6, 26)
	})
}

func TestAPanicTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		w := watch(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		w.check = func(_ context.Context, round int) []health.Signal {
			if round == 1 {
				panic("a defect")
			}
			return []health.Signal{{}}
		}
		stop := w.start()
		time.Sleep(25 * time.Second)
		stop()
		w.want(t, 0, 20)
		if len(w.observed()) != 1 || !strings.Contains(log.String(), `msg=probe.panic reason="a defect"`) {
			t.Errorf("%d signals, log %s", len(w.observed()), log.String())
		}
	})
}

func TestWhatTheEndCutShortTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(Options{})
		w.check = func(ctx context.Context, _ int) []health.Signal {
			<-ctx.Done()
			return []health.Signal{{Class: health.Outage}}
		}
		w.start()()
		if len(w.observed()) != 0 {
			t.Errorf("%+v", w.observed())
		}
	})
}

func TestEndedBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := watch(Options{})
	w.Run(ctx)
	w.want(t)
}

func TestNewRefusesHalfOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no Check":   {Observe: func(health.Signal) {}},
		"no Observe": {Check: func(context.Context) []health.Signal { return nil }},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: taken", name)
				}
			}()
			New(o)
		}()
	}
}
