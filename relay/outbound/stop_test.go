package outbound

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// A primary that refuses whatever we send gets one message in ten minutes, not
// the whole queue, until one is taken.
func TestARefusalOfUsStopsTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		monitor := health.NewMonitor(health.MonitorOptions{Upstream: "exo"})
		monitor.Observe(health.Signal{Source: health.SourceProbe})
		var mended atomic.Bool
		var refused atomic.Int64
		refuse, take := answers(queue.Refused, queue.ScopeOwn, health.Misconfigured), takes(time.Millisecond)
		d := newDesk(t, func(ctx context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report {
			if mended.Load() {
				return take(ctx, m, open)
			}
			refused.Add(1)
			return refuse(ctx, m, open)
		}, func(o *DispatcherOptions) { o.Health, o.Connections = monitor, 1 })
		ids := d.accept(100)
		time.Sleep(time.Hour)
		attempts := int(refused.Load())
		if attempts < 3+4 || attempts > 3+6 {
			t.Errorf("%d messages were refused in an hour", attempts)
		}
		mended.Store(true)
		time.Sleep(12 * time.Minute)
		states := map[queue.State]int{}
		for _, id := range ids {
			states[d.state(id)]++
		}
		if states[queue.StateDelivered] != len(ids)-attempts || states[queue.StateRefused] != attempts {
			t.Errorf("after it was mended: %v", states)
		}
		d.end(nil)
	})
}

func TestWhatDeliveriesWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, takes(time.Minute), nil)
		synctest.Wait()
		now := time.Now()
		stops := health.Condition{Since: now, Last: now, Until: now.Add(10 * time.Minute), Stops: true}
		d.health.set(health.Status{State: health.Up, Misconfigured: stops})
		synctest.Wait()
		d.accept(30)
		for _, test := range []struct {
			rule   string
			status health.Status
			want   int
		}{
			{"a configuration that refuses everything", health.Status{State: health.Up, Misconfigured: stops}, 0},
			{"our network", health.Status{State: health.Degraded, Network: health.Condition{Since: now, Last: now}}, 0},
			{"one is tried", health.Status{State: health.Up, Misconfigured: health.Condition{Since: now, Stops: true}}, 1},
			{"nothing", health.Status{State: health.Up}, 20},
		} {
			d.health.set(test.status)
			synctest.Wait()
			if got := d.Delivery(); got.Window > test.want || got.Window == 0 && test.want > 0 || got.InFlight > test.want || got.InFlight == 0 && test.want > 0 {
				t.Errorf("%s: %+v, want at most %d", test.rule, got, test.want)
			}
		}
		d.end(nil)
	})
}
