package recipients

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/relay/graph"
	"github.com/mxkeep/mxkeep/relay/graph/graphtest"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

const tenantID, clientID = "11112222-aaaa-3333-bbbb-444455556666", "00001111-aaaa-2222-bbbb-3333cccc4444"

func tenant() *graphtest.Tenant {
	return &graphtest.Tenant{ID: tenantID, Client: clientID, Secret: "hush~1",
		Users: []graphtest.Object{
			{Mail: "a@corp.example", ProxyAddresses: []string{"SMTP:A@corp.example", "smtp:a.alias@corp.example", "SIP:a@corp.example", "smtp:a@corp.onmicrosoft.com"}},
			{ProxyAddresses: nil},
			{Mail: "b@lab.example", ProxyAddresses: []string{"SMTP:b@lab.example", "smtp:not an address", "smtp:postmaster", "X500:/o=x"}},
		},
		Groups:   []graphtest.Object{{Mail: "staff@corp.example", ProxyAddresses: []string{"SMTP:staff@corp.example"}}},
		Contacts: []graphtest.Object{{Mail: "partner@elsewhere.example", ProxyAddresses: []string{"SMTP:partner@elsewhere.example", "smtp:partner@corp.example"}}},
	}
}

// secretFile is a file of the client secret.
func secretFile(t testing.TB, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// overTLS serves the tenant, and gives options for its two domains.
func overTLS(t testing.TB, server http.Handler) (Graph, *http.Client) {
	t.Helper()
	s := httptest.NewTLSServer(server)
	t.Cleanup(s.Close)
	return Graph{Tenant: tenantID, Client: clientID, Secret: secretFile(t, "hush~1"), Login: s.URL, Address: s.URL}, s.Client()
}

// direct gives requests to a handler without a network, for bubbles.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// inProcess is a tenant without a network.
func inProcess(t testing.TB, server http.Handler) (Graph, *http.Client) {
	return Graph{Tenant: tenantID, Client: clientID, Secret: secretFile(t, "hush~1"), Login: "https://login.example", Address: "https://graph.example"}, &http.Client{Transport: direct{server}}
}

// two are the domains of a tenant.
func two(t testing.TB, g Graph, client *http.Client) *Domains {
	t.Helper()
	o := Options{HTTP: client, Keep: keep(t)}
	for _, name := range []string{"corp.example", "lab.example"} {
		o.Domains = append(o.Domains, Domain{Name: name, Sources: []Source{SourceDirectory}, Subaddress: "+", Directory: Directory{Graph: g}})
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantVerdicts(t *testing.T, d *Domains, want map[string]Verdict) {
	t.Helper()
	for address, verdict := range want {
		p := path(t, address)
		domain, _ := smtp.ASCIIDomain(p.Domain) // of the test
		if a := d.Look(domain, p); a.Verdict != verdict {
			t.Errorf("%s: %s (%s), want %s", address, a.Verdict, a.Why, verdict)
		}
	}
}

func TestDirectory(t *testing.T) {
	server := tenant()
	g, client := overTLS(t, server)
	d := two(t, g, client)
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": NotKnown, "postmaster@corp.example": Known})
	all, err := d.Sync(t.Context(), "", false)
	if err != nil || len(all) != 2 || all[0] != (Synced{Domain: "corp.example", Count: 4, Added: 4}) || all[1] != (Synced{Domain: "lab.example", Count: 1, Added: 1}) {
		t.Fatalf("%+v, %v", all, err)
	}
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Known, "A.ALIAS@CORP.example": Known, "a+tag@corp.example": Known, "staff@corp.example": Known,
		"partner@corp.example": Known, "b@lab.example": Known, "b@corp.example": Unknown, "a@lab.example": Unknown, "x@elsewhere.example": Known})
	// one token; users need two pages; groups, contacts
	if asked := strings.Join(server.Asked(), " "); asked != "/"+tenantID+"/oauth2/v2.0/token /v1.0/users /v1.0/users /v1.0/groups /v1.0/contacts" {
		t.Errorf("asked for %s", asked)
	}
	if len(d.directories) != 1 {
		t.Errorf("%d directories of one tenant", len(d.directories))
	}
	// Without Microsoft, and after a restart, all of it still holds.
	client.Transport = direct{http.NotFoundHandler()}
	if all, _ := d.Sync(t.Context(), "lab.example", true); len(all) != 2 || all[0].Err == nil || all[1].Err == nil {
		t.Errorf("%+v", all)
	}
	again, err := New(Options{Domains: []Domain{d.of["corp.example"].Domain}, Keep: d.options.Keep})
	if err != nil {
		t.Fatal(err)
	}
	wantVerdicts(t, again, map[string]Verdict{"a@corp.example": Known, "b@corp.example": Unknown})
	if s := d.Sources(); len(s) != 2 || s[0].Count != 4 || s[0].Stale || !strings.Contains(s[0].Wrong, "answers 404") || s[0].At.IsZero() {
		t.Errorf("%+v", s)
	}
}

// TestShrink: a directory that loses too much is not believed, save by force.
func TestShrink(t *testing.T) {
	server := tenant()
	for i := range 100 {
		server.Users = append(server.Users, graphtest.Object{Mail: fmt.Sprintf("u%d@corp.example", i)})
	}
	server.PageSize = 50
	g, client := inProcess(t, server)
	d := two(t, g, client)
	sync := func(force bool) Synced {
		t.Helper()
		all, err := d.Sync(t.Context(), "corp.example", force)
		if err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	if did := sync(false); did.Err != nil || did.Count != 104 {
		t.Fatalf("%+v", did)
	}
	server.Set(func() { server.Users = server.Users[:93] })
	if did := sync(false); did.Err != nil || did.Lost != 10 {
		t.Errorf("a tenth: %+v", did)
	}
	server.Set(func() { server.Users = server.Users[:80] })
	if did := sync(false); !errors.Is(did.Err, ErrDoubted) || did.Lost != 13 {
		t.Errorf("more: %+v", did)
	}
	wantVerdicts(t, d, map[string]Verdict{"u85@corp.example": Known})
	if did := sync(true); did.Err != nil || did.Lost != 13 {
		t.Errorf("by force: %+v", did)
	}
	wantVerdicts(t, d, map[string]Verdict{"u85@corp.example": Unknown})
	for _, test := range []struct {
		before, lost, now int
		want              bool
	}{{0, 0, 0, false}, {0, 0, 1, true}, {3, 3, 0, false}, {6, 5, 1, true}, {6, 6, 1, false}, {100, 10, 90, true}, {100, 11, 99, false}} {
		if got := believable(test.before, test.lost, test.now, 0.1); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// TestThrottled: Graph says when to come back, and is obeyed within reason.
func TestThrottled(t *testing.T) {
	for _, test := range []struct {
		rule   string
		status int
		after  string
		times  int
		took   time.Duration
		wrong  string
	}{
		{"in seconds", 429, "17", 2, 34 * time.Second, ""},
		{"at a time", 429, "Sat, 01 Jan 2000 00:01:00 GMT", 1, time.Minute, ""},
		{"too long", 503, "86400", 1, 5 * time.Minute, ""},
		{"in the past", 429, "-5", 1, time.Second, ""},
		{"without a word", 502, "", 3, 7 * time.Second, ""},
		{"for ever", 429, "", 1000, 31 * time.Second, "Graph answers 429 TooManyRequests slow down"},
		{"refused", 403, "", 1, 0, "Graph answers 403 Authorization_RequestDenied no privileges"},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := tenant()
			times := 0
			server.Before(func(r *http.Request) (int, http.Header, string) {
				if r.URL.Path != "/v1.0/groups" || times >= test.times {
					return 0, nil, ""
				}
				times++
				body := `{"error":{"code":"TooManyRequests","message":"slow down"}}`
				if test.status == 403 {
					body = `{"error":{"code":"Authorization_RequestDenied","message":"no privileges"}}`
				}
				return test.status, http.Header{"Retry-After": {test.after}}, body
			})
			g, client := inProcess(t, server)
			began := time.Now()
			_, err := (&listing{graph.Client{App: g, HTTP: client}}).addresses(t.Context(), map[string]bool{"corp.example": true})
			if took := time.Since(began); took != test.took || (err == nil) != (test.wrong == "") || err != nil && err.Error() != test.wrong {
				t.Errorf("%s: %v after %v", test.rule, err, took)
			}
		})
	}
}

func TestAnswersOfGraph(t *testing.T) {
	for _, test := range []struct {
		rule, at, body string
		status         int
		wrong          string
	}{
		{"the secret is wrong", "/token", `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret.\r\nTrace"}`, 401, "the token endpoint answers 401 AADSTS7000215: Invalid client secret."},
		{"no token", "/token", `{}`, 200, "without a token"},
		{"no JSON", "/users", "<html>", 200, "answer of Graph: invalid character"},
		{"no list", "/users", "{}", 200, "there is no list in it"},
		{"another host", "/users", `{"value":[],"@odata.nextLink":"https://evil.example/v1.0/users"}`, 200, "its next page is elsewhere"},
		{"a host that begins alike", "/users", `{"value":[],"@odata.nextLink":"https://graph.example.evil.example/"}`, 200, "its next page is elsewhere"},
		{"no end", "/users", `{"value":[],"@odata.nextLink":"https://graph.example/v1.0/users"}`, 200, "more than 2000 pages"},
		{"no URL", "/users", `{"value":[],"@odata.nextLink":"https://graph.example/%zz"}`, 200, "invalid URL escape"},
		{"a hostile error", "/users", `{"error":{"code":"\u001b]0;x"}}`, 400, `Graph answers 400 \x1b]0;x`},
	} {
		server := tenant()
		server.Before(func(r *http.Request) (int, http.Header, string) {
			if !strings.HasSuffix(r.URL.Path, test.at) {
				return 0, nil, ""
			}
			return test.status, nil, test.body
		})
		g, client := inProcess(t, server)
		_, err := (&listing{graph.Client{App: g, HTTP: client}}).addresses(t.Context(), map[string]bool{"corp.example": true})
		if err == nil || !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%s: %v", test.rule, err)
		}
	}
}

// TestRun: a directory is read at the start, every hour, and sooner after a
// failure; what was learned is written every minute and at the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := tenant()
		g, client := inProcess(t, server)
		d := two(t, g, client)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		readings := func() int {
			synctest.Wait()
			return len(slices.DeleteFunc(server.Asked(), func(at string) bool { return at != "/v1.0/contacts" }))
		}
		if n := readings(); n != 1 {
			t.Errorf("%d readings at the start", n)
		}
		time.Sleep(time.Hour - time.Second)
		if n := readings(); n != 1 {
			t.Errorf("%d readings within the hour", n)
		}
		time.Sleep(2 * time.Second)
		if n := readings(); n != 2 || !d.Sources()[0].Next.After(time.Now().Add(59*time.Minute)) {
			t.Errorf("%d readings after an hour, the next at %v", n, d.Sources()[0].Next)
		}
		server.Before(func(r *http.Request) (int, http.Header, string) { return 403, nil, "" })
		time.Sleep(time.Hour)
		if s := d.Sources()[0]; s.Wrong == "" || s.Stale || time.Until(s.Next) > time.Minute {
			t.Errorf("after a failure: %+v", s)
		}
		time.Sleep(3 * 24 * time.Hour)
		if s := d.Sources()[0]; !s.Stale || time.Until(s.Next) > time.Hour {
			t.Errorf("after three days: %+v", s)
		}
		wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Known, "nobody@corp.example": NotKnown})
		server.Before(nil)
		time.Sleep(time.Hour)
		wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Known, "nobody@corp.example": Unknown})
		cancel()
		<-done
	})
}

// TestLearnedIsWritten every minute, and at the end.
func TestLearnedIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := one(t, func(c *Domain) { c.Sources = []Source{SourceLearned} })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		rows := func() (n int) {
			synctest.Wait()
			if err := d.options.Keep.Each(ownerStem+"corp.example", func(string, []byte) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		d.Learn(Evidence{Path: path(t, "a@corp.example"), At: time.Now(), Exists: true})
		if n := rows(); n != 0 {
			t.Errorf("%d at once", n)
		}
		time.Sleep(saveEvery)
		if n := rows(); n != 1 {
			t.Errorf("%d after a minute", n)
		}
		d.Learn(Evidence{Path: path(t, "b@corp.example"), At: time.Now(), Exists: true})
		cancel()
		<-done
		if n := rows(); n != 2 {
			t.Errorf("%d at the end", n)
		}
	})
}

func TestDue(t *testing.T) {
	s := &directory{Directory: Directory{Every: time.Hour}, log: slog.New(slog.DiscardHandler), domains: map[string]*snapshot{"a": {}, "b": {at: noon}}}
	for failures, want := range map[int]time.Duration{0: 0, 1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 1000: time.Hour} {
		if got := s.due(failures, noon); got != want {
			t.Errorf("after %d failures in %v, want %v", failures, got, want)
		}
	}
	s.domains["a"].at = noon.Add(-10 * time.Minute)
	for after, want := range map[time.Duration]time.Duration{0: 50 * time.Minute, time.Hour: 0, -100 * time.Hour: time.Hour} {
		if got := s.due(0, noon.Add(after)); got != want {
			t.Errorf("%v later in %v, want %v", after, got, want)
		}
	}
	if s.Jitter = 0.5; s.due(0, noon) > 50*time.Minute || s.due(0, noon) < 20*time.Minute {
		t.Error("the jitter")
	}
}
