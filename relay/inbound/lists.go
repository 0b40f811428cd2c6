package inbound

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Lists are DNS lists of addresses (RFC 5782) that are asked about clients whose
// mail would be taken. The zero value asks nobody.
type Lists struct {
	Block   []string // zones of those whose mail is not wanted
	Allow   []string // zones of those whose mail is, whatever the others say
	Action  ListAction
	Timeout time.Duration // for all of them; default 3 seconds
	// Ask finds the addresses of a name. It should keep answers for a while.
	Ask func(ctx context.Context, name string) ([]netip.Addr, error)
}

// ListAction says what becomes of the mail of a client that is listed.
type ListAction uint8

// The actions. Lists are wrong at times, so deferring is the default: a sender
// that is listed by mistake comes again.
const (
	DeferListed  ListAction = iota // 451 4.7.1
	RejectListed                   // 550 5.7.1
)

// maxListed bounds the clients about whom lists are being asked. Of those above
// it nothing is known: a flood of clients must not become one of questions.
const maxListed = 64

// lists asks, and counts what could not be answered.
type lists struct {
	Lists
	places chan struct{}
	failed atomic.Int64 // questions without an answer
}

func newLists(o Lists) *lists {
	return &lists{Lists: o, places: make(chan struct{}, maxListed)}
}

// listing is what the lists say of a client. Both "" is nothing.
type listing struct {
	allow string // a zone that has it
	block string // a zone that has it
}

// look asks all lists at once. What is not answered in time says nothing.
func (l *lists) look(ctx context.Context, client netip.Addr) listing {
	if len(l.Block)+len(l.Allow) == 0 || !isPublic(client) {
		return listing{}
	}
	select {
	case l.places <- struct{}{}:
		defer func() { <-l.places }()
	default:
		l.failed.Add(1)
		return listing{}
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	zones := slices.Concat(l.Allow, l.Block)
	has := make([]bool, len(zones))
	var asking sync.WaitGroup
	for i, zone := range zones {
		asking.Go(func() { has[i] = l.has(ctx, zone, client) })
	}
	asking.Wait()
	var found listing
	for i, zone := range zones {
		switch {
		case !has[i]:
		case i < len(l.Allow):
			found.allow = zone
		case found.block == "":
			found.block = zone
		}
	}
	return found
}

// has reports whether a list has a client.
func (l *lists) has(ctx context.Context, zone string, client netip.Addr) bool {
	answers, err := l.Ask(ctx, listName(client, zone))
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return false
	case err != nil, len(answers) == 0, slices.ContainsFunc(answers, notListed):
		l.failed.Add(1)
		return false
	}
	return true
}

// notListed reports whether an answer is none of a list: RFC 5782 2.1 wants
// 127.0.0.0/8. Lists say in 127.255.255.0/24 that they do not answer us, and a
// domain that was given up leads anywhere, for all clients.
func notListed(a netip.Addr) bool {
	b := a.Unmap().As16()
	return !a.Unmap().Is4() || b[12] != 127 || b[13] == 255 && b[14] == 255 || a.Unmap() == netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// listName is the name under which a list has an address.
func listName(a netip.Addr, zone string) string {
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("%d.%d.%d.%d.%s", b[3], b[2], b[1], b[0], zone)
	}
	b := a.As16()
	digits := strings.Split(hex.EncodeToString(b[:]), "")
	slices.Reverse(digits)
	return strings.Join(digits, ".") + "." + zone
}

// isPublic reports whether a list can know an address.
func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate()
}

// verdict is the refusal of a client that is listed, nil if there is none.
func (l *lists) verdict(client netip.Addr, found listing) *refusal {
	switch {
	case found.block == "" || found.allow != "":
		return nil
	case l.Action == RejectListed:
		return refuse(reasonListed, 550, smtp.StatusRelayDenied, client.String()+" is listed by "+found.block)
	}
	return refuse(reasonListed, 451, smtp.StatusPolicyLater, client.String()+" is listed by "+found.block+", try again later")
}

// unwanted refuses a client that is listed. The lists are asked once a session.
func (s *session) unwanted() *refusal {
	client := s.client.peer().address
	if s.server.trusts(client) {
		return nil
	}
	if s.listed == nil {
		found := s.server.lists.look(s.cut, client)
		s.listed = &found
	}
	return s.server.lists.verdict(client, *s.listed)
}

// listed says what the lists know of a client that somebody asks about.
func (e *Explanation) listed(s *Server, client netip.Addr) (allowed bool, no *refusal) {
	if s.trusts(client) {
		return true, nil
	}
	zones := slices.Concat(s.lists.Allow, s.lists.Block)
	if len(zones) == 0 || !client.IsValid() {
		return false, nil
	}
	found := s.lists.look(context.Background(), client)
	switch {
	case found.allow != "":
		e.fact("lists", "%s allows %s", found.allow, client)
	case found.block != "":
		e.fact("lists", "%s lists %s", found.block, client)
	case !isPublic(client):
		e.fact("lists", "not asked: they know nothing of %s, which is no public address", client)
	default:
		e.fact("lists", "asked: %s; none has %s, or none answers", strings.Join(zones, ", "), client)
	}
	return found.allow != "", s.lists.verdict(client, found)
}
