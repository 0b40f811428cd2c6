package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/state"
)

func TestReaches(t *testing.T) {
	local := interfaces()
	for _, a := range local {
		if !reaches(a, netip.IPv6Unspecified()) || a.Is4() && !reaches(a, netip.IPv4Unspecified()) {
			t.Errorf("%s is not ours", a)
		}
	}
	if len(local) == 0 {
		t.Error("this machine has no address")
	}
	for _, test := range []struct {
		to, bound string
		want      bool
	}{
		{"192.0.2.7", "192.0.2.7", true}, {"192.0.2.7", "::ffff:192.0.2.7", true}, {"192.0.2.8", "192.0.2.7", false},
		{"2001:db8::7", "2001:db8::7", true}, {"fe80::1%lo", "fe80::1%eth0", true},
		{"127.9.9.9", "0.0.0.0", true}, {"127.9.9.9", "::", true}, {"::1", "::", true}, {"::1", "0.0.0.0", false},
		{"192.0.2.7", "0.0.0.0", false}, {"2001:db8::7", "::", false},
		{"0.0.0.0", "127.0.0.1", true}, {"0.0.0.0", "::", true}, {"::", "0.0.0.0", false}, {"0.0.0.0", "192.0.2.7", false},
	} {
		if got := reaches(netip.MustParseAddr(test.to), netip.MustParseAddr(test.bound)); got != test.want {
			t.Errorf("%s at %s: %v", test.to, test.bound, got)
		}
	}
}

// TestAnUpstreamThatIsThisRelay: nothing goes to ourselves, by address or by
// name; the mail is kept, and the status says what to mend.
func TestAnUpstreamThatIsThisRelay(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"by address", "by name"} {
		t.Run(how, func(t *testing.T) {
			c, _ := configured(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if how == "by name" { // one of our name, at an address that is not ours
				other := c
				other.Data, other.Socket = filepath.Join(folder(t), "data"), filepath.Join(folder(t), "s")
				c.Upstreams[0].Hosts = run(t, other).addresses()
			} else {
				c.Upstreams[0].Hosts = []string{l.Addr().String()}
			}
			r := runOn(t, c, Sockets{SMTP: []net.Listener{l}})
			r.log.await(t, "health.changed", "misconfigured=true")
			if err := r.offer("b@corp.example"); err != nil {
				t.Fatal(err)
			}
			st, err := r.client.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if st.Inbound.Accepted != 1 || st.Account.Queued != 1 || !strings.HasPrefix(st.Headline, "exo leads back to this relay") || !strings.Contains(st.Todo[0].Text, "leads back to this relay") {
				t.Errorf("%s\n%+v", st.Headline, st.Todo)
			}
			r.stop()
		})
	}
}

// TestWatchdog: a relay whose parts answer says so, and one that is stuck is silent.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	path := filepath.Join(folder(t), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	log := newEvents()
	r, err := Open(Options{Config: c, Manager: path, Watchdog: 20 * time.Millisecond, Log: log.log()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for fed := 0; fed < 3; {
		var told [100]byte
		n, err := socket.Read(told[:])
		if err != nil {
			t.Fatal(err)
		}
		if string(told[:n]) == "WATCHDOG=1" {
			fed++
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r, err = Open(Options{Config: c, Manager: path, Log: log.log()}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel = context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.watchdog(ctx, 2*time.Millisecond) // nobody delivers
	}()
	log.await(t, "relay.stuck", "deliveries to exo: context deadline exceeded")
	cancel()
	<-stopped
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.alive(t.Context()); err == nil {
		t.Error("alive with a closed store")
	}
}

// TestRequireTLSIsKeptInMind: what a primary was seen to keep counts after a
// stop, and only where its name is verified.
func TestRequireTLSIsKeptInMind(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	r, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	if r.requiresTLS("exo") || r.requiresTLS("nobody") {
		t.Error("a promise that nobody gave")
	}
	r.primaries[0].promise.note(true)
	r.primaries[0].promise.note(true)
	if !r.requiresTLS("exo") {
		t.Error("it is not kept in mind")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for policy, want := range map[string]bool{configs.TLSRequired: true, configs.TLSOpportunistic: false} {
		c.Upstreams[0].TLS.Policy, c.Upstreams[0].TLS.CA, c.Upstreams[0].TLS.ServerName = policy, "", ""
		if r, err = Open(Options{Config: c}); err != nil {
			t.Fatal(err)
		}
		if got := r.requiresTLS("exo"); got != want {
			t.Errorf("%s: %v", policy, got)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPromiseThatIsForgotten(t *testing.T) {
	t.Parallel()
	file, err := state.Open(filepath.Join(t.TempDir(), "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Put(promiseOwner, "exo", "perhaps"); err != nil {
		t.Fatal(err)
	}
	log := newEvents()
	p := newPromise(file, "exo", log.log())
	if p.holds() || !log.has("requiretls.forgotten") {
		t.Error("what cannot be read counts")
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if p.note(true); !p.holds() || !log.has("requiretls.unsaved") {
		t.Error("what cannot be kept does not count")
	}
}

// TestACertificateOfAnAuthorityThatIsOut: mail is taken with our own, and the status says so.
func TestACertificateOfAnAuthorityThatIsOut(t *testing.T) {
	t.Parallel()
	c, s := configured(t)
	ca := filepath.Join(folder(t), "ca.pem")
	if err := os.WriteFile(ca, s.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	c.Inbound.ACME = configs.ACME{Directory: "https://" + gone.Addr().String() + "/dir", Email: "a@corp.example", Challenge: configs.ChallengeHTTP, Listen: "127.0.0.1:0", CA: ca}
	r := run(t, c)
	r.log.await(t, "certificate.failed", "connection refused")
	if err := r.offer("b@corp.example"); err != nil && !strings.HasPrefix(err.Error(), "451") {
		t.Fatal(err)
	}
	session := r.dial()
	if err := session.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	st, err := r.client.Status(t.Context())
	if err != nil || st.Inbound.Certificate == nil {
		t.Fatalf("%+v, %v", st.Inbound, err)
	}
	if got := *st.Inbound.Certificate; got.Source != "acme" || !got.Until.IsZero() || !strings.Contains(got.Failure, "connection refused") {
		t.Errorf("certificate %+v", got)
	}
	session.Close()
	r.stop()
}

// TestFrontThatCannotBeOpened: what is wrong with the ports and files of ACME is said, and nothing stays open.
func TestFrontThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, words string
		change      func(t *testing.T, c *configs.Config)
	}{
		{"a port in use", "ACME: listen tcp 127.0.0.1:", func(t *testing.T, c *configs.Config) { c.Inbound.ACME.Listen = occupied(t) }},
		{"a file that is not there", "inbound.acme.ca: open ", func(t *testing.T, c *configs.Config) { c.Inbound.ACME.CA = filepath.Join(t.TempDir(), "none") }},
		{"a file without a certificate", " has no certificate", func(t *testing.T, c *configs.Config) { c.Inbound.ACME.CA = write(t, "hello") }},
		{"a challenge that there is not", `acme: no challenge "dns-01"`, func(t *testing.T, c *configs.Config) { c.Inbound.ACME.Challenge = "dns-01" }},
	} {
		c, _ := configured(t)
		c.Inbound.ACME = configs.ACME{Directory: "https://127.0.0.1:1/dir", Email: "a@corp.example", Challenge: configs.ChallengeHTTP, Listen: "127.0.0.1:0"}
		test.change(t, &c)
		if _, err := Open(Options{Config: c}); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := os.Stat(filepath.Join(c.Data, "self-signed.key")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a key was made: %v", test.name, err)
		}
	}
}

// TestCertificateThatIsShown: where it comes from, and its end.
func TestCertificateThatIsShown(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	shown := func() admin.Certificate {
		t.Helper()
		r, err := Open(Options{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		got := r.intake.shown().Stats().Certificate
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	own := shown()
	c.Inbound.Certificate, c.Inbound.Key = filepath.Join(c.Data, "self-signed.crt"), filepath.Join(c.Data, "self-signed.key")
	if given := shown(); own.Source != "self-signed" || time.Until(own.Until) < 300*24*time.Hour || given.Source != "files" || given.Until != own.Until {
		t.Errorf("%+v, %+v", own, given)
	}
}

// TestADomainThatRequiresTLS: its recipients are refused in plaintext.
func TestADomainThatRequiresTLS(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	c.Domains[0].TLS = configs.TLSRequired
	r := run(t, c)
	if err := r.offer("b@corp.example"); err == nil || !strings.HasPrefix(err.Error(), `530 "5.7.0 must issue a STARTTLS command first`) {
		t.Errorf("in plaintext: %v", err)
	}
	session := r.dial()
	if err := session.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if err := envelope(session, "b@corp.example"); err != nil && !strings.HasPrefix(err.Error(), "451") {
		t.Errorf("over TLS: %v", err)
	}
	session.Close()
	r.stop()
}
