package relay

import (
	"log/slog"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health/history"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// newIncidents makes the keeper of the incidents of all primaries.
func (r *Relay) newIncidents() *incident.Keeper {
	o := incident.Options{Book: r.book, History: r.history, Store: r.store, Quiet: r.config.Incident.Quiet, Lifetime: r.config.Queue.Lifetime, Log: r.log}
	for _, p := range r.primaries {
		o.Upstreams = append(o.Upstreams, incident.Upstream{Name: p.name, Status: p.monitor.Status, Recent: p.monitor.Recent, Changed: p.monitor.Changed})
	}
	return incident.New(o)
}

func historyOptions(c configs.Config, log *slog.Logger) history.Options {
	return history.Options{Keep: c.History.Keep, Fine: c.History.Fine, Bytes: c.History.Bytes, Log: log}
}
