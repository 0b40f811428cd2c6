package inbound

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// trusts reports whether limits do not count for a client. Those of the whole
// server do: the number of sessions, and all that a single session is bound to.
func (s *Server) trusts(address netip.Addr) bool {
	return within(address, s.options.Trusted)
}

// proxied reports whether connections from an address begin with a header of the PROXY protocol.
func (s *Server) proxied(address netip.Addr) bool { return within(address, s.options.Proxies) }

func within(address netip.Addr, networks []netip.Prefix) bool {
	address = address.WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
}

// enter lets a connection in, or says why not. One that is exempt counts in the
// total only: its client is trusted, or is a proxy that has yet to say for whom
// it comes.
func (s *Server) enter(address netip.Addr) (exempt bool, reason string) {
	if reason = s.door.enter(); reason != "" {
		return false, reason
	}
	if s.trusts(address) || s.proxied(address) {
		return true, ""
	}
	if reason = s.place(address); reason != "" {
		s.door.leave(address, true)
	}
	return false, reason
}

// place counts a connection for its client, or says why not.
func (s *Server) place(address netip.Addr) (reason string) {
	if reason = s.meter.over(address, useConnection, time.Now()); reason != "" {
		return reason
	}
	if reason = s.door.place(address); reason == "" {
		s.meter.add(address, useConnection, 1, time.Now())
	}
	return reason
}

// crowded is what a connection is told that does not come in.
func crowded(reason string) *refusal {
	return refuse(reason, 421, smtp.StatusTooManyConns, "too many connections, try again later")
}

// spend uses one of a client's share; not nil if it has none left for now.
func (s *session) spend(u use) *refusal {
	address := s.client.peer().address
	if s.server.trusts(address) {
		return nil
	}
	return tooFast(s.server.meter.take(address, u, time.Now()))
}

// overdrawn refuses a message after too much content.
func (s *session) overdrawn() *refusal {
	address := s.client.peer().address
	if s.server.trusts(address) {
		return nil
	}
	return tooFast(s.server.meter.over(address, useByte, time.Now()))
}

// tooFast tells a sender to come back. Honest ones do, so nothing is lost.
func tooFast(reason string) *refusal {
	if reason == "" {
		return nil
	}
	return refuse(reason, 451, smtp.StatusPolicyLater, "too much mail at once, try again later")
}

// strike counts a fault of a client; not nil if that was one too many.
func (s *Server) strike(address netip.Addr, u use) *refusal {
	if s.trusts(address) {
		return nil
	}
	now := time.Now()
	s.meter.add(address, u, 1, now)
	if reason := s.meter.over(address, u, now); reason != "" {
		return refuse(reason, 421, smtp.StatusTooManyConns, "too many errors, try again later").fatal()
	}
	return nil
}

// badRecipient makes a client wait for the refusal of a recipient, after some of
// them: who guesses addresses shall not do it fast. In the end it gets another
// refusal, or at once if there is little room.
func (s *session) badRecipient(no *refusal) *refusal {
	s.refusals++
	address := s.client.peer().address
	if s.refusals > s.server.options.Limits.Refusals {
		return refuse(reasonRefusals, 421, smtp.StatusTooManyConns, "too many refused recipients")
	}
	if cut := s.server.strike(address, useBadRecipient); cut != nil {
		return cut
	}
	wait := s.server.options.Timeouts.Tarpit
	switch {
	case wait <= 0 || s.refusals <= s.server.options.Limits.TarpitAfter || s.server.trusts(address):
		return no
	case s.server.crowded(): // who waits for us would keep its place
		return refuse(reasonRefusals, 421, smtp.StatusTooManyConns, "too many refused recipients")
	}
	s.client.refuse(reasonTarpit)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.cut.Done():
	}
	return no
}

// badCommand counts a command that nobody understood; not nil if that was one too many.
func (c *conn) badCommand() *refusal {
	if c.flaws++; c.flaws > maxFlaws {
		return refuse(reasonErrors, 421, smtp.StatusTooManyConns, "too many errors").fatal()
	}
	return c.guard.server.strike(c.address, useBadCommand)
}

// isFault reports whether a reply says that a command was not understood, or came
// at a wrong time.
func isFault(code string) bool { return strings.HasPrefix(code, "50") }

// bill counts the content that was read.
func (c *conn) bill() {
	n := c.unbilled
	c.unbilled = 0
	if n > 0 && !c.guard.server.trusts(c.address) {
		c.guard.server.meter.add(c.address, useByte, float64(n), time.Now())
	}
}

// ownName refuses a client that says it is us. On this machine there may be
// programs that do.
func (c *conn) ownName(name string) *refusal {
	literal := name != "" && strings.EqualFold(name, literalOf(addressOf(c.raw.LocalAddr())))
	if !literal && !strings.EqualFold(strings.TrimSuffix(name, "."), c.hostname()) || c.address.IsLoopback() || c.guard.server.trusts(c.address) {
		return nil
	}
	return refuse(reasonOwnHello, 550, smtp.StatusRelayDenied, "that is our name, not yours").fatal()
}

// literalOf is how an address is written as a domain (RFC 5321 4.1.3); "" is none.
func literalOf(a netip.Addr) string {
	switch {
	case a.Is4():
		return "[" + a.String() + "]"
	case a.Is6():
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
	return ""
}
