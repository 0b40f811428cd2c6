package arc

import (
	"strings"
	"syscall"
	"testing"
)

// letter75 is a message of 75 KiB, which half of the mail is smaller than.
func letter75() string {
	line := "<p>Quarterly figures for the  board, \tas they were asked for.</p> 0123456789\r\n"
	head, _, _ := strings.Cut(letter, "\r\n\r\n")
	return head + "\r\n\r\n" + strings.Repeat(line, (75<<10-len(head))/len(line))
}

// BenchmarkSeal is what sealing adds to the intake of a message of 75 KiB without
// a chain: reading it, and three fields. cpu-µs/op is time on a processor.
func BenchmarkSeal(b *testing.B) {
	for _, key := range []*Key{testRSA(), testEd25519()} {
		b.Run(key.Algorithm(), func(b *testing.B) {
			content, s, z := letter75(), sealer(b, key), dns(b)
			b.SetBytes(int64(len(content)))
			before := processor(b)
			for b.Loop() {
				m := read(b, content)
				if _, err := s.Seal(m, m.Verify(b.Context(), Options{Resolver: z, Now: now}), results, now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkSign is the least that a seal costs: its two signatures.
func BenchmarkSign(b *testing.B) {
	for _, key := range []*Key{testRSA(), testEd25519()} {
		b.Run(key.Algorithm(), func(b *testing.B) {
			hash := make([]byte, 32)
			before := processor(b)
			for b.Loop() {
				for range 2 {
					if _, err := key.sign(hash); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkWorst is the most that a stranger can make us do: fifty sets that
// hold, each of which signs a field of 80 KiB.
func BenchmarkWorst(b *testing.B) {
	z, s := dns(b), sealer(b, testEd25519(), "x")
	content := "X: " + strings.Repeat("x y ", 20<<10) + "\r\n" + letter
	for i := range maxSets {
		chain := Chain{Status: Pass, highest: i}
		if i == 0 {
			chain.Status = None
		}
		set, err := s.Seal(read(b, content), chain, "mx", now)
		if err != nil {
			b.Fatal(err)
		}
		content = string(set) + content
	}
	before := processor(b)
	for b.Loop() {
		if chain := verify(b, content, z); chain.Status != Pass || chain.OldestPass != 0 {
			b.Fatal(chain.Reason)
		}
	}
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-µs/op")
}

// processor is the time that this process had on processors, in microseconds.
func processor(b *testing.B) int64 {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return (use.Utime.Sec+use.Stime.Sec)*1e6 + use.Utime.Usec + use.Stime.Usec
}
