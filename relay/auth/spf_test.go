package auth

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// TestSPF: what RFC 7208 leaves to who calls the check, and that our resolver
// tells the library what it has to know.
func TestSPF(t *testing.T) {
	huge := "v=spf1 " + strings.Repeat("ip4:198.51.100.1 ", 150) + "ip4:192.0.2.25 -all"
	lines := []string{
		`ip4.example. 60 IN TXT "v=spf1 ip4:192.0.2.0/24 -all"`, `ip6.example. 60 IN TXT "v=spf1 ip6:2001:db8::/64 ~all"`,
		`a.example. 60 IN TXT "v=spf1 a -all"`, `a.example. 60 IN A 192.0.2.25`,
		`aaaa.example. 60 IN TXT "v=spf1 a -all"`, `aaaa.example. 60 IN AAAA 2001:db8::25`,
		`mx.example. 60 IN TXT "v=spf1 mx -all"`, `mx.example. 60 IN MX 10 a.example.`, `mx.example. 60 IN MX 20 aaaa.example.`,
		`null.example. 60 IN TXT "v=spf1 mx -all"`, `null.example. 60 IN MX 0 .`,
		`ptr.example. 60 IN TXT "v=spf1 ptr -all"`, `25.2.0.192.in-addr.arpa. 60 IN PTR host.ptr.example.`, `host.ptr.example. 60 IN A 192.0.2.25`,
		`exists.example. 60 IN TXT "v=spf1 exists:%{i}.%{l}.ok.example -all"`, `192.0.2.25.x.ok.example. 60 IN A 127.0.0.2`,
		`2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.5.x.ok.example. 60 IN A 127.0.0.2`,
		`macro.example. 60 IN TXT "v=spf1 exists:%{l}._spf.macro.example -all"`, `o\'neil+x._spf.macro.example. 60 IN A 127.0.0.2`,
		`helo.example. 60 IN TXT "v=spf1 exists:%{h}.list.example -all"`, `mail.sender.example.list.example. 60 IN A 127.0.0.2`, `unknown.list.example. 60 IN A 127.0.0.2`,
		`soft.example. 60 IN TXT "v=spf1 ~all"`, `neutral.example. 60 IN TXT "v=spf1 ?all"`, `open.example. 60 IN TXT "v=spf1"`,
		`redirect.example. 60 IN TXT "v=spf1 redirect=ip4.example"`, `include.example. 60 IN TXT "v=spf1 include:ip4.example -all"`,
		`loop.example. 60 IN TXT "v=spf1 include:loop.example -all"`,
		`two.example. 60 IN TXT "v=spf1 -all"`, `two.example. 60 IN TXT "v=spf1 +all"`, `wrong.example. 60 IN TXT "v=spf1 what -all"`,
		`void.example. 60 IN TXT "v=spf1 a:g1.example a:g2.example a:g3.example ip4:192.0.2.25 -all"`,
		`void2.example. 60 IN TXT "v=spf1 a:g1.example a:g2.example ip4:192.0.2.25 -all"`,
		`broken.example. 60 IN TXT "v=spf1 a:servfail.example -all"`, `other.example. 60 IN TXT "no policy"`,
		`cname.example. 60 IN CNAME ip4.example.`,
	}
	server := dnstest.New(t, lines...)
	server.AddTXT("huge.example", huge)
	server.AddTXT("toobig.example", "v=spf1 "+strings.Repeat("ip4:198.51.100.1 ", 2000)+"-all")
	for i := range 30 {
		server.Add(t, fmt.Sprintf("manymx.example. 60 IN MX 10 h%d.example.", i))
	}
	server.AddTXT("manymx.example", "v=spf1 mx -all")
	server.Trouble("servfail.example", dnstest.Fail)
	for _, c := range []struct {
		path   string
		client netip.Addr
		want   string
	}{
		{"x@ip4.example", client4, Pass}, {"x@ip4.example", client6, Fail}, {"x@ip6.example", client6, Pass}, {"x@ip6.example", client4, SoftFail},
		{"x@IP4.example", netip.MustParseAddr("::ffff:192.0.2.25"), Pass}, {"x@ip6.example", netip.MustParseAddr("2001:db8::25%eth0"), Pass},
		{"x@a.example", client4, Pass}, {"x@a.example", client6, Fail}, {"x@aaaa.example", client6, Pass}, {"x@aaaa.example", client4, Fail},
		{"x@mx.example", client4, Pass}, {"x@mx.example", client6, Pass}, {"x@null.example", client4, Fail}, {"x@manymx.example", client4, PermError},
		{"x@ptr.example", client4, Pass}, {"x@ptr.example", netip.MustParseAddr("192.0.2.26"), Fail},
		{"x@exists.example", client4, Pass}, {"y@exists.example", client4, Fail},
		{"o'neil+x@macro.example", client4, Pass}, {`"a b"@macro.example`, client4, Fail}, {`"a@b"@macro.example`, client4, Fail}, {"jörg@macro.example", client4, Fail},
		{"x@helo.example", client4, Pass},
		{"x@soft.example", client4, SoftFail}, {"x@neutral.example", client4, Neutral}, {"x@open.example", client4, Neutral},
		{"x@redirect.example", client4, Pass}, {"x@include.example", client4, Pass}, {"x@loop.example", client4, PermError},
		{"x@two.example", client4, PermError}, {"x@wrong.example", client4, PermError},
		{"x@void.example", client4, PermError}, {"x@void2.example", client4, Pass},
		{"x@broken.example", client4, TempError}, {"x@servfail.example", client4, TempError}, {"x@toobig.example", client4, TempError},
		{"x@huge.example", client4, Pass}, {"x@other.example", client4, None}, {"x@gone.example", client4, None}, {"x@cname.example", client4, Pass},
		{"postmaster", client4, None}, {"x@localhost", client4, None}, {"x@[192.0.2.25]", client4, None}, {"not a path", client4, None},
		{"x@ip4.example", netip.Addr{}, None},
	} {
		v := verifier(t, server)
		id := Identity{c.client, "mail.sender.example", c.path}
		if got := v.spf(t.Context(), id, sender(id)); got.Result != c.want {
			t.Errorf("%s from %s: %+v, want %s", c.path, c.client, got, c.want)
		}
	}
	for hello, want := range map[string]string{"ip4.example": Pass, "IP4.example.": Pass, "two.example": PermError, "localhost": None, "[192.0.2.25]": None, "": None,
		"a b": None, "bücher.example": None, strings.Repeat("a.", 130) + "example": None} {
		id := Identity{Client: client4, Hello: hello}
		if got := verifier(t, server).spf(t.Context(), id, helloSender(id)); got.Result != want {
			t.Errorf("hello %q: %+v, want %s", hello, got, want)
		}
	}
	// A name that is none has a place in macros all the same.
	id := Identity{client4, "\x1b[31m", "x@helo.example"}
	if got := verifier(t, server).spf(t.Context(), id, sender(id)); got.Result != Pass {
		t.Errorf("macro of a bad hello: %+v", got)
	}
}

func TestResolverOfTheLibrary(t *testing.T) {
	server := dnstest.New(t)
	r := spfResolver{&budget{Resolver: server.Resolver(t), left: 2}, "ip"}
	if _, err := r.LookupAddr(t.Context(), "no address"); !notFound(err) {
		t.Error(err)
	}
	if _, err := r.LookupIPAddr(t.Context(), "gone.example"); !notFound(err) {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"TXT": func() error { _, err := r.LookupTXT(t.Context(), "x.example"); return err }(),
		"MX":  func() error { _, err := r.LookupMX(t.Context(), "x.example"); return err }(),
		"IP":  func() error { _, err := r.LookupIPAddr(t.Context(), "x.example"); return err }(),
		"PTR": func() error { _, err := r.LookupAddr(t.Context(), "192.0.2.1"); return err }(),
	} {
		if err == nil || notFound(err) || !strings.Contains(err.Error(), "too many DNS questions") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShort(t *testing.T) {
	if got := short(strings.Repeat("ü", 150)); len(got) > maxReason || strings.Contains(got, "\ufffd") {
		t.Errorf("%q", got)
	}
	if got := short("a\xffb"); got != "a?b" {
		t.Errorf("%q", got)
	}
}
