package queue

import (
	"encoding/json"
	"testing"
	"time"
)

func TestStateOfMessage(t *testing.T) {
	of := func(actions ...Action) Message {
		m := Message{Envelope: Envelope{Recipients: recipients(len(actions))}}
		for i, a := range actions {
			m.Envelope.Recipients[i].Last.Action = a
		}
		return m
	}
	leased, held, both, deleted := of(Queued, Delivered), of(Deferred, Refused), of(Queued), of(Delivered, Deferred)
	leased.LeasedUntil = noon
	held.Held = "why"
	both.LeasedUntil, both.Held = noon, "why"
	deleted.Envelope.Recipients[1].Deleted = true
	for _, c := range []struct {
		rule string
		m    Message
		want State
	}{
		{"queued", of(Queued, Refused), StateQueued},
		{"an attempt is running", leased, StateActive},
		{"held", held, StateHeld},
		{"held during an attempt", both, StateHeld},
		{"deferred before queued", of(Queued, Deferred), StateDeferred},
		{"refused before failed", of(Failed, Refused), StateRefused},
		{"failed before expired", of(Expired, Failed), StateFailed},
		{"expired before delivered", of(Delivered, Expired), StateExpired},
		{"deleted before delivered", deleted, StateDeleted},
		{"delivered", of(Delivered, Delivered), StateDelivered},
		{"no recipients", of(), StateDelivered},
	} {
		if got := c.m.State(); got != c.want {
			t.Errorf("%s: %s", c.rule, got)
		}
		var sum int64
		for _, n := range c.m.Tally() {
			sum += n
		}
		if sum != int64(len(c.m.Envelope.Recipients)) {
			t.Errorf("%s: tally %v", c.rule, c.m.Tally())
		}
	}
}

// TestAccountNeverMisses adds each state and expects the equation to hold.
func TestAccountNeverMisses(t *testing.T) {
	var a Account
	for i, s := range States() {
		a.Accepted += int64(i + 1)
		a.Add(s, int64(i+1))
		if a.Missing() != 0 {
			t.Errorf("%s is in no column: %+v", s, a)
		}
	}
	a.Accepted++
	if a.Missing() != 1 {
		t.Errorf("%d are missing, want 1", a.Missing())
	}
	if a.SetAside++; a.Missing() != 0 {
		t.Error("what is set aside is not missing")
	}
}

func TestWordsComeBack(t *testing.T) {
	type words struct {
		State  State
		Action Action
		Scope  Scope
		Digest Digest
	}
	for i := range stateNames {
		in := words{State(i), Action(i % len(actionNames)), Scope(i % len(scopeNames)), Digest{byte(i), 31: 0xff}}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out words
		if err := json.Unmarshal(text, &out); err != nil || out != in {
			t.Errorf("%s is %+v, %v", text, out, err)
		}
	}
	for _, text := range []string{`{"State":"lost"}`, `{"Action":"lost"}`, `{"Scope":"lost"}`, `{"Digest":"00"}`,
		`{"Digest":"zz00000000000000000000000000000000000000000000000000000000000000"}`} {
		if err := json.Unmarshal([]byte(text), &words{}); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	if got := State(99).String(); got != "unknown(99)" {
		t.Error(got)
	}
}

func TestReplyInOneLine(t *testing.T) {
	for want, r := range map[string]Reply{
		"451 4.7.1 later / please": {Code: 451, Enhanced: "4.7.1", Text: "later\nplease"},
		"250 ok":                   {Code: 250, Text: "ok"},
		"connection refused":       {Command: "connect", Text: "connection refused"},
		"":                         {},
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestExpires(t *testing.T) {
	m := Message{AcceptedAt: noon, Lifetime: 10 * time.Hour, Extended: time.Hour}
	end := noon.Add(11 * time.Hour)
	if got := m.Expires(noon); !got.Equal(end) {
		t.Errorf("expires at %s", got)
	}
	m.Held, m.HeldAt = "why", noon.Add(time.Hour)
	for after, want := range map[time.Duration]time.Duration{0: 0, time.Hour: 0, 3 * time.Hour: 2 * time.Hour} {
		if got := m.Expires(noon.Add(after)); !got.Equal(end.Add(want)) {
			t.Errorf("held, after %s: expires at %s", after, got)
		}
	}
}

func TestDomain(t *testing.T) {
	for path, want := range map[string]string{"bob@Relay.Example": "relay.example", `"a@b"@relay.example`: "relay.example", "postmaster": "postmaster"} {
		if got := (Message{Envelope: Envelope{Recipients: []Recipient{{ForwardPath: path}}}}).Domain(); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := (Message{}).Domain(); got != "" {
		t.Errorf("of nobody: %q", got)
	}
}
