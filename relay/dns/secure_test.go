package dns

import (
	"context"
	"net"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// signing answers from a zone, with AD where the name asked for is below "signed.example.".
func signing(t *testing.T, lines ...string) dns.HandlerFunc {
	z := zone{t, lines}
	return replying(func(_ string, query *dns.Msg) *dns.Msg {
		m := z.reply(query)
		m.AuthenticatedData = query.AuthenticatedData && dns.IsSubDomain("signed.example.", query.Question[0].Name)
		return m
	})
}

func TestSecureAnswers(t *testing.T) {
	server := serve(t, signing(t,
		"a.signed.example. 60 IN A 192.0.2.1", "a.signed.example. 60 IN AAAA 2001:db8::1",
		"a.signed.example. 60 IN MX 10 mx.signed.example.",
		"alias.signed.example. 60 IN CNAME a.signed.example.",
		"plain.example. 60 IN MX 10 mx.signed.example.", "plain.example. 60 IN A 192.0.2.2",
		"_25._tcp.a.signed.example. 60 IN TLSA 3 1 1 00ff", "_25._tcp.a.signed.example. 60 IN TLSA 2 0 2 01",
		"bad.example. 60 IN MX 10 mx\\032space.example.",
		"half.example. 60 IN MX 10 mx\\032space.example.", "half.example. 60 IN MX 20 mx.example.",
	))
	r := resolver(t, Options{Servers: []string{server}})
	ctx := t.Context()

	mx, err := r.LookupExchanges(ctx, "alias.signed.example")
	if err != nil || !mx.Secure || mx.Aliases != 1 || !slices.Equal(mx.List, []net.MX{{Host: "mx.signed.example.", Pref: 10}}) {
		t.Errorf("%+v, %v", mx, err)
	}
	if mx, err = r.LookupExchanges(ctx, "plain.example"); err != nil || mx.Secure || mx.Aliases != 0 || len(mx.List) != 1 {
		t.Errorf("%+v, %v", mx, err)
	}
	if mx, err = r.LookupExchanges(ctx, "none.signed.example"); !isNotFound(err) || !mx.Secure {
		t.Errorf("a validated denial: %+v, %v", mx, err)
	}
	if mx, err = r.LookupExchanges(ctx, "half.example"); err != nil || len(mx.List) != 1 {
		t.Errorf("%+v, %v", mx, err)
	}
	_, err = r.LookupExchanges(ctx, "bad.example")
	wantError(t, err, "temporary", "none of the MX records")

	a, err := r.LookupAddresses(ctx, "Alias.signed.example.")
	if err != nil || !a.Secure || a.Aliases != 1 || a.Name != "a.signed.example" || len(a.List) != 2 || a.List[0] != address("192.0.2.1") {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = r.LookupAddresses(ctx, "plain.example"); err != nil || a.Secure || a.Name != "plain.example" || len(a.List) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = r.LookupAddresses(ctx, "a b.example")
	wantError(t, err, "notfound", "not a host name")
	_, err = r.LookupAddresses(ctx, "nobody.example")
	wantError(t, err, "notfound", "no such host")

	keys, secure, err := r.LookupTLSA(ctx, "_25._tcp.a.signed.example")
	if err != nil || !secure || len(keys) != 2 || keys[0].Usage != 3 || !slices.Equal(keys[0].Data, []byte{0, 255}) || keys[1].Matching != 2 {
		t.Errorf("%+v, %v, %v", keys, secure, err)
	}
}

// TestOnlyTrustedServersValidate: the AD bit of a server behind a network counts
// only if the operator says so, and is not even asked for otherwise.
func TestOnlyTrustedServersValidate(t *testing.T) {
	for server, trusted := range map[string]map[bool]bool{
		"192.0.2.53:53":       {false: false, true: true},
		"127.0.0.1:53":        {false: true, true: true},
		"[::1]:53":            {false: true, true: true},
		"[::ffff:7f00:1]:53":  {false: true, true: true},
		"[2001:db8::53]:5353": {false: false, true: true},
	} {
		for marked, want := range trusted {
			p := new(pipes)
			asked := false
			p.answer(func(_ string, query *dns.Msg) *dns.Msg {
				asked = query.AuthenticatedData
				m := zone{t, []string{"a.example. 60 IN A 192.0.2.1"}}.reply(query)
				m.AuthenticatedData = true
				return m
			})
			r := resolver(t, Options{Servers: []string{server}, Trusted: marked, Dial: p.dial})
			found, err := r.lookup(context.Background(), question{"a.example.", dns.TypeA})
			if err != nil || found.secure != want || asked != want {
				t.Errorf("%s, trusted %v: secure %v, asked for it %v, %v", server, marked, found.secure, asked, err)
			}
		}
	}
}

// TestSecureThroughAChain: an answer that came in pieces is as secure as the
// least of them.
func TestSecureThroughAChain(t *testing.T) {
	lines := []string{"a.signed.example. 60 IN CNAME b.example.", "b.example. 60 IN A 192.0.2.1"}
	server := serve(t, replying(func(_ string, query *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(query)
		m.RecursionAvailable = true
		for _, line := range lines {
			if rr := record(t, line); rr.Header().Name == query.Question[0].Name && (rr.Header().Rrtype == query.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME) {
				m.Answer = append(m.Answer, rr)
			}
		}
		m.AuthenticatedData = dns.IsSubDomain("signed.example.", query.Question[0].Name)
		return m
	}))
	r := resolver(t, Options{Servers: []string{server}})
	a, err := r.LookupAddresses(t.Context(), "a.signed.example")
	if err != nil || a.Secure || a.Name != "b.example" || a.Aliases != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}
