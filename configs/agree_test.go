package configs

import (
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/health/probe"
	"github.com/mxkeep/mxkeep/queue"
)

// What the example says is what a part does that is told nothing.
func TestDefaultsAgree(t *testing.T) {
	c, u := Default(), DefaultUpstream()
	if got, want := queue.Schedule(c.Queue.Schedule), queue.DefaultSchedule(); got != want {
		t.Errorf("schedule %+v, want %+v", got, want)
	}
	if got, want := (queue.Keep{Trash: c.Queue.Trash, Refused: c.Queue.Refused, Spam: c.Queue.RefusedSpam}), queue.DefaultKeep(); got != want {
		t.Errorf("keep %+v, want %+v", got, want)
	}
	if c.Queue.Lifetime != queue.DefaultLifetime {
		t.Errorf("lifetime %v, want %v", c.Queue.Lifetime, queue.DefaultLifetime)
	}
	if got, want := health.Rules(u.Health), health.DefaultRules(); got != want {
		t.Errorf("health %+v, want %+v", got, want)
	}
	if p := u.Probe; p.Every != probe.DefaultEvery || p.EveryBad != probe.DefaultEveryBad || p.Timeout != probe.DefaultTimeout {
		t.Errorf("probe %+v, want %v %v %v", p, probe.DefaultEvery, probe.DefaultEveryBad, probe.DefaultTimeout)
	}
}
