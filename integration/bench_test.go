package integration

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// Goals of the benchmarks: shares of what the baseline does in the same run,
// and bytes of the relay's heap.
const (
	goalSmall = 0.40 // at 4 KiB
	goalLarge = 0.50 // at 75 KiB
	goalHeap  = 64 << 20
)

// holdConfig makes a relay that takes all mail, because nobody answers at the
// upstream's address. One machine sends it all, and is greeted at once.
const holdConfig = `hostname: mx2.corp.example
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  trusted: [127.0.0.0/8]
  timeouts:
    greeting: 0s
domains:
  - name: corp.example
upstreams:
  - name: exo
    hosts: ["127.0.0.9:1"]
    probe:
      every: 1s
      every_bad: 1s
auth:
  verify: no
dns:
  servers: ["127.0.0.9:1"]
`

// hold starts a relay whose upstream is down, and returns it with its address.
func hold(t testing.TB) (d *daemon, address string) {
	t.Helper()
	return holdAs(t, holdConfig)
}

// verify does so, and the relay finds out who wrote the mail. The DNS is near.
func verify(t testing.TB) (d *daemon, address string) {
	t.Helper()
	server := dnstest.New(t, "client.example. 300 IN A 127.0.0.1", `client.example. 300 IN TXT "v=spf1 ip4:127.0.0.0/8 -all"`,
		`_dmarc.client.example. 300 IN TXT "v=DMARC1; p=none"`)
	return holdAs(t, strings.NewReplacer("verify: no", "verify: yes", `servers: ["127.0.0.9:1"]`, `servers: ["`+server.Listen(t)+`"]`).Replace(holdConfig))
}

func holdAs(t testing.TB, config string) (d *daemon, address string) {
	t.Helper()
	folder, address := t.TempDir(), unused(t)
	return serveTraced(t, folder, fmt.Sprintf(config, folder+"/data", folder+"/admin.sock", address)), address
}

// serveTraced is serve, and what the garbage collector does is in the log.
func serveTraced(t testing.TB, folder, config string) *daemon {
	t.Helper()
	old, given := os.LookupEnv("GODEBUG")
	os.Setenv("GODEBUG", "gctrace=1") // for the relay alone: it is too late for this process
	defer func() {
		if os.Unsetenv("GODEBUG"); given {
			os.Setenv("GODEBUG", old)
		}
	}()
	return serve(t, folder, config)
}

// unused finds a port that nobody has. Clients call from 127.0.0.1, so it
// stays free at another address.
func unused(t testing.TB) string {
	t.Helper()
	return unusedAt(t, "127.0.0.8:0")
}

// unusedAt finds one at an address.
func unusedAt(t testing.TB, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// BenchmarkHold holds mail as in an outage: real SMTP over loopback into the
// built relay, which answers 250 when the message is synced to the disk; next
// to it, as the baseline, a server of go-smtp that throws mail away. Both are
// processes of their own and have the same client, with 50 sessions that are
// kept. The client pipelines MAIL, RCPT and DATA; that of BenchmarkHoldOneByOne
// does not. The queue is in a temporary folder, which should be on a disk (TMPDIR).
//
// ratio is the share of the baseline's rate; cpu-ms/1000msg is the processor
// time of the server; heap-MiB the most that the relay's heap ever was, and
// anon-MiB its memory without files at the end.
func BenchmarkHold(b *testing.B) { benchmarkHold(b, pipelined) }

// BenchmarkHoldOneByOne is BenchmarkHold with a client that waits for each reply.
func BenchmarkHoldOneByOne(b *testing.B) { benchmarkHold(b, oneByOne) }

func benchmarkHold(b *testing.B, speak func(size int) dialogue) {
	relay, address := hold(b)
	relay.until("outage", 20*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == "down" })
	verifying, verifyingAddress := verify(b)
	verifying.until("outage", 20*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == "down" })
	baseline, baselineAddress := startDiscard(b)
	for _, size := range []struct {
		name string
		size int
		goal float64
	}{{"4KiB", 4 << 10, goalSmall}, {"75KiB", 75 << 10, goalLarge}} {
		var most, rate float64
		var clocked time.Duration
		b.Run("baseline/"+size.name, func(b *testing.B) {
			b.SetBytes(int64(size.size))
			most = measure(b, baselineAddress, baseline.Pid, speak(size.size))
		})
		b.Run("hold/"+size.name, func(b *testing.B) {
			b.SetBytes(int64(size.size))
			rate = measure(b, address, relay.cmd.Process.Pid, speak(size.size))
			clocked = b.Elapsed()
			if most > 0 {
				b.ReportMetric(rate/most, "ratio")
			}
			b.ReportMetric(float64(heap(b, relay))/(1<<20), "heap-MiB")
			b.ReportMetric(float64(privateMemory(b, relay.cmd.Process.Pid))/(1<<20), "anon-MiB")
		})
		b.Run("verified/"+size.name, func(b *testing.B) {
			b.SetBytes(int64(size.size))
			verified := measure(b, verifyingAddress, verifying.cmd.Process.Pid, speak(size.size))
			if most > 0 {
				b.ReportMetric(verified/most, "ratio")
			}
		})
		// A benchmark that fails shows no figures, so this one does it for both.
		if most > 0 && rate < size.goal*most && clocked >= time.Second {
			b.Errorf("%s: %.2f of the baseline, not %.2f", size.name, rate/most, size.goal)
		}
	}
	if most := heap(b, relay); most >= goalHeap {
		b.Errorf("the heap was %d bytes", most)
	}
}

// measure sends b.N messages and returns how many there were in a second.
func measure(b *testing.B, address string, pid int, d dialogue) (rate float64) {
	c := gather(b, address, d)
	spent := processorTime(b, pid)
	b.ResetTimer()
	c.send(b, d, b.N)
	b.StopTimer()
	spent = processorTime(b, pid) - spent
	c.leave(b)
	rate = float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "msg/s")
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-ms/1000msg")
	return rate
}

// TestHeapWhileHolding: what comes in over many sessions does not pile up in memory.
func TestHeapWhileHolding(t *testing.T) {
	const messages = 2000
	relay, address := hold(t)
	d := pipelined(75 << 10)
	c := gather(t, address, d)
	c.send(t, d, messages)
	c.leave(t)
	status := relay.until("custody of all", 20*time.Second, func(s admin.Status) bool { return s.Queue != nil && s.Queue.Messages == messages+sessions })
	if status.Account.Accepted != messages+sessions {
		t.Errorf("accepted %d of %d", status.Account.Accepted, messages+sessions)
	}
	most := heap(t, relay)
	if most >= goalHeap {
		t.Errorf("the heap was %d bytes", most)
	}
	t.Logf("at most %d MiB", most>>20)
}
