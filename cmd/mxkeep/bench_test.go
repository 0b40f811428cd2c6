package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// BenchmarkQueueList lists messages from a store in memory with the program as
// a process of its own, through the socket: how long it takes in all and until
// the first row, and the most memory that the client had at a time (on Linux).
// The memory must be the same for any number of messages.
func BenchmarkQueueList(b *testing.B) {
	for _, messages := range []int{1000, 100_000} {
		r := newRig(b)
		for i := range messages {
			r.accept(fmt.Sprintf("sender%d@supplier.example", i), "a.meyer@corp.example,b@corp.example")
		}
		r.serve()
		for _, format := range []string{"tsv", "jsonl", "table"} {
			b.Run(fmt.Sprintf("%d/%s", messages, format), func(b *testing.B) {
				var first time.Duration
				var most int64
				for b.Loop() {
					wait, peak := r.timeList(b, "queue list --all -o "+format, messages)
					first += wait
					most = max(most, peak)
				}
				b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "ms/first-row")
				b.ReportMetric(float64(most)/1024, "client-MiB")
			})
		}
	}
}

// timeList runs a listing. It returns when the first row came, and the peak of memory in KiB.
func (r *rig) timeList(b *testing.B, arguments string, rows int) (first time.Duration, peak int64) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MXKEEP_TEST_ARGUMENTS="+arguments, "MXKEEP_SOCKET="+r.socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		if _, err := lines.ReadSlice('\n'); err == io.EOF {
			if n < rows {
				b.Errorf("%d of %d rows", n, rows)
			}
			break
		} else if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			first = time.Since(began)
		}
		if n%(rows/10) == rows/20 {
			peak = max(peak, peakOf(cmd.Process.Pid))
		}
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return first, peak
}

// peakOf is the most memory that a process had so far, in KiB; 0 if it cannot
// be known. (The peak in a Rusage is not below that of the parent.)
func peakOf(pid int) (peak int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &peak); err == nil {
			return peak
		}
	}
	return 0
}
