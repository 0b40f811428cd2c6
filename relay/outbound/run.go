package outbound

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

// run is one call of Dispatcher.Run. Only its loop touches it.
type run struct {
	*Dispatcher
	pace    pace
	state   health.State // that the pace knows
	running map[queue.ID]bool
	ended   chan ended // each attempt sends one value; never closed
	failure error      // of the store
}

// Run delivers until ctx ends. It then claims nothing any more and breaks off
// what runs, except that an attempt past its final dot waits for the reply, and
// returns nil when all attempts are settled. It returns earlier, and with an
// error, only if the store fails. It must not be called twice.
func (d *Dispatcher) Run(ctx context.Context) error {
	o := &d.options
	r := &run{Dispatcher: d, state: health.Down, running: map[queue.ID]bool{}, ended: make(chan ended),
		pace: pace{max: o.Connections, trials: o.Trials, first: o.Wait, most: o.MaxWait, independent: o.Independent,
			rate: rate{start: float64(o.StartRate) / time.Minute.Seconds(), most: float64(o.MaxRate) / time.Minute.Seconds()}}}
	r.pace.restart()
	changed, unsubscribe := o.Health.Changed()
	defer unsubscribe()
	wake := o.Store.Wake(d.name)
	attempts, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && r.failure == nil {
		timer.Reset(min(look, r.start(attempts)))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-changed:
		case <-d.kick:
		case <-d.turns:
		case <-timer.C:
		case e := <-r.ended:
			r.end(e)
			r.endMore()
		}
	}
	cancel()
	for len(r.running) > 0 {
		r.end(<-r.ended)
	}
	r.publish(0)
	return r.failure
}

// start begins as many attempts as there is room for, and says after what time
// to look again if nothing happens before.
func (r *run) start(ctx context.Context) time.Duration {
	now := time.Now()
	status := r.options.Health.Status()
	state := status.Effective(now)
	r.pace.enter(r.state, state)
	r.state = state
	limit := r.pace.limit(state)
	pause := r.Delivery().Paused
	switch {
	case pause.Active(now), status.Waits(now):
		limit = 0
	case status.Tries(now):
		limit = min(limit, 1)
	}
	room, next := limit-len(r.running), look
	free, begins := r.pace.rate.free(now)
	switch {
	case pause.Active(now):
		next = pause.Until.Sub(now)
	case room <= 0: // a result, or health, makes room
	case now.Before(r.pace.until):
		next = r.pace.until.Sub(now)
	case free == 0:
		next = begins.Sub(now)
	default:
		next = r.claim(ctx, min(room, free), now)
	}
	r.publish(limit)
	return next
}

// claim begins attempts for the first messages that are due, and says after
// what time the next one is.
func (r *run) claim(ctx context.Context, room int, now time.Time) time.Duration {
	var ids []queue.ID
	next := look
	for summary, err := range r.options.Store.Due(ctx, r.name, now.Add(look)) {
		if err != nil {
			r.fail(ctx, fmt.Errorf("due messages of %s: %w", r.name, err))
			return 0 // for the end
		}
		if summary.Due.After(now) {
			next = summary.Due.Sub(now)
			break
		}
		if !r.running[summary.ID] {
			ids = append(ids, summary.ID)
		}
		if len(ids) == room {
			break
		}
	}
	if len(ids) == 0 {
		return next
	}
	// Not to be broken off: what the store has claimed has to be settled here.
	claimed, err := r.options.Store.Claim(context.WithoutCancel(ctx), ids, r.options.Attempt+r.options.Margin)
	if err != nil {
		r.fail(ctx, fmt.Errorf("claim for %s: %w", r.name, err))
	}
	failpoint.Hit(failpoint.OutboundClaimed)
	r.pace.rate.began(len(claimed))
	for _, m := range claimed {
		r.running[m.ID] = true
		epoch := r.pace.epoch
		go func() {
			e := r.attempt(ctx, m)
			e.epoch = epoch
			r.ended <- e
		}()
	}
	if len(claimed) < len(ids) { // an operator held one in between
		return soon
	}
	return next
}

// end takes note of an attempt that has ended.
func (r *run) end(e ended) {
	delete(r.running, e.id)
	r.pace.ended(e.epoch, e.lesson, time.Now())
	switch {
	case e.err == nil:
	case errors.Is(e.err, queue.ErrStale), errors.Is(e.err, queue.ErrNotFound):
		r.options.Log.Warn("delivery.stale", "id", e.id, "upstream", r.name, "error", e.err)
	case r.failure == nil: // those that follow are the same
		r.failure = fmt.Errorf("settle for %s: %w", r.name, e.err)
	}
}

// endMore takes note of the attempts that have ended meanwhile, so that one
// claim fills all their places.
func (r *run) endMore() {
	for {
		select {
		case e := <-r.ended:
			r.end(e)
		default:
			return
		}
	}
}

// fail ends the run, unless it is ending and that is all the error says.
func (r *run) fail(ctx context.Context, err error) {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		r.failure = err
	}
}

// publish shows others what goes on.
func (r *run) publish(window int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delivery.InFlight, r.delivery.Window = len(r.running), window
}
