package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// Goals of an idle relay.
const (
	goalIdleMemory   = 25 << 20 // bytes without files
	goalIdleSwitches = 120      // voluntary context switches a minute, of all threads
)

// idleConfig is a relay behind a healthy primary, which it looks at once a minute.
const idleConfig = `hostname: mx2.corp.example
dns: {servers: ["127.0.0.9:1"]}
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
domains:
  - name: corp.example
upstreams:
  - name: exo
    hosts: [%q]
    tls:
      server_name: %s
      ca: %q
    probe:
      every: 60s
`

// BenchmarkIdle lets a relay do nothing for a minute. Times are not the result:
// anon-MiB is its memory without files, and switches/min how often it woke up
// and fell asleep again.
func BenchmarkIdle(b *testing.B) {
	upstream, err := primary.Start(b.Context(), primary.Options{Addresses: []string{"127.0.0.2:0"}, Domains: []string{"corp.example"}})
	if err != nil {
		b.Fatal(err)
	}
	defer upstream.Close()
	folder := b.TempDir()
	ca := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(ca, upstream.CertPEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	relay := serve(b, folder, fmt.Sprintf(idleConfig, folder+"/data", folder+"/admin.sock", unused(b), upstream.Addrs()[0],
		"corp-example.mail.protection.outlook.com", ca))
	for range 6 { // as many good rounds as it takes while there is no mail
		relay.cli("health", "probe")
	}
	relay.until("primary that is up", 10*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == "up" })

	pid := relay.cmd.Process.Pid
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	<-minute.C // what the start has left behind
	before, began := switches(b, pid), time.Now()
	for b.Loop() {
		<-minute.C
	}
	rate := float64(switches(b, pid)-before) / time.Since(began).Minutes()
	memory := privateMemory(b, pid)
	b.ReportMetric(rate, "switches/min")
	b.ReportMetric(float64(memory)/(1<<20), "anon-MiB")
	if rate >= goalIdleSwitches || memory >= goalIdleMemory {
		b.Errorf("%.0f switches a minute, %d bytes", rate, memory)
	}
}
