package dns

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// Exchanges is what the MX records of a name say.
type Exchanges struct {
	List    []net.MX // by preference; hosts are lower case and end in a dot, that of a null MX is "."
	Aliases int      // CNAME records that led to them
	Secure  bool     // validated by DNSSEC; so is, then, that there are none
}

// LookupExchanges is LookupMX with all that delivery by MX records needs to
// know. With an error that says not found, Secure still tells of that answer.
func (r *Resolver) LookupExchanges(ctx context.Context, name string) (Exchanges, error) {
	found, err := r.lookupAny(ctx, name, dns.TypeMX)
	return Exchanges{List: slices.Clone(found.exchanges), Aliases: found.aliases, Secure: found.secure}, err
}

// Addresses are those of a name that somebody else has named.
type Addresses struct {
	List    []netip.Addr // IPv4 before IPv6
	Name    string       // at the end of its CNAME records, without a final dot; the name itself if there are none
	Aliases int          // CNAME records that led there
	Secure  bool         // validated by DNSSEC, all of them
}

// LookupAddresses returns the addresses of a host to connect to. As for
// LookupHost one answered family is enough, but no last good answer is kept:
// the names are those of the whole Internet.
func (r *Resolver) LookupAddresses(ctx context.Context, name string) (Addresses, error) {
	asked, ok := questionName(name)
	if !ok || !isName(name) {
		return Addresses{}, notFound(name, "not a host name")
	}
	found, err := r.families(ctx, asked)
	if err != nil {
		return Addresses{}, err
	}
	all := Addresses{Secure: true}
	for _, a := range found {
		if len(a.addresses) > 0 {
			all.List = append(all.List, a.addresses...)
			all.Name, all.Aliases, all.Secure = question{name: a.end}.printed(), max(all.Aliases, a.aliases), all.Secure && a.secure
		}
	}
	return all, nil
}

// TLSA is a record of the keys of a server (RFC 6698 2.1).
type TLSA struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// LookupTLSA returns the TLSA records of a name like "_25._tcp.mx.example". They
// mean something only if secure is true: validated by DNSSEC, as a server said
// whose word is trusted (Options.Trusted). An error that does not say not found
// leaves open whether there are any.
func (r *Resolver) LookupTLSA(ctx context.Context, name string) (list []TLSA, secure bool, err error) {
	found, err := r.lookupAny(ctx, name, dns.TypeTLSA)
	return slices.Clone(found.keys), found.secure, err
}
