package outbound

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxkeep/mxkeep/health"
)

// ourselves makes 192.0.2.1:25 an address of this relay.
func ourselves(o *Options) {
	o.Ourselves = func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("192.0.2.1:25") }
}

// TestOurselvesIsNotDialled: an address of ours is never connected to, wherever it came from.
func TestOurselvesIsNotDialled(t *testing.T) {
	for _, test := range []struct {
		name    string
		hosts   []string
		dialled string
	}{
		{"a name that leads here", []string{"corp.example"}, ""},
		{"a literal address", []string{"192.0.2.1"}, ""},
		{"another port", []string{"192.0.2.1:2525"}, "192.0.2.1:2525"},
		{"one address of two", []string{"two.example"}, "192.0.2.2:25"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var scripts []string
				if test.dialled != "" {
					scripts = []string{hello("PIPELINING") + good, hello() + probed}
				}
				r := newRig(t, func(o *Options) {
					ourselves(o)
					o.Hosts = test.hosts
					o.Resolver = names{"corp.example": {"192.0.2.1"}, "two.example": {"192.0.2.1", "192.0.2.2"}}
				}, scripts...)
				report := r.deliver(message("b@corp.example"))
				probe := r.Probe(t.Context(), "probe@corp.example", nil)
				r.end()
				if slices.ContainsFunc(r.dialled, func(a string) bool { return a != test.dialled }) {
					t.Errorf("dialled %v", r.dialled)
				}
				want := "deferred/own"
				if test.dialled != "" {
					want = "delivered"
				}
				if got := results(report); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				found := strings.Contains(signals(probe), "misconfigured@resolve") && strings.Contains(probe[0].Reply, health.Ourselves+": we listen at 192.0.2.1:25")
				if found == strings.HasSuffix(test.dialled, ":2525") {
					t.Errorf("probe %s: %s", signals(probe), probe[0].Reply)
				}
			})
		})
	}
}

// TestOffersRequireTLS: what a primary offers counts only if its name is verified.
func TestOffersRequireTLS(t *testing.T) {
	for _, test := range []struct {
		name    string
		policy  TLSPolicy
		keyword string
		want    bool
	}{
		{"verified and offered", TLSRequired, "REQUIRETLS", true},
		{"verified", TLSRequired, "DSN", false},
		{"offered by anybody", TLSOpportunistic, "REQUIRETLS", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var told []bool
			r := newRig(t, func(o *Options) {
				o.TLS.Policy = test.policy
				o.Offers = func(keeps bool) { told = append(told, keeps) }
			}, hello("STARTTLS", "REQUIRETLS")+startTLS+"tls\n"+ehlo("PIPELINING", test.keyword)+good)
			r.want(r.deliver(message("b@corp.example")), "delivered", "ok@final")
			r.end()
			if len(told) != 1 || told[0] != test.want {
				t.Errorf("%s: %v", test.name, told)
			}
		})
	}
}
