package bolt

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Goals of BenchmarkRatios. Machines differ, and so do their disks from minute to
// minute: only what is measured one right after the other is compared, several
// times, and the median of these ratios counts.
const (
	goalWriters   = 8.0 // commits of 64 writers, in those of one
	goalSync      = 4.0 // a commit of one writer, in bare fdatasyncs
	goalWritten   = 1.3 // bytes on disk, in bytes of mail
	goalAttempts  = 4.0 // attempts of 16 workers, in those of one
	ratioRounds   = 5
	ratioMeasured = 500 * time.Millisecond
)

// BenchmarkRatios measures what the store must reach, all in one run:
//
//	writers-x   how many times as many 4 KiB messages 64 writers commit as one does
//	sync-x      the median commit of one writer, in fdatasyncs of 4 KiB on the same disk
//	written-x   bytes written to the disk for a byte of mail, 50 writers of 75 KiB
//	attempts-x  how many times as many 4 KiB messages 16 workers claim and settle as one does
func BenchmarkRatios(b *testing.B) {
	for b.Loop() {
		var writers, syncs, bytes, workers []float64
		for range ratioRounds {
			bare := median(fdatasyncs(b))
			one, took := commits(b, 1, 4<<10)
			many, _ := commits(b, 64, 4<<10)
			lone, all := attempts(b, 1), attempts(b, 16)
			syncs = append(syncs, float64(median(took))/float64(bare))
			writers = append(writers, many/one)
			bytes = append(bytes, written(b))
			workers = append(workers, all/lone)
			b.Logf("fdatasync %s, commit %s, %.0f and %.0f commits/s, %.0f and %.0f attempts/s", bare, median(took), one, many, lone, all)
		}
		atLeast(b, "writers-x", median(writers), goalWriters)
		atMost(b, "sync-x", median(syncs), goalSync)
		atMost(b, "written-x", median(bytes), goalWritten)
		atLeast(b, "attempts-x", median(workers), goalAttempts)
	}
}

func atLeast(b *testing.B, name string, got, goal float64) {
	b.ReportMetric(got, name)
	b.Logf("%s %.2f", name, got) // a benchmark that fails shows no metrics
	if got < goal {
		b.Errorf("%s is %.2f, and has to be at least %g", name, got, goal)
	}
}

func atMost(b *testing.B, name string, got, goal float64) {
	b.ReportMetric(got, name)
	b.Logf("%s %.2f", name, got)
	if got > goal {
		b.Errorf("%s is %.2f, and may be at most %g", name, got, goal)
	}
}

func median[T time.Duration | float64](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// fdatasyncs appends 4 KiB at a time to a file and syncs each.
func fdatasyncs(b *testing.B) (took []time.Duration) {
	file, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	block := make([]byte, 4<<10)
	for end := time.Now().Add(ratioMeasured); time.Now().Before(end); {
		begun := time.Now()
		if _, err := file.Write(block); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(file.Fd())); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	return took
}

// commits lets writers commit messages for a time, and returns how many that
// were in a second, and how long each took.
func commits(b *testing.B, writers, size int) (rate float64, took []time.Duration) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	a, body := benchAcceptance(b), make([]byte, size)
	each := make([][]time.Duration, writers)
	begun := time.Now()
	spread(writers, writers, func(i int) {
		for time.Since(begun) < ratioMeasured {
			at := time.Now()
			accept(b, s, a, body)
			each[i] = append(each[i], time.Since(at))
		}
	})
	elapsed := time.Since(begun)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	took = slices.Concat(each...)
	return float64(len(took)) / elapsed.Seconds(), took
}

// written is how many bytes go to the disk for one of mail.
func written(b *testing.B) float64 {
	const size = 75 << 10
	before := diskWrites(b)
	_, took := commits(b, 50, size)
	return float64(diskWrites(b)-before) / float64(len(took)*size)
}

// attempts lets workers claim and settle messages for a time, and returns how
// many they do in a second.
func attempts(b *testing.B, workers int) float64 {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	a, body := benchAcceptance(b), make([]byte, 4<<10)
	ids := make([]queue.ID, 1000*workers) // more than they can do
	spread(50, len(ids), func(i int) { ids[i] = accept(b, s, a, body) })
	begun, done := time.Now(), make([]int, workers)
	spread(workers, workers, func(worker int) {
		for i := worker; i < len(ids) && time.Since(begun) < ratioMeasured; i += workers {
			claimAndSettle(b, s, ids[i])
			done[worker]++
		}
	})
	elapsed, sum := time.Since(begun), 0
	for _, n := range done {
		sum += n
	}
	if sum == len(ids) {
		b.Logf("%d workers did all in %s", workers, elapsed)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return float64(sum) / elapsed.Seconds()
}

// claimAndSettle delivers one message.
func claimAndSettle(b *testing.B, s *Store, id queue.ID) {
	claimed, err := s.Claim(b.Context(), []queue.ID{id}, time.Hour)
	if err != nil || len(claimed) != 1 {
		b.Error(claimed, err)
		return
	}
	err = s.Settle(b.Context(), queue.Settlement{ID: id, Attempt: 1, Results: map[int]queue.Result{
		0: {At: time.Now(), Action: queue.Delivered, Host: "mx.example", Reply: queue.Reply{Command: "DATA", Code: 250, Text: "queued"}}}})
	if err != nil {
		b.Error(err)
	}
}
