package relay

import (
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/outbound"
)

// The Internet gets little from us, and it is in no hurry: notifications.
const (
	internetConnections = 5
	internetAttempt     = 15 * time.Minute
)

// openInternet makes the way to the hosts of any domain, if notifications take
// it. It is no upstream to watch: it has no probes, no incidents and no ramp.
func (r *Relay) openInternet() error {
	if r.config.DSN.Via != configs.ViaInternet {
		return nil
	}
	o := r.wide
	o.Name, o.Hello, o.Resolver, o.Keep, o.Ourselves, o.Log = configs.ViaInternet, r.config.Hostname, r.resolver, r.state, r.ourselves, r.log
	internet, err := outbound.NewInternet(o)
	if err != nil {
		return err
	}
	r.internet, err = outbound.NewDispatcher(outbound.DispatcherOptions{Upstream: internet, Store: r.store, Health: outbound.Unwatched{},
		Schedule: queue.Schedule(r.config.Queue.Schedule), Connections: internetConnections, Attempt: internetAttempt, Independent: true,
		Notifier: r.notifier, Log: r.log})
	return err
}
