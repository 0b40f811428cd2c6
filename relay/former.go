package relay

import (
	"context"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue"
)

// upstreamsOwner is the bucket of the names of upstreams for which there may be mail.
const upstreamsOwner = "upstreams"

// former names the upstreams that were configured once and are no longer,
// though there is mail for them. Messages name the upstream that takes them, so
// that mail would wait for ever, and nobody would know.
func (r *Relay) former() []string {
	const key = "names"
	var before, now, gone []string
	if _, err := r.state.Get(upstreamsOwner, key, &before); err != nil {
		r.log.Warn("upstreams.forgotten", "error", err)
	}
	for _, u := range r.config.Upstreams {
		now = append(now, u.Name)
	}
	if r.internet != nil {
		now = append(now, configs.ViaInternet)
	}
	for _, name := range before {
		if !slices.Contains(now, name) && r.keeps(name) {
			gone = append(gone, name)
			advice := "name the upstream in the configuration again"
			if name == configs.ViaInternet {
				advice = "write dsn: {via: internet} again, or delete what waits"
			}
			r.log.Error("queue.stranded", "upstream", name, "advice", advice)
		}
	}
	if now = append(now, gone...); !slices.Equal(now, before) {
		if err := r.state.Put(upstreamsOwner, key, now); err != nil {
			r.log.Warn("upstreams.unsaved", "error", err)
		}
	}
	return gone
}

// keeps reports whether there is mail for an upstream that is not final.
func (r *Relay) keeps(upstream string) bool {
	f := queue.Filter{Limit: 1, Where: []queue.Condition{func(m queue.Message, _ time.Time) bool { return m.Envelope.Upstream == upstream }}}
	for range r.store.Messages(context.Background(), f) { // also if it cannot be read
		return true
	}
	return false
}
