package auth

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"blitiri.com.ar/go/spf"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	maxSPFQuestions = 30 // to the DNS, for one check: 10 terms, of which one or two have several hosts
	maxQuestions    = 16 // for keys of signatures and the policy
	maxReason       = 200
)

// mailbox is what SPF checks. domain is "" if there is none that could have a record.
type mailbox struct{ local, domain string }

// sender is the reverse-path.
func sender(id Identity) mailbox {
	path, err := smtp.ParsePath(id.ReversePath)
	if err != nil {
		return mailbox{}
	}
	return mailbox{path.Local, hostDomain(path.Domain)}
}

// helloSender is the identity of the client itself (RFC 7208 2.3, 4.3).
func helloSender(id Identity) mailbox { return mailbox{"postmaster", hostDomain(id.Hello)} }

// hostDomain is a domain as it is looked up; "" if it is no name of more than
// one label (RFC 7208 4.3).
func hostDomain(name string) string {
	ascii, err := smtp.ASCIIDomain(strings.TrimSuffix(name, "."))
	if err != nil || ascii[0] == '[' || !strings.Contains(ascii, ".") {
		return ""
	}
	return ascii
}

// spf checks whether the client may use a domain.
func (v *Verifier) spf(ctx context.Context, id Identity, who mailbox) SPF {
	client := id.Client.Unmap().WithZone("")
	switch {
	case who.domain == "":
		return SPF{Result: None, Reason: "no domain name"}
	case !client.IsValid():
		return SPF{Result: None, Domain: who.domain, Reason: "the client has no address"}
	}
	resolver := spfResolver{&budget{Resolver: v.options.Resolver, left: maxSPFQuestions}, "ip"}
	if client.Is4() { // of a client with IPv6 both are asked, as "exists" wants A records (RFC 7208 5.7)
		resolver.network = "ip4"
	}
	// The library cuts at the first @, and local parts may have one.
	address := strings.ReplaceAll(who.local, "@", "%40") + "@" + who.domain
	var result spf.Result
	var reason error
	if err := v.guarded("spf", func() {
		result, reason = spf.CheckHostWithSender(net.IP(client.AsSlice()), helloWord(id.Hello), address, spf.WithContext(ctx), spf.WithResolver(resolver))
	}); err != nil {
		return SPF{Result: TempError, Domain: who.domain, Reason: err.Error()}
	}
	found := SPF{Result: string(result), Domain: who.domain}
	if reason != nil {
		found.Reason = short(reason.Error())
	}
	return found
}

// helloWord is what the macro %{h} gives.
func helloWord(hello string) string {
	if ascii, err := smtp.ASCIIDomain(hello); err == nil {
		return ascii
	}
	return "unknown"
}

// short bounds text from outside.
func short(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "")
	}
	return s
}

// spfResolver asks for the family of the client only: a host without an
// address of that family is a void look-up (RFC 7208 5, 4.6.4).
type spfResolver struct {
	*budget
	network string
}

func (r spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	found, err := r.LookupIP(ctx, r.network, host)
	var all []net.IPAddr
	for _, a := range found {
		all = append(all, net.IPAddr{IP: a.AsSlice()})
	}
	return all, err
}

func (r spfResolver) LookupAddr(ctx context.Context, address string) ([]string, error) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return nil, &net.DNSError{Err: "no address", Name: short(address), IsNotFound: true}
	}
	return r.LookupNames(ctx, a)
}

// budget bounds how often the DNS is asked for one message.
type budget struct {
	Resolver
	left int64 // questions
}

// spend takes n questions from the budget. The error is temporary: what is not
// asked is not known.
func (b *budget) spend(n int64, name string) error {
	if atomic.AddInt64(&b.left, -n) < 0 {
		return &net.DNSError{Err: "too many DNS questions for one message", Name: short(name), IsTemporary: true}
	}
	return nil
}

func (b *budget) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if err := b.spend(1, name); err != nil {
		return nil, err
	}
	found, err := b.Resolver.LookupTXT(ctx, name)
	return found, anonymous(err)
}

func (b *budget) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	if err := b.spend(1, name); err != nil {
		return nil, err
	}
	found, err := b.Resolver.LookupMX(ctx, name)
	return found, anonymous(err)
}

func (b *budget) LookupIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	n := int64(1)
	if network == "ip" {
		n = 2
	}
	if err := b.spend(n, name); err != nil {
		return nil, err
	}
	found, err := b.Resolver.LookupIP(ctx, network, name)
	return found, anonymous(err)
}

func (b *budget) LookupNames(ctx context.Context, address netip.Addr) ([]string, error) {
	if err := b.spend(1, address.String()); err != nil {
		return nil, err
	}
	found, err := b.Resolver.LookupNames(ctx, address)
	return found, anonymous(err)
}

// anonymous leaves out which server of ours was asked: reasons travel with the mail.
func anonymous(err error) error {
	d, is := err.(*net.DNSError) // bare, as the Resolver promises and the libraries want
	if !is {
		return err
	}
	without := *d
	without.Server = ""
	return &without
}
