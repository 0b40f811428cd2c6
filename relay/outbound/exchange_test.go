package outbound

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
)

// exchange starts a simulated Exchange Online with two addresses, and an
// upstream that knows it by its name and wants TLS.
func exchange(t *testing.T) (*primary.Server, *Upstream) {
	t.Helper()
	authority, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s, err := primary.Start(t.Context(), primary.Options{Authority: authority, Addresses: []string{"127.0.0.2:0", "127.0.0.3:0"}, RequireTLS: true,
		Domains: []string{"corp.example"}, Recipients: []string{"b@corp.example", "c@corp.example", "probe@corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.Certificate("relay.example")
	if err != nil {
		t.Fatal(err)
	}
	u, err := NewUpstream(Options{Name: "exo", Hosts: []string{s.Hostname()}, Port: int(s.Addrs()[0].Port()), Hello: "relay.example",
		TLS: TLS{Roots: s.CAPool(), Certificate: &client}, Resolver: names{s.Hostname(): {"127.0.0.2", "127.0.0.3"}},
		Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, SourceAddress: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, u
}

func play(t *testing.T, s *primary.Server, name string) {
	t.Helper()
	scenario, err := primary.Named(name)
	if err == nil {
		err = s.Play(scenario)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestExchangeTakesMail(t *testing.T) {
	s, u := exchange(t)
	m := message("b@corp.example", "nobody@corp.example", "c@corp.example")
	m.Envelope.Params = queue.Params{Body: "8BITMIME", EnvID: "e+1", Ret: "HDRS"}
	m.Envelope.Recipients[0].Notify = []string{"FAILURE"}
	m.Envelope.Recipients[0].ORcpt = "rfc822;b@corp.example"
	for i := range 2 {
		report := u.Deliver(t.Context(), m, opened(text))
		if got := results(report) + ", " + signals(report.Signals); got != "delivered failed/recipient delivered, ok@final recipient@rcpt" {
			t.Errorf("message %d: %s", i, got)
		}
		for _, signal := range report.Signals {
			if signal.SourceIP != "127.0.0.1" || signal.Session == "" || signal.Took <= 0 {
				t.Errorf("%+v", signal)
			}
		}
	}
	all := s.Received()
	if len(all) != 2 {
		t.Fatalf("%d messages", len(all))
	}
	sum := sha256.Sum256([]byte(text))
	got := all[0]
	if got.SHA256 != hex.EncodeToString(sum[:]) || got.TLS == "" || got.Hello != "relay.example" || got.ReversePath != "a@x.example" ||
		got.Params != fmt.Sprintf("SIZE=%d BODY=8BITMIME RET=HDRS ENVID=e+2B1", len(text)) || !strings.Contains(got.ClientCertificate, "relay.example") ||
		strings.Join(got.Recipients, " ") != "b@corp.example c@corp.example" || got.RecipientParams[0] != "NOTIFY=FAILURE ORCPT=rfc822;b@corp.example" {
		t.Errorf("%+v", got)
	}
	if all[1].Session != got.Session {
		t.Error("the second message came on another connection")
	}
}

func TestExchangeFails(t *testing.T) {
	for _, test := range []struct{ scenario, want string }{
		{"down", "deferred/upstream, outage@connect outage@connect"},
		{"451-4.3.2", "deferred/upstream, outage@rcpt"},
		{"421-forest", "deferred/upstream, outage@banner outage@banner"},
		{"5xx-burst", "failed/recipient, recipient@rcpt"},
		{"5xx-every=1", "refused/own, throttle@rcpt"},
		{"lost-ack", "deferred/message?, outage@final"},
		{"tls-broken", "deferred/own, misconfigured@tls misconfigured@tls"},
		{"tls-wrong-name", "deferred/own, misconfigured@tls misconfigured@tls"},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			s, u := exchange(t)
			play(t, s, test.scenario)
			report := u.Deliver(t.Context(), message("b@corp.example"), opened(text))
			if got := results(report) + ", " + signals(report.Signals); got != test.want {
				t.Errorf("%s, want %s\n%+v", got, test.want, report)
			}
			play(t, s, "healthy")
			report = u.Deliver(t.Context(), message("b@corp.example"), opened(text))
			if got := results(report); got != "delivered" {
				t.Errorf("afterwards: %s\n%+v", got, report)
			}
			want := 1
			if test.scenario == "lost-ack" {
				want = 2
			}
			if all := s.Received(); len(all) != want || all[0].SHA256 != all[want-1].SHA256 {
				t.Errorf("%d messages: %+v", len(all), all)
			}
		})
	}
}

// TestExchangeFallsSilent: cancelling ends an attempt that would wait for minutes.
func TestExchangeFallsSilent(t *testing.T) {
	s, u := exchange(t)
	play(t, s, "blackhole")
	ctx, cancel := context.WithCancel(t.Context())
	connected := make(chan struct{})
	dial := u.options.Dial
	u.options.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		defer close(connected)
		return dial(ctx, network, address)
	}
	go func() {
		<-connected
		cancel()
	}()
	report := u.Deliver(ctx, message("b@corp.example"), opened(text))
	if got := results(report) + ", " + signals(report.Signals); got != "deferred/own, " {
		t.Errorf("%s\n%+v", got, report)
	}
}

func TestExchangeIsProbed(t *testing.T) {
	s, u := exchange(t)
	for scenario, want := range map[string]string{
		"healthy":      "ok@rcpt ok@rcpt",
		"one-bad-host": "outage@rcpt ok@rcpt",
		"down":         "outage@connect outage@connect",
		"tls-broken":   "misconfigured@tls misconfigured@tls",
		"5xx-burst":    "recipient@rcpt recipient@rcpt",
	} {
		play(t, s, scenario)
		got := u.Probe(t.Context(), "probe@corp.example", nil)
		if signals(got) != want {
			t.Errorf("%s: %s, want %s", scenario, signals(got), want)
		}
		for i, signal := range got {
			if signal.Source != health.SourceProbe || signal.Address != s.Addrs()[i].String() {
				t.Errorf("%s: %+v", scenario, signal)
			}
		}
	}
	if n := len(s.Received()); n != 0 {
		t.Errorf("probes left %d messages", n)
	}
}
