package admin

import (
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/health"
)

// Our own network is broken: nothing is said of the primary, and mail waits.
func TestOurNetworkIsBroken(t *testing.T) {
	st := standingOf(UpstreamStatus{State: "degraded", Network: &Condition{Since: noon, Last: noon},
		LastSignal: &Signal{Class: "outage", Phase: "connect"}}, map[string]int64{"queued": 3})
	judge(&st)
	if st.Severity != SeverityCritical || st.State != Holding || st.Upstreams[0].Fault != "It is our own network: a target outside is not reached either." {
		t.Errorf("%s %s: %s", st.State, st.Severity, st.Upstreams[0].Fault)
	}
	if !strings.HasPrefix(st.Headline, "exo cannot be reached, and nothing else outside either: our own network is broken. Nothing is lost") ||
		!strings.HasPrefix(st.WhatNext, "automatic when our network works again: ") {
		t.Errorf("%s\n%s", st.Headline, st.WhatNext)
	}
	if len(st.Todo) != 1 || !strings.HasPrefix(st.Todo[0].Text, "Neither exo nor a target outside is reached") {
		t.Errorf("to do: %+v", st.Todo)
	}
}

// A configuration that is about one domain alone is not that of the primary.
func TestOneDomainIsRefused(t *testing.T) {
	for fix, want := range map[string]string{
		"check the subscription of the tenant": "exo refuses some of its mail, only the domain a.example: check the subscription of the tenant.",
		"":                                     "exo refuses some of its mail, only the domain a.example: look at what it says.",
	} {
		c := &Condition{Since: noon, Last: noon, Fix: fix, Scope: "only the domain a.example"}
		st := standingOf(UpstreamStatus{State: "up", Misconfigured: c, LastSignal: &Signal{Class: "misconfigured"}}, map[string]int64{"queued": 3})
		judge(&st)
		if st.Severity != SeverityWarning || st.State != Draining || st.Upstreams[0].Fault != "" {
			t.Errorf("%s %s: %s", st.State, st.Severity, st.Upstreams[0].Fault)
		}
		if len(st.Todo) != 1 || st.Todo[0].Text != want {
			t.Errorf("to do: %+v", st.Todo)
		}
	}
}

func TestConditionsOnTheWire(t *testing.T) {
	c := health.Condition{Since: noon.Time, Last: noon.Time, Until: noon.Time, Reply: "550 5.7.51 x", Row: 114, Fix: "f", Stops: true, Scope: health.Scope{Domain: "a.example"}}
	if got, want := *condition(c), (Condition{noon, noon, noon, "550 5.7.51 x", 114, "f", "only the domain a.example", true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
