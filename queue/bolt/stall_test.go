package bolt

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// maxStall is the longest that a small commit may take beside large messages.
const maxStall = 100 * time.Millisecond

// largeSize is a large message; with MXKEEP_SOAK=1 as large as they come.
func largeSize() int {
	if os.Getenv("MXKEEP_SOAK") != "" {
		return 100 << 20
	}
	return 4 << 20
}

// latencies are how long commits took, the shortest first.
type latencies []time.Duration

func (l latencies) p99() time.Duration  { return l[len(l)*99/100] }
func (l latencies) most() time.Duration { return l[len(l)-1] }

// beside commits small messages one after the other until something else that
// goes on has ended, and at least so many.
func beside(t testing.TB, s *Store, least int, goesOn func()) (took latencies) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		goesOn()
	}()
	a, body := benchAcceptance(t), make([]byte, 4<<10)
	for ended := false; !ended || len(took) < least; {
		select {
		case <-done:
			ended = true
		default:
		}
		begun := time.Now()
		accept(t, s, a, body)
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took
}

// largeLife is what is done with large messages.
type largeLife struct {
	t      testing.TB
	s      *Store
	size   int
	drafts []queue.Draft
}

func (l *largeLife) must(err error) {
	if err != nil {
		l.t.Error(err)
	}
}

// write writes the content of a message in pieces, as fast as they are taken.
func (l *largeLife) write() queue.Draft {
	d, err := l.s.Create(context.Background())
	l.must(err)
	piece := make([]byte, 32<<10)
	for written := 0; written < l.size && err == nil; written += len(piece) {
		_, err = d.Write(piece)
	}
	l.must(err)
	return d
}

func (l *largeLife) commit(d queue.Draft) {
	l.must(d.Commit(context.Background(), benchAcceptance(l.t)))
}

func (l *largeLife) read() {
	r, err := l.s.Content(context.Background(), l.drafts[0].ID())
	l.must(err)
	_, err = io.Copy(io.Discard, r)
	l.must(err)
}

func (l *largeLife) purge() {
	l.must(l.s.Amend(context.Background(), queue.Amendment{ID: l.drafts[0].ID(), At: now(), Event: queue.Delete}))
	n, err := l.s.Purge(context.Background(), now().Add(1000*time.Hour))
	l.must(err)
	if n != 1 {
		l.t.Errorf("%d messages were purged", n)
	}
}

// twenty writes and commits twenty messages at once.
func (l *largeLife) twenty() {
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { l.commit(l.write()) })
	}
	group.Wait()
}

// phases are the parts of the life, each after the one before.
func (l *largeLife) phases() []struct {
	name   string
	goesOn func()
} {
	return []struct {
		name   string
		goesOn func()
	}{
		{"write", func() { l.drafts = append(l.drafts, l.write(), l.write()) }},
		{"commit", func() { l.commit(l.drafts[0]) }},
		{"read", l.read},
		{"abort", func() { l.must(l.drafts[1].Abort()) }},
		{"purge", l.purge},
		{"twenty", l.twenty},
	}
}

// TestBesideLarge: small messages are committed beside large ones that are
// written, read and removed. How long that takes is judged with MXKEEP_SOAK=1
// only, and if the machine has nothing else to do.
func TestBesideLarge(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	l := &largeLife{t: t, s: s, size: largeSize()}
	alone := beside(t, s, 100, func() {})
	t.Logf("alone: %d commits, median %s, p99 %s, at most %s", len(alone), alone[len(alone)/2], alone.p99(), alone.most())
	for _, phase := range l.phases() {
		took := beside(t, s, 10, phase.goesOn)
		t.Logf("%s of %d MiB: %d commits, median %s, p99 %s, at most %s", phase.name, l.size>>20, len(took), took[len(took)/2], took.p99(), took.most())
		if os.Getenv("MXKEEP_SOAK") != "" && alone.most() < maxStall/4 && took.most() > maxStall {
			t.Errorf("%s: a commit took %s", phase.name, took.most())
		}
	}
	if stats, err := s.Stats(t.Context()); err != nil || stats.Bytes < int64(20*l.size) {
		t.Errorf("%+v, %v", stats, err)
	}
}

// BenchmarkBesideLarge reports how long small commits take, in milliseconds,
// alone and beside each phase of the life of messages of 100 MiB.
func BenchmarkBesideLarge(b *testing.B) {
	for b.Loop() {
		s := open(b, b.TempDir(), Options{})
		l := &largeLife{t: b, s: s, size: 100 << 20}
		report := func(name string, took latencies) {
			b.ReportMetric(float64(took.p99().Microseconds())/1000, name+"-p99-ms")
			b.ReportMetric(float64(took.most().Microseconds())/1000, name+"-max-ms")
		}
		report("alone", beside(b, s, 1000, func() {}))
		for _, phase := range l.phases() {
			report(phase.name, beside(b, s, 1, phase.goesOn))
		}
	}
}
