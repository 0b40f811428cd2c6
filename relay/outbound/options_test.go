package outbound

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestUpstreamOptions(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Options)
		want   string // part of the error, "" for none
	}{
		{"a name with a resolver", func(o *Options) {}, ""},
		{"an address needs no resolver", func(o *Options) { o.Hosts, o.Resolver = []string{"192.0.2.1", "2001:db8::1"}, nil }, ""},
		{"no name", func(o *Options) { o.Name = "" }, "without a name"},
		{"no hello", func(o *Options) { o.Hello = "" }, "hello"},
		{"a hello that ends the line", func(o *Options) { o.Hello = "a\r\nRSET" }, "hello"},
		{"no hosts", func(o *Options) { o.Hosts = nil }, "0 hosts"},
		{"too many hosts", func(o *Options) { o.Hosts = make([]string, maxHosts+1) }, "11 hosts"},
		{"too many recipients", func(o *Options) { o.Recipients = 101 }, "101 recipients"},
		{"less than none", func(o *Options) { o.Recipients = -1 }, "-1 recipients"},
		{"a name without a resolver", func(o *Options) { o.Resolver = nil }, "needs a resolver"},
		{"no host", func(o *Options) { o.Hosts = []string{"a b"} }, "neither a name nor an IP address"},
		{"an address literal as SMTP writes it", func(o *Options) { o.Hosts = []string{"[192.0.2.1]"} }, "neither a name nor an IP address"},
		{"a port that is none", func(o *Options) { o.Hosts = []string{"corp.example:smtp"} }, "port"},
		{"port 0", func(o *Options) { o.Hosts = []string{"corp.example:0"} }, "port 0"},
		{"a default port that is none", func(o *Options) { o.Port = 65536 }, "port 65536"},
	} {
		o := Options{Name: "exo", Hosts: []string{"corp.example"}, Hello: "relay.example", Resolver: names{}}
		test.change(&o)
		_, err := NewUpstream(o)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestParseHost(t *testing.T) {
	for _, test := range []struct {
		text string
		want host
	}{
		{"corp.example", host{name: "corp.example", port: 25}},
		{"CORP.example.", host{name: "corp.example", port: 25}},
		{"bücher.example:2525", host{name: "xn--bcher-kva.example", port: 2525}},
		{"192.0.2.1", host{name: "192.0.2.1", literal: netip.MustParseAddr("192.0.2.1"), port: 25}},
		{"192.0.2.1:2525", host{name: "192.0.2.1", literal: netip.MustParseAddr("192.0.2.1"), port: 2525}},
		{"2001:db8::1", host{name: "2001:db8::1", literal: netip.MustParseAddr("2001:db8::1"), port: 25}},
		{"[2001:db8::1]:2525", host{name: "2001:db8::1", literal: netip.MustParseAddr("2001:db8::1"), port: 2525}},
	} {
		if got, err := parseHost(test.text, 25); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.text, got, err, test.want)
		}
	}
}

func TestTimeoutsHaveDefaults(t *testing.T) {
	var times Timeouts
	times.complete()
	want := Timeouts{Connect: 30 * time.Second, Greeting: time.Minute, Hello: time.Minute, TLS: time.Minute, Mail: 5 * time.Minute, Rcpt: 5 * time.Minute,
		Data: 2 * time.Minute, Block: 3 * time.Minute, Final: 10 * time.Minute, Reset: time.Minute, Quit: 5 * time.Second}
	if times != want {
		t.Errorf("%+v", times)
	}
}

func TestTLSConfig(t *testing.T) {
	for _, test := range []struct {
		name     string
		tls      TLS
		server   string
		unlooked bool
		shown    int
	}{
		{"the host's name counts", TLS{}, "corp.example", false, 0},
		{"unless another is given", TLS{ServerName: "mx.corp.example"}, "mx.corp.example", false, 0},
		{"opportunistic takes anybody", TLS{Policy: TLSOpportunistic}, "corp.example", true, 0},
		{"our certificate", TLS{Certificate: &tls.Certificate{}}, "corp.example", false, 1},
	} {
		c := test.tls.config("corp.example")
		if c.ServerName != test.server || c.InsecureSkipVerify != test.unlooked || len(c.Certificates) != test.shown || c.MinVersion != tls.VersionTLS12 {
			t.Errorf("%s: %+v", test.name, c)
		}
	}
}
