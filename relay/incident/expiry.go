package incident

import (
	"context"
	"errors"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

const (
	expirySoon  = 24 * time.Hour   // left, from which on a message is told of; at most half of the lifetime
	expiryEvery = 10 * time.Minute // between two looks
)

// Expiring is what is near its end: mail that waits, and has little time left.
type Expiring struct {
	Within   time.Duration // what little is
	Messages int
	First    time.Time // when the first of them expires, if its clock goes on; zero if there is none
}

// Expiring is what the last look found.
func (k *Keeper) Expiring() Expiring {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.expiring
}

// WatchExpiry looks from time to time for messages that have little time left,
// until ctx ends. It is to be called once.
func (k *Keeper) WatchExpiry(ctx context.Context) {
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	for {
		if found, err := expiring(ctx, k.options.Store, k.options.Lifetime, time.Now()); err != nil {
			k.failed(ctx, err)
		} else {
			k.mu.Lock()
			k.expiring = found
			k.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// expiring reads the queue as far as messages can have little time left:
// they are in the order of their acceptance.
func expiring(ctx context.Context, store Store, lifetime time.Duration, now time.Time) (Expiring, error) {
	e := Expiring{Within: min(expirySoon, lifetime/2)}
	soon := now.Add(e.Within)
	for m, err := range store.Messages(ctx, queue.Filter{}) {
		if errors.Is(err, queue.ErrDamaged) {
			continue
		}
		if err != nil {
			return e, err
		}
		if m.AcceptedAt.Add(min(m.Lifetime, lifetime)).After(soon) {
			break
		}
		if end := m.Expires(now); m.Waits() && !end.After(soon) {
			e.Messages++
			if e.First.IsZero() || end.Before(e.First) {
				e.First = end
			}
		}
	}
	return e, nil
}
