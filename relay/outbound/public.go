package outbound

import (
	"net/netip"
	"slices"
)

// public reports whether an address is one of the Internet at large. One that
// wraps an IPv4 address is as public as that: it is what we would reach.
func public(a netip.Addr) bool {
	a = a.Unmap()
	b := a.As16()
	switch {
	case nat64.Contains(a):
		a = netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(a):
		a = netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && a.Zone() == "" &&
		!slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Prefixes of IPv6 addresses that wrap IPv4 addresses, of NAT64 (RFC 6052 2.1)
// and of 6to4 (RFC 3056 2).
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// special are networks that netip counts as global unicast, and that the
// Internet does not route (RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // this host (RFC 1122 3.2.1.3)
	netip.MustParsePrefix("100.64.0.0/10"),  // carriers (RFC 6598)
	netip.MustParsePrefix("192.0.0.0/24"),   // protocols (RFC 6890 2.1)
	netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks (RFC 2544)
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved (RFC 1112 4)
	netip.MustParsePrefix("::/96"),          // IPv4 in IPv6 of old (RFC 4291 2.5.5.1)
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64 of a site (RFC 8215)
	netip.MustParsePrefix("100::/64"),       // discard (RFC 6666)
	netip.MustParsePrefix("2001::/32"),      // Teredo, which wraps as well (RFC 4380)
	netip.MustParsePrefix("fec0::/10"),      // sites of old (RFC 3879)
}
