package health

import (
	"encoding/json"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for c := OK; c <= Policy; c++ {
		text, err := c.MarshalText()
		var back Class
		if err != nil || back.UnmarshalText(text) != nil || back != c {
			t.Errorf("%v: %s, %v", c, text, back)
		}
	}
	for s := Degraded; s <= Recovering; s++ {
		text, err := s.MarshalText()
		var back State
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%v: %s, %v", s, text, back)
		}
	}
	if new(Class).UnmarshalText([]byte("Outage")) == nil || new(State).UnmarshalText([]byte("")) == nil {
		t.Error("an unknown word was taken")
	}
	if got := State(9).String(); got != "unknown(9)" {
		t.Error(got)
	}
}

func TestStatusSurvivesJSON(t *testing.T) {
	want := Status{State: Recovering, Since: start, Why: "so", Throttled: Condition{Since: start, Last: start, Source: SourceAttempt, Reply: "451"},
		Override: &Override{State: Down, Until: start, Actor: "j.doe", Reason: "r"}, Trials: 3}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Status
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	override := *got.Override
	got.Override, want.Override = nil, nil
	if got != want || override != (Override{State: Down, Until: start, Actor: "j.doe", Reason: "r"}) {
		t.Errorf("%s", text)
	}
}

func TestEffective(t *testing.T) {
	s := Status{State: Down, Override: &Override{State: Up, Until: start}}
	if s.Effective(start.Add(-time.Second)) != Up || s.Effective(start) != Down || (Status{State: Up}).Effective(start) != Up {
		t.Error("an override counts until its end, and not longer")
	}
}
