package inbound

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// TestGreylistVisits: the second time counts if it is not too soon and not too late.
func TestGreylistVisits(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name   string
		visits []time.Duration // since the first
		want   string          // of each: + is known
	}{
		{"once", []time.Duration{0}, "-"},
		{"too soon", []time.Duration{0, 59 * time.Second}, "--"},
		{"in time", []time.Duration{0, time.Minute}, "-+"},
		{"too soon, then in time", []time.Duration{0, time.Second, time.Minute}, "--+"},
		{"at the last moment", []time.Duration{0, greylistWindow - 1}, "-+"},
		{"too late", []time.Duration{0, greylistWindow, greylistWindow + time.Minute}, "--+"},
		{"known for long", []time.Duration{0, time.Minute, 10 * day, 19 * day, 28 * day}, "-++++"},
		{"away for long", []time.Duration{0, time.Minute, 10*day + time.Minute}, "-+-"},
	} {
		g := newGreylist(Greylist{Delay: time.Minute, Keep: 10 * day})
		begun, got := time.Unix(1000, 0), ""
		for _, at := range test.visits {
			now := begun.Add(at)
			peek := g.knows("far.example", "x.example", now)
			known := g.visit("far.example", "x.example", now)
			if peek != known {
				t.Errorf("%s at %v: %v, looked like %v", test.name, at, known, peek)
			}
			got += map[bool]string{false: "-", true: "+"}[known]
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestGreylistIsBounded: who was not seen for longest is forgotten.
func TestGreylistIsBounded(t *testing.T) {
	g := newGreylist(Greylist{Delay: time.Minute, Keep: time.Hour})
	now := time.Unix(1000, 0)
	g.visit("first", "", now)
	g.visit("second", "", now)
	for i := range maxGreylisted {
		g.visit(fmt.Sprint(i), "", now)
		if i == 0 {
			g.visit("second", "", now)
		}
		if i == maxGreylisted/2 {
			g.visit("second", "", now)
		}
	}
	if len(g.of) != maxGreylisted || g.order.Len() != maxGreylisted {
		t.Errorf("%d, %d", len(g.of), g.order.Len())
	}
	now = now.Add(time.Minute)
	if g.knows("first", "", now) || !g.knows("second", "", now) {
		t.Error("it forgot the wrong one")
	}
}

func TestIdentity(t *testing.T) {
	for _, test := range []struct{ host, address, want string }{
		{"mail-a.outbound.Protection.outlook.com", "192.0.2.1", "outbound.protection.outlook.com"},
		{"mx.far.example", "192.0.2.1", "far.example"},
		{"far.example", "192.0.2.1", "far.example"},
		{"", "192.0.2.1", "192.0.2.0/24"},
		{"", "2001:db8::1:1", "2001:db8::/64"},
	} {
		if got := identityOf(test.host, ip(test.address)); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
	for path, want := range map[string]string{"": "", "a@Far.example": "far.example", `"a@b"@far.example`: "far.example"} {
		if got := senderDomain(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// TestGreylist: who comes again from another host of its domain is taken; who
// never was seen, and who writes for another domain, has to come again. Nobody
// else is bothered.
func TestGreylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := health.Down
		z := &zones{answers: map[string]string{"1.2.0.198.allow.example": "127.0.0.2"}}
		r := newRig(t, func(o *Options) {
			o.Greylist.Delay = time.Minute
			o.State = func(string) health.State { return state }
			o.ReverseDNS = func(_ context.Context, a netip.Addr) string {
				return map[string]string{"192.0.2.1": "a.far.example", "198.51.100.9": "b.far.example"}[a.String()]
			}
			o.Trusted = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			o.Lists = Lists{Allow: []string{"allow.example"}, Ask: z.ask}
		})
		defer r.finish()
		try := func(from, reversePath, want string) {
			t.Helper()
			e, err := r.server.Explain(Question{ReversePath: reversePath, Recipient: "a@d.example", Client: ip(from)})
			if got := e.Reply + "250"; err != nil || !strings.HasPrefix(got, want) {
				t.Errorf("explained: %+v, %v", e, err)
			}
			w := r.dial(from).hello()
			w.ask("MAIL FROM:<"+reversePath+">", "250")
			w.ask("RCPT TO:<a@d.example>", want)
			w.close()
		}
		try("192.0.2.1", "s@x.example", "451 4.7.1 we have not met")
		try("198.51.100.9", "s@x.example", "451 4.7.1")
		try("203.0.113.1", "s@x.example", "250")
		try("198.0.2.1", "s@x.example", "250")
		time.Sleep(time.Minute)
		try("198.51.100.9", "t@X.example", "250")
		try("192.0.2.1", "s@x.example", "250")
		try("192.0.2.1", "s@y.example", "451 4.7.1")
		try("192.0.2.200", "s@x.example", "451 4.7.1") // without a name
		if got := r.refusedFor(reasonGreylisted); got != 4 {
			t.Errorf("%d were", got)
		}
		state = health.Up
		w := r.dial("192.0.2.99").hello()
		w.ask("MAIL FROM:<new@z.example>", "250")
		for _, want := range []string{"451 4.3.2 use the primary", "451 4.3.2", "250"} { // who comes back so often is taken at once
			w.ask("RCPT TO:<a@d.example>", want)
			time.Sleep(3 * time.Minute)
		}
		w.close()
	})
}

// TestGreylistDoesNotPass: what the primary takes itself is its affair.
func TestGreylistDoesNotPass(t *testing.T) {
	g := front(t, func(o *Options) { o.Greylist.Delay = time.Minute }, begin+agreed+"content\nS: 250 2.6.0 taken")
	w := g.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.ask(stuffed+".", "250")
	w.close()
	g.over()
}
