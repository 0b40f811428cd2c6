package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

func TestOptionsAreChecked(t *testing.T) {
	good := DispatcherOptions{Upstream: takes(0), Store: struct{ Store }{}, Health: &standing{}}
	if d, err := NewDispatcher(good); err != nil || d.options.Connections != 20 || d.options.Trials != 20 || d.options.Attempt != 30*time.Minute ||
		d.options.Wait != time.Second || d.options.MaxWait != time.Minute || d.options.Schedule != queue.DefaultSchedule() {
		t.Errorf("defaults: %+v, %v", d, err)
	}
	for name, change := range map[string]func(*DispatcherOptions){
		"no upstream":          func(o *DispatcherOptions) { o.Upstream = nil },
		"no store":             func(o *DispatcherOptions) { o.Store = nil },
		"no health":            func(o *DispatcherOptions) { o.Health = nil },
		"negative connections": func(o *DispatcherOptions) { o.Connections = -1 },
		"negative start":       func(o *DispatcherOptions) { o.StartRate = -1 },
		"negative rate":        func(o *DispatcherOptions) { o.MaxRate = -1 },
		"negative trials":      func(o *DispatcherOptions) { o.Trials = -1 },
		"negative deadline":    func(o *DispatcherOptions) { o.Attempt = -1 },
		"negative margin":      func(o *DispatcherOptions) { o.Margin = -1 },
		"negative wait":        func(o *DispatcherOptions) { o.Wait = -1 },
		"waits upside down":    func(o *DispatcherOptions) { o.Wait, o.MaxWait = time.Minute, time.Second },
		"negative patience":    func(o *DispatcherOptions) { o.Spike.Patience = -1 },
		"schedule at once":     func(o *DispatcherOptions) { o.Schedule = queue.Schedule{Factor: 2, Max: 1} },
		"schedule that shrinks": func(o *DispatcherOptions) {
			o.Schedule = queue.Schedule{First: 1, Factor: 0.5, Max: 1}
		},
		"schedule with much jitter": func(o *DispatcherOptions) { o.Schedule = queue.Schedule{First: 1, Factor: 1, Max: 1, Jitter: 1} },
	} {
		o := good
		change(&o)
		if _, err := NewDispatcher(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &journal{}
		var deadline, lease time.Time
		var d *desk
		d = newDesk(t, func(ctx context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report {
			deadline, _ = ctx.Deadline()
			lease = d.message(m.ID).LeasedUntil
			content, err := open()
			if err != nil {
				t.Error(err)
				return Report{Content: err}
			}
			if all, err := io.ReadAll(content); err != nil || string(all) != text {
				t.Errorf("content %q, %v", all, err)
			}
			return gives(m, queue.Delivered, queue.ScopeNone, health.OK)
		}, func(o *DispatcherOptions) { o.Attempt, o.Log = 10*time.Minute, slog.New(log) })
		began := time.Now()
		id := d.accept(1)[0]
		if got := d.state(id); got != queue.StateDelivered {
			t.Errorf("%v", got)
		}
		if deadline.Sub(began) != 10*time.Minute || lease.Sub(began) != 11*time.Minute {
			t.Errorf("deadline after %v, lease of %v", deadline.Sub(began), lease.Sub(began))
		}
		if len(d.health.seen) != 1 || d.health.seen[0].Class != health.OK {
			t.Errorf("signals: %+v", d.health.seen)
		}
		want := fmt.Sprintf("delivery.delivered id=%s sid= upstream=exo address= command= code=0 enhanced= attempt=1 recipients=1 took=0s next=0s maybe_duplicate=false reply=so it is", id)
		if lines := log.all(); len(lines) != 1 || lines[0] != want {
			t.Errorf("%q\nwant %q", lines, want)
		}
		d.end(nil)
	})
}

// TestOutgoing: what leaves is what the caller makes of what is stored, and what
// cannot be read is held as ever.
func TestOutgoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left string
		d := newDesk(t, func(_ context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report {
			content, err := open()
			if err != nil {
				return Report{Content: err}
			}
			all, err := io.ReadAll(content)
			if err := errors.Join(err, content.Close()); err != nil {
				return Report{Content: err}
			}
			left = string(all)
			return gives(m, queue.Delivered, queue.ScopeNone, health.OK)
		}, func(o *DispatcherOptions) {
			o.Outgoing = func(m queue.Message, stored io.Reader) io.Reader {
				return io.MultiReader(strings.NewReader(string(m.ID)+"\r\n"), stored)
			}
		})
		id := d.accept(1)[0]
		if got := d.state(id); got != queue.StateDelivered || left != string(id)+"\r\n"+text {
			t.Errorf("%v, %q", got, left)
		}
		d.end(nil)
	})
}

func TestDownClaimsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, takes(0), nil)
		synctest.Wait()
		d.health.set(health.Status{State: health.Down})
		synctest.Wait()
		ids := d.accept(10)
		time.Sleep(6 * time.Hour)
		if m := d.message(ids[0]); d.state(ids[0]) != queue.StateQueued || m.Attempts != 0 || d.Delivery().Window != 0 {
			t.Errorf("%v after %d attempts, %+v", m.State(), m.Attempts, d.Delivery())
		}
		d.health.set(health.Status{State: health.Degraded})
		for _, id := range ids {
			if got := d.state(id); got != queue.StateDelivered {
				t.Errorf("%s: %v", id, got)
			}
		}
		d.end(nil)
	})
}

// TestRecovery follows the number of attempts at once, second by second.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, takes(time.Second), func(o *DispatcherOptions) { o.Trials = 3; o.Connections = 6 })
		d.health.set(health.Status{State: health.Down})
		synctest.Wait()
		d.accept(100)
		d.health.set(health.Status{State: health.Recovering})
		var inFlight []int
		for second := range 9 {
			if second == 5 {
				d.health.set(health.Status{State: health.Up})
			}
			synctest.Wait()
			inFlight = append(inFlight, d.Delivery().InFlight)
			time.Sleep(time.Second)
		}
		if want := []int{1, 1, 1, 1, 2, 4, 6, 6, 6}; !slices.Equal(inFlight, want) {
			t.Errorf("in flight: %v, want %v", inFlight, want)
		}
		d.end(nil)
	})
}

// TestThrottled: a limit of the primary is kept after it was met, and the
// messages that met it lose nothing.
func TestThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, m := time.Now(), &meter{limit: func(time.Duration) int { return 300 }}
		took, refused := takes(0), 0
		var one sync.Mutex
		d := newDesk(t, func(ctx context.Context, message queue.Message, open func() (io.ReadCloser, error)) Report {
			one.Lock()
			defer one.Unlock()
			if !m.takes(time.Since(start)) {
				refused++
				return answers(queue.Deferred, queue.ScopeOwn, health.Throttle)(ctx, message, open)
			}
			return took(ctx, message, open)
		}, func(o *DispatcherOptions) { o.StartRate = 0 }) // the default
		ids := d.accept(3000) // ten minutes at best
		time.Sleep(11*time.Minute + 30*time.Second)
		for _, id := range ids {
			if got := d.state(id); got != queue.StateDelivered {
				t.Fatalf("%s: %v", id, got)
			}
		}
		if refused >= 20 {
			t.Errorf("refused %d times", refused)
		}
		d.end(nil)
	})
}

// TestMaxRate: no more in a minute than the operator wants.
func TestMaxRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, takes(0), func(o *DispatcherOptions) { o.StartRate, o.MaxRate = 600, 120 })
		d.accept(1000)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if stats, err := d.store.Stats(t.Context()); err != nil || stats.Account.Delivered < 595 || stats.Account.Delivered > 605 {
			t.Errorf("%+v, %v", stats.Account, err)
		}
		d.end(nil)
	})
}

// TestNoSpinning: what is due at once because the failure was not about the
// message is tried at a pace, and all messages in turn.
func TestNoSpinning(t *testing.T) {
	for _, primary := range []primaryFunc{
		answers(queue.Deferred, queue.ScopeUpstream, health.Outage),
		answers(queue.Deferred, queue.ScopeOwn, health.Misconfigured),
		answers(queue.Deferred, queue.ScopeOwn, health.Throttle),
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, primary, nil)
			ids := d.accept(10)
			time.Sleep(time.Hour)
			synctest.Wait()
			total := 0
			var attempts []int
			for _, id := range ids {
				m := d.message(id)
				total += m.Attempts
				attempts = append(attempts, m.Attempts)
				if m.Step != 0 || m.State() != queue.StateDeferred {
					t.Errorf("%s: %v, step %d", id, m.State(), m.Step)
				}
			}
			if total < 60 || total > 75 { // 1, 2, 4 ... 60 seconds; when throttled, 10 for a while
				t.Errorf("%d attempts in an hour", total)
			}
			if slices.Max(attempts)-slices.Min(attempts) > 1 {
				t.Errorf("not in turn: %v", attempts)
			}
			d.end(nil)
		})
	}
}

// TestBannedAddressDoesNotRefuseTheWholeQueue: each refusal is followed by a wait.
func TestBannedAddressDoesNotRefuseTheWholeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, answers(queue.Refused, queue.ScopeOwn, health.Throttle), nil)
		ids := d.accept(1000)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		refused := 0
		for _, id := range ids {
			if d.message(id).State() == queue.StateRefused {
				refused++
			}
		}
		if refused < 10 || refused > 20 {
			t.Errorf("%d refused in ten minutes", refused)
		}
		d.end(nil)
	})
}

// TestScheduleIsKept: a message that waits is tried when it is due, though
// nothing else happens, and the dispatcher sleeps meanwhile.
func TestScheduleIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began []time.Duration
		start := time.Now()
		looks := &counting{}
		d := newDesk(t, func(_ context.Context, m queue.Message, _ func() (io.ReadCloser, error)) Report {
			began = append(began, time.Since(start))
			return gives(m, queue.Deferred, queue.ScopeMessage, health.Temporary)
		}, func(o *DispatcherOptions) {
			o.Schedule = queue.Schedule{First: 90 * time.Second, Factor: 2, Max: time.Hour}
			looks.Store, o.Store = o.Store, looks
		})
		d.accept(1)
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 90 * time.Second, 270 * time.Second, 630 * time.Second, 1350 * time.Second, 2790 * time.Second}
		if !slices.Equal(began, want) {
			t.Errorf("attempts after %v, want %v", began, want)
		}
		if looks.due > 60+4*len(want) {
			t.Errorf("the queue was looked at %d times in an hour", looks.due)
		}
		d.end(nil)
	})
}

// counting counts the looks at the queue.
type counting struct {
	Store
	due int
}

func (c *counting) Due(ctx context.Context, upstream string, now time.Time) iter.Seq2[queue.Summary, error] {
	c.due++
	return c.Store.Due(ctx, upstream, now)
}

func TestSlowIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(_ context.Context, m queue.Message, _ func() (io.ReadCloser, error)) Report {
			r := gives(m, queue.Deferred, queue.ScopeOneRecipient, health.Temporary)
			r.Slow = time.Hour
			return r
		}, nil)
		began := time.Now()
		id := d.accept(1)[0]
		synctest.Wait()
		if got := d.message(id).NextAttempt.Sub(began); got != time.Hour {
			t.Errorf("next attempt after %v", got)
		}
		d.end(nil)
	})
}

func TestRefusalsAreDoubted(t *testing.T) {
	for _, test := range []struct {
		name  string
		state health.State
		since time.Duration
		want  queue.State
	}{
		{"up for long: believed", health.Up, 10 * time.Minute, queue.StateRefused},
		{"just up", health.Up, 9 * time.Minute, queue.StateDeferred},
		{"degraded for long", health.Degraded, time.Hour, queue.StateDeferred},
		{"recovering", health.Recovering, time.Hour, queue.StateDeferred},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, answers(queue.Failed, queue.ScopeOneRecipient, health.Recipient), nil)
				d.health.set(health.Status{State: test.state, Since: time.Now().Add(-test.since)})
				id := d.accept(1)[0]
				time.Sleep(time.Second)
				if got := d.state(id); got != test.want {
					t.Errorf("the message is %s, want %s", got, test.want)
				}
				d.end(nil)
			})
		})
	}
}

func TestFailedIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, answers(queue.Failed, queue.ScopeOneRecipient, health.Recipient), nil)
		id := d.accept(1)[0]
		time.Sleep(time.Second)
		if got := d.state(id); got != queue.StateRefused {
			t.Errorf("%v", got)
		}
		if last := d.message(id).Envelope.Recipients[0].Last; last.Reply.Text != "so it is" || last.Scope != queue.ScopeOneRecipient || last.Kept != queue.KeptOff {
			t.Errorf("%+v", last)
		}
		d.end(nil)
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, takes(time.Second), nil)
		running := d.accept(1)[0]
		synctest.Wait()
		pause := Pause{Until: time.Now().Add(10 * time.Minute), Actor: "eve", Reason: "because"}
		d.Pause(pause)
		waiting := d.accept(1)[0]
		time.Sleep(5 * time.Minute)
		if d.state(running) != queue.StateDelivered || d.state(waiting) != queue.StateQueued || d.Delivery().Paused != pause || d.Delivery().Window != 0 {
			t.Errorf("%v %v %+v", d.state(running), d.state(waiting), d.Delivery())
		}
		time.Sleep(5*time.Minute + time.Second)
		if d.state(waiting) != queue.StateDelivered || d.Delivery().Paused != (Pause{}) {
			t.Errorf("after its end: %v %+v", d.state(waiting), d.Delivery())
		}
		d.Pause(Pause{Until: time.Now().Add(10 * time.Minute)})
		d.Pause(Pause{Until: time.Now().Add(20 * time.Minute)})
		waiting = d.accept(1)[0]
		synctest.Wait()
		d.Resume()
		time.Sleep(time.Second)
		if d.state(waiting) != queue.StateDelivered {
			t.Errorf("resumed: %v", d.state(waiting))
		}
		d.end(nil)
	})
}

// TestEndSettlesWhatRuns: attempts are broken off, those that cannot be are
// waited for, and nothing new begins.
func TestEndSettlesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began atomic.Int32
		d := newDesk(t, func(ctx context.Context, m queue.Message, _ func() (io.ReadCloser, error)) Report {
			switch began.Add(1) {
			case 1: // so that two may run
			case 2: // past its final dot
				<-ctx.Done()
				time.Sleep(time.Minute)
			default:
				<-ctx.Done()
				return gives(m, queue.Deferred, queue.ScopeOwn)
			}
			return gives(m, queue.Delivered, queue.ScopeNone, health.OK)
		}, nil)
		ids := d.accept(4)
		synctest.Wait()
		if got := d.Delivery().InFlight; got != 2 {
			t.Errorf("%d in flight", got)
		}
		stopped := time.Now()
		d.end(nil)
		if took := time.Since(stopped); took != time.Minute || began.Load() != 3 {
			t.Errorf("the end took %v, %d attempts", took, began.Load())
		}
		states := map[queue.State]int{}
		for _, id := range ids {
			states[d.state(id)]++
		}
		if states[queue.StateDelivered] != 2 || states[queue.StateDeferred] != 1 || states[queue.StateQueued] != 1 {
			t.Errorf("%v", states)
		}
	})
}
