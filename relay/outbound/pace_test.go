package outbound

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// TestPace plays events and writes the limit after each. Words: a state; ok,
// outage, throttle, refused; +wait means that the message stays due at once;
// old means that the attempt began before the last setback.
func TestPace(t *testing.T) {
	for _, test := range []struct{ name, events, limits string }{
		{"the ramp doubles", "up ok ok ok ok ok ok ok ok", "1 2 2 4 4 4 4 8 8"},
		{"and ends at the maximum", "up" + strings.Repeat(" ok", 24), "1 2 2 4 4 4 4 8 8 8 8 8 8 8 8 10 10 10 10 10 10 10 10 10 10"},
		{"down: none", "up ok down ok", "1 2 0 0"},
		{"after down the ramp begins anew", "up ok ok ok down up ok", "1 2 2 4 0 1 2"},
		{"trials first", "down recovering ok ok ok ok ok ok", "0 1 1 1 1 1 2 2"},
		{"a failed trial: all of them again", "recovering ok ok outage ok ok ok ok ok", "1 1 1 1 1 1 1 1 2"},
		{"up before the trials are over: the ramp", "recovering ok up ok ok ok", "1 1 1 2 2 4"},
		{"up continues the ramp", "recovering ok ok ok ok ok up ok ok", "1 1 1 1 1 2 2 2 4"},
		{"degraded goes on", "up ok ok ok degraded ok", "1 2 2 4 4 4"},
		{"an outage: back to one", "up ok ok ok outage ok", "1 2 2 4 1 2"},
		{"throttling within the ramp: back to one", "up ok ok ok throttle ok", "1 2 2 4 1 2"},
		{"throttling at full speed: half, then one more at a time", "up" + strings.Repeat(" ok", 15) + " throttle ok ok ok ok ok ok",
			"1 2 2 4 4 4 4 8 8 8 8 8 8 8 8 10 5 5 5 5 5 6 6"},
		{"half of one is one", "up throttle throttle", "1 1 1"},
		{"a refusal of a message neither speeds up nor slows down", "up ok refused refused refused ok ok", "1 2 2 2 2 2 4"},
		{"many attempts that meet the same outage are one setback", "up ok ok ok outage ok old-outage", "1 2 2 4 1 2 2"},
		{"what began before the setback speeds nothing up", "up ok ok ok outage old-ok", "1 2 2 4 1 1"},
		{"stuck: one at a time until one is accepted", "up ok ok ok refused+wait refused ok", "1 2 2 4 1 1 4"},
		{"recovering again while it has not ended", "recovering ok ok ok ok ok down recovering ok ok ok ok ok", "1 1 1 1 1 2 0 1 1 1 1 1 2"},
	} {
		p := pace{max: 10, trials: 4, first: time.Second, most: time.Minute}
		p.restart()
		state := health.Down
		var limits []string
		for _, event := range strings.Fields(test.events) {
			epoch := p.epoch
			event, old := strings.CutPrefix(event, "old-")
			event, unmoved := strings.CutSuffix(event, "+wait")
			if old {
				epoch--
			}
			switch event {
			case "up", "down", "recovering", "degraded":
				var next health.State
				if err := next.UnmarshalText([]byte(event)); err != nil {
					t.Fatal(err)
				}
				p.enter(state, next)
				state = next
			case "ok", "outage", "throttle", "refused":
				p.ended(epoch, lesson{accepted: event == "ok", outage: event == "outage", throttle: event == "throttle", unmoved: unmoved}, time.Time{})
			default:
				t.Fatalf("no event %q", event)
			}
			limits = append(limits, fmt.Sprint(p.limit(state)))
		}
		if got := strings.Join(limits, " "); got != test.limits {
			t.Errorf("%s: %s\ngives %s\nwant  %s", test.name, test.events, got, test.limits)
		}
	}
}

func TestPaceWaits(t *testing.T) {
	p := pace{max: 10, first: time.Second, most: time.Minute}
	p.restart()
	now := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		p.ended(p.epoch, lesson{unmoved: true}, now)
		p.ended(p.epoch-1, lesson{unmoved: true}, now) // it met the same
		if got := p.until.Sub(now); got != want*time.Second {
			t.Errorf("wait %d: %v, want %v", i+1, got, want*time.Second)
		}
	}
	p.ended(p.epoch, lesson{}, now)
	p.ended(p.epoch, lesson{unmoved: true}, now)
	if got := p.until.Sub(now); got != time.Minute {
		t.Errorf("after a refused message: %v", got)
	}
	p.ended(p.epoch, lesson{accepted: true}, now)
	p.ended(p.epoch, lesson{unmoved: true}, now)
	if got := p.until.Sub(now); got != time.Second {
		t.Errorf("after an accepted message: %v", got)
	}
	p.enter(health.Down, health.Recovering)
	if !p.until.IsZero() {
		t.Errorf("a recovery begins at once, not at %v", p.until)
	}
}

func TestLearn(t *testing.T) {
	result := func(a queue.Action, s queue.Scope) queue.Result { return queue.Result{Action: a, Scope: s} }
	for _, test := range []struct {
		name    string
		classes []health.Class
		results []queue.Result
		want    lesson
	}{
		{"nothing", nil, nil, lesson{}},
		{"accepted", []health.Class{health.OK}, []queue.Result{result(queue.Delivered, queue.ScopeNone)}, lesson{accepted: true}},
		{"accepted at the second address", []health.Class{health.Outage, health.OK}, nil, lesson{accepted: true}},
		{"an outage", []health.Class{health.Outage}, []queue.Result{result(queue.Deferred, queue.ScopeUpstream)}, lesson{outage: true, unmoved: true}},
		{"perhaps of this message alone", []health.Class{health.Outage}, []queue.Result{result(queue.Deferred, queue.ScopeMessage)}, lesson{outage: true}},
		{"some accepted, some throttled", []health.Class{health.OK, health.Throttle},
			[]queue.Result{result(queue.Delivered, queue.ScopeNone), result(queue.Deferred, queue.ScopeOwn)}, lesson{accepted: true, throttle: true, unmoved: true}},
		{"our address is banned: the next message would be refused as well", []health.Class{health.Throttle},
			[]queue.Result{result(queue.Refused, queue.ScopeOwn)}, lesson{throttle: true, unmoved: true}},
		{"misconfigured", []health.Class{health.Misconfigured}, []queue.Result{result(queue.Deferred, queue.ScopeOwn)}, lesson{unmoved: true}},
		{"refused for its own sake", []health.Class{health.Recipient, health.Policy, health.Temporary},
			[]queue.Result{result(queue.Failed, queue.ScopeOneRecipient), result(queue.Refused, queue.ScopeMessage)}, lesson{}},
	} {
		r := Report{Results: map[int]queue.Result{}}
		for _, c := range test.classes {
			r.Signals = append(r.Signals, health.Signal{Class: c})
		}
		for i, result := range test.results {
			r.Results[i] = result
		}
		if got := learn(r); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
