package health

import (
	"testing"
	"time"
)

func TestConditions(t *testing.T) {
	const throttled, misconfigured = 1, 2
	type step struct {
		at    float64
		event string
		want  int
	}
	for _, test := range []struct {
		rule  string
		steps []step
	}{
		{"throttling is a condition", []step{{0, "attempt s", throttled}}},
		{"a probe can find it", []step{{0, "probe s", throttled}}},
		{"some accepted messages are part of it", []step{{0, "attempt so", throttled}, {59, "attempt o", throttled}}},
		{"an accepted message after a minute ends it", []step{{0, "attempt s", throttled}, {60, "attempt o", 0}}},
		{"the minute is counted from the last signal", []step{{0, "attempt s", throttled}, {30, "attempt s", throttled}, {60, "attempt o", throttled}, {90, "attempt o", 0}}},
		{"ten quiet minutes end it", []step{{0, "attempt s", throttled}, {599, "probe o", throttled}, {600, "probe o", 0}}},
		{"our configuration is a condition", []step{{0, "attempt m", misconfigured}}},
		{"what an attempt found, a probe does not end", []step{{0, "attempt m", misconfigured}, {100, "probe o", misconfigured}, {101, "attempt o", 0}}},
		{"an accepted message does not end it at once", []step{{0, "attempt mo", misconfigured}, {60, "attempt o", 0}}},
		{"what a probe found, a good round ends", []step{{0, "probe m", misconfigured}, {100, "attempt o", misconfigured}, {120, "probe oo", 0}}},
		{"one address that refuses us is enough", []step{{0, "probe mo", misconfigured}, {20, "probe om", misconfigured}, {40, "probe oo", 0}}},
		{"ten quiet minutes end it as well", []step{{0, "attempt m", misconfigured}, {600, "probe o", 0}}},
		{"no TLS at any address is named, too", []step{{0, "probe ff", misconfigured}}},
		{"both may stand", []step{{0, "attempt ms", throttled | misconfigured}}},
		{"somebody else's message does not end what is about one domain", []step{{0, "attempt oo", 0}, {1, "elsewhere m", misconfigured}, {70, "attempt o", misconfigured},
			{80, "elsewhere o", 0}}},
		{"what a primary has asked to wait for lasts as long", []step{{0, "patience s", throttled}, {3599, "probe o", throttled}, {3600, "probe o", 0}}},
		{"the rest is none", []step{{0, "attempt oxtrp", 0}, {1, "probe oxtrp", 0}, {2, "sender abc", 0}}},
	} {
		p := &player{t: t, rules: DefaultRules()}
		for _, s := range test.steps {
			p.play(s.at, s.event)
			got := 0
			if p.status.Throttled.Active() {
				got |= throttled
			}
			if p.status.Misconfigured.Active() {
				got |= misconfigured
			}
			if got != s.want {
				t.Errorf("%s: after %q at %v s: %b, want %b", test.rule, s.event, s.at, got, s.want)
				break
			}
		}
	}
}

func TestConditionTellsWhatItIs(t *testing.T) {
	p := &player{t: t, rules: DefaultRules()}
	p.play(0, "attempt m")
	p.play(20, "probe mo")
	want := Condition{Since: start, Last: start.Add(20 * time.Second), Until: start.Add(10 * time.Minute), Source: SourceProbe, Reply: letters['m'].Reply,
		Row: 114, Fix: "look at the connector", Count: 1, Scope: Scope{Host: "mail.example", Address: "192.0.2.1:25"}}
	if p.status.Misconfigured != want {
		t.Errorf("got %+v, want %+v", p.status.Misconfigured, want)
	}
}

// What stops deliveries, and for how long.
func TestStops(t *testing.T) {
	const free, one, none = "free", "one", "none"
	type step struct {
		at    float64
		event string
		want  string
	}
	for _, test := range []struct {
		rule  string
		steps []step
	}{
		{"two refused messages are no more than that", []step{{0, "attempt mm", free}}},
		{"three stop deliveries; one is tried after ten minutes", []step{{0, "attempt mmm", none}, {599, "probe o", none}, {600, "probe o", one}, {610, "attempt m", none},
			{1209, "nothing", none}, {1210, "probe o", one}}},
		{"the one that is taken ends it", []step{{0, "attempt mmm", none}, {600, "nothing", one}, {601, "attempt o", free}}},
		{"an accepted one between: nothing", []step{{0, "attempt mmomm", free}}},
		{"a probe that all addresses refuse: one is tried at once", []step{{0, "probe mm", one}, {1, "attempt m", none}, {20, "probe mm", none}, {599, "probe mm", none},
			{601, "probe mm", one}, {602, "attempt o", free}, {620, "probe mm", free}}},
		{"and a good round ends it", []step{{0, "probe mm", one}, {1, "attempt m", none}, {20, "probe mm", none}, {40, "probe oo", free}}},
		{"one address that refuses us stops nothing", []step{{0, "probe mo", free}}},
		{"nor one domain", []step{{0, "attempt oo", free}, {1, "elsewhere mmmm", free}}},
		{"our network", []step{{0, "probe o", free}, {1, "control xx", free}, {20, "unreached xx", none}, {40, "probe oo", free}}},
		{"it ends by itself, if nothing is there to be tried", []step{{0, "attempt mmm", none}, {3599, "probe o", one}, {3600, "probe o", free}}},
	} {
		p := &player{t: t, rules: DefaultRules()}
		for _, s := range test.steps {
			p.play(s.at, s.event)
			now := start.Add(time.Duration(s.at * float64(time.Second)))
			got := map[bool]string{true: one, false: free}[p.status.Tries(now)]
			if p.status.Waits(now) {
				got = none
			}
			if got != s.want {
				t.Errorf("%s: after %q at %v s: %s, want %s; %+v", test.rule, s.event, s.at, got, s.want, p.status.Misconfigured)
				break
			}
		}
		forced := p.status
		forced.Override = &Override{State: Up, Until: start.Add(100 * time.Hour)}
		if now := start.Add(time.Minute); forced.Waits(now) || forced.Tries(now) {
			t.Errorf("%s: an override does not end it", test.rule)
		}
	}
}
