package inbound

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestReturning(t *testing.T) {
	base := time.Date(2026, 1, 22, 19, 0, 0, 0, time.UTC)
	a := netip.MustParseAddr("192.0.2.1")
	for _, test := range []struct {
		rule   string
		visits []time.Duration
		want   bool // of the last one
	}{
		{"once", []time.Duration{0}, false},
		{"one return after long", []time.Duration{0, time.Hour}, false},
		{"two returns within four minutes", []time.Duration{0, 2 * time.Minute, 4 * time.Minute}, false},
		{"two returns over five minutes", []time.Duration{0, 2 * time.Minute, 5 * time.Minute}, true},
		{"visits in quick succession are one", []time.Duration{0, 5 * time.Minute, 5*time.Minute + 29*time.Second}, false},
		{"thirty seconds later is another", []time.Duration{0, 5 * time.Minute, 5*time.Minute + 30*time.Second}, true},
		{"believed once, believed again", []time.Duration{0, 2 * time.Minute, 5 * time.Minute, 5*time.Minute + 1}, true},
		{"forgotten after six hours", []time.Duration{0, time.Minute, 6*time.Hour + time.Minute}, false},
		{"not before", []time.Duration{0, time.Minute, 6 * time.Hour}, true},
	} {
		r := newReturning(Returning{Times: 2, Over: 5 * time.Minute})
		got := false
		for _, at := range test.visits {
			got = r.visit(a, "s@far.example", "a@d.example", base.Add(at))
		}
		if got != test.want {
			t.Errorf("%s: %v", test.rule, got)
		}
	}
}

// TestReturningIsAbout: a network, a reverse-path and a recipient.
func TestReturningIsAbout(t *testing.T) {
	now := time.Date(2026, 1, 22, 19, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		address, from, to string
		same              bool
	}{
		{"192.0.2.255", "s@x", "a@d", true},
		{"192.0.3.1", "s@x", "a@d", false},
		{"192.0.2.1", "t@x", "a@d", false},
		{"192.0.2.1", "s@x", "b@d", false},
		{"2001:db8::1", "s@x", "a@d", false},
	} {
		r := newReturning(Returning{Times: 1, Over: time.Minute})
		r.visit(netip.MustParseAddr("192.0.2.1"), "s@x", "a@d", now)
		if got := r.visit(netip.MustParseAddr(test.address), test.from, test.to, now.Add(time.Hour)); got != test.same {
			t.Errorf("%+v: %v", test, got)
		}
	}
	r := newReturning(Returning{Times: 1, Over: time.Minute})
	r.visit(netip.MustParseAddr("2001:db8:0:1::1"), "", "a@d", now)
	if !r.visit(netip.MustParseAddr("2001:db8:0:1:f::2"), "", "a@d", now.Add(time.Hour)) {
		t.Error("an IPv6 /64 is one network")
	}
}

func TestReturningIsBounded(t *testing.T) {
	now := time.Date(2026, 1, 22, 19, 0, 0, 0, time.UTC)
	r := newReturning(Returning{Times: 1, Over: time.Minute})
	a := netip.MustParseAddr("192.0.2.1")
	r.visit(a, "kept", "", now)
	for i := range 2 * maxVisitors {
		r.visit(a, fmt.Sprint(i), "", now)
		if i%1000 == 0 {
			r.visit(a, "kept", "", now)
		}
	}
	if len(r.of) > maxVisitors || r.order.Len() != len(r.of) {
		t.Errorf("%d and %d", len(r.of), r.order.Len())
	}
	if !r.visit(a, "kept", "", now.Add(time.Hour)) || r.visit(a, "0", "", now.Add(time.Hour)) {
		t.Error("not the oldest were forgotten")
	}
}
