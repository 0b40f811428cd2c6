package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

func written(hosts []mxHost) string {
	var all []string
	for _, e := range hosts {
		all = append(all, fmt.Sprintf("%s %d", e.Name, e.Preference))
	}
	return strings.Join(all, ", ")
}

func TestOrderOfExchanges(t *testing.T) {
	reversed := func(n int, swap func(i, j int)) {
		for i := range n / 2 {
			swap(i, n-1-i)
		}
	}
	var many []net.MX
	for i := range 300 {
		many = append(many, net.MX{Host: fmt.Sprintf("mx%d.example.", i), Pref: uint16(300 - i)})
	}
	for _, test := range []struct {
		name string
		list []net.MX
		want string
	}{
		{"the lowest preference is the best", []net.MX{{Host: "b.example.", Pref: 20}, {Host: "A.example.", Pref: 10}, {Host: "c.example.", Pref: 65535}}, "a.example 10, b.example 20, c.example 65535"},
		{"equal ones are shuffled among themselves", []net.MX{{Host: "a.example.", Pref: 10}, {Host: "b.example.", Pref: 10}, {Host: "c.example.", Pref: 0}, {Host: "d.example.", Pref: 10}}, "c.example 0, d.example 10, b.example 10, a.example 10"},
		{"each once, where it is best", []net.MX{{Host: "a.example.", Pref: 20}, {Host: "a.example.", Pref: 10}, {Host: "b.example.", Pref: 15}}, "a.example 10, b.example 15"},
		{"a null MX among others is nothing", []net.MX{{Host: ".", Pref: 0}, {Host: "a.example.", Pref: 10}}, "a.example 10"},
		{"a null MX", []net.MX{{Host: ".", Pref: 0}}, ""},
		{"the best ten of many", many, "mx299.example 1, mx298.example 2, mx297.example 3, mx296.example 4, mx295.example 5, mx294.example 6, mx293.example 7, mx292.example 8, mx291.example 9, mx290.example 10"},
	} {
		if got := written(ordered(test.list, reversed)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestExchangesBeforeOurs(t *testing.T) {
	hosts := []mxHost{{"a.example", 10}, {"b.example", 10}, {"c.example", 20}, {"d.example", 20}, {"e.example", 30}}
	for ours, want := range map[string]string{
		"":                    written(hosts),
		"e.example":           "a.example 10, b.example 10, c.example 20, d.example 20",
		"d.example":           "a.example 10, b.example 10",
		"c.example e.example": "a.example 10, b.example 10",
		"b.example":           "",
	} {
		if got := written(before(hosts, func(e mxHost) bool { return strings.Contains(ours, e.Name) })); got != want {
			t.Errorf("we are %q: %s, want %s", ours, got, want)
		}
	}
}

func TestFindExchanges(t *testing.T) {
	server := dnstest.New(t,
		"corp.example. 60 IN MX 20 mx2.corp.example.", "corp.example. 60 IN MX 10 mx1.corp.example.",
		"alias.example. 60 IN CNAME corp.example.",
		"plain.example. 60 IN A 192.0.2.1",
		"aliasplain.example. 60 IN CNAME plain.example.",
		"null.example. 60 IN MX 0 .",
		"a1.example. 60 IN CNAME a2.example.", "a2.example. 60 IN CNAME a3.example.", "a3.example. 60 IN CNAME a4.example.", "a4.example. 60 IN CNAME corp.example.",
		"signed.example. 60 IN MX 10 mx.signed.example.", "own.signed.example. 60 IN A 192.0.2.1",
	)
	server.Sign("signed.example")
	server.Trouble("broken.example", dnstest.Fail)
	r := server.Resolver(t)
	secured := resolverOf(t, server)
	for domain, want := range map[string]string{
		"corp.example":       "mx1.corp.example 10, mx2.corp.example 20",
		"alias.example":      "mx1.corp.example 10, mx2.corp.example 20", // RFC 5321 5.1: the name it leads to counts
		"a2.example":         "mx1.corp.example 10, mx2.corp.example 20",
		"plain.example":      "plain.example 0 implicit",
		"aliasplain.example": "aliasplain.example 0 implicit",
		"nowhere.example":    "nowhere.example 0 implicit", // the addresses will tell
		"null.example":       "556 5.1.10 the domain null.example takes no mail (null MX)",
		"a1.example":         "a1.example: a chain of 4 aliases, more than 3",
		"broken.example":     "lookup broken.example on 192.0.2.53:53: SERVFAIL",
		"signed.example":     "mx.signed.example 10", // nobody says that the server is trusted
	} {
		found, err := findExchanges(t.Context(), r, domain)
		got := written(found.hosts)
		if found.implicit {
			got += " implicit"
		}
		if err != nil {
			got = err.Error()
		}
		if reply := (smtp.Reply{}); got != want || found.secure || errors.As(err, &reply) != (domain == "null.example") {
			t.Errorf("%s: %s, want %s; secure %v", domain, got, want, found.secure)
		}
	}
	for _, domain := range []string{"signed.example", "own.signed.example"} {
		if found, err := findExchanges(context.Background(), secured, domain); err != nil || !found.secure {
			t.Errorf("%s: %+v, %v", domain, found, err)
		}
	}
}
