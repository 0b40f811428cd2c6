package dns

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	maxTexts = 16 << 10                   // bytes of text in one answer
	anyName  = "!#$%&*+,/:<=>?[]^_`{|}~-" // what a name may have besides letters and digits
	quoted   = "'@;()\""                  // and what is written behind a backslash in a question
)

// LookupTXT returns the TXT records of a name, the strings of each joined. A
// name may have any printable character: macros of SPF put local parts into
// names. While the DNS fails it returns the last answer, if that is not older
// than a day; an answer with more than 16 KiB of text is a temporary error.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	found, err := r.lookupAny(ctx, name, dns.TypeTXT)
	return slices.Clone(found.texts), err
}

// LookupMX returns the MX records of a name, by preference; hosts end in a dot.
// The host of a null MX is "." (RFC 7505). While the DNS fails it returns the
// last answer, if that is not older than a day.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	found, err := r.lookupAny(ctx, name, dns.TypeMX)
	var list []*net.MX
	for _, mx := range found.exchanges {
		list = append(list, &mx)
	}
	return list, err
}

// LookupIP returns the addresses of a name that somebody else has named, of
// network "ip4" or "ip6", or of both if it is "ip". It differs from LookupHost
// in that it keeps no last good answer, and that both must be answered: who asks
// whether an address is among them must not take half of an answer for a no.
func (r *Resolver) LookupIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	switch network {
	case "ip4":
		found, err := r.lookupAny(ctx, name, dns.TypeA)
		return slices.Clone(found.addresses), err
	case "ip6":
		found, err := r.lookupAny(ctx, name, dns.TypeAAAA)
		return slices.Clone(found.addresses), err
	}
	four, err := r.LookupIP(ctx, "ip4", name)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	six, errSix := r.LookupIP(ctx, "ip6", name)
	if errSix != nil && (err != nil || !isNotFound(errSix)) {
		return nil, errSix
	}
	return append(four, six...), nil
}

// LookupNames returns what the PTR records of an address say, with final dots.
// Nobody has checked that the names lead back to it.
func (r *Resolver) LookupNames(ctx context.Context, address netip.Addr) ([]string, error) {
	reverse, err := dns.ReverseAddr(address.Unmap().WithZone("").String())
	if err != nil {
		return nil, notFound(address.String(), "no such address")
	}
	found, err := r.lookup(ctx, question{reverse, dns.TypePTR})
	return slices.Clone(found.names), err
}

func (r *Resolver) lookupAny(ctx context.Context, name string, kind uint16) (answer, error) {
	asked, ok := questionName(name)
	if !ok {
		return answer{}, notFound(name, "not a name")
	}
	return r.lookup(ctx, question{asked, kind})
}

// questionName writes a name as a question has it: lower case, with its final
// dot, and special characters as the library writes those of a reply.
func questionName(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return "", false
	}
	var b strings.Builder
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte(anyName, c) >= 0:
			case strings.IndexByte(quoted, c) >= 0:
				b.WriteByte('\\')
			default:
				return "", false
			}
			b.WriteByte(c)
		}
		b.WriteByte('.')
	}
	return b.String(), true
}

// text joins the strings of a TXT record, as they were in the message: the
// library has written special characters as \" or \DDD.
func text(strs []string) string {
	joined := strings.Join(strs, "")
	if !strings.Contains(joined, `\`) {
		return joined
	}
	var b strings.Builder
	for i := 0; i < len(joined); i++ {
		c := joined[i]
		if c == '\\' && i+1 < len(joined) {
			i++
			if c = joined[i]; isDigit(c) && i+2 < len(joined) && isDigit(joined[i+1]) && isDigit(joined[i+2]) {
				c = (c-'0')*100 + (joined[i+1]-'0')*10 + joined[i+2] - '0'
				i += 2
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func sortExchanges(list []net.MX) {
	slices.SortStableFunc(list, func(a, b net.MX) int {
		return cmp.Or(cmp.Compare(a.Pref, b.Pref), strings.Compare(a.Host, b.Host))
	})
}
