package primary

import (
	"strings"
	"testing"
	"time"
)

func TestWhen(t *testing.T) {
	for _, test := range []struct {
		rule  string
		when  When
		o     occasion
		holds bool
	}{
		{"zero is always", When{}, occasion{address: 3, number: 99, elapsed: time.Hour}, true},
		{"its address", When{Address: 2}, occasion{address: 2, number: 1}, true},
		{"another address", When{Address: 2}, occasion{address: 1, number: 1}, false},
		{"the last of the first", When{UpTo: 3}, occasion{number: 3}, true},
		{"behind the first", When{UpTo: 3}, occasion{number: 4}, false},
		{"not above", When{Above: 3}, occasion{number: 3}, false},
		{"above", When{Above: 3}, occasion{number: 4}, true},
		{"each third", When{Every: 3}, occasion{number: 6}, true},
		{"between each third", When{Every: 3}, occasion{number: 7}, false},
		{"each third, the first is none", When{Every: 3}, occasion{number: 1}, false},
		{"within its time", When{For: time.Minute}, occasion{number: 1, elapsed: time.Minute - 1}, true},
		{"its time is over", When{For: time.Minute}, occasion{number: 1, elapsed: time.Minute}, false},
		{"alternate: first span", When{Alternate: time.Second}, occasion{number: 1, elapsed: time.Second - 1}, false},
		{"alternate: second span", When{Alternate: time.Second}, occasion{number: 1, elapsed: time.Second}, true},
		{"alternate: third span", When{Alternate: time.Second}, occasion{number: 1, elapsed: 2 * time.Second}, false},
		{"alternate: fourth span", When{Alternate: time.Second}, occasion{number: 1, elapsed: 3 * time.Second}, true},
		{"all must hold", When{UpTo: 3, Every: 2}, occasion{number: 4}, false},
	} {
		if got := test.when.holds(test.o); got != test.holds {
			t.Errorf("%s: %v", test.rule, got)
		}
	}
}

func TestCounter(t *testing.T) {
	perMinute := When{Window: time.Minute}
	var windowed, plain counter
	for _, step := range []struct {
		at            time.Duration
		window, total int
	}{{0, 1, 1}, {59 * time.Second, 2, 2}, {60 * time.Second, 1, 3}, {61 * time.Second, 2, 4}, {5 * time.Minute, 1, 5}} {
		if got := windowed.next(perMinute, step.at); got != step.window {
			t.Errorf("at %v the window counts %d, want %d", step.at, got, step.window)
		}
		if got := plain.next(When{}, step.at); got != step.total {
			t.Errorf("at %v there were %d, want %d", step.at, got, step.total)
		}
	}
}

func TestFirstRuleThatFitsIsFollowed(t *testing.T) {
	p := newPlay(Scenario{Rules: []Rule{
		{Phase: Rcpt, Act: Answer, Reply: "first", When: When{UpTo: 1}},
		{Phase: Any, Act: Answer, Reply: "second"},
	}})
	for _, step := range []struct {
		phase Phase
		reply string
	}{{Rcpt, "first"}, {Rcpt, "second"}, {Mail, "second"}, {Connect, "second"}, {Content, "second"}, {Taken, ""}} {
		if rule, ok := p.follow(step.phase, 1); rule.Reply != step.reply || ok != (step.reply != "") {
			t.Errorf("%s: %q, %v; want %q", step.phase, rule.Reply, ok, step.reply)
		}
	}
}

func TestRulesThatCannotBeFollowed(t *testing.T) {
	s := start(t, Options{})
	for name, rule := range map[string]Rule{
		"answer needs a reply": {Phase: Rcpt, Act: Answer},
		"reply needs the act":  {Phase: Rcpt, Reply: "451 no"},
		"only for starttls":    {Phase: Mail, Act: BreakTLS},
		"only cut can follow":  {Phase: Taken, Act: Answer, Reply: "451 no"},
	} {
		err := s.Play(Scenario{Name: "bad", Rules: []Rule{rule}})
		if err == nil || !strings.Contains(err.Error(), name) || s.Playing().Name != "healthy" {
			t.Errorf("%s: %v, playing %s", name, err, s.Playing().Name)
		}
	}
}
