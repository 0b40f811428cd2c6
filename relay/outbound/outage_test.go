package outbound

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/health/probe"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// house is everything between the queue and the primary, in one bubble.
type house struct {
	*testing.T
	town       *town
	down       atomic.Bool // nobody listens
	dialled    atomic.Int64
	store      *queuetest.Memory
	upstream   *Upstream
	monitor    *health.Monitor
	dispatcher *Dispatcher
	stop       func()
}

// newHouse starts it all at the settings that are the defaults.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, town: newTown(), store: queuetest.New()}
	h.town.delay = 200 * time.Millisecond
	var err error
	h.upstream, err = NewUpstream(Options{Name: "exo", Hosts: []string{"corp.example"}, Hello: "relay.example", TLS: TLS{Policy: TLSNone},
		Resolver: names{"corp.example": {"192.0.2.1", "192.0.2.2"}}, Dial: h.dial})
	if err != nil {
		t.Fatal(err)
	}
	h.monitor = health.NewMonitor(health.MonitorOptions{Upstream: "exo"})
	prober := probe.New(probe.Options{Jitter: 0.1, Observe: h.monitor.Observe, Status: h.monitor.Status,
		Check: func(ctx context.Context) []health.Signal { return h.upstream.Probe(ctx, "probe@corp.example", nil) }})
	h.dispatcher, err = NewDispatcher(DispatcherOptions{Upstream: h.upstream, Store: h.store, Health: h.monitor})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { h.monitor.Run(ctx) })
	running.Go(func() { prober.Run(ctx) })
	running.Go(func() {
		if err := h.dispatcher.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	h.stop = func() {
		cancel()
		running.Wait()
		h.upstream.Close()
	}
	return h
}

func (h *house) dial(context.Context, string, string) (net.Conn, error) {
	h.dialled.Add(1)
	if h.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	return h.town.pipe(), nil
}

// content is different for each message, and has lines that begin with a dot.
func content(n int) string {
	return fmt.Sprintf("Subject: %d\r\n\r\n.dot\r\n..two\r\n.\r\nend %d\r\n", n, n)
}

func (h *house) accept(n int) {
	h.Helper()
	draft, err := h.store.Create(h.Context())
	if err == nil {
		_, err = io.WriteString(draft, content(n))
	}
	if err == nil {
		err = draft.Commit(h.Context(), queue.Acceptance{At: time.Now(), Lifetime: queue.DefaultLifetime,
			Envelope: message(fmt.Sprintf("b%d@corp.example", n)).Envelope})
	}
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) account() queue.Account {
	stats, err := h.store.Stats(context.Background())
	if err != nil {
		h.Fatal(err)
	}
	return stats.Account
}

// attempts adds up the claims of all messages.
func (h *house) attempts() (total int) {
	for m, err := range h.store.Messages(context.Background(), queue.Filter{States: queue.States()}) {
		if err != nil {
			h.Fatal(err)
		}
		total += m.Attempts
	}
	return total
}

// wantOnce checks that the primary took each message once and as it was.
func (h *house) wantOnce(n int) {
	h.Helper()
	h.town.mu.Lock()
	defer h.town.mu.Unlock()
	for i := range n {
		if got := h.town.took[sha256.Sum256([]byte(content(i)))]; got != 1 {
			h.Errorf("message %d was taken %d times", i, got)
		}
	}
	if len(h.town.took) != n {
		h.Errorf("%d contents were taken, want %d", len(h.town.took), n)
	}
}

// TestSixHours: an outage spends no attempt of the messages beyond the first
// few, and they all leave within the ramp, each once.
func TestSixHours(t *testing.T) {
	const messages, hours = 1000, 6
	for name, fail := range map[string]func(h *house, on bool){
		"nobody listens": func(h *house, on bool) { h.down.Store(on) },
		"the directory is out": func(h *house, on bool) {
			h.mood(on, func(verb string) string {
				return map[string]string{"RCPT": attr2, "DATA": "503 5.5.2 Need rcpt command"}[verb]
			})
		},
		"it hangs up on everybody": func(h *house, on bool) { h.mood(on, func(string) string { return cut }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				time.Sleep(time.Minute)
				if got := h.monitor.Status().State; got != health.Up {
					t.Fatalf("before: %v", got)
				}
				fail(h, true)
				for i := range messages {
					h.accept(i)
					time.Sleep(hours * time.Hour / messages)
				}
				if got, spent := h.monitor.Status().State, h.attempts(); got != health.Down || spent > 10 || h.account().Delivered != 0 {
					t.Errorf("during: %v, %d attempts, %+v", got, spent, h.account())
				}
				spent := h.attempts()
				fail(h, false)
				// A probe within 11 s; 20 trials one by one; 10 a second, and twice as many every ten seconds.
				time.Sleep(90 * time.Second)
				synctest.Wait()
				if got := h.account(); got.Delivered != messages || h.attempts() != spent+messages {
					t.Errorf("after: %+v, %d attempts", got, h.attempts())
				}
				if got := h.monitor.Status().State; got != health.Up && got != health.Recovering {
					t.Errorf("after: %v", got)
				}
				if h.town.most > 22 { // with the probes of both addresses
					t.Errorf("%d connections at once", h.town.most)
				}
				h.wantOnce(messages)
				h.stop()
			})
		})
	}
}

func (h *house) mood(on bool, mood func(string) string) {
	h.town.mu.Lock()
	defer h.town.mu.Unlock()
	if !on {
		mood = func(string) string { return "" }
	}
	h.town.mood = mood
}

// TestLostAnswers: who cannot know whether a message was taken sends it again,
// the same bytes, after a wait.
func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		time.Sleep(time.Minute)
		h.town.mu.Lock()
		lost := 3
		h.town.mood = func(verb string) string {
			if verb == "." && lost > 0 {
				lost--
				return cut
			}
			return ""
		}
		h.town.mu.Unlock()
		for i := range 10 {
			h.accept(i)
		}
		time.Sleep(50 * time.Second) // the first wait is a minute, give or take a tenth
		synctest.Wait()
		if got := h.account(); got.Delivered != 7 || got.Queued != 3 {
			t.Errorf("before the wait is over: %+v", got)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := h.account(); got.Delivered != 10 || h.attempts() != 13 {
			t.Errorf("%+v, %d attempts", got, h.attempts())
		}
		twice := 0
		for i := range 10 {
			if h.town.took[sha256.Sum256([]byte(content(i)))] == 2 {
				twice++
			}
		}
		if twice != 3 || len(h.town.took) != 10 {
			t.Errorf("%d were taken twice, %d contents", twice, len(h.town.took))
		}
		h.stop()
	})
}

// TestThrottle: a primary that takes 30 messages a minute gets them all, at its pace.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		time.Sleep(time.Minute)
		h.town.mu.Lock()
		var window time.Time
		taken, refused := 0, 0
		h.town.mood = func(verb string) string {
			if time.Since(window) >= time.Minute {
				window, taken = time.Now(), 0
			}
			switch {
			case verb == "." && taken >= 30:
				refused++
				return "451 4.7.500 Server busy. Please try again later from 192.0.2.9. (S77714)"
			case verb == ".":
				taken++
			}
			return ""
		}
		h.town.mu.Unlock()
		const messages = 300
		for i := range messages {
			h.accept(i)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if got := h.account(); got.Delivered != messages || refused > messages {
			t.Errorf("%+v, %d refusals", got, refused)
		}
		h.wantOnce(messages)
		h.stop()
	})
}

// TestStopWaitsForTheReply: a message past its final dot is not sent again
// after a restart, if the reply comes.
func TestStopWaitsForTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.town.delay = time.Minute
		h.accept(0)
		time.Sleep(time.Second)
		stopped := time.Now()
		h.stop()
		if got := h.account(); got.Delivered != 1 || time.Since(stopped) != 59*time.Second {
			t.Errorf("after %v: %+v", time.Since(stopped), got)
		}
	})
}
