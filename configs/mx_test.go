package configs

import (
	"slices"
	"testing"
)

// TestHostsByMX: "mx" is the domain of the upstream, if there is one.
func TestHostsByMX(t *testing.T) {
	c, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: corp.example\nupstream: {hosts: [a.example, mx, 'mx:Other.example']}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.HostsOf(c.Upstreams[0]); !slices.Equal(got, []string{"a.example", "mx:corp.example", "mx:other.example"}) || c.Upstreams[0].Hosts[1] != "mx" {
		t.Errorf("%q", got)
	}
	const two = "hostname: mx2.corp.example\ndomains: [a.example, b.example]\nupstream: "
	_, err = Parse("f.yaml", []byte(two+"mx\n"))
	wantProblems(t, err, "3:11 upstream.hosts[0]: mx stands for the hosts of one domain, and there are 2; mx:corp.example")
	if _, err = Parse("f.yaml", []byte(two+"mx:a.example\n")); err != nil {
		t.Error(err)
	}
}
