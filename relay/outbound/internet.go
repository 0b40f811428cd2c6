package outbound

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/outbound/mtasts"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// InternetOptions says how to reach the hosts of any domain. Hello and Resolver
// must be set; other fields that are zero get the default named.
type InternetOptions struct {
	Name      string // default "internet"
	Hello     string // our name for EHLO, and in MX records
	Resolver  InternetResolver
	Ourselves func(netip.AddrPort) bool // as in Options
	Keep      mtasts.Keep               // where policies outlive the process; may be nil
	Roots     *x509.CertPool            // for hosts and policies of MTA-STS; nil are the system's
	Timeouts  Timeouts

	Port, PolicyPort int            // of hosts and of policies; default 25 and 443
	Private          []netip.Prefix // networks that names may lead to, though they are not public
	Dial             func(ctx context.Context, network, address string) (net.Conn, error)
	Log              *slog.Logger // default none
}

// InternetResolver answers what delivery to any domain asks.
type InternetResolver interface {
	ExchangeResolver
	mtasts.Resolver
	LookupAddresses(ctx context.Context, name string) (dns.Addresses, error)
	LookupTLSA(ctx context.Context, name string) (list []dns.TLSA, secure bool, err error)
}

const (
	internetName   = "internet"
	policyPort     = 443
	policyHosts    = 4 // addresses of a policy host that are tried
	policyPatience = 10 * time.Second
)

// Internet delivers to the hosts of the recipients' domains, found by MX
// records. It is a Deliverer whose destinations have nothing to do with each
// other: what one of them does is the affair of the messages to it, so there are
// no signals, and every failure walks the schedule of its message. At most one
// message at a time goes to a domain.
//
// A session is secured as well as the domain lets it:
//
//	DANE (RFC 7672)      TLSA records validated by DNSSEC   TLS, and the key is the one named
//	MTA-STS (RFC 8461)   policy with mode enforce           TLS, listed, and the certificate is right
//	otherwise            STARTTLS offered                   TLS whoever it is, or else in plaintext
//
// If both are there the policy says which hosts may be used, and DANE proves
// them. CNAME records (RFC 7672 2.2): if all of a host's are validated, its TLSA
// records are looked for at the name at their end, then at its own name; if any
// is not, there is no DANE for the host, also if its first one were validated.
type Internet struct {
	options  InternetOptions
	upstream Options // of each delivery
	policies *mtasts.Cache
	domains  destinations
}

// NewInternet checks the options, and reads what was kept.
func NewInternet(o InternetOptions) (*Internet, error) {
	if o.Resolver == nil {
		return nil, errors.New("the Internet without a resolver")
	}
	if o.Name == "" {
		o.Name = internetName
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	setDefault(&o.Port, defaultPort)
	setDefault(&o.PolicyPort, policyPort)
	n := &Internet{options: o, domains: destinations{all: map[string]*destination{}}}
	n.upstream = Options{Name: o.Name, Hosts: []string{internetName}, Hello: o.Hello, Port: o.Port, Private: o.Private, Timeouts: o.Timeouts,
		TLS: TLS{Policy: TLSOpportunistic, Roots: o.Roots}, Dial: o.Dial}
	if err := n.upstream.complete(); err != nil {
		return nil, err
	}
	n.policies = mtasts.New(mtasts.Options{Resolver: o.Resolver, Dial: n.dialPolicy, Roots: o.Roots, Keep: o.Keep, Log: o.Log})
	return n, nil
}

// Name is what messages call it.
func (n *Internet) Name() string { return n.options.Name }

// Deliver makes one attempt, as Upstream.Deliver does, domain by domain.
func (n *Internet) Deliver(ctx context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report {
	whole := Report{Results: map[int]queue.Result{}}
	var domains []string
	recipients := map[string][]int{}
	for _, i := range m.Pending() {
		domain, ok := domainOf(m.Envelope.Recipients[i].ForwardPath)
		if !ok {
			whole.Results[i] = queue.Result{At: time.Now(), Action: queue.Refused, Scope: queue.ScopeOneRecipient,
				Reply: queue.Reply{Text: "no domain whose hosts can be found: " + m.Envelope.Recipients[i].ForwardPath}}
			continue
		}
		if recipients[domain] == nil {
			domains = append(domains, domain)
		}
		recipients[domain] = append(recipients[domain], i)
	}
	for _, domain := range domains {
		one := n.toDomain(ctx, domain, recipients[domain], m, open)
		maps.Copy(whole.Results, one.Results)
		whole.Relayed = append(whole.Relayed, one.Relayed...)
		whole.Slow = max(whole.Slow, one.Slow)
		if whole.Content = one.Content; whole.Content != nil {
			break
		}
	}
	return whole
}

// domainOf is the domain of a recipient, if it has one that can be looked up.
func domainOf(forward string) (string, bool) {
	path, err := smtp.ParsePath(forward)
	if err != nil || path.IsNull() || path.Domain == "" || strings.HasPrefix(path.Domain, "[") {
		return "", false
	}
	domain, err := smtp.ASCIIDomain(path.Domain)
	return domain, err == nil
}

// toDomain delivers to the recipients of one domain.
func (n *Internet) toDomain(ctx context.Context, domain string, recipients []int, m queue.Message, open func() (io.ReadCloser, error)) Report {
	same := func(r queue.Result) Report {
		report := Report{Results: map[int]queue.Result{}}
		for _, i := range recipients {
			r.At = time.Now()
			report.Results[i] = r
		}
		return report
	}
	place, wait := n.domains.enter(ctx, domain)
	switch {
	case place == nil && ctx.Err() != nil:
		return same(queue.Result{Action: queue.Deferred, Scope: queue.ScopeOwn, Reply: queue.Reply{Text: brokenOff}})
	case place == nil:
		report := same(queue.Result{Action: queue.Deferred, Scope: scopeOfWait(wait, m), Reply: queue.Reply{Text: fmt.Sprintf(wait.why, domain)}})
		report.Slow = wait.time
		return report
	}
	reached := true
	defer func() { place.leave(reached) }() // also in a panic
	found, err := n.way(ctx, domain)
	var final smtp.Reply
	if errors.As(err, &final) {
		return same(queue.Result{Action: queue.Failed, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Command: "connect", Code: final.Code, Enhanced: final.Status.String(), Text: final.Text()}})
	}
	if err != nil { // of the DNS: nobody was asked
		a := failed(health.PhaseResolve, "connect", err)
		a.ours = errors.Is(ctx.Err(), context.Canceled)
		found = way{failures: []unresolved{{domain, a}}}
	}
	u := &Upstream{options: n.upstream, slots: slots{most: 1}, way: &found}
	defer u.Close()
	d := &delivery{upstream: u, message: m, open: open, pending: recipients, report: Report{Results: map[int]queue.Result{}}}
	report := d.all(ctx)
	reached = !d.unreachable || errors.Is(ctx.Err(), context.Canceled)
	report.Signals = nil
	return ownSchedule(ctx, report)
}

// ownSchedule makes what would hold up a whole upstream the affair of the
// message, unless it was broken off.
func ownSchedule(ctx context.Context, report Report) Report {
	if errors.Is(ctx.Err(), context.Canceled) {
		return report
	}
	for i, r := range report.Results {
		if r.Scope == queue.ScopeUpstream || r.Scope == queue.ScopeOwn {
			r.Scope = queue.ScopeMessage
			report.Results[i] = r
		}
	}
	return report
}

// scopeOfWait: waiting for others spends no step of the schedule, until the
// message's lifetime is over; an unreachable domain is the message's own trouble.
func scopeOfWait(w wait, m queue.Message) queue.Scope {
	if now := time.Now(); w.others && now.Before(m.Expires(now)) {
		return queue.ScopeUpstream
	}
	return queue.ScopeMessage
}

// dialPolicy connects to the host of a policy.
func (n *Internet) dialPolicy(ctx context.Context, host string) (net.Conn, error) {
	_, usable, err := n.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range usable[:min(len(usable), policyHosts)] {
		within, cancel := context.WithTimeout(ctx, policyPatience)
		var conn net.Conn
		conn, err = n.options.Dial(within, "tcp", netip.AddrPortFrom(a, uint16(n.options.PolicyPort)).String())
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// addresses looks a host up. usable is without what must not be connected to:
// the address that was checked is the one that is used.
func (n *Internet) addresses(ctx context.Context, host string) (found dns.Addresses, usable []netip.Addr, err error) {
	if found, err = n.options.Resolver.LookupAddresses(ctx, host); err != nil {
		return found, nil, err
	}
	if found.Aliases > maxAliases {
		return found, nil, fmt.Errorf("%s: a chain of %d aliases, more than %d", host, found.Aliases, maxAliases)
	}
	usable, err = n.upstream.usable(host, found.List)
	return found, usable, err
}
