package relay

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
	"github.com/mxkeep/mxkeep/relay/outbound"
)

// TestNotificationsToTheInternet: a notification goes to the host of its
// sender's domain. One whose domain is dead waits by itself, one whose domain
// takes no mail is kept, and nothing of it is trouble of an upstream.
func TestNotificationsToTheInternet(t *testing.T) {
	t.Parallel()
	c, _, host, contents := notifying(t)
	server := dnstest.New(t, "sender.example. 60 IN MX 10 mx.sender.example.", "mx.sender.example. 60 IN A 127.0.0.26",
		"dead.example. 60 IN MX 10 mx.dead.example.", "mx.dead.example. 60 IN A 127.0.0.97", "null.example. 60 IN MX 0 .",
		"ours.example. 60 IN MX 10 mx2.corp.example.")
	c.Upstreams, c.DSN.Via, c.DNS.Servers = c.Upstreams[:1], configs.ViaInternet, []string{server.Listen(t)}
	c.Queue.Schedule = configs.Schedule{First: time.Hour, Factor: 1, Max: time.Hour}
	o := Options{Config: c, Internet: outbound.InternetOptions{Port: int(host.Addrs()[0].Port()), Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	r := runWith(t, o)
	r.log.await(t, "health.changed", "upstream=exo", "to=up")
	for _, sender := range []string{"a@dead.example", "a@null.example", "a@ours.example", "a@sender.example"} {
		r.hold(t, sender, true, "gone@corp.example")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	deliveries, err := host.Await(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if d := deliveries[0]; d.ReversePath != "" && d.ReversePath != "<>" || !slices.Equal(d.Recipients, []string{"a@sender.example"}) {
		t.Errorf("%+v", d)
	}
	wantReport(t, filepath.Join(contents, deliveries[0].File), "gone@corp.example")
	r.log.await(t, "delivery.delivered", "upstream=internet", "address=127.0.0.26:")
	r.log.await(t, "delivery.deferred", "upstream=internet", "refused")
	r.log.await(t, "delivery.deferred", "upstream=internet", "before us")
	r.log.await(t, "delivery.refused", "upstream=internet", "code=556", "enhanced=5.1.10")
	if st := r.status(); len(st.Upstreams) != 1 || st.Upstreams[0].Name != "exo" || len(st.Stranded) > 0 {
		t.Errorf("%+v", st)
	}
	if err := r.alive(ctx); err != nil {
		t.Error(err)
	}
	r.stop()
	wantAccount(t, c, admin.Account{Accepted: 4 + 4, Delivered: 1, Failed: 4, Queued: 2, Refused: 1})

	c.DSN.Via = configs.ViaOff
	off := run(t, c)
	off.log.await(t, "queue.stranded", "upstream=internet", "dsn: {via: internet}")
	if st := off.status(); !slices.Equal(st.Stranded, []string{"internet"}) {
		t.Errorf("%v", st.Stranded)
	}
	off.stop()
}

// TestNoInternet: there is no way out that nobody asked for, and what cannot be
// opened is said.
func TestNoInternet(t *testing.T) {
	t.Parallel()
	c, _, _, _ := notifying(t)
	r, err := Open(Options{Config: c})
	if err != nil || r.internet != nil {
		t.Errorf("%v, %v", r.internet, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	c.DSN.Via, c.Hostname = configs.ViaInternet, "a b"
	c.Upstreams = nil
	if _, err := Open(Options{Config: c}); err == nil {
		t.Error("a way out without a name of ours")
	}
}

// TestInternetIsStuck: the watchdog asks this loop as well.
func TestInternetIsStuck(t *testing.T) {
	t.Parallel()
	c, _, _, _ := notifying(t)
	c.Upstreams, c.DSN.Via = c.Upstreams[:1], configs.ViaInternet
	r, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.primaries = nil
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := r.alive(ctx); err == nil {
		t.Error("nothing runs, and nothing is said")
	}
}

// TestPrimaryByMX: the primary is where the MX records of its domain lead.
func TestPrimaryByMX(t *testing.T) {
	t.Parallel()
	c, primary, _, _ := notifying(t)
	server := dnstest.New(t, "corp.example. 60 IN MX 10 mx.corp.example.", "corp.example. 60 IN MX 20 mx2.corp.example.", "corp.example. 60 IN MX 30 mx3.corp.example.",
		"mx.corp.example. 60 IN A 127.0.0.25", "mx3.corp.example. 60 IN A 127.0.0.97")
	c.Upstreams, c.DSN.Via, c.DNS.Servers = c.Upstreams[:1], configs.ViaOff, []string{server.Listen(t)}
	u := &c.Upstreams[0]
	u.Hosts, u.Port, u.PrivateNetworks = []string{"mx"}, int(primary.Addrs()[0].Port()), []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r := run(t, c)
	r.log.await(t, "health.changed", "upstream=exo", "to=up")
	r.hold(t, "a@sender.example", true, "bob@corp.example")
	if got := received(t, primary, 1); !slices.Equal(got, []string{"bob@corp.example"}) {
		t.Errorf("%v", got)
	}
	if st := r.status(); !slices.Equal(st.Upstreams[0].Hosts, []string{"mx:corp.example"}) {
		t.Errorf("%q", st.Upstreams[0].Hosts)
	}
	r.stop()
	if hints := inboundOptions(c, nil).Hints; len(hints) != 0 {
		t.Errorf("senders are told to use %v", hints)
	}
	c.DNS.Trusted = true
	if !dnsOptions(c, nil, nil).Trusted {
		t.Error("dns.trusted is lost")
	}
}
