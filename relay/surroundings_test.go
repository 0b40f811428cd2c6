package relay

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
	"github.com/mxkeep/mxkeep/relay/graph/graphtest"
)

// pemFiles writes a certificate for 127.0.0.1, which is its own authority, and its key.
func pemFiles(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	donor := httptest.NewTLSServer(http.NotFoundHandler())
	defer donor.Close()
	private, err := x509.MarshalPKCS8PrivateKey(donor.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: donor.Certificate().Raw}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// onLook is a look at the start, and then not for long.
var onLook = configs.Look{Every: time.Hour, Timeout: limit}

// lookNow looks at everything, and returns the last signals.
func (r *running) lookNow() []health.Signal {
	r.t.Helper()
	for _, l := range r.looks {
		for _, s := range l.check(r.t.Context()) {
			l.observe(s)
		}
	}
	return r.primaries[0].monitor.Topics()
}

// Everything that is looked at reaches the monitor, and operators see it.
func TestSurroundings(t *testing.T) {
	c, exo := configured(t)
	dir := filepath.Dir(c.Data)
	certificate, key := pemFiles(t, dir)
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	tenant := &graphtest.Tenant{ID: "t", Client: "c", Secret: "0123456789abcdef0123456789abcdef", Health: `{"status":"serviceInterruption"}`}
	pages := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/feed":
			fmt.Fprint(w, "<rss><channel><item><title>x</title><status>Down</status></item></channel></rss>")
		case "/page":
		default:
			tenant.ServeHTTP(w, r)
		}
	}))
	defer pages.Close()
	names := dnstest.New(t)
	c.Admin.Vantage = configs.VantageServer{Listen: "127.0.0.1:0", Certificate: certificate, Key: key, TokenFile: token}
	first := run(t, c)
	first.log.await(t, "health.changed", "to=up")

	second := configuration(folder(t))
	second.Upstreams, second.Domains = append([]configs.Upstream(nil), c.Upstreams...), c.Domains
	second.Upstreams[0].Hosts = append([]string{"exo.example"}, c.Upstreams[0].Hosts...)
	second.Upstreams[0].Canary = configs.Canary{Look: onLook, Recipient: "canary@corp.example"}
	h := &second.Health
	from := configs.LookFrom{Look: onLook, SourceAddress: netip.MustParseAddr("127.0.0.77")}
	h.Control = configs.Control{LookFrom: from, Targets: []string{open.Addr().String()}}
	h.DNS = configs.NameLook{LookFrom: from, Servers: []string{names.Listen(t)}}
	h.HTTPS = []configs.Page{{LookFrom: from, URL: pages.URL + "/page", CA: certificate}}
	h.Vantages = []configs.Vantage{{LookFrom: from, Name: "mx3", URL: "https://" + first.vantage.Addr().String(), CA: certificate, TokenFile: token}}
	h.Public = configs.Public{LookFrom: from, Feed: pages.URL + "/feed", CA: certificate, Service: "Exchange Online",
		Graph: configs.GraphApp{Tenant: "t", Client: "c", Secret: token, Login: pages.URL, Graph: pages.URL}}
	r := run(t, second)
	received(t, exo, 1) // of the look at the start, which is over then
	topics := r.lookNow()
	for _, test := range []struct {
		source health.Source
		host   string
		class  health.Class
	}{
		{health.SourceControl, open.Addr().String(), health.OK},
		{health.SourceDNS, "exo.example", health.Misconfigured},
		{health.SourceHTTPS, pages.URL + "/page", health.OK},
		{health.SourceVantage, "mx3", health.OK},
		{health.SourceCanary, "", health.OK},
		{health.SourcePublic, pages.URL + "/feed", health.Temporary},
		{health.SourcePublic, "Graph: Exchange Online", health.Outage},
	} {
		i := slices.IndexFunc(topics, func(s health.Signal) bool {
			return s.Source == test.source && (test.host == "" || s.Host == test.host) && s.Class == test.class
		})
		if i < 0 {
			t.Fatalf("%s %s: %+v", test.source, test.host, topics)
		}
		if s := topics[i]; (test.source == health.SourceControl || test.source == health.SourceHTTPS || test.source == health.SourceVantage) && s.SourceIP != "127.0.0.77" {
			t.Errorf("%s comes from %s", test.source, s.SourceIP)
		}
	}
	recipients := received(t, exo, 2)
	if recipients[0] != "canary@corp.example" {
		t.Errorf("%q", recipients)
	}
	st := r.status()
	if st.Account.Accepted != 0 || st.Queue.Messages != 0 || !st.NothingLost || st.Upstreams[0].ReachedBy != "mx3" {
		t.Errorf("a canary is in no account: %+v", st.Account)
	}
	err = r.client.Health(context.Background(), func(u admin.UpstreamReport) error {
		found := map[string]bool{}
		for _, s := range u.Topics {
			found[s.Source] = true
		}
		if len(found) < 6 {
			t.Errorf("%+v", found)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if report, err := r.client.Probe(context.Background(), admin.ProbeRequest{}); err != nil || len(report.Topics) < 7 {
		t.Errorf("%+v, %v", report.Topics, err)
	}
}

// A pause holds the canary as well.
func TestNoCanaryInAPause(t *testing.T) {
	c, exo := configured(t)
	c.Upstreams[0].Canary = configs.Canary{Look: configs.Look{Every: time.Hour, Timeout: limit}, Recipient: "canary@corp.example"}
	c.Upstreams[0].Probe.Every = time.Hour
	r := run(t, c)
	received(t, exo, 1)
	if err := r.primaries[0].shown().Pause(admin.Pause{Until: time.Now().Add(time.Hour), Actor: "jo", Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	for _, l := range r.looks {
		if strings.HasPrefix(l.name, "canary") {
			if got := l.check(context.Background()); got != nil {
				t.Errorf("%+v", got)
			}
		}
	}
}

// What the configuration names has to be there.
func TestSurroundingsThatCannotBeOpened(t *testing.T) {
	dir := folder(t)
	certificate, key := pemFiles(t, dir)
	gone, token := filepath.Join(dir, "gone"), filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	for rule, test := range map[string]struct {
		change func(*configs.Config)
		want   string
	}{
		"a page":        {func(c *configs.Config) { c.Health.HTTPS = []configs.Page{{URL: "https://a.example/", CA: gone}} }, "health.https https://a.example/: "},
		"another relay": {func(c *configs.Config) { c.Health.Vantages = []configs.Vantage{{Name: "mx3", CA: gone}} }, "health.vantages mx3: "},
		"public":        {func(c *configs.Config) { c.Health.Public.CA = gone }, "health.public: "},
		"a token": {func(c *configs.Config) {
			c.Admin.Vantage = configs.VantageServer{Listen: "127.0.0.1:0", Certificate: certificate, Key: key, TokenFile: gone}
		}, "admin.vantage: stat "},
		"a certificate": {func(c *configs.Config) {
			c.Admin.Vantage = configs.VantageServer{Listen: "127.0.0.1:0", Certificate: gone, Key: key, TokenFile: token}
		}, "admin.vantage: "},
		"a port": {func(c *configs.Config) { c.Admin.Vantage.Listen = "192.0.2.1:1" }, "admin.vantage: listen "},
	} {
		c := configuration(folder(t))
		to(t, &c, "exo", "corp.example", simulated(t, "corp.example"))
		test.change(&c)
		relay, err := Open(Options{Config: c})
		if err == nil {
			relay.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestNamesFromAnAddressOfOurs(t *testing.T) {
	c := configuration(folder(t))
	c.Health.DNS.SourceAddress, c.DNS.Servers = netip.MustParseAddr("127.0.0.77"), []string{"no address"}
	r := &Relay{config: c, primaries: []*primary{{name: "exo"}}}
	if err := r.openSurroundings(); err == nil || !strings.Contains(err.Error(), "DNS server") {
		t.Error(err)
	}
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, network := range []string{"udp", "tcp"} {
		conn, err := dialFrom(netip.MustParseAddr("127.0.0.77"))(t.Context(), network, open.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(conn.LocalAddr().String(), "127.0.0.77:") {
			t.Errorf("%s: %v", network, conn.LocalAddr())
		}
		conn.Close()
	}
}

// A window that was planned holds after a restart, before anything is delivered.
func TestAWindowSurvivesARestart(t *testing.T) {
	c, exo := configured(t)
	r := run(t, c)
	now := time.Now()
	w, err := r.client.AddWindow(context.Background(), admin.WindowRequest{To: admin.Time{Time: now.Add(time.Hour)}, Release: admin.ReleaseApproval, Reason: "move"})
	if err != nil {
		t.Fatal(err)
	}
	r.accept("a@corp.example")
	r.log.await(t, "health.changed", "planned window "+w.ID)
	r.stop()
	r = run(t, c)
	if st := r.status(); st.State != admin.Holding || st.Upstreams[0].State != "forced-down" || len(st.Windows) != 1 || st.Queue.Messages != 1 {
		t.Errorf("%+v", st)
	}
	if n := len(exo.Received()); n != 0 {
		t.Errorf("%d delivered", n)
	}
	if _, err := r.client.RemoveWindow(context.Background(), w.ID, admin.RemoveRequest{Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	if got := received(t, exo, 1); got[0] != "a@corp.example" {
		t.Errorf("%q", got)
	}
}
