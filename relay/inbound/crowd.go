package inbound

import (
	"slices"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// A quarter of the places is a reserve. Whoever comes when only places of it are
// left takes that of the client that has kept us waiting the longest: for a
// command, for a handshake, or for as much content as it owes by Limits.Rate. The
// less is left, the less long that need be. Nothing is promised before 250, so an
// honest client that is dismissed has only to come again; one that goes on
// speaking never is.
const (
	longestPatience  = 30 * time.Second
	shortestPatience = time.Second
)

// patience is how long a client may keep us waiting without losing its place, if
// so many are in; 0 is for ever.
func (l *Limits) patience(inside int) time.Duration {
	reserve := l.Sessions / 4
	left := l.Sessions - inside
	switch {
	case left > reserve, left > 0 && reserve == 0:
		return 0
	case left <= 0:
		return shortestPatience
	}
	return shortestPatience + (longestPatience-shortestPatience)*time.Duration(left)/time.Duration(reserve)
}

// crowd is who is in, over all listeners, and has to go.
type crowd struct {
	mu      sync.Mutex
	guards  []*guard
	leaving int       // who are dismissed and still in
	longest time.Time // nobody who is in has kept us waiting since before
}

func (w *crowd) add(g *guard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guards = append(w.guards, g)
}

func (w *crowd) remove(g *guard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guards = slices.DeleteFunc(w.guards, func(other *guard) bool { return other == g })
}

// left is told of each connection that has ended.
func (w *crowd) left(c *conn) {
	if c.gone() {
		w.mu.Lock()
		w.leaving--
		w.mu.Unlock()
	}
}

// crowded reports whether there is little room.
func (s *Server) crowded() bool {
	s.crowd.mu.Lock()
	defer s.crowd.mu.Unlock()
	return s.patience() > 0
}

// patience is that of now. crowd.mu is held.
func (s *Server) patience() time.Duration {
	return s.options.Limits.patience(s.door.sessions() - s.crowd.leaving)
}

// makeRoom dismisses some of those who have waited too long, if there is little
// room. A few at a time, so that a flood does not make us look at all of them
// for each that comes.
func (s *Server) makeRoom(now time.Time) {
	w := &s.crowd
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := s.patience()
	if limit == 0 || w.longest.After(now.Add(-limit)) {
		return
	}
	w.leaving += w.dismiss(now, limit, 1+s.options.Limits.Sessions/100)
}

// dismiss dismisses up to n.
func (w *crowd) dismiss(now time.Time, limit time.Duration, n int) (dismissed int) {
	type waiting struct {
		*conn
		owing time.Time
	}
	var all []waiting
	for _, g := range w.guards {
		g.mu.Lock()
		for c := range g.conns {
			if owing := c.owes(); !owing.IsZero() {
				all = append(all, waiting{c, owing})
			}
		}
		g.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b waiting) int { return a.owing.Compare(b.owing) })
	w.longest = now
	for _, c := range all {
		if dismissed == n || c.owing.After(now.Add(-limit)) {
			w.longest = c.owing
			break
		}
		if c.dismiss(c.owing) {
			dismissed++
		}
	}
	return dismissed
}

// owes is since when the client has kept us waiting; zero if it does not, has to
// go already, or keeps its place however long that is.
func (c *conn) owes() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dismissed {
		return time.Time{}
	}
	return c.owing
}

// dismiss ends the connection, if the client has kept us waiting all the time since.
func (c *conn) dismiss(since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dismissed || c.closed || !c.owing.Equal(since) {
		return false
	}
	c.dismissed = true
	c.raw.SetReadDeadline(time.Unix(1, 0))
	return true
}

// gone reports whether the client was dismissed.
func (c *conn) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dismissed
}

// expect begins to wait for what is no command, which the client has owed since then.
func (c *conn) expect(until, owing time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dismissed {
		until = time.Unix(1, 0)
	}
	c.keep(owing)
	c.raw.SetReadDeadline(until)
}

// keep notes since when we wait. Clients that limits do not count for keep their places.
func (c *conn) keep(owing time.Time) {
	if !c.exempt {
		c.owing = owing
	}
}

// heard ends what expect began.
func (c *conn) heard() {
	c.mu.Lock()
	c.owing = time.Time{}
	c.mu.Unlock()
}

// notNow says why there is no next command.
func (c *conn) notNow() *refusal {
	if c.gone() {
		return refuse(reasonDismissed, 421, smtp.StatusTooManyConns, "too many connections, and you were silent: try again later")
	}
	return shuttingDown(c.hostname())
}
