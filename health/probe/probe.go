// Package probe looks at a primary again and again.
//
// A Prober carries out one round at a time, the first at once, and hands on
// what it found. It knows no protocol: the dialogue is a func. A round that was
// cut short by the end of the program, or by a defect, tells nothing.
package probe

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// The defaults of Options.
const (
	DefaultEvery    = 20 * time.Second
	DefaultEveryBad = 10 * time.Second
	DefaultTimeout  = 15 * time.Second
)

// Options say how often and what to probe. Check and Observe must be given;
// other zero fields have their default.
type Options struct {
	Every    time.Duration // from the beginning of a round to that of the next
	EveryBad time.Duration // the same after a bad round, and while the primary is down
	Jitter   float64       // each wait is changed by up to this share, up or down; 0 is none
	Timeout  time.Duration // of one round

	// Check carries out one round and returns when it is over or ctx ends. If
	// it panics, that is logged and the round tells nothing.
	Check   func(ctx context.Context) []health.Signal
	Observe func(health.Signal)
	Status  func() health.Status // says whether the last round was bad; nil: none ever is

	Random func() float64 // in [0,1), for the jitter; nil: math/rand/v2
	Log    *slog.Logger   // nil: slog.Default
}

// Prober probes. Make it with New; its methods may be called concurrently.
type Prober struct {
	options Options
	kick    chan struct{} // of size one

	mu   sync.Mutex
	next time.Time
}

// New makes a Prober, which does nothing before Run.
func New(o Options) *Prober {
	if o.Check == nil || o.Observe == nil {
		panic("probe: Check and Observe must be given")
	}
	o.Every = cmp.Or(o.Every, DefaultEvery)
	o.EveryBad = cmp.Or(o.EveryBad, DefaultEveryBad)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if o.Status == nil {
		o.Status = func() health.Status { return health.Status{} }
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Prober{options: o, kick: make(chan struct{}, 1)}
}

// Run probes until ctx ends; a round that runs then is waited for. It is to be
// called once.
func (p *Prober) Run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		p.round(ctx)
		wait := p.wait()
		p.plan(began.Add(wait))
		timer := time.NewTimer(time.Until(began.Add(wait)))
		select {
		case <-ctx.Done():
		case <-p.kick:
		case <-timer.C:
		}
		timer.Stop()
		p.plan(time.Time{})
	}
}

// Kick begins a round now, or as soon as the running one is over.
func (p *Prober) Kick() {
	select {
	case p.kick <- struct{}{}:
	default: // one is wanted already
	}
}

// Next is when the next round begins; zero while one runs, or the Prober does not.
func (p *Prober) Next() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

func (p *Prober) plan(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = at
}

// wait is the time from the beginning of one round to that of the next.
func (p *Prober) wait() time.Duration {
	every := p.options.Every
	if s := p.options.Status(); s.BadRounds > 0 || s.State == health.Down {
		every = p.options.EveryBad
	}
	return time.Duration(float64(every) * (1 + p.options.Jitter*(2*p.options.Random()-1)))
}

// round carries out one round. What it says after ctx has ended would be about
// us, not about the primary.
func (p *Prober) round(ctx context.Context) {
	signals := p.check(ctx)
	if ctx.Err() != nil {
		return
	}
	for _, s := range signals {
		p.options.Observe(s)
	}
}

func (p *Prober) check(ctx context.Context) (signals []health.Signal) {
	defer func() {
		if reason := recover(); reason != nil {
			p.options.Log.Error("probe.panic", "reason", reason, "stack", string(debug.Stack()))
			signals = nil
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	return p.options.Check(ctx)
}
