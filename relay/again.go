package relay

import (
	"context"
	"errors"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/dsn"
)

// What was refused while the primary was not believed is tried again when it
// is, or, in a spike, to see whether it is.
const (
	againEvery = 10 * time.Minute
	againAfter = 30 * time.Minute // since the refusal
	againMost  = 1000             // messages of one upstream in one round
	againSpike = 20               // in a spike: as many as show whether it is over
)

// again gives refusals back to delivery whose reason has passed, until ctx ends.
func (r *Relay) again(ctx context.Context) error {
	tick := time.NewTicker(againEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		if err := r.tryAgain(context.WithoutCancel(ctx), first); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round is what is given back of one upstream.
type round struct {
	*primary
	circumstances dsn.Circumstances
	chosen        []queue.Amendment
}

// tryAgain is one round. The first one finds out whether there was a spike
// before the last stop.
func (r *Relay) tryAgain(ctx context.Context, first bool) error {
	stats, err := r.store.Stats(ctx)
	if err != nil || stats.Messages[queue.StateRefused] == 0 {
		return err
	}
	rounds := map[string]*round{}
	for _, p := range r.primaries {
		rounds[p.name] = &round{primary: p, circumstances: p.dispatcher.Circumstances()}
	}
	for m, err := range r.store.Messages(ctx, queue.Filter{States: []queue.State{queue.StateRefused}}) {
		if errors.Is(err, queue.ErrDamaged) {
			continue // status says so
		}
		if err != nil {
			return err
		}
		if one := rounds[m.Envelope.Upstream]; one != nil {
			one.choose(m, first, r.config.DSN.Probation)
		}
	}
	for _, one := range rounds {
		for _, a := range one.chosen {
			if err := r.store.Amend(ctx, a); err != nil && !errors.Is(err, queue.ErrState) && !errors.Is(err, queue.ErrNotFound) {
				return err
			}
		}
		if len(one.chosen) > 0 {
			r.log.Info("queue.again", "upstream", one.name, "messages", len(one.chosen))
		}
	}
	return nil
}

// choose takes a message for another attempt, if there is room and use for it.
func (o *round) choose(m queue.Message, first bool, probation time.Duration) {
	if first && !o.circumstances.Spike && keptFor(m, queue.KeptSpike) {
		o.dispatcher.SuspectSpike()
		o.circumstances.Spike = true
	}
	most := againMost
	if o.circumstances.Spike {
		most = againSpike
	}
	of := passed(m, o.circumstances, probation)
	if len(o.chosen) >= most || len(of) == 0 {
		return
	}
	o.chosen = append(o.chosen, queue.Amendment{ID: m.ID, At: o.circumstances.Now, Event: queue.Retry, Actor: "relay",
		Reason: "it was refused while the upstream was not believed", Of: of})
}

func keptFor(m queue.Message, why queue.KeptFor) bool {
	for _, r := range m.Envelope.Recipients {
		if r.Last.Action == queue.Refused && r.Last.Kept == why {
			return true
		}
	}
	return false
}

// passed lists the refused recipients whose reason has passed at c.Now. It is pure.
func passed(m queue.Message, c dsn.Circumstances, probation time.Duration) (of []int) {
	if c.Incident {
		return nil
	}
	for i, r := range m.Envelope.Recipients {
		switch {
		case m.RecipientState(i) != queue.StateRefused, !r.Last.Kept.Again(), c.Now.Sub(r.Last.At) < againAfter:
		case r.Last.Kept == queue.KeptIncident && c.Now.Sub(c.Recovered) < probation:
		default:
			of = append(of, i)
		}
	}
	return of
}
