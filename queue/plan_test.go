package queue

import (
	"maps"
	"math"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const id = ID("374kdrw00000")

func TestScheduleWait(t *testing.T) {
	s := DefaultSchedule()
	s.Jitter = 0
	minutes := []int{1, 2, 4, 8, 16, 32, 60, 60, 60}
	for i, want := range minutes {
		if got := s.Wait(id, i+1); got != time.Duration(want)*time.Minute {
			t.Errorf("step %d: %s, want %d minutes", i+1, got, want)
		}
	}
	slow := Schedule{First: 10 * time.Minute, Factor: 1.5, Max: time.Hour}
	for i, want := range []time.Duration{600, 900, 1350, 2025, 3037, 3600} {
		if got := slow.Wait(id, i+1); got.Truncate(time.Second) != want*time.Second {
			t.Errorf("step %d of factor 1.5: %s, want %d s", i+1, got, want)
		}
	}
	if got := (Schedule{First: time.Hour, Factor: 2, Max: time.Minute}).Wait(id, 1); got != time.Minute {
		t.Errorf("a first wait beyond the longest: %s", got)
	}
	if got := s.Wait(id, math.MaxInt); got != time.Hour {
		t.Errorf("step without end: %s", got)
	}
}

func TestScheduleJitter(t *testing.T) {
	s := Schedule{First: time.Hour, Factor: 1, Max: time.Hour, Jitter: 0.1}
	var sum time.Duration
	least, most := time.Duration(math.MaxInt64), time.Duration(0)
	next := id
	const n = 10_000
	for range n {
		next = NextID(next, noon)
		wait := s.Wait(next, 3)
		if wait != s.Wait(next, 3) {
			t.Fatal("the jitter of a message changes")
		}
		sum, least, most = sum+wait, min(least, wait), max(most, wait)
	}
	if least < 54*time.Minute || most > 66*time.Minute || least > 55*time.Minute || most < 65*time.Minute {
		t.Errorf("from %s to %s, want 54 to 66 minutes", least, most)
	}
	if mean := sum / n; mean < 59*time.Minute || mean > 61*time.Minute {
		t.Errorf("mean %s", mean)
	}
	if s.Wait(id, 3) == s.Wait(id, 4) {
		t.Error("two steps have the same jitter")
	}
}

func recipients(n int) (all []Recipient) {
	for i := range n {
		all = append(all, Recipient{ForwardPath: string(rune('a'+i)) + "@relay.example"})
	}
	return all
}

// message has n recipients and a running attempt.
func message(n int) Message {
	m, _ := Accept(id, Acceptance{At: noon, Envelope: Envelope{Upstream: "primary", Recipients: recipients(n)}, Lifetime: DefaultLifetime}, 100, Digest{})
	m, _ = m.Claimed(noon, time.Hour)
	return m
}

func TestPlan(t *testing.T) {
	s := Schedule{First: time.Minute, Factor: 2, Max: time.Hour}
	late := noon.Add(DefaultLifetime)
	deferred := func(scope Scope) Result {
		return Result{At: noon, Action: Deferred, Scope: scope, Reply: Reply{Code: 451, Text: "later"}}
	}
	expired := Result{At: noon, Action: Refused, Scope: ScopeOneRecipient, Reply: Reply{Code: 451, Text: "lifetime is over; last reply: later"}}
	delivered := Result{At: noon, Action: Delivered}
	for _, c := range []struct {
		rule    string
		results map[int]Result
		change  func(*Message)
		now     time.Time
		want    map[int]Result // nil is results
		step    int
		wait    time.Duration
	}{
		{rule: "delivered", results: map[int]Result{0: delivered}, now: noon},
		{rule: "an upstream failure spends nothing", results: map[int]Result{0: deferred(ScopeUpstream), 1: deferred(ScopeUpstream)}, now: noon},
		{rule: "our own failure spends nothing", results: map[int]Result{0: deferred(ScopeOwn)}, now: noon},
		{rule: "an upstream failure never expires", results: map[int]Result{0: deferred(ScopeUpstream)}, now: late.Add(time.Hour)},
		{rule: "a recipient's deferral walks", results: map[int]Result{0: delivered, 1: deferred(ScopeOneRecipient)}, now: noon, step: 1, wait: time.Minute},
		{rule: "a message's deferral walks", results: map[int]Result{0: deferred(ScopeMessage)}, now: noon, step: 1, wait: time.Minute},
		{rule: "two deferrals walk one step", results: map[int]Result{0: deferred(ScopeMessage), 1: deferred(ScopeOneRecipient)}, now: noon, step: 1, wait: time.Minute},
		{rule: "the walk goes on", results: map[int]Result{0: deferred(ScopeMessage)}, change: func(m *Message) { m.Step = 3 }, now: noon, step: 4, wait: 8 * time.Minute},
		{rule: "in the last instant of its life", results: map[int]Result{0: deferred(ScopeOneRecipient)}, now: late.Add(-1), step: 1, wait: time.Minute},
		{rule: "the lifetime is over", results: map[int]Result{0: deferred(ScopeOneRecipient)}, now: late, want: map[int]Result{0: expired}},
		{rule: "the lifetime was extended", results: map[int]Result{0: deferred(ScopeOneRecipient)}, change: func(m *Message) { m.Extended = 1 }, now: late, step: 1, wait: time.Minute},
		{rule: "its clock stood still while it was held", results: map[int]Result{0: deferred(ScopeOneRecipient)},
			change: func(m *Message) { m.Held, m.HeldAt = "why", late.Add(-time.Hour) }, now: late.Add(time.Hour), step: 1, wait: time.Minute},
		{rule: "one expires, the upstream failed for the other", results: map[int]Result{0: deferred(ScopeOneRecipient), 1: deferred(ScopeUpstream)},
			now: late, want: map[int]Result{0: expired, 1: deferred(ScopeUpstream)}},
		{rule: "a refusal stays one", results: map[int]Result{0: {Action: Refused, Scope: ScopeMessage}}, now: late},
	} {
		m := message(2)
		if c.change != nil {
			c.change(&m)
		}
		step := m.Step
		given := maps.Clone(c.results)
		plan := Plan(s, m, c.results, c.now)
		if c.want == nil {
			c.want = given
		}
		if c.step == 0 {
			c.step = step
		}
		if plan.ID != m.ID || plan.Attempt != 1 || plan.Step != c.step || !plan.NextAttempt.Equal(c.now.Add(c.wait)) {
			t.Errorf("%s: plan %+v", c.rule, plan)
		}
		if !maps.Equal(plan.Results, c.want) {
			t.Errorf("%s: results %+v, want %+v", c.rule, plan.Results, c.want)
		}
		if !maps.Equal(c.results, given) {
			t.Errorf("%s: the results that were given have changed", c.rule)
		}
	}
}

func TestPurgedBy(t *testing.T) {
	k := Keep{Trash: time.Hour, Refused: 10 * time.Hour, Spam: 2 * time.Hour}
	settled := func(n int, actions ...Action) Message {
		results := map[int]Result{}
		for i, a := range actions {
			results[i] = Result{At: noon, Action: a}
		}
		m, _, err := message(n).Settled(Settlement{ID: id, Attempt: 1, Results: results}, noon)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	deleted := func(m Message) Message {
		m, _, err := m.Amended(Amendment{At: noon, Event: Delete})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	spam := func(code string, why KeptFor) Message {
		m := settled(1, Refused)
		m.Envelope.Recipients[0].Last.Reply.Enhanced, m.Envelope.Recipients[0].Last.Kept = code, why
		return m
	}
	laterRefusal := settled(2, Refused, Refused)
	laterRefusal.Envelope.Recipients[1].Last.At = noon.Add(time.Hour)
	for _, c := range []struct {
		rule  string
		m     Message
		after time.Duration
		want  Event // "" is nothing
	}{
		{"delivered mail is left alone", settled(1, Delivered), 1000 * time.Hour, ""},
		{"waiting mail is left alone", settled(1, Deferred), 1000 * time.Hour, ""},
		{"a refusal is kept", settled(1, Refused), 10*time.Hour - 1, ""},
		{"a refusal goes to the trash", settled(1, Refused), 10 * time.Hour, Delete},
		{"the last refusal counts", laterRefusal, 10 * time.Hour, ""},
		{"the last refusal is over", laterRefusal, 11 * time.Hour, Delete},
		{"spam is kept", spam("5.7.1", KeptUnauthenticated), 2*time.Hour - 1, ""},
		{"spam goes sooner", spam("5.7.1", KeptUnauthenticated), 2 * time.Hour, Delete},
		{"an unknown recipient is no spam", spam("5.1.1", KeptUnauthenticated), 10*time.Hour - 1, ""},
		{"of a sender that is authenticated it is no spam", spam("5.7.1", KeptHold), 10*time.Hour - 1, ""},
		{"a refusal beside a deferral is kept", settled(2, Refused, Deferred), 1000 * time.Hour, ""},
		{"trash is kept", deleted(settled(1, Deferred)), time.Hour - 1, ""},
		{"trash goes", deleted(settled(2, Deferred, Delivered)), time.Hour, Purged},
		{"trash under an attempt stays", deleted(message(1)), time.Hour - 1, ""},
	} {
		m, e, act := c.m.PurgedBy(k, noon.Add(c.after))
		if act != (c.want != "") || e.Event != c.want || act && (e.Actor == "" || e.Reason == "" || len(e.Recipients) == 0) {
			t.Errorf("%s: %+v, %t", c.rule, e, act)
		}
		if m.Purged != (c.want == Purged) {
			t.Errorf("%s: purged is %t", c.rule, m.Purged)
		}
		if _, _, again := m.PurgedBy(k, noon.Add(c.after)); again {
			t.Errorf("%s: and again", c.rule)
		}
	}
}
