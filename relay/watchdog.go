package relay

import (
	"context"
	"fmt"
	"time"
)

// watchdog tells the service manager, twice in the time that it gave, that the
// relay lives, until ctx ends. What moves mail has to answer first: a relay
// that is stuck falls silent, and is started again.
func (r *Relay) watchdog(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		within, cancel := context.WithTimeout(ctx, every/2)
		err := r.alive(within)
		cancel()
		if err == nil {
			r.tell("WATCHDOG=1")
		} else if ctx.Err() == nil {
			r.log.Error("relay.stuck", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// alive asks the store and every loop that delivers, and waits for them until ctx ends.
func (r *Relay) alive(ctx context.Context) error {
	if err := r.store.Err(); err != nil {
		return err
	}
	if _, err := r.store.Stats(ctx); err != nil {
		return err
	}
	for _, p := range r.primaries {
		if err := p.dispatcher.Turn(ctx); err != nil {
			return fmt.Errorf("deliveries to %s: %w", p.name, err)
		}
	}
	if r.internet != nil {
		if err := r.internet.Turn(ctx); err != nil {
			return fmt.Errorf("deliveries to the Internet: %w", err)
		}
	}
	return nil
}
