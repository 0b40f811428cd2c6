package outbound

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// Upstream is a primary to deliver to. All methods may be called concurrently.
type Upstream struct {
	options Options
	hosts   []host
	turn    atomic.Uint32 // deliveries that had to dial: which address of a host is first
	round   atomic.Uint64 // of probes
	slots   slots
	way     *way // to hosts that were found already; nil: hosts say where

	mu     sync.Mutex
	last   map[string]keptExchanges // of domains among the hosts
	idle   []*session               // the one used last is last
	closed bool
	ending sync.WaitGroup // idle sessions that say QUIT
}

// NewUpstream checks the options. It opens no connection.
func NewUpstream(o Options) (*Upstream, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	u := &Upstream{options: o, slots: slots{most: o.Connections}, last: map[string]keptExchanges{}}
	for _, text := range o.Hosts {
		h, err := parseHost(text, o.Port)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
		}
		if !h.literal.IsValid() && o.Resolver == nil {
			return nil, fmt.Errorf("upstream %s: host %s needs a resolver", o.Name, h.name)
		}
		if h.mx && o.Exchanges == nil {
			return nil, fmt.Errorf("upstream %s: host %s needs a resolver of MX records", o.Name, text)
		}
		u.hosts = append(u.hosts, h)
	}
	u.round.Store(uint64(time.Now().UnixNano())) // rounds are told apart over restarts, too
	return u, nil
}

// Name is the upstream's name, as configured.
func (u *Upstream) Name() string { return u.options.Name }

// take returns an idle session, nil if there is none that can be used.
func (u *Upstream) take() *session {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := len(u.idle); n > 0; n = len(u.idle) {
		s := u.idle[n-1]
		u.idle = u.idle[:n-1]
		if s.idle.Stop() {
			return s
		}
	}
	return nil
}

// give keeps a session for the next message, or ends it.
func (u *Upstream) give(s *session) {
	u.mu.Lock()
	if u.closed || s.worn(time.Now()) {
		u.mu.Unlock()
		s.quit()
		return
	}
	s.idle = time.AfterFunc(u.options.MaxIdle, func() { u.expire(s) })
	u.idle = append(u.idle, s)
	u.mu.Unlock()
}

// giveLater is give for a caller that must not wait for a QUIT.
func (u *Upstream) giveLater(s *session) {
	u.mu.Lock()
	worn := !u.closed && s.worn(time.Now())
	u.mu.Unlock()
	if !worn {
		u.give(s)
		return
	}
	u.quitLater(s)
}

// quitLater ends a session for a caller that must not wait for it.
func (u *Upstream) quitLater(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		s.hangUp()
		return
	}
	u.ending.Go(s.quit)
}

// expire ends a session that has waited too long. Its timer has fired, so take
// leaves it alone.
func (u *Upstream) expire(s *session) {
	u.mu.Lock()
	if u.closed { // Close ends it
		u.mu.Unlock()
		return
	}
	for i := range u.idle {
		if u.idle[i] == s {
			u.idle = append(u.idle[:i:i], u.idle[i+1:]...)
			break
		}
	}
	u.ending.Add(1)
	u.mu.Unlock()
	defer u.ending.Done()
	s.quit()
}

// Close ends all idle sessions with QUIT and waits for that. A delivery that
// still runs ends its session itself.
func (u *Upstream) Close() {
	u.mu.Lock()
	idle := u.idle
	u.idle, u.closed = nil, true
	u.mu.Unlock()
	for _, s := range idle {
		s.idle.Stop()
		u.ending.Go(s.quit)
	}
	u.ending.Wait()
}

// dial tries the addresses in turn until one leads to where MAIL can be said.
// Otherwise the answer is that of the last one.
func (u *Upstream) dial(ctx context.Context, each func(hop, answer, time.Duration)) (*session, hop, answer) {
	hops, failures := u.hops(ctx, u.turn.Add(1))
	var last answer
	var at hop
	for _, f := range failures {
		last, at = f.answer, hop{host: f.host}
		each(at, last, 0)
	}
	for _, h := range hops {
		s, reached, a := u.try(ctx, h, each)
		if s != nil {
			return s, reached, a
		}
		last, at = a, reached
		if ctx.Err() != nil {
			break
		}
	}
	return nil, at, last
}

// try dials one address, and once more in plaintext if TLS failed and that may be.
func (u *Upstream) try(ctx context.Context, h hop, each func(hop, answer, time.Duration)) (*session, hop, answer) {
	began := time.Now()
	s, at, a := dial(ctx, &u.options, h, nil)
	if s != nil {
		return s, at, a
	}
	each(at, a, time.Since(began))
	if !h.plain || a.phase != health.PhaseTLS || a.ours {
		return nil, at, a
	}
	h.tls, h.plain = &TLS{Policy: TLSNone}, false
	return u.try(ctx, h, each)
}
