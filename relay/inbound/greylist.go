package inbound

import (
	"container/list"
	"context"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Greylist makes senders that were never seen come a second time before mail of
// theirs is held. Programs that only send once never do.
type Greylist struct {
	Delay time.Duration // between the first time and the one that counts; 0: nobody has to come twice
	Keep  time.Duration // since its last mail, that a sender is known; default 30 days
}

// greylistWindow is the longest that a sender is waited for. RFC 5321 4.5.4.1
// wants senders to try for 4 days, but they come back much sooner.
const greylistWindow = 2 * 24 * time.Hour

// maxGreylisted bounds the senders that are remembered. The one that has not been
// seen for longest is forgotten first, which only means that it has to come twice.
const maxGreylisted = 20000

// greylist remembers senders: who they are, as far as that is proven, with the
// domain that they write for. It reads no clock; its methods may be called concurrently.
type greylist struct {
	rule Greylist

	mu    sync.Mutex
	seed  maphash.Seed
	of    map[uint64]*list.Element
	order *list.List // of *newcomer; the latest in front
}

// newcomer is a sender and how it has behaved.
type newcomer struct {
	who         uint64 // a hash, so that long names cost no memory
	first, last time.Time
	known       bool
}

func newGreylist(rule Greylist) *greylist {
	return &greylist{rule: rule, seed: maphash.MakeSeed(), of: map[uint64]*list.Element{}, order: list.New()}
}

// visit counts a visit, and reports whether the sender is known by now.
func (g *greylist) visit(identity, domain string, now time.Time) bool {
	who := g.hash(identity, domain)
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.of[who]
	if !ok {
		g.add(&newcomer{who: who, first: now, last: now})
		return false
	}
	n := e.Value.(*newcomer)
	g.order.MoveToFront(e)
	if g.gone(n, now) {
		*n = newcomer{who: who, first: now, last: now}
		return false
	}
	n.known = n.known || now.Sub(n.first) >= g.rule.Delay
	n.last = now
	return n.known
}

// knows reports what visit would, without a visit.
func (g *greylist) knows(identity, domain string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.of[g.hash(identity, domain)]
	if !ok {
		return false
	}
	n := e.Value.(*newcomer)
	return !g.gone(n, now) && (n.known || now.Sub(n.first) >= g.rule.Delay)
}

// gone reports whether a sender has been away for too long.
func (g *greylist) gone(n *newcomer, now time.Time) bool {
	if n.known {
		return now.Sub(n.last) >= g.rule.Keep
	}
	return now.Sub(n.first) >= greylistWindow
}

func (g *greylist) add(n *newcomer) {
	if g.order.Len() >= maxGreylisted {
		oldest := g.order.Back()
		g.order.Remove(oldest)
		delete(g.of, oldest.Value.(*newcomer).who)
	}
	g.of[n.who] = g.order.PushFront(n)
}

func (g *greylist) hash(identity, domain string) uint64 {
	return maphash.String(g.seed, identity+"\x00"+domain)
}

// identityOf is what is proven of a client before it has sent content: the domain
// of its confirmed name, since large senders come back from another host, or
// else its network. Some that have nothing to do with each other are one by it, as
// all hosts right below a public suffix; so what they write for counts, too.
func identityOf(host string, address netip.Addr) string {
	_, domain, _ := strings.Cut(strings.ToLower(host), ".")
	if strings.Contains(domain, ".") {
		return domain
	}
	if host != "" {
		return strings.ToLower(host)
	}
	return network(address, 24, 64).String()
}

// senderDomain is the domain of a reverse-path, "" of the null one.
func senderDomain(reversePath string) string {
	return strings.ToLower(reversePath[strings.LastIndexByte(reversePath, '@')+1:])
}

// stranger refuses for now a sender that was never seen. Who is trusted or allowed
// by a list has no need to come twice, nor has one that kept coming back already.
func (s *session) stranger(reversePath, reason string) *refusal {
	address := s.client.peer().address
	switch {
	case s.server.options.Greylist.Delay <= 0, reason == reasonReturning, s.server.trusts(address), s.listed != nil && s.listed.allow != "":
		return nil
	case s.server.greylist.visit(identityOf(s.hostname(address), address), senderDomain(reversePath), time.Now()):
		return nil
	}
	return greylisted()
}

func greylisted() *refusal {
	return refuse(reasonGreylisted, 451, smtp.StatusPolicyLater, "we have not met yet, try again in some minutes")
}

// met says whether the sender that somebody asks about is known.
func (e *Explanation) met(s *Server, q Question, decision admitted) *refusal {
	delay := s.options.Greylist.Delay
	if delay <= 0 || decision.pass || decision.reason == reasonReturning || !q.Client.IsValid() {
		return nil
	}
	host := ""
	if look := s.options.ReverseDNS; look != nil {
		ctx, cancel := context.WithTimeout(context.Background(), s.options.Timeouts.ReverseDNS)
		defer cancel()
		host = look(ctx, q.Client)
	}
	identity, domain := identityOf(host, q.Client), senderDomain(q.ReversePath)
	if s.greylist.knows(identity, domain, time.Now()) {
		e.fact("greylist", "%s with mail of %q is known", identity, domain)
		return nil
	}
	e.fact("greylist", "%s with mail of %q is not known; it has to come again after %s", identity, domain, delay)
	return greylisted()
}
