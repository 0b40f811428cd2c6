package configs

import (
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const three = "hostname: mx2.corp.example\ndomain: corp.example\nupstream: corp-example.mail.protection.outlook.com\n"

// minimal is what the three lines mean.
func minimal() Config {
	c := Default()
	c.Hostname = "mx2.corp.example"
	d := DefaultDomain()
	d.Name, d.Upstream = "corp.example", "primary"
	c.Domains = []Domain{d}
	u := DefaultUpstream()
	u.Name, u.Hosts = "primary", []string{"corp-example.mail.protection.outlook.com"}
	c.Upstreams = []Upstream{u}
	return c
}

func TestThreeLines(t *testing.T) {
	c, err := Parse("f.yaml", []byte(three))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, minimal()) {
		t.Errorf("three lines are\n%+v, want\n%+v", c, minimal())
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// uncommented is the example with every key that is behind a #.
func uncommented() string {
	return regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`).ReplaceAllString(string(Example()), "$1$2")
}

func TestExampleIsTheDefault(t *testing.T) {
	for name, text := range map[string]string{"as it is": string(Example()), "with all keys": uncommented()} {
		c, err := Parse("example.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want := minimal()
		if name == "with all keys" { // [] is no nil
			want.Domains[0].Recipients.Sources = c.Domains[0].Recipients.Sources
			want.Inbound.Lists.Block, want.Inbound.Lists.Allow = c.Inbound.Lists.Block, c.Inbound.Lists.Allow
			want.Inbound.Filters = c.Inbound.Filters
			want.Inbound.Proxies, want.Inbound.Trusted = c.Inbound.Proxies, c.Inbound.Trusted
			want.Health.Control.Targets, want.Health.DNS.Servers = c.Health.Control.Targets, c.Health.DNS.Servers
			want.Health.HTTPS, want.Health.Vantages = c.Health.HTTPS, c.Health.Vantages
			if len(c.Health.Control.Targets)+len(c.Health.DNS.Servers)+len(c.Health.HTTPS)+len(c.Health.Vantages) > 0 {
				t.Error("a list is not empty")
			}
			want.DNS.Servers, want.Upstreams[0].PrivateNetworks = c.DNS.Servers, c.Upstreams[0].PrivateNetworks
			if len(c.Domains[0].Recipients.Sources)+len(c.DNS.Servers)+len(c.Inbound.Trusted)+len(c.Inbound.Filters)+len(c.Inbound.Lists.Block)+len(c.Inbound.Lists.Allow)+len(c.Inbound.Proxies)+len(c.Upstreams[0].PrivateNetworks) > 0 {
				t.Error("a list is not empty")
			}
		}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, c, want)
		}
	}
}

// Every field of Config is a key of the example: over values that are all
// wrong, reading it gives the defaults.
func TestExampleHasEveryKey(t *testing.T) {
	var wrong Config
	upstream, domain := Upstream{}, Domain{}
	for _, v := range []any{&wrong, &upstream, &domain} {
		spoil(t, reflect.ValueOf(v).Elem())
	}
	c, err := parse("example.yaml", []byte(uncommented()), wrong, defaults{domain, upstream}, func(*Config, report) {})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "Config", reflect.ValueOf(c), reflect.ValueOf(minimal()))
}

// spoil gives every field a value that is no default.
func spoil(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.66")))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			spoil(t, v.Field(i))
		}
	case reflect.String:
		v.SetString("spoiled")
	case reflect.Int, reflect.Int64:
		v.SetInt(123456789)
	case reflect.Float64:
		v.SetFloat(123456789)
	case reflect.Bool:
		v.SetBool(true) // all of them are false unless they are wanted
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 7, 7))
	default:
		t.Fatalf("a field of kind %v: teach the test what is wrong for it", v.Kind())
	}
}

func same(t *testing.T, name string, got, want reflect.Value) {
	t.Helper()
	_, leaf := got.Interface().(netip.Addr)
	switch {
	case got.Kind() == reflect.Struct && !leaf:
		for i := range got.NumField() {
			same(t, name+"."+got.Type().Field(i).Name, got.Field(i), want.Field(i))
		}
	case got.Kind() == reflect.Slice:
		if got.Len() != want.Len() {
			t.Errorf("%s: %v, want %v", name, got, want)
			return
		}
		for i := range got.Len() {
			same(t, name, got.Index(i), want.Index(i))
		}
	case !got.Equal(want):
		t.Errorf("%s has no key in the example, or not with its default: %v, want %v", name, got, want)
	}
}

// A reader has to find a word about each key near it.
func TestExampleIsExplained(t *testing.T) {
	comments := 0
	for line := range strings.Lines(string(Example())) {
		if strings.Contains(line, "\t") || len(line) > 100 {
			t.Errorf("a line that is too long or has a tab: %q", line)
		}
		if strings.HasPrefix(strings.TrimSpace(line), "# ") {
			comments++
		}
	}
	if comments < 60 {
		t.Errorf("%d lines of explanation", comments)
	}
	Example()[0] = 'x'
	if Example()[0] != '#' {
		t.Error("a caller can change the example")
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, name := range []string{"cert.pem", "ca.pem", "people"} {
		write(name, "x", 0o644)
	}
	write("key.pem", "x", 0o600)
	write("open.pem", "x", 0o640)
	good := "hostname: mx2.corp.example\ndomain: {name: corp.example, recipients: people}\n" +
		"upstream: {hosts: mx.corp.example, tls: {ca: ca.pem, certificate: cert.pem, key: key.pem}}\n" +
		"inbound: {certificate: cert.pem, key: " + dir + "/key.pem}\ndata: data\nsocket: run/admin.sock\n"
	c, err := Load(write("good.yaml", good, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{c.Domains[0].Recipients.File, c.Upstreams[0].TLS.CA, c.Upstreams[0].TLS.Key, c.Inbound.Certificate, c.Inbound.Key, c.Data, c.Socket} {
		if !strings.HasPrefix(got, dir+"/") || strings.Count(got, dir) != 1 {
			t.Errorf("path %q is not in the folder of the file", got)
		}
	}
	if c, err := Load(write("three.yaml", three, 0o644)); err != nil || c.Data != "/var/lib/mxkeep" {
		t.Errorf("data in %s, %v", c.Data, err)
	}
	bad := "hostname: mx2\ndomain: {name: corp.example, recipients: nobody}\n" +
		"upstream: {hosts: mx.corp.example, tls: {ca: ., certificate: cert.pem, key: open.pem}}\n" +
		"inbound:\n  certificate: cert.pem\n  key: open.pem\n"
	_, err = Load(write("bad.yaml", bad, 0o644))
	wantProblems(t, err,
		"1:11 hostname: no domain",
		"2:42 domain.recipients.file: nobody: no such file",
		"3:46 upstream.tls.ca: is not a file",
		"3:77 upstream.tls.key: others may read or write the key in "+dir+"/open.pem (mode 0640); chmod 600",
		"6:8 inbound.key: others may read")
	_, err = Load(dir + "/nothing.yaml")
	wantProblems(t, err, "0:0 : cannot be read: no such file; mxkeep config example")
	_, err = Load(write("large.yaml", strings.Repeat("# much\n", 200000), 0o644))
	wantProblems(t, err, "0:0 : cannot be read: it is larger than 1MiB")
	_, err = Load(dir)
	wantProblems(t, err, "0:0 : cannot be read: is a directory")
}

func TestAccess(t *testing.T) {
	c := minimal()
	c.Domains = append(c.Domains, Domain{Name: "lab.example", Upstream: "lab"}, Domain{Name: "eu.corp.example", Upstream: "primary"})
	u, ok := c.Upstream("primary")
	if !ok || u.Hosts[0] != "corp-example.mail.protection.outlook.com" {
		t.Errorf("%+v, %v", u, ok)
	}
	if _, ok := c.Upstream("other"); ok {
		t.Error("an upstream that there is not")
	}
	if got := strings.Join(c.DomainsOf("primary"), " "); got != "corp.example eu.corp.example" {
		t.Errorf("domains %s", got)
	}
	if got := c.ProbeRecipient(u); got != "postmaster@corp.example" {
		t.Errorf("recipient %s", got)
	}
	u.Probe.Recipient = "probe@eu.corp.example"
	if got := c.ProbeRecipient(u); got != "probe@eu.corp.example" {
		t.Errorf("recipient %s", got)
	}
	if got := c.ProbeRecipient(Upstream{Name: "unused"}); got != "" {
		t.Errorf("recipient %s", got)
	}
	if d := time.Duration(0); c.Queue.Lifetime <= d {
		t.Error("no lifetime")
	}
}
