package inbound

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestMeter: what was used comes back evenly, in a minute; who is refused uses nothing.
func TestMeter(t *testing.T) {
	m := newMeter(Rates{PerAddress: Rate{Messages: 2}, PerNetwork: Rate{Messages: 3}, All: Rate{Messages: 4}})
	begun := time.Unix(1000, 0)
	for i, step := range []struct {
		after   time.Duration // since the begin
		address string
		want    string
	}{
		{0, "192.0.2.1", ""},
		{0, "192.0.2.1", ""},
		{0, "192.0.2.1", "message_rate_of_address"},
		{0, "192.0.2.2", ""},
		{0, "192.0.2.2", "message_rate_of_network"},
		{0, "198.51.100.1", ""},
		{0, "198.51.100.1", "message_rate"},
		{14 * time.Second, "198.51.100.1", "message_rate"},
		{15 * time.Second, "198.51.100.1", ""}, // a fourth of four
		{29 * time.Second, "192.0.2.1", "message_rate_of_address"},
		{30 * time.Second, "192.0.2.1", ""},                        // half of two
		{10 * time.Second, "192.0.2.1", "message_rate_of_address"}, // a clock that goes back gives nothing
		{time.Hour, "192.0.2.1", ""},
		{time.Hour, "192.0.2.1", ""}, // no more than the limit was saved
		{time.Hour, "192.0.2.1", "message_rate_of_address"},
	} {
		if got := m.take(ip(step.address), useMessage, begun.Add(step.after)); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	if got := m.take(ip("192.0.2.1"), useRecipient, begun); got != "" {
		t.Errorf("another use: %s", got)
	}
}

// TestMeterPrefixes: who counts as one.
func TestMeterPrefixes(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"192.0.2.1", "192.0.2.1", "connection_rate_of_address"},
		{"192.0.2.1", "192.0.2.255", "connection_rate_of_network"},
		{"192.0.2.1", "192.0.3.1", ""},
		{"2001:db8::1", "2001:db8::1", "connection_rate_of_address"},
		{"2001:db8::1", "2001:db8::ffff:1", "connection_rate_of_network"},
		{"2001:db8::1", "2001:db8:0:1::1", ""},
		{"fe80::1%eth0", "fe80::1%eth1", "connection_rate_of_address"},
	} {
		m := newMeter(Rates{PerAddress: Rate{Connections: 1}, PerNetwork: Rate{Connections: 1}})
		now := time.Unix(1000, 0)
		m.take(ip(test.a), useConnection, now)
		if got := m.take(ip(test.b), useConnection, now); got != test.want {
			t.Errorf("%s after %s: %q, want %q", test.b, test.a, got, test.want)
		}
	}
}

// TestMeterOverdraft: content counts when it has come, also above the limit.
func TestMeterOverdraft(t *testing.T) {
	m := newMeter(Rates{PerAddress: Rate{Bytes: 600}})
	now, a := time.Unix(1000, 0), ip("192.0.2.1")
	if got := m.over(a, useByte, now); got != "" {
		t.Error(got)
	}
	m.add(a, useByte, 1200, now)
	for after, want := range map[time.Duration]string{0: "byte_rate_of_address", time.Minute: "byte_rate_of_address", time.Minute + time.Second: ""} {
		c := newMeter(Rates{PerAddress: Rate{Bytes: 600}})
		c.add(a, useByte, 1200, now)
		if got := c.over(a, useByte, now.Add(after)); got != want {
			t.Errorf("after %v: %q, want %q", after, got, want)
		}
	}
}

// TestMeterForgets: a flood from many addresses costs no memory; who comes all
// the time is not forgotten for it, and all together are not.
func TestMeterForgets(t *testing.T) {
	m := newMeter(Rates{PerAddress: Rate{Messages: 1000}, All: Rate{Messages: 100000}})
	now, busy := time.Unix(1000, 0), ip("192.0.2.1")
	for i := range 100000 {
		now = now.Add(time.Microsecond)
		m.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), useMessage, 1, now)
		if i%100 == 0 {
			m.add(busy, useMessage, 1, now)
		}
	}
	if got := m.take(busy, useMessage, now); got != "message_rate_of_address" && got != "message_rate" {
		t.Errorf("the busy one: %q", got)
	}
	if got := m.take(ip("198.51.100.1"), useMessage, now); got != "message_rate" {
		t.Errorf("all: %q", got)
	}
	held := 0
	for _, row := range m.known {
		for _, a := range row {
			if a.of.IsValid() {
				held++
			}
		}
	}
	if held > meterRows*meterWays || held < meterRows*meterWays/2 {
		t.Errorf("%d accounts", held)
	}
}

// TestMeterOfNobody: a peer without an address, as of a pipe, counts as one.
func TestMeterOfNobody(t *testing.T) {
	m := newMeter(Rates{PerAddress: Rate{Messages: 1}})
	now := time.Unix(1000, 0)
	if first, second := m.take(netip.Addr{}, useMessage, now), m.take(netip.Addr{}, useMessage, now); first != "" || second != "message_rate_of_address" {
		t.Errorf("%q, %q", first, second)
	}
}

func BenchmarkMeter(b *testing.B) {
	m := newMeter(Rates{PerAddress: Rate{Messages: 100}, PerNetwork: Rate{Messages: 1000}, All: Rate{Messages: 10000}})
	now := time.Now()
	for b.Loop() {
		n := rand.Uint32()
		m.take(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), useMessage, now)
	}
}
