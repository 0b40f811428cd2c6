package admin

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func TestSecondsUntilALimit(t *testing.T) {
	never := math.Inf(1)
	for _, c := range []struct {
		rule       string
		most, held int64
		perMinute  float64
		want       float64
	}{
		{"no limit", 0, 1000, 5, never},
		{"it grows", 100, 40, 30, 120},
		{"it stands still", 100, 40, 0, never},
		{"it shrinks", 100, 40, -5, never},
		{"it is reached", 100, 100, 0, 0},
		{"it is reached, and shrinks", 100, 100, -5, 0},
		{"the limit has become lower", 100, 200, 5, 0},
	} {
		if got := seconds(c.most, c.held, c.perMinute); got != c.want {
			t.Errorf("%s: %g s, want %g", c.rule, got, c.want)
		}
	}
}

func TestSecondsUntilTheDiskIsFull(t *testing.T) {
	for _, c := range []struct {
		rule              string
		free, reserve, in float64
		all               queue.Held
		want              float64
	}{
		{"mail of 1000 bytes", 70_000, 10_000, 6, queue.Held{Messages: 3, Bytes: 3000}, 600},
		{"only the reserve is left", 10_000, 10_000, 6, queue.Held{Messages: 3, Bytes: 3000}, 0},
		{"less than the reserve", 5_000, 10_000, 6, queue.Held{Messages: 3, Bytes: 3000}, 0},
		{"nothing comes", 70_000, 10_000, 0, queue.Held{Messages: 3, Bytes: 3000}, math.Inf(1)},
		{"nothing is held: nobody knows how large it is", 70_000, 10_000, 6, queue.Held{}, math.Inf(1)},
	} {
		if got := untilDisk(c.free, c.reserve, c.in, c.all); got.seconds != c.want || got.of != "the disk" {
			t.Errorf("%s: %+v, want %g", c.rule, got, c.want)
		}
	}
}

// TestNearestLimit: of the disk and all limits the first to be reached is told,
// each upstream is told about its own.
func TestNearestLimit(t *testing.T) {
	for _, c := range []struct {
		rule     string
		limits   queue.Limits
		of       string
		seconds  float64
		exo, lab float64 // 0 is never
	}{
		{"the disk", queue.Limits{}, "the disk", 9700. / 100 * 60, 0, 0},
		{"messages in all", queue.Limits{All: queue.Limit{Messages: 13}}, "the limit of messages in all", 10 * 60, 0, 0},
		{"bytes in all", queue.Limits{All: queue.Limit{Messages: 13, Bytes: 900}}, "the limit of bytes in all", 6 * 60, 0, 0},
		{"one upstream", queue.Limits{All: queue.Limit{Messages: 13}, Upstreams: map[string]queue.Limit{"exo": {Messages: 7}}}, "the limit of messages for exo", 4 * 60, 4 * 60, 0},
		{"both upstreams, of which one does not grow", queue.Limits{Upstreams: map[string]queue.Limit{"exo": {Messages: 23, Bytes: 800}, "lab": {Messages: 5}}}, "the limit of bytes for exo", 5 * 60, 5 * 60, 0},
		{"one that is full", queue.Limits{All: queue.Limit{Messages: 4}, Upstreams: map[string]queue.Limit{"exo": {Messages: 3}}}, "the limit of messages for exo", 0, 1e-9, 0},
	} {
		s := New(Options{Limits: c.limits, Reserve: 300})
		at := time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)
		s.rates.add(sample{at: at, held: map[string]queue.Held{"gone": {Messages: 2, Bytes: 2}}})
		s.rates.add(sample{at: at.Add(3 * time.Minute), accepted: 3, held: map[string]queue.Held{"exo": {Messages: 3, Bytes: 300}, "gone": {Messages: 2, Bytes: 2}}})
		in := 1.0
		st := Status{Upstreams: []UpstreamStatus{{Name: "exo"}, {Name: "lab"}}, Queue: &QueueStatus{Messages: 3, Bytes: 300, DiskFree: 10_000, InPerMinute: &in}}
		s.shares(&st, queue.Stats{Upstreams: map[string]queue.Held{"exo": {Messages: 3, Bytes: 300}}}, map[string]string{"lab": "x"})
		if q := st.Queue; q.RoomSeconds == nil || math.Abs(*q.RoomSeconds-c.seconds) > 1e-6 || q.RoomOf != c.of || q.MaxMessages != c.limits.All.Messages || q.DiskReserve != 300 {
			t.Errorf("%s: %+v", c.rule, q)
		}
		for i, want := range []float64{c.exo, c.lab} {
			got := st.Upstreams[i].Held.RoomSeconds
			if (want == 0) != (got == nil) || got != nil && math.Abs(*got-want) > 1e-6 {
				t.Errorf("%s: %s has room for %v, want %g", c.rule, st.Upstreams[i].Name, got, want)
			}
		}
		if exo, lab := st.Upstreams[0], st.Upstreams[1]; exo.Held.Messages != 3 || exo.Held.Bytes != 300 || exo.full() || !lab.full() {
			t.Errorf("%s: %+v %+v", c.rule, exo.Held, lab.Held)
		}
	}
}

// TestRoomIsUnknownAtFirst: without two samples only what is full is told.
func TestRoomIsUnknownAtFirst(t *testing.T) {
	s := New(Options{Limits: queue.Limits{All: queue.Limit{Messages: 3}}})
	for held, want := range map[int64]bool{2: false, 3: true} {
		st := Status{Queue: &QueueStatus{Messages: held, Bytes: 300, DiskFree: 10_000}}
		s.shares(&st, queue.Stats{Upstreams: map[string]queue.Held{"exo": {Messages: held, Bytes: 300}}}, nil)
		if q := st.Queue; (q.RoomSeconds != nil) != want || (q.RoomOf != "") != want {
			t.Errorf("%d held: %+v", held, q)
		}
	}
}

// TestWatchSeesWhatIsHeld: the rates of the limits come from the counters.
func TestWatchSeesWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := queuetest.New()
		s := New(Options{Store: store, Limits: queue.Limits{Upstreams: map[string]queue.Limit{"exo": {Messages: 10}}},
			Inbound: Inbound{Stats: func() InboundStats { return InboundStats{} }}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Watch(ctx) }()
		time.Sleep(sampleEvery / 2)
		for range 2 {
			d, err := store.Create(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Commit(ctx, queue.Acceptance{At: time.Now(), Envelope: queue.Envelope{Upstream: "exo", Recipients: []queue.Recipient{{ForwardPath: "a@b.example"}}}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(sampleEvery)
		}
		if g := s.rates.growths()["exo"]; g.messages != 6 { // two within two samples
			t.Errorf("grows by %+v a minute", g)
		}
		cancel()
		<-done
	})
}
