package dns

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	maxChain   = 8  // CNAME records from a name to its addresses
	maxRecords = 64 // of one answer
)

// question is what is asked; the name is lower case with its final dot.
type question struct {
	name string
	kind uint16
}

// answer is what the DNS said.
type answer struct {
	addresses []netip.Addr
	names     []string // of PTR records, lower case with their final dot
	texts     []string // of TXT records, the strings of each joined
	exchanges []net.MX // lower case with their final dot
	keys      []TLSA
	end       string // the name that has them, behind CNAME records
	aliases   int    // those records
	secure    bool   // validated by DNSSEC, as a trusted server says
	unfit     bool   // there are records that cannot be used
	ttl       uint32 // in seconds
	err       *net.DNSError
}

// failure is the answer's error, without the trap of a typed nil.
func (a answer) failure() error {
	if a.err == nil {
		return nil
	}
	return a.err
}

// found reports whether there is anything in the answer.
func (a answer) found() bool { return a.count() > 0 }

// count is the number of records in the answer.
func (a answer) count() int {
	return len(a.addresses) + len(a.names) + len(a.texts) + len(a.exchanges) + len(a.keys)
}

// failed reports whether the DNS neither had nor denied an answer.
func (a answer) failed() bool { return a.err != nil && !a.err.IsNotFound }

// size is the length of its texts and keys in bytes.
func (a answer) size() (n int) {
	for _, text := range a.texts {
		n += len(text)
	}
	for _, key := range a.keys {
		n += len(key.Data)
	}
	return n
}

// walk follows CNAME records through a reply.
type walk struct {
	at    string // where it has come to
	hops  int
	ttl   uint32 // the smallest so far
	begun bool
}

// through follows the chain in one reply as far as it leads and returns the
// records of the kind at its end. It stops at a chain that is too long.
func (w *walk) through(reply *dns.Msg, kind uint16) (found answer) {
	for w.hops <= maxChain {
		next := ""
		for _, record := range reply.Answer {
			h := record.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, w.at) {
				continue
			}
			if c, ok := record.(*dns.CNAME); ok && next == "" {
				next = strings.ToLower(c.Target)
				w.lower(h.Ttl)
			}
			if h.Rrtype == kind && found.add(record) {
				w.lower(h.Ttl)
			}
		}
		if found.found() || next == "" {
			break
		}
		w.at = next
		w.hops++
	}
	found.ttl, found.end, found.aliases = w.ttl, w.at, w.hops
	return found
}

func (w *walk) lower(ttl uint32) {
	if !w.begun || ttl < w.ttl {
		w.ttl, w.begun = ttl, true
	}
}

// add takes a record over, if it is fit to be used.
func (a *answer) add(record dns.RR) bool {
	if a.count() >= maxRecords {
		return false
	}
	switch r := record.(type) {
	case *dns.A:
		return a.address(r.A)
	case *dns.AAAA:
		return a.address(r.AAAA)
	case *dns.PTR:
		if name := strings.ToLower(r.Ptr); isName(name) {
			a.names = append(a.names, name)
			return true
		}
	case *dns.TXT:
		a.texts = append(a.texts, text(r.Txt))
		return true
	case *dns.MX:
		if host := strings.ToLower(r.Mx); host == "." || isName(host) {
			a.exchanges = append(a.exchanges, net.MX{Host: host, Pref: r.Preference})
			return true
		}
		a.unfit = true
	case *dns.TLSA:
		data, err := hex.DecodeString(r.Certificate)
		if err == nil {
			a.keys = append(a.keys, TLSA{r.Usage, r.Selector, r.MatchingType, data})
		}
		return err == nil
	}
	return false
}

func (a *answer) address(ip net.IP) bool {
	address, ok := netip.AddrFromSlice(ip)
	if ok {
		a.addresses = append(a.addresses, address)
	}
	return ok
}

// denial is how long a reply without records may be kept (RFC 2308 5).
// It reports false if the reply does not say.
func denial(reply *dns.Msg) (ttl uint32, ok bool) {
	for _, record := range reply.Ns {
		if soa, is := record.(*dns.SOA); is {
			return min(soa.Hdr.Ttl, soa.Minttl), true
		}
	}
	return 0, false
}
