package queue

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// TestAcceptedAfterAnAttempt: the ledger line says what came of trying it while the sender waited.
func TestAcceptedAfterAnAttempt(t *testing.T) {
	a := Acceptance{At: noon, Envelope: Envelope{Upstream: "primary", Recipients: recipients(2)}}
	if _, e := Accept("1", a, 5, Digest{1}); e.Results != nil {
		t.Errorf("results of nothing: %+v", e)
	}
	a.Envelope.Recipients[1].Last = Result{Action: Deferred, MaybeDuplicate: true}
	m, e := Accept("1", a, 5, Digest{1})
	if len(e.Results) != 2 || e.Results[0] != (Result{}) || !e.Results[1].MaybeDuplicate {
		t.Errorf("%+v", e)
	}
	if !m.Due(noon) || m.State() != StateDeferred || len(m.Pending()) != 2 {
		t.Errorf("%+v", m)
	}
}

func TestClaimed(t *testing.T) {
	fresh, _ := Accept(id, Acceptance{At: noon, MessageID: "<1@client.example>", Envelope: Envelope{Upstream: "primary", Recipients: recipients(3)}}, 5, Digest{1})
	first, interrupted := fresh.Claimed(noon, time.Hour)
	if first.Attempts != 1 || !first.LeasedUntil.Equal(noon.Add(time.Hour)) || !first.NextAttempt.Equal(first.LeasedUntil) || interrupted != nil {
		t.Fatalf("first claim: %+v, %+v", first, interrupted)
	}
	if first.Due(noon.Add(time.Hour-1)) || !first.Due(noon.Add(time.Hour)) {
		t.Error("want it due again when the lease is over, and not before")
	}
	first.Envelope.Recipients[1].Last.Action = Delivered
	again := noon.Add(2 * time.Hour)
	second, interrupted := first.Claimed(again, time.Hour)
	result := Result{At: again, Action: Deferred, Scope: ScopeOwn, Reply: Reply{Text: "the relay stopped during this attempt"}, MaybeDuplicate: true}
	want := &Entry{At: again, Event: Interrupted, ID: id, Attempt: 1, MessageID: "<1@client.example>",
		Recipients: []string{"a@relay.example", "c@relay.example"}, Results: []Result{result, result}}
	if second.Attempts != 2 || !reflect.DeepEqual(interrupted, want) {
		t.Fatalf("second claim: %+v, %+v", second, interrupted)
	}
}

func TestInterrupted(t *testing.T) {
	for _, test := range []struct {
		attempts int
		wait     time.Duration
	}{{1, time.Minute}, {2, 2 * time.Minute}, {30, 30 * time.Minute}, {1000, 30 * time.Minute}} {
		m := message(1)
		m.Attempts = test.attempts
		after, e := m.Interrupted(noon, time.Minute)
		if !after.LeasedUntil.IsZero() || !after.NextAttempt.Equal(noon.Add(test.wait)) || after.Attempts != test.attempts {
			t.Errorf("attempt %d: %+v", test.attempts, after)
		}
		if e.Event != Interrupted || e.Attempt != test.attempts || len(e.Results) != 1 || !e.Results[0].MaybeDuplicate {
			t.Errorf("attempt %d: %+v", test.attempts, e)
		}
	}
}

// TestSettledAsDamaged: damage is a line of its own kind, and holds the message
// until an attempt finds its content whole.
func TestSettledAsDamaged(t *testing.T) {
	m := message(2)
	s := Settlement{ID: id, Attempt: 1, Damaged: true, Held: "damaged", Results: map[int]Result{0: {At: noon, Action: Delivered}}}
	after, e, err := m.Settled(s, noon)
	if err != nil || !after.Damaged || after.State() != StateHeld || e.Event != Damaged || e.Reason != "damaged" || len(e.Results) != 1 {
		t.Fatalf("%+v, %+v, %v", after, e, err)
	}
	if _, _, act := after.PurgedBy(DefaultKeep(), noon.Add(100_000*time.Hour)); act {
		t.Error("it is purged")
	}
	released, _, err := after.Amended(Amendment{ID: id, At: noon, Event: Release})
	if err != nil || !released.Damaged {
		t.Fatalf("released: %+v, %v", released, err)
	}
	claimed, _ := released.Claimed(noon, time.Hour)
	whole, e, err := claimed.Settled(Settlement{ID: id, Attempt: 2, Results: map[int]Result{1: {At: noon, Action: Deferred}}}, noon)
	if err != nil || whole.Damaged || e.Event != Attempted {
		t.Errorf("%+v, %+v, %v", whole, e, err)
	}
}

func TestSettledOnlyForTheRunningAttempt(t *testing.T) {
	m := message(1)
	late := noon.Add(48 * time.Hour) // after the lease, but nobody has claimed it since
	s := Settlement{ID: id, Attempt: 1, Results: map[int]Result{0: {At: late, Action: Delivered}}}
	settled, _, err := m.Settled(s, late)
	if err != nil || settled.State() != StateDelivered {
		t.Fatalf("after the lease: %s, %v", settled.State(), err)
	}
	if m.State() != StateActive {
		t.Error("the message that was settled has changed")
	}
	if _, _, err := settled.Settled(s, late); !errors.Is(err, ErrStale) {
		t.Errorf("twice: %v", err)
	}
	claimed, _ := m.Claimed(late, time.Hour)
	if _, _, err := claimed.Settled(s, late); !errors.Is(err, ErrStale) {
		t.Errorf("claimed since: %v", err)
	}
	s.Attempt = 2
	if _, _, err := m.Settled(s, late); !errors.Is(err, ErrStale) {
		t.Errorf("an attempt that has not begun: %v", err)
	}
	s.Attempt = 0
	m.Attempts, m.LeasedUntil = 0, time.Time{}
	if _, _, err := m.Settled(s, late); !errors.Is(err, ErrStale) {
		t.Errorf("never claimed: %v", err)
	}
}

func TestAmended(t *testing.T) {
	settled := func(actions ...Action) Message {
		results := map[int]Result{}
		for i, action := range actions {
			results[i] = Result{At: noon, Action: action}
		}
		m, _, err := message(len(actions)).Settled(Settlement{Attempt: 1, Results: results, NextAttempt: noon.Add(time.Hour), Step: 4}, noon)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	after := func(m Message, events ...Event) Message {
		for _, event := range events {
			var err error
			if m, _, err = m.Amended(Amendment{At: noon, Event: event, Actor: "carol"}); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	two, hour := []string{"a@relay.example", "b@relay.example"}, noon.Add(time.Hour)
	for _, c := range []struct {
		rule    string
		m       Message
		a       Amendment
		touched []string // nil is ErrState
		check   func(Message) bool
	}{
		{"hold", settled(Deferred, Queued), Amendment{Event: Hold, Reason: "why"}, two, func(m Message) bool { return m.Held == "why" && m.HeldAt.Equal(hour) }},
		{"hold without a reason", settled(Deferred), Amendment{Event: Hold, Actor: "carol"}, two[:1], func(m Message) bool { return m.Held == "held by carol" }},
		{"hold what is refused", settled(Refused), Amendment{Event: Hold}, nil, nil},
		{"hold twice", after(settled(Deferred), Hold), Amendment{Event: Hold}, nil, nil},
		{"hold during an attempt", message(1), Amendment{Event: Hold}, two[:1], func(m Message) bool { return m.State() == StateHeld }},
		{"release", after(settled(Deferred), Hold), Amendment{Event: Release}, two[:1], func(m Message) bool { return m.Held == "" && m.Extended == time.Hour && m.Due(hour) }},
		{"release by a clock that has stepped back", after(settled(Deferred), Hold), Amendment{Event: Release, At: noon.Add(-time.Hour)}, two[:1], func(m Message) bool { return m.Extended == 0 }},
		{"release during an attempt", after(message(1), Hold), Amendment{Event: Release, At: noon.Add(time.Minute)}, two[:1], func(m Message) bool { return m.NextAttempt.Equal(hour) }},
		{"release what is not held", settled(Deferred), Amendment{Event: Release}, nil, nil},
		{"retry", settled(Deferred, Refused), Amendment{Event: Retry}, two, func(m Message) bool { return m.Step == 0 && m.Due(hour) && len(m.Pending()) == 2 }},
		{"retry later", settled(Deferred), Amendment{Event: Retry, Next: hour.Add(time.Hour)}, two[:1], func(m Message) bool { return !m.Due(hour) && m.Due(hour.Add(time.Hour)) }},
		{"retry one of two", settled(Delivered, Deferred), Amendment{Event: Retry}, two[1:], func(m Message) bool { return m.State() == StateDeferred }},
		{"retry during an attempt", message(1), Amendment{Event: Retry, At: noon.Add(time.Minute)}, two[:1], func(m Message) bool { return m.NextAttempt.Equal(hour) }},
		{"retry what is held", after(settled(Deferred), Hold), Amendment{Event: Retry}, nil, nil},
		{"retry what is delivered", settled(Delivered, Failed), Amendment{Event: Retry}, nil, nil},
		{"retry what is deleted", after(settled(Deferred), Delete), Amendment{Event: Retry}, nil, nil},
		{"extend", settled(Deferred), Amendment{Event: Extend, By: time.Hour}, two[:1], func(m Message) bool { return m.Extended == time.Hour }},
		{"extend what is final", settled(Expired), Amendment{Event: Extend, By: time.Hour}, nil, nil},
		{"delete", settled(Refused, Deferred), Amendment{Event: Delete}, two, func(m Message) bool { return m.State() == StateDeleted && m.DeletedAt.Equal(hour) }},
		{"delete the rest", settled(Delivered, Deferred), Amendment{Event: Delete}, two[1:], func(m Message) bool { return m.State() == StateDeleted && m.RecipientState(0) == StateDelivered }},
		{"delete twice", after(settled(Deferred), Delete), Amendment{Event: Delete}, nil, nil},
		{"undelete", after(settled(Refused, Deferred), Delete), Amendment{Event: Undelete}, two, func(m Message) bool {
			return m.RecipientState(0) == StateRefused && m.RecipientState(1) == StateDeferred && m.DeletedAt.IsZero()
		}},
		{"undelete what is held", after(settled(Deferred), Hold, Delete), Amendment{Event: Undelete}, two[:1], func(m Message) bool { return m.State() == StateHeld }},
		{"undelete what is not deleted", settled(Deferred), Amendment{Event: Undelete}, nil, nil},
		{"no such act", settled(Deferred), Amendment{Event: Noted}, nil, nil},
	} {
		if c.a.At.IsZero() {
			c.a.At = hour
		}
		before := c.m
		before.Envelope.Recipients = append([]Recipient(nil), c.m.Envelope.Recipients...)
		m, e, err := c.m.Amended(c.a)
		if !reflect.DeepEqual(c.m, before) {
			t.Errorf("%s: the message that was amended has changed", c.rule)
		}
		if c.touched == nil {
			if !errors.Is(err, ErrState) || !reflect.DeepEqual(m, before) {
				t.Errorf("%s: error %v, message %+v", c.rule, err, m)
			}
			continue
		}
		if err != nil || !c.check(m) {
			t.Errorf("%s: %+v, %v", c.rule, m, err)
		}
		if e.Event != c.a.Event || e.ID != id || !reflect.DeepEqual(e.Recipients, c.touched) {
			t.Errorf("%s: ledger line %+v", c.rule, e)
		}
	}
}

func TestUndeleteAfterPurge(t *testing.T) {
	m := message(1)
	m.Envelope.Recipients[0].Deleted, m.Purged = true, true
	if _, _, err := m.Amended(Amendment{Event: Undelete}); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
}
