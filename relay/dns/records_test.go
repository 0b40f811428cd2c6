package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestLookupTXT(t *testing.T) {
	z := zone{t, []string{
		`a.example. 60 IN TXT "v=spf1 " "-all"`, `a.example. 60 IN TXT "other"`,
		`odd.example. 60 IN TXT "a\"b\\c\009\255;" "\1234"`,
		`o\'neil+x._spf.example. 60 IN TXT "quoted"`,
		`c.example. 60 IN CNAME a.example.`,
		`empty.example. 60 IN TXT ""`,
		`host.example. 60 IN A 192.0.2.1`,
	}}
	for range 20 {
		z.lines = append(z.lines, fmt.Sprintf("many.example. 60 IN TXT %q", strings.Repeat("x", 250)))
	}
	for i := range 70 {
		z.lines = append(z.lines, fmt.Sprintf(`huge.example. 60 IN TXT "%03d%s" "%s"`, i, strings.Repeat("x", 200), strings.Repeat("y", 200)))
	}
	server := serve(t, func(w dns.ResponseWriter, query *dns.Msg) {
		m := z.reply(query)
		if w.RemoteAddr().Network() == "udp" {
			m.Truncate(ednsSize)
		}
		_ = w.WriteMsg(m)
	})
	r := resolver(t, Options{Servers: []string{server}})
	for _, c := range []struct {
		name, err string
		want      []string
	}{
		{"a.example", "", []string{"v=spf1 -all", "other"}},
		{"A.Example.", "", []string{"v=spf1 -all", "other"}},
		{"c.example", "", []string{"v=spf1 -all", "other"}},
		{"odd.example", "", []string{"a\"b\\c\t\xff;{4"}},
		{"o'neil+x._spf.example", "", []string{"quoted"}},
		{"empty.example", "", []string{""}},
		{"host.example", "notfound", nil},
		{"gone.example", "notfound", nil},
		{"huge.example", "temporary", nil},
		{"", "notfound", nil},
		{"a..example", "notfound", nil},
		{"a b.example", "notfound", nil},
		{`a\.example`, "notfound", nil},
		{"bücher.example", "notfound", nil},
		{strings.Repeat("x", 64) + ".example", "notfound", nil},
		{strings.Repeat("x.", 127) + "example", "notfound", nil},
	} {
		got, err := r.LookupTXT(t.Context(), c.name)
		if c.err != "" {
			wantError(t, err, c.err, "")
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got, err := r.LookupTXT(t.Context(), "many.example"); err != nil || len(got) != 20 {
		t.Errorf("%d records of an answer that needs TCP, %v", len(got), err)
	}
}

func TestLookupMX(t *testing.T) {
	z := zone{t, []string{
		"a.example. 60 IN MX 20 B.mx.example.", "a.example. 60 IN MX 10 c.mx.example.", "a.example. 60 IN MX 10 a.mx.example.",
		`a.example. 60 IN MX 5 a\032b.example.`, "null.example. 60 IN MX 0 .",
	}}
	r := resolver(t, Options{Servers: []string{serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) }))}})
	for name, want := range map[string]string{"a.example": "10 a.mx.example. 10 c.mx.example. 20 b.mx.example.", "null.example": "0 .", "gone.example": "", "a b": ""} {
		list, err := r.LookupMX(t.Context(), name)
		var got []string
		for _, mx := range list {
			got = append(got, fmt.Sprint(mx.Pref, " ", mx.Host))
		}
		if strings.Join(got, " ") != want || (want == "") != isNotFound(err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestLookupIP(t *testing.T) {
	z := zone{t, []string{
		"both.example. 60 IN A 192.0.2.1", "both.example. 60 IN AAAA 2001:db8::1",
		"six.example. 60 IN AAAA 2001:db8::1", "half.example. 60 IN A 192.0.2.1", "other.example. 60 IN AAAA 2001:db8::1",
	}}
	r := resolver(t, Options{Servers: []string{serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg {
		switch asked := q.Question[0]; {
		case asked.Name == "half.example." && asked.Qtype == dns.TypeAAAA, asked.Name == "other.example." && asked.Qtype == dns.TypeA:
			return fail(q, dns.RcodeServerFailure)
		}
		return z.reply(q)
	}))}, Tries: 1})
	for _, c := range []struct{ network, name, want, err string }{
		{"ip4", "both.example", "[192.0.2.1]", ""},
		{"ip6", "both.example", "[2001:db8::1]", ""},
		{"ip", "both.example", "[192.0.2.1 2001:db8::1]", ""},
		{"ip", "six.example", "[2001:db8::1]", ""},
		{"ip4", "six.example", "[]", "notfound"},
		{"ip", "gone.example", "[]", "notfound"},
		{"ip", "half.example", "[]", "temporary"},
		{"ip", "other.example", "[]", "temporary"},
	} {
		got, err := r.LookupIP(t.Context(), c.network, c.name)
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s %s: %v, want %s", c.network, c.name, got, c.want)
		}
		if c.err != "" {
			wantError(t, err, c.err, "")
		} else if err != nil {
			t.Errorf("%s %s: %v", c.network, c.name, err)
		}
	}
}

func TestLookupNames(t *testing.T) {
	z := zone{t, []string{"1.2.0.192.in-addr.arpa. 60 IN PTR Mx.sender.example.", "1.2.0.192.in-addr.arpa. 60 IN PTR other.example."}}
	r := resolver(t, Options{Servers: []string{serve(t, replying(func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) }))}})
	if got, err := r.LookupNames(t.Context(), address("::ffff:192.0.2.1")); err != nil || fmt.Sprint(got) != "[mx.sender.example. other.example.]" {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"192.0.2.9", ""} {
		a, _ := netip.ParseAddr(text)
		if got, err := r.LookupNames(t.Context(), a); !isNotFound(err) || len(got) != 0 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestStaleRecords: a policy of yesterday is better than none, for a day.
func TestStaleRecords(t *testing.T) {
	broken := map[string]func(string, *dns.Msg) *dns.Msg{
		"SERVFAIL": func(_ string, q *dns.Msg) *dns.Msg { return fail(q, dns.RcodeServerFailure) },
		"silence":  func(string, *dns.Msg) *dns.Msg { return nil },
	}
	for name, trouble := range broken {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := zone{t, []string{`a.example. 60 IN TXT "text"`, "a.example. 60 IN MX 10 mx.example.", "a.example. 60 IN A 192.0.2.1"}}
				healthy := func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) }
				p := &pipes{reply: healthy}
				r := resolver(t, Options{Servers: []string{"192.0.2.53:53"}, Dial: p.dial, Timeout: 4 * time.Second})
				look := func(want bool) {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // ends before the second try
					defer cancel()
					texts, err := r.LookupTXT(ctx, "a.example")
					if got := err == nil && len(texts) == 1; got != want {
						t.Errorf("TXT %q, %v", texts, err)
					}
					list, err := r.LookupMX(t.Context(), "a.example")
					if got := err == nil && len(list) == 1; got != want {
						t.Errorf("MX %v, %v", list, err)
					}
				}
				look(true)
				if _, err := r.LookupA(t.Context(), "a.example"); err != nil {
					t.Error(err)
				}
				p.answer(trouble)
				time.Sleep(time.Minute)
				look(true)
				p.queries()
				look(true)
				if asked := p.queries(); len(asked) != 0 {
					t.Errorf("asked again at once: %q", asked)
				}
				if got, err := r.LookupA(t.Context(), "a.example"); err == nil {
					t.Errorf("an old answer of a list: %v", got)
				}
				time.Sleep(recheck)
				look(true)
				if asked := p.queries(); len(asked) == 0 {
					t.Error("never asked again")
				}
				time.Sleep(24 * time.Hour)
				look(false)
				p.answer(healthy)
				time.Sleep(failureTTL)
				look(true)
			})
		})
	}
}

// TestStaleDenial: a denial is an answer, and ends what was before.
func TestStaleDenial(t *testing.T) {
	var c cache
	now := time.Date(2026, 3, 12, 13, 0, 0, 0, time.UTC)
	q := question{"a.example.", dns.TypeTXT}
	failed := answer{err: &net.DNSError{IsTemporary: true}}
	c.put(q, answer{texts: []string{"old"}, ttl: 60}, now)
	if got := c.put(q, failed, now.Add(time.Hour)); got.err != nil {
		t.Error("no stale answer")
	}
	c.put(q, answer{err: notFound("a.example", "")}, now.Add(time.Hour))
	if got := c.put(q, failed, now.Add(time.Hour)); got.err == nil || got.found() {
		t.Errorf("after a denial: %v", got)
	}
	if c.texts != 0 {
		t.Errorf("%d bytes", c.texts)
	}
}

// TestCacheTexts: long texts do not fill the memory.
func TestCacheTexts(t *testing.T) {
	var c cache
	now := time.Date(2026, 3, 12, 13, 0, 0, 0, time.UTC)
	long := answer{texts: []string{strings.Repeat("x", maxTexts)}, ttl: 60}
	for i := range 2 * cacheTexts / maxTexts {
		c.put(question{fmt.Sprintf("n%d.example.", i), dns.TypeTXT}, long, now)
	}
	if c.texts != cacheTexts || len(c.entries) != cacheTexts/maxTexts {
		t.Errorf("%d entries with %d bytes", len(c.entries), c.texts)
	}
	c.put(question{"late.example.", dns.TypeTXT}, long, now.Add(time.Minute))
	if c.texts != maxTexts || len(c.entries) != 1 {
		t.Errorf("%d entries with %d bytes, when the time of all was over", len(c.entries), c.texts)
	}
}

func FuzzQuestionName(f *testing.F) {
	f.Add("a.example")
	f.Add(`o'neil@x.(a;b)."c".example`)
	f.Fuzz(func(t *testing.T, name string) {
		asked, ok := questionName(name)
		if !ok {
			return
		}
		query := new(dns.Msg).SetQuestion(asked, dns.TypeTXT)
		wire, err := query.Pack()
		if err != nil {
			t.Fatalf("%q: %v", asked, err)
		}
		back := new(dns.Msg)
		if err := back.Unpack(wire); err != nil || back.Question[0].Name != asked {
			t.Errorf("%q came back as %q, %v", asked, back.Question[0].Name, err)
		}
	})
}
