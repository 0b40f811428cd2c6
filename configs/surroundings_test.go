package configs

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSurroundings(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"crt": 0o644, "key": 0o600, "token": 0o600, "secret": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "f.yaml")
	text := with(`admin:
  vantage: {listen: ":8026", certificate: crt, key: key, token_file: token}
health:
  control: {targets: ["mx.provider.example:25", "[2001:db8::1]:443"], every: 30s, source_address: 192.0.2.7}
  dns: {servers: "192.0.2.53:53", timeout: 3s}
  https: [{url: "https://portal.example/a?b"}, {url: "https://login.example", ca: crt, every: 5m}]
  vantages: [{name: mx3, url: "https://mx3.corp.example:8026", ca: crt, token_file: token, jitter: 0}]
  public: {feed: "https://status.example/feed", graph: {tenant: corp.onmicrosoft.com, client: a-b, secret: secret}}
`)
	text = strings.Replace(text, "upstream: corp-example.mail.protection.outlook.com", "upstream: {hosts: mx.example, canary: {recipient: canary@corp.example, every: 1h}}", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	wantProblems(t, err)
	in := func(name string) string { return filepath.Join(dir, name) }
	want := Default().Health
	want.Control.Targets, want.Control.Every, want.Control.SourceAddress = []string{"mx.provider.example:25", "[2001:db8::1]:443"}, 30*time.Second, netip.MustParseAddr("192.0.2.7")
	want.DNS.Servers, want.DNS.Timeout = []string{"192.0.2.53:53"}, 3*time.Second
	one, two, mx3 := DefaultPage(), DefaultPage(), DefaultVantage()
	one.URL, two.URL, two.CA, two.Every = "https://portal.example/a?b", "https://login.example", in("crt"), 5*time.Minute
	mx3.Name, mx3.URL, mx3.CA, mx3.TokenFile, mx3.Jitter = "mx3", "https://mx3.corp.example:8026", in("crt"), in("token"), 0
	want.HTTPS, want.Vantages, want.Public.Feed = []Page{one, two}, []Vantage{mx3}, "https://status.example/feed"
	want.Public.Graph.Tenant, want.Public.Graph.Client, want.Public.Graph.Secret = "corp.onmicrosoft.com", "a-b", in("secret")
	if !reflect.DeepEqual(c.Health, want) {
		t.Errorf("%+v, want\n%+v", c.Health, want)
	}
	if v := (VantageServer{":8026", in("crt"), in("key"), in("token")}); c.Admin.Vantage != v {
		t.Errorf("%+v", c.Admin.Vantage)
	}
	if k := c.Upstreams[0].Canary; k.Recipient != "canary@corp.example" || k.Every != time.Hour || k.Timeout != 5*time.Minute {
		t.Errorf("%+v", k)
	}
	if err := os.Chmod(in("token"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path)
	wantKeys(t, "an open token", err, "admin.vantage.token_file: others may read or write", "health.vantages[0].token_file: others may read or write")
}

// wantKeys wants problems of these keys, with these words, and no others.
func wantKeys(t *testing.T, rule string, err error, want ...string) {
	t.Helper()
	var got Problems
	if !errors.As(err, &got) || len(got) != len(want) {
		t.Errorf("%s: %v, want %q", rule, err, want)
		return
	}
	for _, w := range want {
		key, words, _ := strings.Cut(w, ": ")
		words = strings.TrimPrefix(words, "missing")
		if !slices.ContainsFunc(got, func(p Problem) bool {
			return p.Key == key && strings.Contains(p.Message, words) && p.Line > 0 && p.Next != ""
		}) {
			t.Errorf("%s: %v, want %q", rule, err, w)
		}
	}
}

func TestWrongSurroundings(t *testing.T) {
	for text, want := range map[string][]string{
		"admin: {vantage: {listen: ':8026'}}": {"admin.vantage.certificate: missing", "admin.vantage.token_file: missing"},
		"admin: {vantage: {token_file: x}}":   {"admin.vantage.token_file: has no use where nothing listens"},
		"admin: {vantage: {certificate: x}}":  {"admin.vantage.certificate: without its key", "admin.vantage.certificate: has no use where nothing listens"},
		"admin: {vantage: {listen: 'x'}}":     {"admin.vantage.listen: is not an address to listen at", "admin.vantage.certificate: missing", "admin.vantage.token_file: missing"},
		"http: {listen: ':8026'}\nadmin: {vantage: {listen: ':8026', certificate: c, key: k, token_file: t}}":          {"admin.vantage.listen: something else is to listen at :8026"},
		"health: {control: {targets: [a.example]}}":                                                                    {"health.control.targets[0]: is not a host with its port"},
		"health: {control: {targets: ['a.example:0']}}":                                                                {"health.control.targets[0]: is not a host with its port"},
		"health: {control: {targets: ['a b:25']}}":                                                                     {"health.control.targets[0]: is not a host with its port"},
		"health: {control: {targets: ['a.example:70000']}}":                                                            {"health.control.targets[0]: is not a host with its port"},
		"health: {control: {every: 0s}}":                                                                               {"health.control.every: "},
		"health: {dns: {servers: [a.example]}}":                                                                        {"health.dns.servers[0]: is not an IP address with a port"},
		"health: {dns: {source_address: here}}":                                                                        {"health.dns.source_address: want an IP address"},
		"health: {https: [{every: 1m}]}":                                                                               {"health.https[0].url: missing"},
		"health: {https: [{url: 'http://a.example/'}]}":                                                                {"health.https[0].url: is not https://"},
		"health: {https: [{url: 'https://u:p@a.example/'}]}":                                                           {"health.https[0].url: is not https://"},
		"health: {https: [{url: 'https://a.example/', timeout: 2h}]}":                                                  {"health.https[0].timeout: "},
		"health: {vantages: [{every: 1m}]}":                                                                            {"health.vantages[0].name: missing", "health.vantages[0].url: missing", "health.vantages[0].token_file: missing"},
		"health: {vantages: [{name: a, url: 'https://a/x', token_file: t}]}":                                           {"health.vantages[0].url: is not https:// and a host"},
		"health: {vantages: [{name: a, url: 'https://a', token_file: t}, {name: a, url: 'https://b', token_file: t}]}": {"health.vantages[1].name: another vantage point has the name a"},
		"health: {public: {feed: 'status'}}":                                                                           {"health.public.feed: is not https://"},
		"health: {public: {service: ''}}":                                                                              {"health.public.service: is not the name of a service"},
		"health: {public: {graph: {client: a}}}":                                                                       {"health.public.graph.client: has no use without a tenant"},
		"health: {public: {graph: {tenant: t}}}":                                                                       {"health.public.graph.client: missing", "health.public.graph.secret: no secret, and no certificate"},
		"health: {public: {graph: {tenant: t, client: c, secret: s, certificate: c, key: k}}}":                         {"health.public.graph.secret: a certificate as well"},
		"health: {public: {graph: {tenant: t, client: c, certificate: c}}}":                                            {"health.public.graph.certificate: without its key"},
		"health: {public: {graph: {login: 'http://x'}}}":                                                               {"health.public.graph.login: is not https://"},
		"upstreams: [{hosts: a.example, canary: {recipient: c@other.example}}]":                                        {"upstreams[0].canary.recipient: other.example is not a domain of this upstream"},
		"upstreams: [{hosts: a.example, canary: {recipient: nobody}}]":                                                 {"upstreams[0].canary.recipient: is not an address"},
	} {
		file := with(text + "\n")
		if strings.HasPrefix(text, "upstreams") {
			file = "hostname: mx2.corp.example\ndomain: corp.example\n" + text + "\n"
		}
		_, err := Parse("f.yaml", []byte(file))
		wantKeys(t, text, err, want...)
	}
}
