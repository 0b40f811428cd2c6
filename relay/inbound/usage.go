package inbound

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// useWords are the uses for people.
var useWords = [uses]string{"connections", "messages", "recipients", "bytes of content", "bad commands", "bad recipients"}

// connection says whether a client would be let in, and how near it is to the limits.
func (e *Explanation) connection(s *Server, client netip.Addr) *refusal {
	if !client.IsValid() {
		e.fact("client", "none is named: the limits and lists of clients are not looked at")
		return nil
	}
	switch {
	case s.trusts(client):
		e.fact("client", "%s is trusted: of the limits only the one of all sessions counts, and neither lists nor greylist do", client)
	case s.proxied(client):
		e.fact("client", "%s is a proxy: what counts is the client that it names", client)
	}
	l := s.options.Limits
	one, many := prefixes(client)
	inside, of, near, full := s.door.look(client)
	exempt := s.trusts(client) || s.proxied(client)
	sessions := fmt.Sprintf("%d of %d in all", inside, l.Sessions)
	if !exempt {
		sessions = fmt.Sprintf("%d of %d for %s, %d of %d for %s, ", of, l.SessionsPerAddress, one.Addr(), near, l.SessionsPerNetwork, many) + sessions
	}
	e.fact("sessions", "open now: %s", sessions)
	reason := ""
	switch {
	case inside >= l.Sessions:
		reason = reasonConnections
	case exempt:
	default:
		reason = cmp.Or(s.meter.peek(client, useConnection, anyMore, time.Now()), full)
	}
	if reason == "" {
		return nil
	}
	return crowded(reason)
}

// rates says what a client has used in the last minute of what it may, and
// refuses what a message of one recipient would meet.
func (e *Explanation) rates(s *Server, client netip.Addr) *refusal {
	if !client.IsValid() || s.trusts(client) {
		return nil
	}
	now := time.Now()
	one, many := prefixes(client)
	whose := [scopes]string{"for " + one.Addr().String(), "for " + many.String(), "in all"}
	for u := range uses {
		var words []string
		for c := range scopes {
			if limit := s.meter.limits[c][u]; limit > 0 {
				words = append(words, fmt.Sprintf("%.0f of %.0f %s", s.meter.spent(client, u, c, now), limit, whose[c]))
			}
		}
		if len(words) > 0 {
			e.fact("rate", "%s in a minute: %s", useWords[u], strings.Join(words, ", "))
		}
	}
	return tooFast(cmp.Or(s.meter.peek(client, useByte, anyMore, now), s.meter.peek(client, useMessage, 1, now), s.meter.peek(client, useRecipient, 1, now)))
}

// unasked names the lists that are not asked about a client because something
// else has decided already.
func (e *Explanation) unasked(s *Server, client netip.Addr) {
	if zones := slices.Concat(s.lists.Allow, s.lists.Block); len(zones) > 0 && client.IsValid() && !s.trusts(client) {
		e.fact("lists", "not asked, as it is decided before: %s", strings.Join(zones, ", "))
	}
	if delay := s.options.Greylist.Delay; delay > 0 && client.IsValid() && !s.trusts(client) {
		e.fact("greylist", "not looked at, as it is decided before")
	}
}
