package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

func TestHealthShowsConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		now := time.Now()
		r.exo.Status = health.Status{State: health.Degraded, Since: now, Why: "1 of 2 addresses fails", Scope: health.Scope{Address: "192.0.2.1:25"},
			Throttled: health.Condition{Since: now, Last: now, Until: now.Add(10 * time.Minute), Reply: "451 4.7.500 Server busy",
				Fix: "deliver more slowly", Scope: health.Scope{SourceIP: "198.51.100.7"}},
			Misconfigured: health.Condition{Since: now, Last: now, Until: now.Add(10 * time.Minute), Reply: "550 5.7.51 TenantInboundAttribution",
				Fix: "put our address into the connector", Stops: true},
			Recipients: health.Condition{Since: now, Last: now, Reply: "452 4.2.2 Mailbox full"},
			Network:    health.Condition{Since: now, Last: now}}
		r.serveInBubble()
		golden(t, "health-conditions-80", r.terminal(80, "", "health", "show").out)
		r.exo.Status = health.Status{State: health.Up, Since: now, Misconfigured: health.Condition{Since: now, Last: now, Reply: "550 5.7.51 TenantInboundAttribution", Stops: true}}
		golden(t, "health-trial-80", r.terminal(80, "", "health", "show").out)
	})
}
