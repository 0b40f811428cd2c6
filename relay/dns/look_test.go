package dns_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

func TestLookTellsFailuresApart(t *testing.T) {
	chain := []string{}
	for i := range 12 {
		chain = append(chain, "c"+strings.Repeat("x", i)+".example. 60 IN CNAME c"+strings.Repeat("x", i+1)+".example.")
	}
	server := dnstest.New(t, append(chain, "a.example. 60 IN A 192.0.2.2", "a.example. 60 IN A 192.0.2.1", "a.example. 60 IN AAAA 2001:db8::1",
		"six.example. 60 IN AAAA 2001:db8::6", "text.example. 60 IN TXT x", "alias.example. 60 IN CNAME a.example.", "gone.example. 60 IN CNAME nowhere.example.",
		"corp.example. 60 IN MX 10 b.example.", "corp.example. 60 IN MX 5 a.example.")...)
	server.Trouble("fails.example", dnstest.Fail)
	server.Trouble("refused.example", dnstest.Refuse)
	at := server.Listen(t)
	r, err := dns.New(dns.Options{Servers: []string{at}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Servers(); !slices.Equal(got, []string{at}) {
		t.Errorf("servers %q", got)
	}
	for _, test := range []struct{ server, name, want string }{
		{at, "a.example", "answered: 192.0.2.1 192.0.2.2 2001:db8::1"},
		{at, "A.Example.", "answered: 192.0.2.1 192.0.2.2 2001:db8::1"},
		{at, "six.example", "answered: 2001:db8::6"},
		{at, "alias.example", "answered: 192.0.2.1 192.0.2.2 2001:db8::1"},
		{at, "text.example", "empty"},
		{at, "nowhere.example", "nxdomain"},
		{at, "gone.example", "nxdomain"},
		{at, "fails.example", "servfail"},
		{at, "c.example", "servfail: chain of CNAME records is too long"},
		{at, "refused.example", "refused: REFUSED"},
		{at, "no name", "nxdomain: not a host name"},
		{"127.0.0.1:1", "a.example", "unreachable: "},
	} {
		got := r.Look(context.Background(), test.server, test.name)
		if words := got.String(); words != test.want && (!strings.HasSuffix(test.want, " ") || !strings.HasPrefix(words, test.want)) || strings.Contains(test.want, "a.example") && got.Took <= 0 {
			t.Errorf("%s: %s, want %s", test.name, words, test.want)
		}
	}
	if got := r.LookExchanges(context.Background(), at, "corp.example"); got.String() != "answered: a.example b.example" || got.Server != at || got.Name != "corp.example" {
		t.Errorf("%+v", got)
	}
	asked := server.Asked()
	r.Look(context.Background(), at, "a.example")
	if again := server.Asked(); len(asked) == 0 || !slices.Equal(again, []string{"a.example A", "a.example AAAA"}) {
		t.Errorf("an answer was kept: asked again %q", again)
	}
}

// The time-out is that of the resolver, or the end of the context.
func TestLookAtASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := dnstest.New(t, "a.example. 60 IN A 192.0.2.1")
		server.Trouble("", dnstest.Silent)
		r := server.Resolver(t)
		if got := r.Look(context.Background(), "192.0.2.53:53", "a.example"); got.String() != "no reply" || got.Took < time.Second {
			t.Errorf("%+v", got)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if got := r.Look(ctx, "192.0.2.53:53", "a.example"); got.String() != "no reply" || got.Took != time.Second {
			t.Errorf("%+v", got)
		}
	})
}
