package relay

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/health/probe"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/state"
)

// primary is one upstream with those who watch it and those who deliver to it.
type primary struct {
	name       string
	domains    []string
	config     configs.Upstream
	recipient  string // of probes
	upstream   *outbound.Upstream
	monitor    *health.Monitor
	prober     *probe.Prober
	dispatcher *outbound.Dispatcher
	pauses     pauses
	promise    *promise
	log        *slog.Logger
}

// healthOwner is the bucket of what is thought of the primaries, by name.
const healthOwner = "health"

// remembered is what was thought of a primary, and whom the probes asked for.
type remembered struct {
	Status    health.Status `json:"status"`
	Recipient string        `json:"recipient"`
}

// newPrimary makes the parts of one upstream. What was thought of it before the
// last stop still holds until it has been probed.
func (r *Relay) newPrimary(c configs.Upstream) (*primary, error) {
	c.Hosts = r.config.HostsOf(c)
	p := &primary{name: c.Name, domains: r.config.DomainsOf(c.Name), config: c, recipient: r.config.ProbeRecipient(c), log: r.log,
		pauses: pauses{file: r.state, key: "deliveries to " + c.Name}}
	p.promise = newPromise(r.state, c.Name, r.log)
	options, err := upstreamOptions(r.config, c, r.resolver)
	if err != nil {
		return nil, err
	}
	options.Ourselves, options.Offers, options.Keep = r.ourselves, p.promise.note, r.state
	options.Hear = func(h outbound.Heard) { r.heard(p, h) }
	if p.upstream, err = outbound.NewUpstream(options); err != nil {
		return nil, err
	}
	p.monitor = health.NewMonitor(health.MonitorOptions{Upstream: c.Name, Rules: health.Rules(c.Health), Initial: p.last(r.state), Save: func(s health.Status) {
		failpoint.Hit(failpoint.HealthSaving)
		if err := r.state.Put(healthOwner, c.Name, remembered{s, p.recipient}); err != nil {
			r.log.Warn("health.unsaved", "upstream", c.Name, "error", err)
		}
		failpoint.Hit(failpoint.HealthSaved)
	}, Observed: r.history.Signal, Became: func(was, is health.Status, at time.Time) {
		for _, change := range health.Changes(c.Name, was, is, at) {
			r.history.Change(change)
		}
	}})
	p.prober = probe.New(probe.Options{Every: c.Probe.Every, EveryBad: c.Probe.EveryBad, Jitter: c.Probe.Jitter, Timeout: c.Probe.Timeout,
		Check:   func(ctx context.Context) []health.Signal { return p.upstream.Probe(ctx, p.recipient, nil) },
		Observe: p.monitor.Observe, Status: p.monitor.Status, Log: r.log})
	dispatching := dispatcherOptions(r.config, p, r.store, r.log)
	dispatching.Notifier, dispatching.Known = r.notifier, r.existed
	dispatching.Incident = func() (bool, time.Time) { return r.book.Standing(c.Name) }
	if p.dispatcher, err = outbound.NewDispatcher(dispatching); err != nil {
		return nil, err
	}
	if pause, ok := p.pauses.load(r.log); ok {
		p.dispatcher.Pause(outbound.Pause(pause))
	}
	return p, nil
}

// last is what was thought of the primary before the last stop. That its
// recipient was taken is true only of the same recipient.
func (p *primary) last(file *state.File) health.Status {
	var last remembered
	if _, err := file.Get(healthOwner, p.name, &last); err != nil {
		p.log.Warn("health.forgotten", "upstream", p.name, "error", err)
		return health.Status{}
	}
	last.Status.Planned = nil // windows say it themselves
	last.Status.ProbeTaken = last.Status.ProbeTaken && last.Recipient == p.recipient
	return last.Status
}

// state is what counts now.
func (p *primary) state() health.State { return p.monitor.Status().Effective(time.Now()) }

// follow writes a line for each change of what is thought of the primary since
// last, until ctx ends. When trouble begins that no probe has seen, it lets one look at once.
func (p *primary) follow(ctx context.Context, last health.Status, changed <-chan struct{}) {
	was := last.Effective(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		now := p.monitor.Status()
		is := now.Effective(time.Now())
		level, why := slog.LevelWarn, now.Why
		if o := now.Steering(time.Now()); o != nil {
			why = o.Words()
		}
		if is == health.Up && !now.Throttled.Active() && !now.Misconfigured.Active() {
			level = slog.LevelInfo
		}
		p.log.Log(ctx, level, "health.changed", "upstream", p.name, "from", was, "to", is,
			"throttled", now.Throttled.Active(), "misconfigured", now.Misconfigured.Active(), "network", now.Network.Active(), "why", why)
		if last.State == health.Up && now.State == health.Degraded && now.BadRounds == 0 {
			p.prober.Kick()
		}
		last, was = now, is
	}
}

// shown is the primary as operators see and steer it.
func (p *primary) shown() admin.Upstream {
	return admin.Upstream{
		Name: p.name, Domains: p.domains, Hosts: p.config.Hosts,
		Status: p.monitor.Status, Recent: p.monitor.Recent, Topics: p.monitor.Topics, NextProbe: p.prober.Next,
		Transitions: func() (all []admin.Transition) {
			for _, t := range p.monitor.Transitions() {
				all = append(all, admin.Transition(t))
			}
			return all
		},
		Override: func(o *health.Override) error {
			p.monitor.Override(o)
			return nil
		},
		Probe: p.probe,
		Spike: func() admin.Spike { return admin.Spike(p.dispatcher.Spike()) },
		Delivery: func() admin.Delivery {
			d := p.dispatcher.Delivery()
			return admin.Delivery{InFlight: d.InFlight, Window: d.Window, Paused: admin.Pause(d.Paused)}
		},
		Pause: func(pause admin.Pause) error {
			if err := p.pauses.save(pause); err != nil {
				return err
			}
			p.dispatcher.Pause(outbound.Pause(pause))
			return nil
		},
		Resume: func() error {
			if err := p.pauses.end(); err != nil {
				return err
			}
			p.dispatcher.Resume()
			return nil
		},
	}
}

// probe looks at the primary for an operator. What is found counts as well, if
// it was the usual recipient.
func (p *primary) probe(ctx context.Context, recipient string, say func(string)) ([]health.Signal, error) {
	usual := recipient == "" || recipient == p.recipient
	if recipient == "" {
		recipient = p.recipient
	}
	signals := p.upstream.Probe(ctx, recipient, say)
	if len(signals) == 0 {
		return nil, fmt.Errorf("no probe of %s", recipient)
	}
	if usual && ctx.Err() == nil {
		for _, signal := range signals {
			p.monitor.Observe(signal)
		}
	}
	return signals, nil
}
