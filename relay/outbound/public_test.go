package outbound

import (
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "192.0.2.1": true, "1.0.0.0": true, "223.255.255.255": true, "100.63.255.255": true, "100.128.0.0": true,
		"2a00:1450::1": true, "2001:db8::1": true, "2001:1::1": true,
		"::ffff:8.8.8.8": true, "64:ff9b::8.8.8.8": true, "2002:0808:0808::1": true,

		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "100.127.255.255": false, "192.0.0.170": false,
		"198.18.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::7f00:1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false,
		"fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd12::1": false, "fec0::1": false, "ff02::1": false, "100::1": false,
		"64:ff9b::127.0.0.1": false, "64:ff9b::10.0.0.1": false, "64:ff9b::100.64.0.1": false, "64:ff9b:1::8.8.8.8": false,
		"2002:7f00:0001::1": false, "2002:0a00:0001::1": false, "2002:a9fe:a9fe::1": false, "2001::1": false, "2a00::1%eth0": false,
	} {
		if got := public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}
