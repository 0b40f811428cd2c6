package bolt

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func benchAcceptance(b testing.TB) queue.Acceptance {
	b.Helper()
	return queue.Acceptance{At: time.Now(), MessageID: "<20260301100000.12345@client.example>", Lifetime: queue.DefaultLifetime,
		Trace: bytes.Repeat([]byte("Received: from client.example (client.example [127.0.0.9]) by relay.example\r\n"), 4),
		Envelope: queue.Envelope{Upstream: "primary", ReversePath: "alice@client.example", Params: queue.Params{Body: "8BITMIME"},
			Recipients: []queue.Recipient{{ForwardPath: "bob@relay.example"}},
			Origin:     queue.Origin{Address: "127.0.0.9", Host: "client.example", Hello: "client.example", TLS: "TLS1.3", Reason: "upstream down"}}}
}

func accept(b testing.TB, s *Store, a queue.Acceptance, body []byte) queue.ID {
	b.Helper()
	d, err := s.Create(b.Context())
	if err == nil {
		_, err = d.Write(body)
	}
	if err == nil {
		err = d.Commit(b.Context(), a)
	}
	if err != nil {
		b.Fatal(err)
	}
	return d.ID()
}

// timed runs n acts on some goroutines, and nothing else is measured. It
// reports how many were done in a second, and the processor time of each.
func timed(b *testing.B, goroutines, n int, act func(i int)) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	b.StartTimer()
	start, spent := time.Now(), processorTime(b)
	spread(goroutines, n, act)
	b.StopTimer()
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "msg/s")
	b.ReportMetric(float64((processorTime(b)-spent).Microseconds())/float64(n), "cpu-µs/msg")
}

// processorTime is what all threads of this process have used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// spread runs n acts on some goroutines.
func spread(goroutines, n int, act func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				act(i - 1)
			}
		})
	}
	group.Wait()
}

func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 75 << 10, 1 << 20} {
		for _, writers := range []int{1, 50} {
			b.Run(fmt.Sprintf("%dKiB/%dwriters", size>>10, writers), func(b *testing.B) {
				s := open(b, b.TempDir(), Options{})
				body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
				a := benchAcceptance(b)
				b.SetBytes(int64(size))
				written := diskWrites(b)
				timed(b, writers, b.N, func(int) { accept(b, s, a, body) })
				b.ReportMetric(float64(diskWrites(b)-written)/float64(b.N*size), "written/byte")
			})
		}
	}
}

// BenchmarkSettle claims and settles messages one by one, as attempts do.
func BenchmarkSettle(b *testing.B) {
	for _, attempts := range []int{1, 20} {
		b.Run(fmt.Sprintf("%dattempts", attempts), func(b *testing.B) {
			s := open(b, b.TempDir(), Options{})
			ids := make([]queue.ID, b.N)
			a := benchAcceptance(b)
			b.StopTimer()
			spread(50, b.N, func(i int) { ids[i] = accept(b, s, a, make([]byte, 4<<10)) })
			timed(b, attempts, b.N, func(i int) {
				claimed, err := s.Claim(b.Context(), ids[i:i+1], time.Hour)
				if err != nil || len(claimed) != 1 {
					b.Error(claimed, err)
					return
				}
				err = s.Settle(b.Context(), queue.Settlement{ID: ids[i], Attempt: 1, Results: map[int]queue.Result{
					0: {At: time.Now(), Action: queue.Delivered, Host: "mx.example", Reply: queue.Reply{Command: "DATA", Code: 250, Text: "queued"}}}})
				if err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkDue lists a queue of 100,000, and its first 20.
func BenchmarkDue(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	a := benchAcceptance(b)
	const messages = 100_000
	spread(50, messages, func(int) { accept(b, s, a, nil) })
	for _, limit := range []int{20, messages} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range s.Due(b.Context(), "primary", time.Now()) {
					if err != nil {
						b.Fatal(err)
					}
					if n++; n == limit {
						break
					}
				}
				if n != limit {
					b.Fatalf("%d are due", n)
				}
			}
		})
	}
}

// BenchmarkContent reads messages back, as attempts do.
func BenchmarkContent(b *testing.B) {
	for _, size := range []int{4 << 10, 75 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := open(b, b.TempDir(), Options{})
			id := accept(b, s, benchAcceptance(b), make([]byte, size))
			b.SetBytes(int64(size))
			timed(b, 20, b.N, func(int) {
				r, err := s.Content(b.Context(), id)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
				}
				if err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// benchLines are ledger lines as attempts make them, each of its own message.
func benchLines(first uint64, n int) (lines []line) {
	for seq := first; seq < first+uint64(n); seq++ {
		e := queue.Entry{At: time.Unix(int64(seq), 0).UTC(), Event: queue.Attempted, ID: queue.NextID("", time.UnixMilli(int64(seq))), Attempt: 1, Upstream: "primary",
			Recipients: []string{fmt.Sprintf("user%d@relay.example", seq)}, MessageID: fmt.Sprintf("<20260301.%d@client.example>", seq),
			Results: []queue.Result{{At: time.Unix(int64(seq), 0).UTC(), Action: queue.Delivered, Host: "relay-example.mail.protection.outlook.com", Address: "127.0.0.1:25",
				RemoteSession: fmt.Sprintf("MN0PR01MB%d", seq), Reply: queue.Reply{Command: "DATA", Code: 250, Enhanced: "2.6.0", Text: strings.Repeat("queued mail for delivery ", 4)}}}}
		lines = append(lines, line{seq, encodeEntry(e)})
	}
	return lines
}

// BenchmarkFileLines files lines as giving back does.
func BenchmarkFileLines(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	lines := benchLines(1, b.N)
	written := diskWrites(b)
	b.ReportAllocs()
	b.ResetTimer()
	for rest := lines; len(rest) > 0; rest = rest[min(batchPairs, len(rest)):] {
		if err := s.ledger.file(rest[:min(batchPairs, len(rest))]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(diskWrites(b)-written)/float64(b.N), "written/line")
	b.ReportMetric(float64(len(lines[0].record)), "bytes/line")
}

// BenchmarkLedgerSearch looks for one line among a million.
func BenchmarkLedgerSearch(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	const lines = 1_000_000
	for first := 1; first <= lines; first += 2000 {
		if err := s.ledger.file(benchLines(uint64(first), 2000)); err != nil {
			b.Fatal(err)
		}
	}
	s.seq.Store(lines)
	for _, c := range []struct {
		by string
		f  queue.LedgerFilter
		n  int
	}{
		{"ID", queue.LedgerFilter{ID: queue.NextID("", time.UnixMilli(lines-7))}, 1},
		{"MessageID", queue.LedgerFilter{MessageID: "<20260301.999993@client.example>"}, 1},
		{"Address", queue.LedgerFilter{Address: "User999993@relay.example"}, 1},
		{"RemoteSession", queue.LedgerFilter{RemoteSession: "MN0PR01MB999993"}, 1},
		{"Event", queue.LedgerFilter{Events: []queue.Event{queue.Hold}}, 0},
		{"Time", queue.LedgerFilter{Since: time.Unix(lines-7, 0), Until: time.Unix(lines-6, 0)}, 1},
	} {
		b.Run(c.by, func(b *testing.B) {
			for b.Loop() {
				n := 0
				for _, err := range s.Ledger(b.Context(), c.f) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != c.n {
					b.Fatalf("%d lines", n)
				}
			}
		})
	}
	b.Run("Verify", func(b *testing.B) {
		for b.Loop() {
			if chain, err := s.Verify(b.Context()); err != nil || len(chain.Faults) > 0 || chain.Lines != lines {
				b.Fatal(chain, err)
			}
		}
	})
}
