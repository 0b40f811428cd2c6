// Package dns finds the addresses of names, the names of addresses, and what
// names say about mail.
//
// A Resolver asks the servers it was given, or those of resolv.conf, over UDP
// and, for what does not fit, TCP. It keeps answers for their time to live.
// When the DNS fails, or denies a name that it knew before, LookupHost returns
// the last good answer: a primary must be reached on the day on which its DNS
// is the trouble. A file of names (/etc/hosts) and search domains are not used.
//
// Every error is a bare *net.DNSError that tells not found, timed out and
// temporary apart; behind it is the context's error, if the context ended.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Options are the settings of a Resolver. Zero fields take the default.
type Options struct {
	Servers []string // "ip:port"; none means those of ResolvConf
	// Trusted says that the servers validate DNSSEC and that nobody can change what
	// they say on the way here. Servers of loopback are trusted in any case.
	Trusted    bool
	ResolvConf string        // read again when it changes; default /etc/resolv.conf
	Timeout    time.Duration // of one question to one server; 2 s
	Tries      int           // how often every server is asked; 2
	MaxStale   time.Duration // how old a last good answer may be to be used; 30 days
	Keep       Keep          // where last good answers outlive the process; may be nil

	// Dial opens a connection to a server; default a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger // nil is silence
}

// Keep stores small values under the key of an owner. Get reports false if
// there is none.
type Keep interface {
	Put(owner, key string, value any) error
	Get(owner, key string, into any) (bool, error)
}

const (
	defaultTimeout  = 2 * time.Second
	defaultTries    = 2
	defaultMaxStale = 30 * 24 * time.Hour

	maxPTR = 3 // names of one address that are looked at
)

// Resolver asks the DNS. Its methods may be called concurrently.
type Resolver struct {
	options Options
	servers servers
	last    lastGood
	turn    atomic.Uint32 // the server that answered last is asked first

	mu      sync.Mutex
	answers cache
	flights map[question]*flight
}

// New makes a resolver. It fails if a server is not "ip:port", or if there are
// none and resolv.conf cannot be read.
func New(o Options) (*Resolver, error) {
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Tries <= 0 {
		o.Tries = defaultTries
	}
	if o.MaxStale <= 0 {
		o.MaxStale = defaultMaxStale
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, server := range o.Servers {
		if _, err := netip.ParseAddrPort(server); err != nil {
			return nil, fmt.Errorf("DNS server %q: want an IP address and a port, like 192.0.2.53:53", server)
		}
	}
	r := &Resolver{options: o, flights: map[question]*flight{}}
	r.servers = servers{fixed: o.Servers, path: o.ResolvConf}
	r.last = lastGood{keep: o.Keep, log: o.Log, maxAge: o.MaxStale}
	if err := r.servers.read(); err != nil {
		return nil, err
	}
	return r, nil
}

// LookupHost returns the addresses of a name, IPv4 before IPv6. It is enough
// that one of the two is answered. While the DNS fails it returns the last good
// answer, if there is one that is not too old.
func (r *Resolver) LookupHost(ctx context.Context, name string) ([]netip.Addr, error) {
	key := strings.TrimSuffix(strings.ToLower(name), ".")
	if !isName(key) {
		return nil, notFound(name, "not a host name")
	}
	if addresses, ok := r.last.fallback(key, time.Now()); ok {
		return addresses, nil
	}
	addresses, err := r.addresses(ctx, key)
	if err == nil {
		r.last.store(key, addresses, time.Now())
		return addresses, nil
	}
	if !errors.Is(err, context.Canceled) {
		if stale, ok := r.last.use(key, err, time.Now()); ok {
			return stale, nil
		}
	}
	return nil, err
}

// LookupA returns the IPv4 addresses of a name, as lists of addresses give them
// (RFC 5782). An answer is kept for its time only: when the DNS fails, there is none.
func (r *Resolver) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	key := strings.TrimSuffix(strings.ToLower(name), ".")
	if !isName(key) {
		return nil, notFound(name, "not a host name")
	}
	found, err := r.lookup(ctx, question{key + ".", dns.TypeA})
	return found.addresses, err
}

// LookupPTR returns the name of an address, without its final dot. The name is
// one that leads back to the address: a PTR record alone proves nothing (RFC
// 8601 2.7.3). If there is no such name the error says not found.
func (r *Resolver) LookupPTR(ctx context.Context, address netip.Addr) (string, error) {
	address = address.Unmap().WithZone("")
	reverse, err := dns.ReverseAddr(address.String())
	if err != nil {
		return "", notFound(address.String(), "no such address")
	}
	found, err := r.lookup(ctx, question{reverse, dns.TypePTR})
	if err != nil {
		return "", err
	}
	kind := dns.TypeAAAA
	if address.Is4() {
		kind = dns.TypeA
	}
	var trouble error
	for _, name := range found.names[:min(len(found.names), maxPTR)] {
		back, err := r.lookup(ctx, question{name, kind})
		if err != nil && !isNotFound(err) {
			trouble = err
		}
		if slices.ContainsFunc(back.addresses, func(a netip.Addr) bool { return a.Unmap() == address }) {
			return strings.TrimSuffix(name, "."), nil
		}
	}
	if trouble != nil {
		return "", trouble
	}
	return "", notFound(strings.TrimSuffix(reverse, "."), "no name that leads back to the address")
}

// addresses asks for both families at once.
func (r *Resolver) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	found, err := r.families(ctx, name+".")
	if err != nil {
		return nil, err
	}
	return slices.Concat(found[0].addresses, found[1].addresses), nil
}

// families are the answers of IPv4 and of IPv6. It is an error if neither has any.
func (r *Resolver) families(ctx context.Context, name string) (found [2]answer, err error) {
	var errFour, errSix error
	var both sync.WaitGroup
	both.Go(func() { found[1], errSix = r.lookup(ctx, question{name, dns.TypeAAAA}) })
	found[0], errFour = r.lookup(ctx, question{name, dns.TypeA})
	both.Wait()
	switch {
	case errFour == nil || errSix == nil:
		return found, nil
	case isNotFound(errFour): // then the other error tells whether that is all
		return found, errSix
	}
	return found, errFour
}

// lookup answers a question from the cache or from the DNS. What is asked
// already is not asked again, but waited for.
func (r *Resolver) lookup(ctx context.Context, q question) (answer, error) {
	for {
		r.mu.Lock()
		if found, ok := r.answers.get(q, time.Now()); ok {
			r.mu.Unlock()
			return found, found.failure()
		}
		f, asked := r.flights[q]
		if !asked {
			f = &flight{done: make(chan struct{})}
			r.flights[q] = f
			r.mu.Unlock()
			return r.lead(ctx, q, f)
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return answer{}, q.ended(ctx, "")
		case <-f.done: // the answer is in the cache, unless the leader's context ended
		}
	}
}

// flight is a question that somebody is asking.
type flight struct{ done chan struct{} }

// lead asks, and tells those who wait.
func (r *Resolver) lead(ctx context.Context, q question, f *flight) (found answer, err error) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		now, ended := time.Now(), ctx.Err()
		if _, ok := r.answers.stale(q, now); ok && errors.Is(ended, context.DeadlineExceeded) {
			ended = nil // the servers have had their time, and this is better than nothing
		}
		if found.found() || found.err != nil && ended == nil {
			found = r.answers.put(q, found, now)
		}
		delete(r.flights, q)
		close(f.done)
		err = found.failure()
	}()
	return r.resolve(ctx, q), nil
}

func isNotFound(err error) bool {
	var d *net.DNSError
	return errors.As(err, &d) && d.IsNotFound
}

func notFound(name, why string) *net.DNSError {
	return &net.DNSError{Err: why, Name: name, IsNotFound: true}
}

// isName reports whether a name is made like that of a host. What is not would
// never be found, and must not reach a log or a header line.
func isName(name string) bool {
	if name = strings.TrimSuffix(name, "."); name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInName) {
			return false
		}
	}
	return true
}

func notInName(c rune) bool {
	return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
}
