package dsn

import (
	"fmt"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// TestDecide looks up every cell of the table.
func TestDecide(t *testing.T) {
	good := Case{Final: true, Recovered: 6 * time.Hour, Probation: 6 * time.Hour, ReversePath: "a@sender.example", Authenticated: true}
	for _, row := range []struct {
		rule                    string
		change                  func(*Case)
		failure, delay, relayed queue.KeptFor // "" is told
	}{
		{"all is well", func(c *Case) { c.Notify = []string{"SUCCESS", "DELAY", "FAILURE"} }, "", "", ""},
		{"not final", func(c *Case) { c.Final, c.Notify = false, []string{"SUCCESS", "DELAY", "FAILURE"} }, queue.KeptHold, "", ""},
		{"incident", func(c *Case) { c.Incident = true }, queue.KeptIncident, queue.KeptIncident, queue.KeptNever},
		{"within the probation", func(c *Case) { c.Recovered-- }, queue.KeptIncident, "", queue.KeptNever},
		{"no probation", func(c *Case) { c.Recovered, c.Probation = 0, 0 }, "", "", queue.KeptNever},
		{"spike", func(c *Case) { c.Spike = true }, queue.KeptSpike, "", queue.KeptNever},
		{"no way out", func(c *Case) { c.Off = true }, queue.KeptOff, queue.KeptOff, queue.KeptOff},
		{"null reverse-path", func(c *Case) { c.ReversePath = "" }, queue.KeptNullSender, queue.KeptNullSender, queue.KeptNullSender},
		{"not authenticated", func(c *Case) { c.Authenticated = false }, queue.KeptUnauthenticated, queue.KeptUnauthenticated, queue.KeptUnauthenticated},
		{"NOTIFY=NEVER", func(c *Case) { c.Notify = []string{"NEVER"} }, queue.KeptNever, queue.KeptNever, queue.KeptNever},
		{"NOTIFY=FAILURE", func(c *Case) { c.Notify = []string{"FAILURE"} }, "", queue.KeptNever, queue.KeptNever},
		{"NOTIFY=DELAY", func(c *Case) { c.Notify = []string{"DELAY"} }, queue.KeptNever, "", queue.KeptNever},
		{"NOTIFY=SUCCESS", func(c *Case) { c.Notify = []string{"SUCCESS"} }, queue.KeptNever, queue.KeptNever, ""},
		{"no NOTIFY", func(*Case) {}, "", "", queue.KeptNever},
		{"what passes comes before who it is", func(c *Case) { c.Incident, c.Off, c.ReversePath, c.Authenticated = true, true, "", false },
			queue.KeptIncident, queue.KeptIncident, queue.KeptOff},
		{"a spike of nobody", func(c *Case) { c.Spike, c.ReversePath = true, "" }, queue.KeptSpike, queue.KeptNullSender, queue.KeptNullSender},
		{"an unauthenticated one who wants nothing", func(c *Case) { c.Authenticated, c.Notify = false, []string{"NEVER"} },
			queue.KeptUnauthenticated, queue.KeptUnauthenticated, queue.KeptUnauthenticated},
	} {
		for kind, want := range map[Kind]queue.KeptFor{Failure: row.failure, Delay: row.delay, Relayed: row.relayed} {
			c := good
			row.change(&c)
			c.Kind = kind
			if why, tell := Decide(c); why != want || tell != (want == "") {
				t.Errorf("%s, %s: %q %v, want %q", row.rule, kind, why, tell, want)
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	for reply, want := range map[string]bool{"550 5.1.1": true, "550 5.1.10": true, "550 5.4.1": true, "451 5.1.1": false, "550 5.7.1": false, "550 ": false} {
		var r queue.Reply
		fmt.Sscanf(reply, "%d %s", &r.Code, &r.Enhanced)
		if got := Unknown(r); got != want {
			t.Errorf("%s: %v", reply, got)
		}
	}
}
