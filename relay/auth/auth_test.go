package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// town is the DNS that most tests look at.
func town(t testing.TB) *dnstest.Server {
	t.Helper()
	server := dnstest.New(t, `sender.example. 60 IN TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"`,
		`mail.sender.example. 60 IN TXT "v=spf1 a -all"`, "mail.sender.example. 60 IN A 192.0.2.25", "mail.sender.example. 60 IN AAAA 2001:db8::25",
		`_dmarc.sender.example. 60 IN TXT "v=DMARC1; p=reject"`, `xn--bcher-kva.example. 60 IN TXT "v=spf1 ip4:192.0.2.25 -all"`,
		`other.example. 60 IN TXT "v=spf1 -all"`)
	publish(t, server, "s1", "sender.example", rsaKey(), "")
	publish(t, server, "ed", "sender.example", edKey(), "")
	return server
}

func TestVerify(t *testing.T) {
	server := town(t)
	signed := sign(t, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	twice := sign(t, signed, dkim.SignOptions{Domain: "sender.example", Selector: "ed", Signer: edKey()})
	for _, c := range []struct {
		name    string
		id      Identity
		message string
		want    string // spf, spf of hello, dkim.., dmarc
		path    bool
		author  bool
	}{
		{"all pass", from("alice@sender.example"), signed, "pass pass pass pass", true, true},
		{"two signatures", from("alice@sender.example"), twice, "pass pass pass pass pass", true, true},
		{"IPv6", Identity{client6, "mail.sender.example", "alice@sender.example"}, signed, "pass pass pass pass", true, true},
		{"IPv4 in IPv6", Identity{netip.MustParseAddr("::ffff:192.0.2.25"), "mail.sender.example", "alice@sender.example"}, signed, "pass pass pass pass", true, true},
		{"forwarded", Identity{netip.MustParseAddr("198.51.100.1"), "mx.other.example", "list@other.example"}, signed, "fail none pass pass", false, true},
		{"forwarded, path kept", Identity{netip.MustParseAddr("198.51.100.1"), "mx.other.example", "alice@sender.example"}, signed, "fail none pass pass", true, true},
		{"SPF alone", from("alice@sender.example"), plainMessage, "pass pass pass", true, true},
		{"forged author", from("x@xn--bcher-kva.example"), plainMessage, "pass pass fail", true, false},
		{"null reverse-path", from(""), signed, "- pass pass pass", false, true},
		{"null reverse-path, no signature", from(""), plainMessage, "- pass pass", false, true},
		{"U-label", from("x@bücher.example"), plainMessage, "pass pass fail", true, false},
		{"SMTPUTF8 local part", from("jörg@sender.example"), plainMessage, "pass pass pass", true, true},
		{"quoted local part with @", from(`"a@b"@sender.example`), plainMessage, "pass pass pass", true, true},
		{"address literal", Identity{client4, "[192.0.2.25]", "x@[192.0.2.25]"}, plainMessage, "none none fail", false, false},
		{"one label", Identity{client4, "localhost", "x@localhost"}, plainMessage, "none none fail", false, false},
		{"no address", Identity{netip.Addr{}, "mail.sender.example", "alice@sender.example"}, plainMessage, "none none fail", false, false},
		{"broken signature", from("x@other.example"), strings.Replace(signed, "it is me", "it is I", 1), "fail pass fail fail", false, false},
		{"no policy", from("x@other.example"), strings.ReplaceAll(plainMessage, "sender.example", "none.example"), "fail pass none", false, false},
		{"no header", from("alice@sender.example"), "\r\nbody\r\n", "pass pass permerror", true, false},
		{"nothing", from("alice@sender.example"), "", "pass pass permerror", true, false},
		{"header alone", from("alice@sender.example"), "From: a@sender.example\r\n", "pass pass pass", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verify(t, server, c.id, c.message)
			if got := summary(v); got != c.want || v.ReversePath != c.path || v.Author != c.author || v.By != ourID {
				t.Errorf("%s, path %v, author %v; want %s, %v, %v\n%+v", got, v.ReversePath, v.Author, c.want, c.path, c.author, v)
			}
		})
	}
}

// summary is the results in a row.
func summary(v Verdicts) string {
	word := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	all := []string{word(v.MailFrom.Result), word(v.Hello.Result)}
	for _, s := range v.DKIM {
		all = append(all, word(s.Result))
	}
	return strings.Join(append(all, word(v.DMARC.Result)), " ")
}

func TestTroubleIsTemporary(t *testing.T) {
	signed := sign(t, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	for _, c := range []struct {
		name, trouble string
		how           int
		message, want string
		unknown       bool
	}{
		{"all fails", "", dnstest.Fail, signed, "temperror temperror temperror temperror", true},
		{"the key fails", "s1._domainkey.sender.example", dnstest.Fail, signed, "pass pass temperror pass", false},
		{"the policy fails", "_dmarc.sender.example", dnstest.Refuse, signed, "pass pass pass temperror", false},
		{"SPF fails, DKIM passes", "sender.example", dnstest.Fail, signed, "temperror pass pass pass", false},
		{"SPF fails, no signature", "sender.example", dnstest.Fail, plainMessage, "temperror pass temperror", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := town(t)
			server.Trouble(c.trouble, c.how)
			v := verify(t, server, from("alice@sender.example"), c.message)
			if got := summary(v); got != c.want || v.Unknown != c.unknown {
				t.Errorf("%s, unknown %v; want %s, %v\n%+v", got, v.Unknown, c.want, c.unknown, v)
			}
			if action, why := Judge(v, []Rule{{Enforce: true, HoldUnauthenticated: true}}); action != Keep {
				t.Errorf("judged %v: %s", action, why)
			}
		})
	}
}

// TestSilentDNS: after 5 seconds there is an answer, and nothing is left behind.
func TestSilentDNS(t *testing.T) {
	signed := sign(t, sign(t, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"}), dkim.SignOptions{Domain: "sender.example", Selector: "ed", Signer: edKey()})
	for _, name := range []string{"", "s1._domainkey.sender.example", "_dmarc.sender.example", "sender.example"} {
		synctest.Test(t, func(t *testing.T) {
			server := town(t)
			server.Trouble(name, dnstest.Silent)
			v := verify(t, server, from("alice@sender.example"), signed)
			if !strings.Contains(summary(v), TempError) {
				t.Errorf("%q: %s", name, summary(v))
			}
			if v.Took > 5*time.Second || v.Took < 4*time.Second {
				t.Errorf("%q: took %v", name, v.Took)
			}
		})
	}
}

// TestContentThatCannotBeRead: no verdict, and no goroutine is left (the bubble
// would not end).
func TestContentThatCannotBeRead(t *testing.T) {
	server := town(t)
	signed := sign(t, sign(t, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"}), dkim.SignOptions{Domain: "sender.example", Selector: "ed", Signer: edKey()})
	synctest.Test(t, func(t *testing.T) {
		for cut := range len(signed) {
			broken := io.MultiReader(strings.NewReader(signed[:cut]), failing{errors.New("disk on fire")})
			v := verifier(t, server).Verify(t.Context(), from("alice@sender.example"), broken)
			for _, s := range v.DKIM {
				if s.Result != TempError {
					t.Fatalf("cut at %d: %+v", cut, s)
				}
			}
			if inHeader := cut < strings.Index(signed, "\r\n\r\n"); inHeader && v.DMARC.Result != TempError {
				t.Fatalf("cut at %d: %+v", cut, v.DMARC)
			}
			if action, why := Judge(v, []Rule{{Enforce: true, HoldUnauthenticated: true}}); action != Keep {
				t.Fatalf("cut at %d: judged %v: %s", cut, action, why)
			}
		}
	})
}

// TestSlowContent: content that takes too long is not verified.
func TestSlowContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signed := sign(t, plainMessage+strings.Repeat("line\r\n", 10000), dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
		slow := &slowly{pieces{strings.NewReader(signed), 512}}
		v := verifier(t, town(t)).Verify(t.Context(), from("alice@sender.example"), slow)
		if got := summary(v); got != "pass pass temperror pass" || v.Took > 6*time.Second {
			t.Errorf("%s in %v: %+v", got, v.Took, v.DKIM)
		}
	})
}

type slowly struct{ io.Reader }

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return s.Reader.Read(p)
}

// TestEndOfContext: who does not want to wait any more gets what there is.
func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := town(t)
		server.Trouble("", dnstest.Silent)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		v := verifier(t, server).Verify(ctx, from("alice@sender.example"), strings.NewReader(plainMessage))
		if got := summary(v); got != "temperror temperror temperror" || v.Took != time.Second {
			t.Errorf("%s in %v", got, v.Took)
		}
	})
}

func TestManySignatures(t *testing.T) {
	server := town(t)
	message := plainMessage
	for i := range 200 {
		selector := fmt.Sprintf("n%d", i)
		if i < 10 || i > 190 {
			publish(t, server, selector, "sender.example", edKey(), "")
		}
		message = sign(t, message, dkim.SignOptions{Domain: "sender.example", Selector: selector, Signer: edKey(), HeaderKeys: []string{"From", "To", "Subject"}})
	}
	v := verify(t, server, from("alice@sender.example"), message)
	if len(v.DKIM) != maxSignatures || v.Unchecked != 200-maxSignatures {
		t.Fatalf("%d signatures, %d unchecked", len(v.DKIM), v.Unchecked)
	}
	for i, s := range v.DKIM { // the newest stand at the top
		if s.Result != Pass || s.Selector != fmt.Sprintf("n%d", 199-i) || s.Algorithm != "ed25519-sha256" {
			t.Errorf("%d: %+v", i, s)
		}
	}
	keys := 0
	for _, q := range server.Asked() {
		if strings.Contains(q, "_domainkey") {
			keys++
		}
	}
	if keys != maxSignatures {
		t.Errorf("%d keys were asked for", keys)
	}
}

// TestHugeHeader: the library would take seconds for these.
func TestHugeHeader(t *testing.T) {
	server := town(t)
	signed := sign(t, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	names := "DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=s1; bh=x; b=y; h=from" + strings.Repeat(":a", 300) + "\r\n"
	below := func(more string) string { return strings.Replace(signed, "\r\n\r\n", "\r\n"+more+"\r\n", 1) }
	for _, c := range []struct{ name, message, flaw string }{
		{"a long field below", below("X: " + strings.Repeat("b", 200<<10) + "\r\n"), "128 KiB"},
		{"a little too long", below("X: " + strings.Repeat("b", 128<<10) + "\r\n"), "128 KiB"},
		{"many lines below", below("X: a\r\n" + strings.Repeat(" b\r\n", 4000)), "4000 lines"},
		{"many fields below", below(strings.Repeat("X: a\r\n", 1000)), "1000 fields"},
		{"one folded field", "X: a\r\n" + strings.Repeat(" b\r\n", 4000) + signed, "4000 lines"},
		{"300 KiB", "X: a\r\n" + strings.Repeat("\t"+strings.Repeat("b", 1000)+"\r\n", 300) + signed, "128 KiB"},
		{"one line", "X: " + strings.Repeat("b", 200<<10) + "\r\n" + signed, "128 KiB"},
		{"1001 fields", strings.Repeat("X: a\r\n", 1001) + signed, "1000 fields"},
		{"no end", strings.Repeat("X: "+strings.Repeat("a", 500)+"\r\n", 1000), "128 KiB"},
		{"many names", names + signed, "200 names"},
	} {
		began := time.Now()
		v := verify(t, server, from("alice@sender.example"), c.message)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: took %v", c.name, took)
		}
		for _, s := range v.DKIM {
			if s.Result != PermError || !strings.Contains(s.Reason, c.flaw) {
				t.Errorf("%s: %+v", c.name, s)
			}
		}
		if strings.Contains(c.name, "below") && len(v.DKIM) != 1 {
			t.Errorf("%s: %d signatures", c.name, len(v.DKIM))
		}
		if c.flaw != "200 names" && (v.DMARC.Result != PermError || !strings.Contains(v.DMARC.Reason, c.flaw)) {
			t.Errorf("%s: %+v", c.name, v.DMARC)
		}
	}
	// What is just allowed is verified.
	for name, more := range map[string]string{"fields": strings.Repeat("X: a\r\n", 995), "lines": "X: a\r\n" + strings.Repeat(" b\r\n", 3900), "bytes": "X: " + strings.Repeat("b", 127<<10) + "\r\n"} {
		if v := verify(t, server, from("alice@sender.example"), more+signed); summary(v) != "pass pass pass pass" {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestNew(t *testing.T) {
	resolver := town(t).Resolver(t)
	for _, o := range []Options{{Resolver: resolver}, {ID: "[192.0.2.1]", Resolver: resolver}, {ID: "a b", Resolver: resolver}, {ID: ourID}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	v, err := New(Options{ID: "MX2.Corp.Example", Resolver: resolver})
	if err != nil || v.ID() != ourID {
		t.Errorf("%q, %v", v.ID(), err)
	}
}

// panics is a resolver with a fault.
type panics struct{}

func (panics) LookupTXT(context.Context, string) ([]string, error)            { panic("a fault") }
func (panics) LookupMX(context.Context, string) ([]*net.MX, error)            { panic("a fault") }
func (panics) LookupIP(context.Context, string, string) ([]netip.Addr, error) { panic("a fault") }
func (panics) LookupNames(context.Context, netip.Addr) ([]string, error)      { panic("a fault") }

// TestPanic: a fault in one check is the affair of one message.
func TestPanic(t *testing.T) {
	var log strings.Builder
	v, err := New(Options{ID: ourID, Resolver: panics{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	signed := sign(t, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	if got := summary(v.Verify(t.Context(), from("alice@sender.example"), strings.NewReader(signed))); got != "temperror temperror temperror temperror" {
		t.Error(got)
	}
	for _, check := range []string{"spf", "dkim", "dmarc"} {
		if !strings.Contains(log.String(), "check="+check) {
			t.Errorf("nothing is logged of %s", check)
		}
	}
}

// TestQuestionsAreBounded: no message makes us ask more than it may.
func TestQuestionsAreBounded(t *testing.T) {
	server := town(t)
	var terms, hosts []string
	for i := range 10 {
		terms = append(terms, fmt.Sprintf("mx:m%d.evil.example", i))
		for j := range 10 {
			host := fmt.Sprintf("h%d.m%d.evil.example.", j, i)
			hosts = append(hosts, host)
			server.Add(t, fmt.Sprintf("m%d.evil.example. 60 IN MX 10 %s", i, host))
			server.Add(t, host+" 60 IN A 198.51.100.1")
		}
	}
	server.AddTXT("evil.example", "v=spf1 "+strings.Join(terms, " ")+" -all")
	v := verify(t, server, Identity{client4, "evil.example", "x@evil.example"}, strings.ReplaceAll(plainMessage, "sender.example", "evil.example"))
	if v.MailFrom.Result != TempError || !strings.Contains(v.MailFrom.Reason, "too many DNS questions") {
		t.Errorf("%+v", v.MailFrom)
	}
	if n := len(server.Asked()); n > 2*maxSPFQuestions+maxQuestions || n < maxSPFQuestions {
		t.Errorf("%d questions", n)
	}
	if slices.Contains(hosts, "") {
		t.Error("no hosts")
	}
}

func BenchmarkVerify(b *testing.B) {
	server := town(b)
	body := strings.Repeat("This line of a usual message is seventy-six characters long, or nearly so...\r\n", 75<<10/78)
	signed := sign(b, plainMessage+body, dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	v := verifier(b, server)
	b.SetBytes(int64(len(signed)))
	b.ReportAllocs()
	for b.Loop() {
		if found := v.Verify(b.Context(), from("alice@sender.example"), strings.NewReader(signed)); found.DMARC.Result != Pass {
			b.Fatalf("%+v", found)
		}
	}
}
