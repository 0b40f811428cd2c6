package outbound

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// disk is a Keep in memory.
type disk struct {
	values map[string][]byte
	puts   int
	broken error
}

func (d *disk) Put(owner, key string, value any) error {
	d.puts++
	text, err := json.Marshal(value)
	if err == nil && d.broken == nil {
		d.values[owner+"/"+key] = text
	}
	return errors.Join(err, d.broken)
}

func (d *disk) Get(owner, key string, into any) (bool, error) {
	text, ok := d.values[owner+"/"+key]
	if !ok || d.broken != nil {
		return false, d.broken
	}
	return true, json.Unmarshal(text, into)
}

// byMXRecords is an upstream that is found by the MX records of corp.example.
func byMXRecords(t *testing.T, server *dnstest.Server, d *disk, hosts ...string) *Upstream {
	t.Helper()
	r := server.Resolver(t)
	o := Options{Name: "exo", Hosts: hosts, Hello: "relay.example", Resolver: r, Exchanges: r,
		Ourselves: func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("192.0.2.9:25") }}
	if len(hosts) == 0 {
		o.Hosts = []string{"mx:Corp.example"}
	}
	if d != nil {
		o.Keep = d
	}
	u, err := NewUpstream(o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// leadsTo writes where an upstream would dial, and what it could not find.
func leadsTo(u *Upstream, ctx context.Context) string {
	hops, failures := u.hops(ctx, 0)
	var all []string
	for _, h := range hops {
		all = append(all, h.host+" "+h.where())
	}
	for _, f := range failures {
		all = append(all, f.host+": "+f.cause.Error())
	}
	return strings.Join(all, ", ")
}

func TestUpstreamByMXRecords(t *testing.T) {
	for _, test := range []struct {
		name  string
		zone  []string
		hosts []string
		want  string
	}{
		{"by preference", []string{"corp.example. 60 IN MX 20 b.example.", "corp.example. 60 IN MX 10 a.example."}, nil, "a.example 192.0.2.1:25, b.example 192.0.2.2:25"},
		{"without us, by name", []string{"corp.example. 60 IN MX 10 a.example.", "corp.example. 60 IN MX 20 relay.example.", "corp.example. 60 IN MX 20 b.example."}, nil, "a.example 192.0.2.1:25"},
		{"without us, by address", []string{"corp.example. 60 IN MX 10 a.example.", "corp.example. 60 IN MX 20 ours.example.", "corp.example. 60 IN MX 30 b.example."}, nil, "a.example 192.0.2.1:25"},
		{"we are the best one", []string{"corp.example. 60 IN MX 10 ours.example.", "corp.example. 60 IN MX 10 b.example."}, nil, "mx:corp.example: the host is this relay itself: none of the domain is before us in its MX records"},
		{"no MX", []string{"corp.example. 60 IN A 192.0.2.3"}, nil, "corp.example 192.0.2.3:25"},
		{"no domain", nil, nil, "corp.example: lookup corp.example on 192.0.2.53:53: no such host"},
		{"null MX", []string{"corp.example. 60 IN MX 0 ."}, nil, "mx:corp.example: 556 5.1.10 the domain corp.example takes no mail (null MX)"},
		{"among others", []string{"corp.example. 60 IN MX 10 a.example."}, []string{"192.0.2.7:2525", "mx:corp.example", "b.example"}, "192.0.2.7 192.0.2.7:2525, a.example 192.0.2.1:25, b.example 192.0.2.2:25"},
		{"a host without addresses", []string{"corp.example. 60 IN MX 10 gone.example.", "corp.example. 60 IN MX 20 a.example."}, nil, "a.example 192.0.2.1:25, gone.example: lookup gone.example on 192.0.2.53:53: no such host"},
	} {
		synctest.Test(t, func(t *testing.T) {
			zone := append(test.zone, "a.example. 60 IN A 192.0.2.1", "b.example. 60 IN A 192.0.2.2", "ours.example. 60 IN A 192.0.2.9")
			u := byMXRecords(t, dnstest.New(t, zone...), nil, test.hosts...)
			if got := leadsTo(u, t.Context()); got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
		})
	}
}

// TestLastGoodExchanges: where mail went before is where it goes while the DNS
// fails, or denies the domain, also after a restart.
func TestLastGoodExchanges(t *testing.T) {
	const good = "a.example 192.0.2.1:25"
	zone := []string{"a.example. 6000000 IN A 192.0.2.1", "corp.example. 60 IN MX 10 a.example."}
	for how, broken := range map[string]*dnstest.Server{
		"it fails":          dnstest.New(t, zone...),
		"it denies it":      dnstest.New(t, zone[0]),
		"there is no MX":    dnstest.New(t, zone[0], "corp.example. 60 IN A 192.0.2.3"),
		"there is null MX":  dnstest.New(t, zone[0], "corp.example. 60 IN MX 0 ."),
		"MX have no names ": dnstest.New(t, zone[0], `corp.example. 60 IN MX 10 a\032b.example.`),
	} {
		if how == "it fails" {
			broken.Trouble("corp.example", dnstest.Fail)
		}
		synctest.Test(t, func(t *testing.T) {
			d := &disk{values: map[string][]byte{}}
			u := byMXRecords(t, dnstest.New(t, zone...), d)
			if got := leadsTo(u, t.Context()); got != good {
				t.Fatal(got)
			}
			leadsTo(u, t.Context())
			if d.puts != 1 {
				t.Errorf("stored %d times", d.puts)
			}
			time.Sleep(keptLeap)
			leadsTo(u, t.Context())
			if d.puts != 2 {
				t.Errorf("stored %d times after an hour", d.puts)
			}
			r := broken.Resolver(t)
			u.options.Exchanges = r
			if got := leadsTo(u, t.Context()); got != good {
				t.Errorf("%s: %s", how, got)
			}
			u = byMXRecords(t, broken, d)
			if got := leadsTo(u, t.Context()); got != good {
				t.Errorf("%s, after a restart: %s", how, got)
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			if _, failures := byMXRecords(t, broken, d).hops(cancelled, 0); how == "it fails" && (len(failures) != 1 || !failures[0].ours) {
				t.Errorf("%s, broken off: %+v", how, failures)
			}
			time.Sleep(keptMost + time.Second)
			if got := leadsTo(u, t.Context()); got == good {
				t.Errorf("%s, and the answer is a month old: %s", how, got)
			}
		})
	}
}

// TestExchangesWithoutDisk: memory is enough until a restart.
func TestExchangesWithoutDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := dnstest.New(t, "a.example. 6000000 IN A 192.0.2.1", "corp.example. 60 IN MX 10 a.example.")
		for _, d := range []*disk{nil, {broken: errors.New("no disk")}} {
			u := byMXRecords(t, server, d)
			if got := leadsTo(u, t.Context()); got != "a.example 192.0.2.1:25" {
				t.Error(got)
			}
			if d != nil {
				leadsTo(u, t.Context())
				if d.puts != 2 {
					t.Errorf("not tried again: %d", d.puts)
				}
			}
			u.options.Exchanges = dnstest.New(t).Resolver(t)
			if got := leadsTo(u, t.Context()); got != "a.example 192.0.2.1:25" {
				t.Error(got)
			}
		}
	})
}

func TestOptionsByMX(t *testing.T) {
	r := dnstest.New(t).Resolver(t)
	for host, want := range map[string]string{"mx:": "no domain", "mx:[192.0.2.1]": "no domain", "mx:a b": "no domain", "mx:corp.example": "needs a resolver of MX records"} {
		if _, err := NewUpstream(Options{Name: "exo", Hosts: []string{host}, Hello: "relay.example", Resolver: r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
