// Package admin is how people and scripts reach a running relay: HTTP and JSON
// over a Unix socket, with one handler and one client.
//
// Guarantees: reading changes nothing, save that reading content leaves a
// ledger line; nothing is changed without a selection; every change names its
// actor, whom the kernel tells us. The state of the relay is computed in one
// place, Server.Status, for whoever shows it.
//
// On failure: a request that was not understood changes nothing. A change is
// made message by message; its answer says how many were done, and which had
// left meanwhile. A listing that breaks off ends with an error instead of its
// summary.
package admin

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Store is what admin needs of a queue.Store.
type Store interface {
	Message(ctx context.Context, id queue.ID) (queue.Message, error)
	Due(ctx context.Context, upstream string, now time.Time) iter.Seq2[queue.Summary, error]
	Messages(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error]
	Content(ctx context.Context, id queue.ID) (io.ReadCloser, error)
	Amend(ctx context.Context, a queue.Amendment) error
	Adopt(ctx context.Context, a queue.Adoption, content io.Reader) (queue.ID, error)
	Note(ctx context.Context, e queue.Entry) error
	Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error]
	Stats(ctx context.Context) (queue.Stats, error)
}

// Options are the parts that a Server shows and steers.
type Options struct {
	Store      Store
	Files      Files   // of the store; nil if it has none
	Backups    Backups // nil if none are made
	Upstreams  []Upstream
	Former     []string // names of upstreams that are no longer configured
	Inbound    Inbound
	Bounces    Bounces
	Windows    Windows      // nil if none are kept
	Incidents  Incidents    // nil if none are kept
	Recipients Recipients   // the zero Recipients if there is nothing to show
	Keep       queue.Keep   // the zero Keep is queue.DefaultKeep
	Limits     queue.Limits // of what is held
	Reserve    int64        // bytes of the disk that new mail does not get
	Hostname   string       // of the relay
	Version    string
	Started    time.Time
	Ready      func() error // nil when mail is accepted; a primary that is down does not matter
}

// Upstream is one primary as admin sees it. Every func may be called concurrently.
type Upstream struct {
	Name        string
	Domains     []string
	Hosts       []string // as configured
	Status      func() health.Status
	Recent      func() []health.Signal // that may count, the newest last
	Topics      func() []health.Signal // the last of each source and what it looks at; nil if nobody keeps them
	Transitions func() []Transition    // the newest last
	NextProbe   func() time.Time       // zero if it is not known

	// Override wins over the monitor until it ends; nil ends the one there is.
	Override func(*health.Override) error
	// Probe has one dialogue with each address, and says it line by line.
	Probe func(ctx context.Context, recipient string, say func(line string)) ([]health.Signal, error)

	Spike    func() Spike // nil if nobody looks
	Delivery func() Delivery
	Pause    func(Pause) error
	Resume   func() error
}

// Transition is a change of what is thought of an upstream.
type Transition struct {
	At       time.Time
	From, To health.State
	Why      string // may quote a remote server
}

// Spike is what an upstream said lately about recipients that are known to exist.
type Spike struct {
	Active         bool // it refuses too many of them as unknown, and is not believed
	Since          time.Time
	Refused, Known int
}

// Delivery is how fast an upstream is being given mail.
type Delivery struct {
	InFlight int // attempts that run
	Window   int // at most so many at a time, now
	Paused   Pause
}

// Inbound is the side that accepts mail.
type Inbound struct {
	Stats  func() InboundStats
	Pause  func(Pause) error
	Resume func() error
	// Explain decides about a recipient without changing anything. Its errors are
	// about the request.
	Explain func(ExplainRequest) (Explanation, error)
}

// InboundStats counts since the start.
type InboundStats struct {
	Sessions    int               // open now
	Accepted    int64             // messages taken into custody
	Passed      int64             // messages handed to an upstream while the sender waited
	Unnoted     int64             // of them, without a ledger line, which could not be written
	Refused     map[string]int64  // transactions and sessions by reason
	ListsFailed int64             // questions to DNS lists without an answer
	Refusing    string            // why nothing can be stored now, for example that the disk is full; "" if it can
	Full        map[string]string // why no mail for an upstream can be stored now, by upstream
	Paused      Pause

	Filters     []Filter    // of content, in the order in which they are asked
	Certificate Certificate // that is shown to senders; the zero Certificate is none that is known of
}

// Certificate is what senders are shown.
type Certificate struct {
	Source  string    // files, acme or self-signed
	Until   time.Time // its end; the zero Time if an authority has issued none yet
	Failure string    // why an authority has not issued, or renewed it; "" if it has
}

// Pause is a person's decision to stop for a time. The zero Pause is none.
type Pause struct {
	Until         time.Time
	Actor, Reason string
}

// Active reports whether the pause goes on at now.
func (p Pause) Active(now time.Time) bool { return now.Before(p.Until) }

// Server answers the requests of operators. Make it with New.
type Server struct {
	options Options
	rates   rates
}

// New makes a Server. Store, Ready, and every func of an Upstream and of Inbound must be set.
func New(o Options) *Server {
	if o.Keep == (queue.Keep{}) {
		o.Keep = queue.DefaultKeep()
	}
	return &Server{options: o}
}

// sample is what the counters said at one instant.
type sample struct {
	at        time.Time
	accepted  int64 // messages
	delivered int64 // recipients
	held      map[string]queue.Held
}

// rates keeps the samples of the last minutes.
type rates struct {
	mu      sync.Mutex
	samples []sample // the oldest first
}

const (
	sampleEvery = 10 * time.Second
	sampleSpan  = 5 * time.Minute
)

// add keeps a sample and forgets those that are too old.
func (r *rates) add(s sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.samples) > 0 && s.at.Sub(r.samples[0].at) > sampleSpan {
		r.samples = r.samples[1:]
	}
	r.samples = append(r.samples, s)
}

// perMinute is how many messages a minute came and how many recipients went;
// ok is false before there are two samples.
func (r *rates) perMinute() (in, out float64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.samples) < 2 {
		return 0, 0, false
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	minutes := last.at.Sub(first.at).Minutes()
	return float64(last.accepted-first.accepted) / minutes, float64(last.delivered-first.delivered) / minutes, true
}

// growths is how fast more is held of each upstream.
func (r *rates) growths() map[string]growth {
	r.mu.Lock()
	defer r.mu.Unlock()
	growths := map[string]growth{}
	if len(r.samples) < 2 {
		return growths
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	minutes := last.at.Sub(first.at).Minutes()
	for _, s := range []sample{first, last} {
		for upstream := range s.held {
			before, now := first.held[upstream], last.held[upstream]
			growths[upstream] = growth{messages: float64(now.Messages-before.Messages) / minutes, bytes: float64(now.Bytes-before.Bytes) / minutes}
		}
	}
	return growths
}

// Watch samples the counters until ctx ends. A store that cannot be read is
// shown by Status; here it leaves a gap.
func (s *Server) Watch(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if stats, err := s.options.Store.Stats(ctx); err == nil {
			s.rates.add(sample{time.Now(), s.options.Inbound.Stats().Accepted, stats.Account.Delivered, stats.Upstreams})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
