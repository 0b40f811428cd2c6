package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/milter"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Store is what the front door needs of a queue.Store.
type Store interface {
	Create(ctx context.Context) (queue.Draft, error)
	Room(ctx context.Context, upstream string, size int64) error
	Stats(ctx context.Context) (queue.Stats, error)
	Note(ctx context.Context, e queue.Entry) error
}

// Options say how to accept mail. Fields that are zero get a default, where one is named.
type Options struct {
	Hostname string            // ours, for the greeting and for Received
	Domains  map[string]string // relay domain, as a lower-case A-label, to the name of its upstream
	Rules    map[string]Rule   // of relay domains; the zero Rule for those that are missing
	Hints    map[string]string // upstream to the host that deferred senders are told to use; may be nil
	Store    Store

	// State says what is thought of an upstream. Called often and concurrently.
	State func(upstream string) health.State
	// Observe gets a signal when a sender that was deferred keeps coming back; may be nil.
	Observe func(health.Signal)
	// Recipients says who exists in the relay domains, as far as it is known; nil: everybody.
	Recipients Recipients
	// Primaries are the upstreams that mail is passed to while its sender waits. Each
	// whose domain has a Rule that passes must be there.
	Primaries map[string]*outbound.Upstream
	// ReverseDNS finds the confirmed name of an address, "" if there is none; may be nil.
	ReverseDNS func(ctx context.Context, address netip.Addr) string

	// RequireTLS reports whether an upstream gives on what REQUIRETLS asks for (RFC 8689); nil: none does.
	RequireTLS func(upstream string) bool
	// Secured are the domains, as in Domains, to which mail is taken over TLS only; may be nil.
	Secured map[string]bool

	TLS      *tls.Config // for STARTTLS, which is not offered if it is nil
	Limits   Limits
	Rates    Rates
	Proxies  []netip.Prefix // whose connections begin with a header of the PROXY protocol; may be nil
	Lists    Lists
	Greylist Greylist

	Authentication Authentication
	Filters        milter.Chain   // who is asked about content before it is accepted; may be nil
	Trusted        []netip.Prefix // networks for whose clients neither Rates nor the limits of an address count; may be nil
	Timeouts       Timeouts
	Returning      Returning
	Lifetime       time.Duration // of a message in the queue; default 5 days
	MinFree        int64         // octets of the disk below which nothing is accepted; 0 leaves that to the store
	Log            *slog.Logger  // default: nothing is logged
}

// Limits bound what clients may use.
type Limits struct {
	Sessions           int   // at the same time; default 5000
	SessionsPerAddress int   // at the same time of one address; default 50
	SessionsPerNetwork int   // at the same time of an IPv4 /24 or an IPv6 /64; default 200
	MessageSize        int64 // octets of content; default 157286400, as Exchange Online says
	Recipients         int   // of one transaction; default 100 (RFC 5321 4.5.3.1.8)
	Refusals           int   // refused recipients after which a session ends; default 20
	TarpitAfter        int   // refused recipients after which each has to be waited for; default 5
	Received           int   // Received fields with which a message goes in circles; default 100 (RFC 5321 6.3)
	Rate               int64 // octets per second that content must reach on average; default 500
}

// Timeouts bound the phases of a session.
type Timeouts struct {
	Greeting   time.Duration // that a client must keep silent before we greet; 0: it need not
	Command    time.Duration // for a whole command line, however it trickles; default 5 minutes (RFC 5321 4.5.3.2.7)
	Handshake  time.Duration // for a TLS handshake; default 30 seconds
	Idle       time.Duration // for the next octet of content; default 3 minutes
	Session    time.Duration // for all; default 1 hour
	Tarpit     time.Duration // that a client has to wait for the refusal of a recipient, after some; 0: it need not
	Write      time.Duration // for a reply; default 1 minute
	ReverseDNS time.Duration // default 5 seconds
	Drain      time.Duration // that running content may take after the end was asked for; default 30 seconds
}

// Returning says when a sender that was told to use the primary is believed
// that it cannot: after it has come back Times times, over at least Over.
type Returning struct {
	Times int           // default 2
	Over  time.Duration // default 5 minutes
}

// complete checks the options and fills in the defaults.
func (o *Options) complete() error {
	if name, err := smtp.ASCIIDomain(o.Hostname); err != nil {
		return fmt.Errorf("host name: %w", err)
	} else if name[0] == '[' {
		return fmt.Errorf("host name: %q is an address", o.Hostname)
	}
	if len(o.Domains) == 0 {
		return errors.New("no domain to accept mail for")
	}
	for domain, upstream := range o.Domains {
		if ascii, err := smtp.ASCIIDomain(domain); err != nil || ascii != domain {
			return fmt.Errorf("domain %q is no lower-case A-label", domain)
		}
		if upstream == "" {
			return fmt.Errorf("domain %s has no upstream", domain)
		}
		if o.Rules[domain].passes(health.Up) && o.Primaries[upstream] == nil {
			return fmt.Errorf("domain %s: there is no way to pass mail to %s", domain, upstream)
		}
	}
	if o.Store == nil || o.State == nil {
		return errors.New("inbound needs a store and the state of its upstreams")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
		o.TLS.MinVersion = max(o.TLS.MinVersion, tls.VersionTLS12)
	}
	if len(o.Lists.Block)+len(o.Lists.Allow) > 0 && o.Lists.Ask == nil {
		return errors.New("there is nobody to ask for DNS lists")
	}
	setDefault(&o.Greylist.Keep, 30*24*time.Hour)
	setDefault(&o.Lists.Timeout, 3*time.Second)
	setDefault(&o.Lifetime, 5*24*time.Hour)
	setDefault(&o.Returning.Times, 2)
	setDefault(&o.Returning.Over, 5*time.Minute)
	o.Limits.complete()
	o.Timeouts.complete()
	return nil
}

func (l *Limits) complete() {
	setDefault(&l.Sessions, 5000)
	setDefault(&l.SessionsPerAddress, 50)
	setDefault(&l.SessionsPerNetwork, 200)
	setDefault(&l.MessageSize, 157286400)
	setDefault(&l.Recipients, 100)
	setDefault(&l.Refusals, 20)
	setDefault(&l.TarpitAfter, 5)
	setDefault(&l.Received, 100)
	setDefault(&l.Rate, 500)
}

func (t *Timeouts) complete() {
	setDefault(&t.Command, 5*time.Minute)
	setDefault(&t.Handshake, 30*time.Second)
	setDefault(&t.Idle, 3*time.Minute)
	setDefault(&t.Session, time.Hour)
	setDefault(&t.Write, time.Minute)
	setDefault(&t.ReverseDNS, 5*time.Second)
	setDefault(&t.Drain, 30*time.Second)
}

func setDefault[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}
