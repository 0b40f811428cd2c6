package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/dsn"
)

// Deliverer makes attempts; Upstream is one.
type Deliverer interface {
	Name() string
	Deliver(ctx context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report
}

// Store is what a dispatcher needs of a queue.Store.
type Store interface {
	Due(ctx context.Context, upstream string, now time.Time) iter.Seq2[queue.Summary, error]
	Claim(ctx context.Context, ids []queue.ID, lease time.Duration) ([]queue.Message, error)
	Content(ctx context.Context, id queue.ID) (io.ReadCloser, error)
	Settle(ctx context.Context, s queue.Settlement) error
	Wake(upstream string) <-chan struct{}
}

// Health is what a dispatcher needs of a health.Monitor.
type Health interface {
	Status() health.Status
	Observe(health.Signal)
	// Changed gives a channel with a token at each change of the status that
	// counts, and a func that ends it.
	Changed() (<-chan struct{}, func())
}

// DispatcherOptions says how to dispatch. Upstream, Store and Health must be
// set; other fields that are zero get the default named.
type DispatcherOptions struct {
	Upstream    Deliverer
	Store       Store
	Health      Health
	Schedule    queue.Schedule // default queue.DefaultSchedule
	Connections int            // at most so many attempts at once; default 20
	Trials      int            // messages, one at a time, before the ramp of a recovery; default 20
	StartRate   int            // messages a minute at first, and after an outage; default 600
	MaxRate     int            // messages a minute, at most; 0 is no limit
	Attempt     time.Duration  // deadline of one attempt; default 30 minutes
	Margin      time.Duration  // by which a lease outlasts its attempt: for settling; default 1 minute
	Wait        time.Duration  // after a failure that is not about the message, before the next attempt; default 1 second
	MaxWait     time.Duration  // it doubles up to this; default 1 minute
	Doubt       time.Duration  // a refusal for good is believed once the upstream has been up for so long; default 10 minutes
	Notifier    *dsn.Notifier  // tells senders; default one that tells nobody
	Spike       SpikeRules
	// Independent says that the messages go to many who have nothing to do with
	// each other: no failure of one holds up another, and there is no ramp:
	// StartRate and Connections are what may be, always.
	Independent bool
	// Incident says whether an incident of the upstream lasts, and otherwise since
	// when the last one is over; nil: there is none, and it is over since
	// Status.Since. Called concurrently, and must be quick.
	Incident func() (lasts bool, recovered time.Time)
	// Known reports whether a recipient, by its forward-path, is known to exist or
	// to have existed a moment ago. Called concurrently, and must be quick; nil: nobody is known.
	Known func(recipient string) bool
	// Outgoing makes of a message as it is stored what leaves; nil: it leaves as it is.
	// Errors of its argument must come through as they are.
	Outgoing func(m queue.Message, stored io.Reader) io.Reader
	Log      *slog.Logger // default none
}

const (
	defaultConnections = 20
	defaultTrials      = 20
	defaultStartRate   = 600
	defaultAttempt     = 30 * time.Minute
	defaultMargin      = time.Minute
	defaultWait        = time.Second
	defaultMaxWait     = time.Minute
	defaultDoubt       = 10 * time.Minute

	// look is the longest time between two looks at the queue: timers do not
	// notice that the clock, by which messages are due, was set.
	look = time.Minute
	// soon is when to look again if messages that were due could not be claimed.
	soon = time.Second
)

func (o *DispatcherOptions) complete() error {
	if o.Upstream == nil || o.Store == nil || o.Health == nil {
		return errors.New("dispatcher without an upstream, a store or health")
	}
	if o.Schedule == (queue.Schedule{}) {
		o.Schedule = queue.DefaultSchedule()
	}
	setDefault(&o.Connections, defaultConnections)
	setDefault(&o.Trials, defaultTrials)
	setDefault(&o.StartRate, defaultStartRate)
	setDefault(&o.Attempt, defaultAttempt)
	setDefault(&o.Margin, defaultMargin)
	setDefault(&o.Wait, defaultWait)
	setDefault(&o.MaxWait, max(o.Wait, defaultMaxWait))
	setDefault(&o.Doubt, defaultDoubt)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Notifier == nil {
		o.Notifier = dsn.New(dsn.Options{})
	}
	o.Spike.complete()
	switch s := o.Schedule; {
	case o.Connections < 0, o.Trials < 0, o.StartRate < 0, o.MaxRate < 0, o.Attempt < 0, o.Margin < 0, o.Wait < 0, o.MaxWait < o.Wait, o.Doubt < 0:
		return fmt.Errorf("dispatcher of %s: a negative number, or a longest wait below the shortest", o.Upstream.Name())
	case o.Spike.Share < 0, o.Spike.Least < 0, o.Spike.Window < 0, o.Spike.Patience < 0:
		return fmt.Errorf("dispatcher of %s: spike rules %+v have a negative number", o.Upstream.Name(), o.Spike)
	case s.First <= 0 || s.Factor < 1 || s.Max < s.First || s.Jitter < 0 || s.Jitter >= 1:
		return fmt.Errorf("dispatcher of %s: schedule %+v would not wait", o.Upstream.Name(), s)
	}
	return nil
}

// Dispatcher delivers what is due for one upstream, when health says so and as
// fast as the primary bears it. Run does the work; the other methods may be
// called at any time by anyone.
type Dispatcher struct {
	options DispatcherOptions
	name    string
	kick    chan struct{} // buffer of one: something was changed by an operator
	turns   chan struct{} // takes a value from each call of Turn
	panics  atomic.Int64
	spike   *spikeGuard

	mu       sync.Mutex
	delivery Delivery
}

// Delivery is how fast the upstream is being given mail.
type Delivery struct {
	InFlight int // attempts that run
	Window   int // at most so many at a time, now
	Paused   Pause
	Panics   int64 // attempts that ended in a panic since the start
}

// Pause is a person's decision to deliver nothing for a time. The zero Pause is none.
type Pause struct {
	Until         time.Time
	Actor, Reason string
}

// Active reports whether the pause goes on at now.
func (p Pause) Active(now time.Time) bool { return now.Before(p.Until) }

// NewDispatcher checks the options.
func NewDispatcher(o DispatcherOptions) (*Dispatcher, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Dispatcher{options: o, name: o.Upstream.Name(), kick: make(chan struct{}, 1), turns: make(chan struct{}), spike: newSpikeGuard(o.Spike)}, nil
}

// Pause stops claiming until the pause ends or Resume. Attempts that run go on.
func (d *Dispatcher) Pause(p Pause) {
	d.mu.Lock()
	d.delivery.Paused = p
	d.mu.Unlock()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Turn returns nil once Run's loop has come round, which shows that it is not
// stuck, or the error of ctx.
func (d *Dispatcher) Turn(ctx context.Context) error {
	select {
	case d.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Resume ends a pause.
func (d *Dispatcher) Resume() { d.Pause(Pause{}) }

// Spike says what the upstream said lately about recipients that are known to exist.
func (d *Dispatcher) Spike() Spike { return d.spike.look(time.Now()) }

// SuspectSpike says that refusals were held for a spike before the last stop:
// it goes on until recipients are taken.
func (d *Dispatcher) SuspectSpike() { d.spike.suspect(time.Now()) }

// Circumstances are how the upstream is now, for a decision about notifications.
func (d *Dispatcher) Circumstances() dsn.Circumstances {
	now := time.Now()
	c := d.standing(now)
	c.Spike = d.spike.look(now).Active
	return c
}

// Delivery says how fast mail goes out.
func (d *Dispatcher) Delivery() Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.delivery
	now.Panics = d.panics.Load()
	if !now.Paused.Active(time.Now()) {
		now.Paused = Pause{}
	}
	return now
}
