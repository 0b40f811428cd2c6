package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// Goals of BenchmarkPass, as the sender and the operator notice it.
const (
	goalWait = 1.2 // median transaction, of a direct one
	goalCPU  = 3.0 // processor time of a message, of holding it
)

// passConfig is holdConfig for a front with sessions enough, and an upstream that answers.
var passConfig = strings.NewReplacer("inbound:\n", "inbound:\n  role: front\n", `hosts: ["127.0.0.9:1"]`,
	"hosts: [%q]\n    tls:\n      policy: none\n    delivery:\n      connections: 100").Replace(holdConfig)

// BenchmarkPass sends mail through a front to a primary that is a round trip of
// 20 ms away, and past it straight to the primary. The sender is near the front,
// and as far from the primary as that. Both ways keep their sessions.
//
// median-ms is what one transaction takes after another over one session;
// ratio, of the direct way. The cpu benchmarks have 50 sessions; ratio is the
// processor time of the relay for a message that passes, of one that is held.
func BenchmarkPass(b *testing.B) {
	const size = 4 << 10
	_, primary := startDiscard(b)
	far := distance(b, primary, 20*time.Millisecond)
	folder, front := b.TempDir(), unused(b)
	relay := serve(b, folder, fmt.Sprintf(passConfig, folder+"/data", folder+"/admin.sock", front, far))
	relay.until("front", 20*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == "up" })
	for _, way := range []struct {
		name string
		dialogue
	}{{"OneByOne", oneByOne(size)}, {"Pipelined", pipelined(size)}} {
		var direct, through time.Duration
		b.Run("direct/"+way.name, func(b *testing.B) { direct = median(b, far, way.dialogue) })
		b.Run("front/"+way.name, func(b *testing.B) {
			through = median(b, front, way.dialogue)
			if direct > 0 {
				b.ReportMetric(float64(through)/float64(direct), "ratio")
			}
		})
		if direct > 0 && float64(through) > goalWait*float64(direct) {
			b.Errorf("%s: %s through the front, %s directly", way.name, through, direct)
		}
	}
	var held float64
	holding, address := hold(b)
	holding.until("outage", 20*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == "down" })
	b.Run("cpu/hold", func(b *testing.B) { held = spent(b, address, holding, size) })
	b.Run("cpu/front", func(b *testing.B) {
		passed := spent(b, front, relay, size)
		if held > 0 {
			b.ReportMetric(passed/held, "ratio")
		}
		if held > 0 && b.N >= 1000 && passed > goalCPU*held {
			b.Errorf("%.2f times the processor time of holding", passed/held)
		}
	})
	if st := relay.until("account", 5*time.Second, func(s admin.Status) bool { return s.Account != nil }); st.Account.Accepted != 0 || st.Account.Passed == 0 {
		b.Errorf("account %+v", st.Account)
	}
}

// median is what one transaction takes, one after another.
func median(b *testing.B, address string, d dialogue) time.Duration {
	s, err := connect(address)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.send(d); err != nil {
		b.Fatal(err)
	}
	var all []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := s.send(d); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(began))
	}
	crowd{s}.leave(b)
	slices.Sort(all)
	middle := all[len(all)/2]
	b.ReportMetric(float64(middle.Microseconds())/1000, "median-ms")
	return middle
}

// spent is the processor time of a relay for a message, in milliseconds.
func spent(b *testing.B, address string, relay *daemon, size int) float64 {
	d := oneByOne(size)
	c := gather(b, address, d)
	before := processorTime(b, relay.cmd.Process.Pid)
	b.ResetTimer()
	c.send(b, d, b.N)
	b.StopTimer()
	used := processorTime(b, relay.cmd.Process.Pid) - before
	c.leave(b)
	each := float64(used.Microseconds()) / float64(b.N) / 1000
	b.ReportMetric(1000*each, "cpu-ms/1000msg")
	return each
}
