package inbound

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/milter"
)

// Server accepts mail into a store. Its methods may be called concurrently.
type Server struct {
	options   Options
	door      door
	crowd     crowd
	meter     *meter
	lists     *lists
	greylist  *greylist
	space     space
	capacity  *capacity
	returning *returning
	counts    counts
	buffers   sync.Pool // of *[]byte, to read content
	readers   sync.Pool // of *bufio.Reader, for what clients say

	mu      sync.Mutex
	paused  Pause
	failure error
	failed  chan struct{} // closed when failure is set
}

// Pause is a person's decision to take no mail for a time. The zero Pause is none.
type Pause struct {
	Until         time.Time
	Actor, Reason string
}

// Active reports whether the pause lasts.
func (p Pause) Active(now time.Time) bool { return now.Before(p.Until) }

// Stats is what the front door does.
type Stats struct {
	Sessions    int               // open now
	Accepted    int64             // messages taken into custody since the start
	Passed      int64             // messages handed to a primary since the start
	Unnoted     int64             // of them, without their ledger line
	ListsFailed int64             // questions to DNS lists without an answer since the start
	Filters     []milter.Status   // in the order in which they are asked
	Refused     map[string]int64  // since the start, by reason; every reason is there from the start
	Refusing    string            // why nothing can be stored now, "" if it can
	Full        map[string]string // which limit leaves no room for mail for an upstream, by upstream
	Paused      Pause             // the zero Pause if there is none
}

// counts are since the start.
type counts struct {
	mu       sync.Mutex
	accepted int64
	passed   int64
	unnoted  int64
	refused  map[string]int64
}

func (c *counts) refuse(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[reason]++
}

func (c *counts) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted++
}

func (c *counts) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed++
}

func (c *counts) unnote() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unnoted++
}

// contentBuffer takes at once what a client may have sent.
const contentBuffer = readBuffer

// New checks the options and makes a server, which opens nothing until Serve.
func New(o Options) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("inbound: %w", err)
	}
	m := newMeter(o.Rates)
	return &Server{
		options:   o,
		door:      door{limits: o.Limits, of: map[netip.Prefix]int{}, near: map[netip.Prefix]int{}},
		meter:     m,
		lists:     newLists(o.Lists),
		greylist:  newGreylist(o.Greylist),
		space:     space{store: o.Store, min: o.MinFree},
		capacity:  newCapacity(&o),
		returning: newReturning(o.Returning),
		counts:    newCounts(m),
		buffers:   sync.Pool{New: func() any { b := make([]byte, contentBuffer); return &b }},
		readers:   sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }},
		failed:    make(chan struct{}),
	}, nil
}

// Serve accepts from l, which it closes, until ctx ends. Then it says 421 to
// every session at its next command and lets content that is coming end within
// Timeouts.Drain. It returns when no session is left, with an error only if the
// listener or the store failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := newGuard(s, l)
	s.crowd.add(g)
	defer s.crowd.remove(g)
	base, cancel := context.WithCancel(context.WithoutCancel(ctx)) // content that is coming may still be committed
	defer cancel()
	passing, cut := context.WithCancel(base)
	defer cut()
	e := newEngine(base, passing, s)
	ended := make(chan error, 1)
	go func() { ended <- e.serve(g) }()

	var err error
	select {
	case <-ctx.Done():
	case <-s.failed:
	case failed := <-ended:
		err = fmt.Errorf("accept connections: %w", failed)
		ended <- failed
	}
	l.Close() // nothing can be done about its error
	<-ended
	drained, done := context.WithCancel(context.Background())
	g.drain(drained, s.options.Timeouts.Drain, cut)
	e.wait()
	done()
	g.turned.Wait()
	return errors.Join(s.storeFailure(), err)
}

// fail ends every Serve, because the store cannot be trusted any more.
func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = err
		close(s.failed)
		s.options.Log.Error("intake.failed", "error", err)
	}
}

func (s *Server) storeFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Pause makes the server answer 451 to MAIL until it ends or Resume is called.
func (s *Server) Pause(p Pause) {
	s.mu.Lock()
	s.paused = p
	s.mu.Unlock()
	s.options.Log.Warn("intake.paused", "until", p.Until, "actor", p.Actor, "reason", p.Reason)
}

// Resume ends a pause.
func (s *Server) Resume() {
	s.mu.Lock()
	s.paused = Pause{}
	s.mu.Unlock()
	s.options.Log.Info("intake.resumed")
}

func (s *Server) pause() Pause {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused.Active(time.Now()) {
		return Pause{}
	}
	return s.paused
}

// Stats says what the server does.
func (s *Server) Stats() Stats {
	st := Stats{Sessions: s.door.sessions(), Paused: s.pause(), ListsFailed: s.lists.failed.Load(), Filters: s.options.Filters.Status()}
	s.counts.mu.Lock()
	st.Accepted, st.Passed, st.Unnoted = s.counts.accepted, s.counts.passed, s.counts.unnoted
	st.Refused = maps.Clone(s.counts.refused)
	s.counts.mu.Unlock()
	if err := s.storeFailure(); err != nil {
		st.Refusing = "the store failed: " + err.Error()
		return st
	}
	st.Full = s.capacity.full(context.Background())
	st.Refusing = cmp.Or(s.space.refusing(context.Background()), st.Full[""])
	delete(st.Full, "")
	return st
}
