package inbound

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// guard is the listener that the engine accepts from. It lets in as many
// connections as the limits allow and ends them all when it is told to drain.
type guard struct {
	net.Listener
	server *Server

	mu       sync.Mutex
	conns    map[*conn]struct{}
	draining bool
	turned   sync.WaitGroup // connections that are being turned away
}

func newGuard(s *Server, l net.Listener) *guard {
	return &guard{Listener: l, server: s, conns: map[*conn]struct{}{}}
}

// Accept returns the next connection that may come in. Its errors are those of
// the listener: any other would end the engine.
func (g *guard) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := addressOf(raw.RemoteAddr())
		exempt, reason := g.server.enter(address)
		if reason == "" || reason == reasonConnections {
			g.server.makeRoom(time.Now())
		}
		if reason != "" {
			g.turnAway(raw, address, reason)
			continue
		}
		c := g.admit(raw, address)
		c.exempt = exempt
		failpoint.Hit(failpoint.InboundConnected)
		return c, nil
	}
}

func (g *guard) admit(raw net.Conn, address netip.Addr) *conn {
	c := newConn(g, raw, address)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = struct{}{}
	if g.draining {
		c.drain()
	}
	return c
}

// forget is called once by each connection that ends.
func (g *guard) forget(c *conn) {
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	g.server.crowd.left(c)
	g.server.door.leave(c.address, c.exempt)
}

// turnAway says 421 without making the listener wait.
func (g *guard) turnAway(raw net.Conn, address netip.Addr, reason string) {
	g.server.counts.refuse(reason)
	if n := g.server.door.tell(time.Now()); n > 0 {
		g.server.options.Log.Warn("connections.refused", "connections", n, "reason", reason, "address", address)
	}
	g.turned.Go(func() {
		raw.SetWriteDeadline(time.Now().Add(turnAwayTime))
		raw.Write(wireReply(crowded(reason).reply)) // it need not hear it
		raw.Close()
	})
}

const turnAwayTime = 5 * time.Second

// drain tells every connection to end at its next command, and cuts after
// limit what is left, beginning with cut. The caller waits for the engine.
func (g *guard) drain(ctx context.Context, limit time.Duration, cut func()) {
	g.mu.Lock()
	g.draining = true
	for c := range g.conns {
		c.drain()
	}
	g.mu.Unlock()
	g.turned.Go(func() {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		cut()
		g.mu.Lock()
		defer g.mu.Unlock()
		for c := range g.conns {
			c.raw.Close()
		}
	})
}

// door counts who is in, over all listeners.
type door struct {
	limits Limits

	mu      sync.Mutex
	inside  int
	of      map[netip.Prefix]int // by address
	near    map[netip.Prefix]int // by network
	refused int                  // since told
	told    time.Time
}

// prefixes are those that a connection is counted under: that of its address, and
// that of its network. An IPv6 /64 is no address: all hosts of a large provider
// may be in one.
func prefixes(address netip.Addr) (one, many netip.Prefix) {
	return network(address, 32, 128), network(address, 24, 64)
}

// enter lets a connection in, or says why not.
func (d *door) enter() (reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside >= d.limits.Sessions {
		return reasonConnections
	}
	d.inside++
	return ""
}

// place counts a connection that is in for its address and network, or says why not.
func (d *door) place(address netip.Addr) (reason string) {
	one, many := prefixes(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if reason = d.full(one, many); reason == "" {
		d.of[one]++
		d.near[many]++
	}
	return reason
}

// full is the reason if no connection more may come of an address or network.
func (d *door) full(one, many netip.Prefix) (reason string) {
	switch {
	case d.of[one] >= d.limits.SessionsPerAddress:
		return reasonPerAddress
	case d.near[many] >= d.limits.SessionsPerNetwork:
		return reasonPerNetwork
	}
	return ""
}

// look says how many connections there are: in all, of an address, and of its
// network; and the reason if one more could not be placed.
func (d *door) look(address netip.Addr) (inside, of, near int, reason string) {
	one, many := prefixes(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inside, d.of[one], d.near[many], d.full(one, many)
}

// leave ends a connection. One that is exempt was not placed.
func (d *door) leave(address netip.Addr, exempt bool) {
	one, many := prefixes(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	if exempt {
		return
	}
	if d.of[one]--; d.of[one] == 0 {
		delete(d.of, one)
	}
	if d.near[many]--; d.near[many] == 0 {
		delete(d.near, many)
	}
}

// tell counts one that was turned away and returns how many there were since it
// last did so, or 0 if that is less than a minute ago: a flood must not fill the log.
func (d *door) tell(now time.Time) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused++
	if now.Sub(d.told) < time.Minute {
		return 0
	}
	n := d.refused
	d.refused, d.told = 0, now
	return n
}

func (d *door) sessions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inside
}

// network is the prefix that an address is counted under.
func network(a netip.Addr, four, six int) netip.Prefix {
	bits := six
	if a.Is4() {
		bits = four
	}
	p, _ := a.WithZone("").Prefix(bits) // of no address, such as a pipe's, it is the zero Prefix
	return p
}

// addressOf is the IP address of a peer; the zero Addr if it has none.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// wireReply writes a reply as it goes over the wire. What we say ourselves has one line.
func wireReply(r smtp.Reply) []byte { return []byte(r.Error() + "\r\n") }
