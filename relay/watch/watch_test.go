package watch

import (
	"context"
	"crypto/x509"
	"errors"
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

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
	"github.com/mxkeep/mxkeep/relay/graph"
	"github.com/mxkeep/mxkeep/relay/graph/graphtest"
)

// names is a Lookup.
type names map[string][]netip.Addr

func (n names) LookupHost(_ context.Context, name string) ([]netip.Addr, error) {
	if found, ok := n[name]; ok {
		return found, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// dialer knows localhost.
func dialer() Dialer {
	return Dialer{Lookup: names{"localhost": {netip.MustParseAddr("127.0.0.1")}}}
}

// listen accepts connections and says something to each, until the test ends.
func listen(t *testing.T, greeting string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, greeting)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// closed is an address where nobody listens.
const closed = "127.0.0.1:1"

// want checks the only signal of a look.
func want(t *testing.T, rule string, got []health.Signal, source health.Source, class health.Class, phase health.Phase, reply string) {
	t.Helper()
	if len(got) != 1 || got[0].Source != source || got[0].Class != class || got[0].Phase != phase || !strings.Contains(got[0].Reply, reply) || got[0].Took <= 0 || got[0].At.IsZero() {
		t.Errorf("%s: %+v, want %v %s %q", rule, got, class, phase, reply)
	}
}

func TestControl(t *testing.T) {
	open, shut := listen(t, ""), closed
	_, port, _ := net.SplitHostPort(open)
	for _, test := range []struct {
		rule    string
		targets []string
		class   health.Class
		phase   health.Phase
		reply   string
	}{
		{"it is reached", []string{open}, health.OK, health.PhaseConnect, "connected"},
		{"one of two is enough", []string{shut, open}, health.OK, health.PhaseConnect, "connected"},
		{"by its name", []string{"localhost:" + port}, health.OK, health.PhaseConnect, "connected"},
		{"nobody listens", []string{shut}, health.Outage, health.PhaseConnect, "connection refused"},
		{"none of two", []string{shut, shut}, health.Outage, health.PhaseConnect, "connection refused"},
		{"no name", []string{"none.example:25"}, health.Outage, health.PhaseResolve, "no such host"},
		{"no port", []string{"none.example"}, health.Outage, health.PhaseBanner, "missing port"},
	} {
		c := Control{Targets: test.targets, Dialer: dialer()}
		want(t, test.rule, c.Look(t.Context()), health.SourceControl, test.class, test.phase, test.reply)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := (Control{Targets: []string{open}, Dialer: dialer()}).Look(ctx); got != nil {
		t.Errorf("broken off: %+v", got)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	want(t, "no time", Control{Targets: []string{open}, Dialer: dialer()}.Look(late), health.SourceControl, health.Outage, health.PhaseConnect, "no answer in time")
}

// A connection comes from the address that is given, or there is none.
func TestSourceAddress(t *testing.T) {
	open := listen(t, "")
	d := dialer()
	d.Source = netip.MustParseAddr("127.0.0.77")
	got := Control{Targets: []string{open}, Dialer: d}.Look(t.Context())
	if len(got) != 1 || got[0].SourceIP != "127.0.0.77" || got[0].Address != open {
		t.Errorf("%+v", got)
	}
	d.Source = netip.MustParseAddr("::1")
	want(t, "the other kind", Control{Targets: []string{open}, Dialer: d}.Look(t.Context()), health.SourceControl, health.Outage, health.PhaseResolve, "source's kind")
}

func TestGreeting(t *testing.T) {
	for _, test := range []struct {
		greeting, want string
		fails          bool
	}{
		{"220 mx.provider.example \x1b[2J ESMTP\r\n", `220 mx.provider.example \x1b[2J ESMTP`, false},
		{"554 no\r\n", "554 no", false},
		{"", "EOF", true},
		{strings.Repeat("x", 5000), "buffer full", true},
	} {
		conn, err := net.Dial("tcp", listen(t, test.greeting))
		if err != nil {
			t.Fatal(err)
		}
		got, err := greeting(t.Context(), conn)
		if (err != nil) != test.fails || err == nil && got != test.want || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.20q: %q %v", test.greeting, got, err)
		}
		conn.Close()
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := greeting(ctx, ours); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A target at port 25 has to greet.
func TestControlAtPort25(t *testing.T) {
	for greeting, class := range map[string]health.Class{"220 hi\r\n": health.OK, "": health.Outage} {
		at := listen(t, greeting)
		d := dialer()
		c := Control{Targets: []string{"mx.provider.example:25"}, Dialer: d}
		s := c.talk(t.Context(), at, true)
		if s.Class != class || s.Phase != health.PhaseBanner {
			t.Errorf("%q: %+v", greeting, s)
		}
	}
}

// https is a server of pages.
func https(t *testing.T, handler http.HandlerFunc) (url string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.URL, roots
}

func TestPage(t *testing.T) {
	url, roots := https(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/down", http.StatusFound)
		case "/login":
			w.WriteHeader(http.StatusUnauthorized)
		case "/busy":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/large":
			_, _ = w.Write(make([]byte, maxPage+1))
		case "/cut":
			panic(http.ErrAbortHandler)
		}
	})
	for _, test := range []struct {
		url   string
		roots *x509.CertPool
		class health.Class
		phase health.Phase
		reply string
	}{
		{url + "/", roots, health.OK, health.PhaseFinal, "200 OK"},
		{url + "/moved", roots, health.OK, health.PhaseFinal, "302 Found"},
		{url + "/login", roots, health.OK, health.PhaseFinal, "401 Unauthorized"},
		{url + "/busy", roots, health.Throttle, health.PhaseFinal, "429 Too Many Requests"},
		{url + "/down", roots, health.Outage, health.PhaseFinal, "503 Service Unavailable"},
		{url + "/large", roots, health.Outage, health.PhaseFinal, "larger than 4 MiB"},
		{url + "/cut", roots, health.Outage, health.PhaseBanner, "EOF"},
		{url + "/", x509.NewCertPool(), health.Outage, health.PhaseTLS, "unknown authority"},
		{"https://" + listen(t, "220 no TLS at all, but a line\r\n"), roots, health.Outage, health.PhaseTLS, "TLS"},
		{"https://" + closed, roots, health.Outage, health.PhaseConnect, "connection refused"},
		{"https://none.example/", roots, health.Outage, health.PhaseResolve, "no such host"},
		{"https://%zz", roots, health.Outage, "", "invalid URL escape"},
	} {
		got := Page{URL: test.url, Roots: test.roots, Dialer: dialer()}.Look(t.Context())
		want(t, test.url, got, health.SourceHTTPS, test.class, test.phase, test.reply)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := (Page{URL: url, Roots: roots, Dialer: dialer()}).Look(ctx); got != nil {
		t.Errorf("broken off: %+v", got)
	}
}

func TestNames(t *testing.T) {
	ours, other := dnstest.New(t, "a.example. 60 IN A 192.0.2.1", "corp.example. 60 IN MX 10 a.example."), dnstest.New(t)
	first, second := ours.Listen(t), other.Listen(t)
	resolver, err := dns.New(dns.Options{Servers: []string{first}})
	if err != nil {
		t.Fatal(err)
	}
	n := NewNames(resolver, []string{"a.example:2525", "a.example", "192.0.2.9", "[2001:db8::1]:25", "mx:corp.example"}, []string{second, first})
	look := func() (lines []string) {
		for _, s := range n.Look(t.Context()) {
			server := map[string]string{first: "1", second: "2"}[s.Address]
			lines = append(lines, fmt.Sprint(server, " ", s.Host, " ", s.Class, " ", s.Reply))
		}
		return lines
	}
	if got, want := look(), []string{
		"1 a.example ok answered: 192.0.2.1", "1 a.example ok answered: 192.0.2.1", "1 mx:corp.example ok answered: a.example",
		"2 a.example misconfigured nxdomain", "2 mx:corp.example misconfigured nxdomain",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	ours.Add(t, "a.example. 60 IN A 192.0.2.2")
	other.Trouble("", dnstest.Fail)
	if got, want := look(), []string{
		"1 a.example ok changed: 192.0.2.1 192.0.2.2 (before: 192.0.2.1)", "1 a.example ok answered: 192.0.2.1 192.0.2.2", "1 mx:corp.example ok answered: a.example",
		"2 a.example outage servfail", "2 mx:corp.example outage servfail",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	ours.Trouble("a.example", 3) // NXDOMAIN
	if got := look()[0]; got != "1 a.example misconfigured nxdomain (before: 192.0.2.1 192.0.2.2)" {
		t.Error(got)
	}
	ours.Heal()
	for i := range 2 * maxLast {
		n.last[fmt.Sprint(i)] = nil
	}
	if look(); len(n.last) > maxLast {
		t.Errorf("%d answers are remembered", len(n.last))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := n.Look(ctx); got != nil {
		t.Errorf("broken off: %+v", got)
	}
	if NewNames(resolver, []string{"192.0.2.9:25"}, nil).Any() || !n.Any() {
		t.Error("an address has no name")
	}
}

// token is a file with a token.
func token(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const secret = "0123456789abcdef0123456789abcdef"

func TestVantage(t *testing.T) {
	now := time.Now()
	upstream := func(change func(*admin.VantageUpstream)) admin.VantageUpstream {
		u := admin.VantageUpstream{Name: "exo", State: "up", GoodRounds: 3, Probes: []admin.Signal{{At: admin.Time{Time: now}, Class: "ok", Reply: "250 ok"}}}
		change(&u)
		return u
	}
	var view any
	status := http.StatusOK
	url, roots := https(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != admin.PathVantage || r.Header.Get("Authorization") != "Bearer "+secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(status)
		line, err := admin.Encode(view)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(line)
	})
	v := Vantage{Name: "mx3", URL: url, Roots: roots, TokenFile: token(t, secret+"\n"), Upstreams: []string{"exo"}, Dialer: dialer()}
	for _, test := range []struct {
		rule   string
		change func(*admin.VantageUpstream)
		class  health.Class
		reply  string
	}{
		{"it is up there", func(*admin.VantageUpstream) {}, health.OK, "up: 250 ok"},
		{"it is down there", func(u *admin.VantageUpstream) {
			u.State = "down"
			u.Probes = append(u.Probes, admin.Signal{At: admin.Time{Time: now}, Class: "outage", Reply: "451 4.3.2 busy"})
		}, health.Outage, "down: 451 4.3.2 busy"},
		{"two bad rounds", func(u *admin.VantageUpstream) { u.State, u.BadRounds, u.GoodRounds = "degraded", 2, 0 }, health.Outage, "degraded"},
		{"one bad round", func(u *admin.VantageUpstream) { u.State, u.BadRounds, u.GoodRounds = "degraded", 1, 0 }, health.Temporary, "degraded"},
		{"limited there", func(u *admin.VantageUpstream) { u.Throttled = true }, health.Throttle, "up"},
		{"refused there", func(u *admin.VantageUpstream) { u.Refuses = true }, health.Temporary, "it is refused"},
		{"cut off", func(u *admin.VantageUpstream) { u.State, u.CutOff = "down", true }, health.Temporary, "its own network"},
		{"no probe", func(u *admin.VantageUpstream) { u.Probes = nil }, health.Temporary, "not looked lately"},
		{"an old probe", func(u *admin.VantageUpstream) { u.Probes[0].At.Time = now.Add(-time.Hour) }, health.Temporary, "not looked lately"},
		{"another name", func(u *admin.VantageUpstream) { u.Name = "other" }, health.Temporary, "no upstream of this name"},
	} {
		view = admin.VantageView{Schema: admin.SchemaVantage, At: admin.Time{Time: now}, Upstreams: []admin.VantageUpstream{upstream(test.change)}}
		got := v.Look(t.Context())
		want(t, test.rule, got, health.SourceVantage, test.class, health.PhaseFinal, test.reply)
		if got[0].Host != "mx3" || got[0].Upstream != "exo" {
			t.Errorf("%+v", got)
		}
	}
	for _, test := range []struct {
		rule   string
		change func(*Vantage)
		phase  health.Phase
		reply  string
	}{
		{"no JSON", func(*Vantage) { view = "<html>" }, health.PhaseFinal, "it does not say: its answer"},
		{"another document", func(*Vantage) { view = admin.VantageView{Schema: "other/1"} }, health.PhaseFinal, `schema "other/1"`},
		{"another status", func(*Vantage) { status = http.StatusTeapot }, health.PhaseFinal, "it answers 418"},
		{"another token", func(v *Vantage) { v.TokenFile = token(t, "another"+secret) }, health.PhaseFinal, "it refuses the token"},
		{"no token", func(v *Vantage) { v.TokenFile += ".gone" }, "", "no such file"},
		{"not there", func(v *Vantage) { v.URL = "https://" + closed }, health.PhaseConnect, "connection refused"},
	} {
		one := v
		test.change(&one)
		want(t, test.rule, one.Look(t.Context()), health.SourceVantage, health.Temporary, test.phase, test.reply)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := v.Look(ctx); got != nil {
		t.Errorf("broken off: %+v", got)
	}
}

const feedOfTrouble = `<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel><title>Microsoft 365 status</title>
<item><guid>a</guid><title>Microsoft Admin Center</title><pubDate>Thu, 22 Jan 2026 20:00:00 Z</pubDate><status>Available</status></item>
<item><guid>b</guid><title>Microsoft 365 suite
 MO1221364</title><pubDate>Thu, 22 Jan 2026 20:00:00 Z</pubDate><status>Investigating</status></item></channel></rss>`

func TestFeed(t *testing.T) {
	text, status := feedOfTrouble, http.StatusOK
	url, roots := https(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	})
	f := &Feed{URL: url, Roots: roots, Dialer: dialer()}
	text = "<html>"
	want(t, "no feed, and nothing before", f.Look(t.Context()), health.SourcePublic, health.Temporary, health.PhaseFinal, "it says nothing: no feed")
	text = feedOfTrouble
	want(t, "trouble", f.Look(t.Context()), health.SourcePublic, health.Temporary, health.PhaseFinal, "Microsoft 365 suite MO1221364: Investigating Thu, 22 Jan")
	status = http.StatusServiceUnavailable
	want(t, "the last word", f.Look(t.Context()), health.SourcePublic, health.Temporary, health.PhaseFinal, "MO1221364: Investigating Thu, 22 Jan 2026 20:00:00 Z; no news since ")
	status, text = http.StatusOK, strings.Replace(feedOfTrouble, "Investigating", " available ", 1)
	want(t, "all is well", f.Look(t.Context()), health.SourcePublic, health.OK, health.PhaseFinal, "Microsoft Admin Center: Available")
	text = "<rss><channel></channel></rss>"
	want(t, "nothing to say", f.Look(t.Context()), health.SourcePublic, health.OK, health.PhaseFinal, "no entry")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := f.Look(ctx); got != nil {
		t.Errorf("broken off: %+v", got)
	}
}

func TestService(t *testing.T) {
	tenant := &graphtest.Tenant{ID: "t", Client: "c", Secret: "hush", Health: `{"service":"Exchange Online","status":"serviceInterruption","issues":[
		{"id":"EX1","title":"old","status":"serviceRestored","isResolved":true},{"id":"MO1221364","title":"Mail\u001b flow","status":"investigating"}]}`}
	url, roots := https(t, tenant.ServeHTTP)
	app := graph.App{Tenant: "t", Client: "c", Secret: token(t, "hush"), Login: url, Address: url}
	g := NewService("Exchange Online", app, roots, dialer())
	want(t, "an interruption", g.Look(t.Context()), health.SourcePublic, health.Outage, "", `serviceInterruption; MO1221364 investigating Mail\x1b flow`)
	tenant.Set(func() { tenant.Health = `{"status":"serviceOperational","issues":[]}` })
	want(t, "all is well", g.Look(t.Context()), health.SourcePublic, health.OK, "", "serviceOperational")
	for health, reply := range map[string]string{"{}": "serviceOperational; no news since ", "<html>": "answer of Graph: invalid"} {
		tenant.Set(func() { tenant.Health = health })
		if got := g.Look(t.Context()); len(got) != 1 || !strings.Contains(got[0].Reply, reply) {
			t.Errorf("%s: %+v", health, got)
		}
	}
	tenant.Set(func() { tenant.Health = `{"status":"serviceDegradation"}` })
	want(t, "something", g.Look(t.Context()), health.SourcePublic, health.Temporary, "", "serviceDegradation")
	if asked := tenant.Asked(); !slices.Contains(asked, "/v1.0/admin/serviceAnnouncement/healthOverviews/Exchange Online") {
		t.Errorf("%q", asked)
	}
	app.Secret += ".gone"
	want(t, "no secret", NewService("x", app, roots, dialer()).Look(t.Context()), health.SourcePublic, health.Temporary, "", "no such file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := g.Look(ctx); got != nil {
		t.Errorf("broken off: %+v", got)
	}
}

// Whatever comes from outside ends as one short line of printable text.
func FuzzPublic(f *testing.F) {
	f.Add([]byte(feedOfTrouble))
	f.Add([]byte(`{"status":"serviceInterruption","issues":[{"id":"EX1","title":"a\u2028b"}]}`))
	f.Add([]byte(`{"schema":"mxkeep.vantage/1","at":"2026-01-22T19:30:00Z","upstreams":[{"name":"exo","state":"up","probes":[{"at":"2026-01-22T19:30:00Z","reply":"\n"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var lines []string
		_, words, err := parseFeed(text)
		lines = append(lines, words)
		if err != nil {
			lines = append(lines, plain(err))
		}
		_, words, err = parseService(text)
		if lines = append(lines, words); err != nil {
			lines = append(lines, plain(err))
		}
		view, err := parseView(text)
		if err != nil {
			lines = append(lines, plain(err))
		}
		_, words = seen(view, "exo")
		for _, line := range append(lines, words) {
			if len(line) > 4*maxWords+200 || strings.ContainsAny(line, "\r\n\x1b\u2028") {
				t.Errorf("%q", line)
			}
		}
	})
}
