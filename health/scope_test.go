package health

import (
	"testing"
	"time"
)

func TestScopes(t *testing.T) {
	at := func(s Signal, domain, source string, second int) Signal {
		s.At, s.Source, s.Domain, s.SourceIP = start.Add(time.Duration(second)*time.Second), SourceAttempt, domain, source
		return s
	}
	busy, ok, bad := letters['s'], letters['o'], letters['m']
	for _, test := range []struct {
		rule    string
		signals []Signal
		of      func(Status) Scope
		want    Scope
	}{
		{"all we know of", []Signal{at(busy, "a", "1", 0)}, throttledScope, Scope{}},
		{"one address of ours, the other goes well", []Signal{at(ok, "a", "2", 0), at(busy, "a", "1", 1)}, throttledScope, Scope{SourceIP: "1"}},
		{"both", []Signal{at(ok, "a", "2", 0), at(busy, "a", "1", 1), at(busy, "a", "2", 2)}, throttledScope, Scope{}},
		{"one domain", []Signal{at(ok, "a", "1", 0), at(bad, "b", "1", 1)}, misconfiguredScope, Scope{Domain: "b"}},
		{"two domains of three", []Signal{at(ok, "a", "1", 0), at(bad, "b", "1", 1), at(bad, "c", "1", 2)}, misconfiguredScope, Scope{}},
		{"one that goes well from the same address", []Signal{at(ok, "a", "1", 0), at(ok, "a", "2", 0), at(busy, "b", "1", 1)}, throttledScope, Scope{Domain: "b"}},
		{"what went well long ago tells nothing", []Signal{at(ok, "a", "2", 0), at(busy, "a", "1", 700)}, throttledScope, Scope{}},
	} {
		p := &player{t: t, rules: DefaultRules()}
		for _, s := range test.signals {
			p.feed(s)
		}
		if got := test.of(p.status); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.rule, got, test.want)
		}
	}
	for want, scope := range map[string]Scope{"": {}, "only the domain a": {Domain: "a", SourceIP: "1"}, "only our address 1": {SourceIP: "1"}, "only its address 2:25": {Host: "h", Address: "2:25"}} {
		if got := scope.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func throttledScope(s Status) Scope     { return s.Throttled.Scope }
func misconfiguredScope(s Status) Scope { return s.Misconfigured.Scope }

func TestScopeOfTheState(t *testing.T) {
	p := &player{t: t, rules: DefaultRules()}
	for i, test := range []struct {
		event string
		want  Scope
	}{
		{"probe oo", Scope{}},
		{"probe xo", Scope{}},
		{"probe xo", Scope{}},
		{"probe xo", Scope{Address: "192.0.2.1:25"}}, // degraded
		{"probe xx", Scope{}},
	} {
		p.play(float64(20*i), test.event)
		if p.status.Scope != test.want {
			t.Errorf("after %d rounds: %+v, want %+v", i+1, p.status.Scope, test.want)
		}
	}
}
