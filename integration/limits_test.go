package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// limitsConfig is a relay with two upstreams, of which the first may have five
// messages here.
const limitsConfig = `hostname: mx2.corp.example
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  timeouts:
    greeting: 0s
domains:
  - name: corp.example
    upstream: exo
  - name: lab.example
    upstream: lab
upstreams:
  - name: exo
    hosts: [%q]
    tls:
      server_name: %s
      ca: %q
    delivery:
      start_rate: 1000000
      wait: 100ms
    probe:
      every: 1s
      every_bad: 1s
    health:
      trials: 2
    queue:
      max_messages: 5
  - name: lab
    hosts: ["127.0.0.9:1"]
    probe:
      every: 1s
      every_bad: 1s
dns:
  servers: ["127.0.0.9:1"]
`

// TestOneUpstreamIsFull: when one upstream has all the messages here that it may
// have, its senders hear so at RCPT, those of the other are served, and what is
// held is delivered as soon as the upstream is back.
func TestOneUpstreamIsFull(t *testing.T) {
	exo, err := primary.Start(t.Context(), primary.Options{Addresses: []string{"127.0.0.2:0"}, Domains: []string{"corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer exo.Close()
	if err := exo.Play(primary.Scenario{Name: "down", Down: true}); err != nil {
		t.Fatal(err)
	}
	folder, address := t.TempDir(), unused(t)
	ca := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(ca, exo.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := serve(t, folder, fmt.Sprintf(limitsConfig, folder+"/data", folder+"/admin.sock", address, exo.Addrs()[0], exo.Hostname(), ca))
	relay.until("outage", 20*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == "down" && s.Upstreams[1].State == "down" })

	sender, err := connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	for range 5 {
		if err := sender.send(oneByOne(4 << 10)); err != nil {
			t.Fatal(err)
		}
	}
	full := dialogue{{[]byte(mailCommand), 1}, {[]byte(rcptCommand), 1}}
	if err := sender.send(full); err == nil || !strings.Contains(err.Error(), "452 4.3.1") {
		t.Errorf("the sixth message: %v", err)
	}
	other := oneByOne(4 << 10)
	other[0], other[1] = step{[]byte("RSET\r\n" + mailCommand), 2}, step{[]byte("RCPT TO:<bob@lab.example>\r\n"), 1}
	if err := sender.send(other); err != nil {
		t.Errorf("the message for the other: %v", err)
	}
	status, err := relay.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exoHeld, labHeld := status.Upstreams[0].Held, status.Upstreams[1].Held
	if exoHeld.Messages != 5 || exoHeld.MaxMessages != 5 || exoHeld.Full == "" || labHeld.Messages != 1 || labHeld.Full != "" || status.Severity != admin.SeverityCritical || status.Inbound.Refusing != "" {
		t.Errorf("status %+v, of exo %+v, of lab %+v", status, exoHeld, labHeld)
	}
	if text := relay.cli("status"); !strings.Contains(text, "FULL: the limit of 5 messages for exo leaves no room") {
		t.Errorf("status says:\n%s", text)
	}

	if err := exo.Play(primary.Scenario{Name: "healthy"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := exo.Await(ctx, 5); err != nil {
		t.Fatal(err)
	}
	relay.until("room", 10*time.Second, func(s admin.Status) bool {
		return s.Upstreams[0].Held.Messages == 0 && s.Upstreams[0].Held.Full == "" && s.NothingLost && s.Queue.Messages == 1
	})
}
