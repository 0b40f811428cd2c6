package dns

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	now := time.Now()
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(Options{ResolvConf: path}); err == nil {
		t.Error("no error without servers and without a file")
	}
	write("# ours\nsearch corp.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver resolver.example\n", now)
	r := resolver(t, Options{ResolvConf: path})
	want := func(at time.Time, servers ...string) {
		t.Helper()
		if got := r.servers.list(at); !slices.Equal(got, servers) {
			t.Errorf("%q, want %q", got, servers)
		}
	}
	want(now, "192.0.2.53:53", "[2001:db8::53]:53", "[fe80::1%eth0]:53")
	write("nameserver 192.0.2.54\n", now.Add(time.Second))
	want(now.Add(time.Second), "192.0.2.53:53", "[2001:db8::53]:53", "[fe80::1%eth0]:53") // looked a moment ago
	want(now.Add(time.Minute), "192.0.2.54:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want(now.Add(2*time.Minute), "192.0.2.54:53")
	write("# nothing\n", now.Add(2*time.Minute))
	want(now.Add(3*time.Minute), "127.0.0.1:53")
	write("nameserver 192.0.2.55\n", now.Add(3*time.Minute))
	want(now.Add(4*time.Minute), "192.0.2.55:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	want(now.Add(5*time.Minute), "192.0.2.55:53")
}

func TestConfiguredServers(t *testing.T) {
	for _, server := range []string{"192.0.2.53", "resolver.example:53", "[::1]", ":53", ""} {
		if _, err := New(Options{Servers: []string{server}}); err == nil {
			t.Errorf("server %q: no error", server)
		}
	}
	r := resolver(t, Options{Servers: []string{"[::1]:5353"}, ResolvConf: "/nowhere"})
	if got := r.servers.list(time.Now()); !slices.Equal(got, []string{"[::1]:5353"}) {
		t.Errorf("%q", got)
	}
}
