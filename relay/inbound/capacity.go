package inbound

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// lackLasts is for how long a message that a limit kept out says that there is
// too little room, unless there is enough for it again. Senders come back sooner.
const lackLasts = 30 * time.Minute

// capacity asks the store whether the limits of what is held leave room, and
// keeps in mind where they did not.
type capacity struct {
	store Store

	mu    sync.Mutex
	lacks map[string]lack // by upstream
}

// lack is a message that was kept out.
type lack struct {
	at   time.Time
	size int64
}

func newCapacity(o *Options) *capacity {
	c := &capacity{store: o.Store, lacks: map[string]lack{"": {}}}
	for _, upstream := range o.Domains {
		c.lacks[upstream] = lack{}
	}
	return c
}

// note keeps in mind that a message was kept out.
func (c *capacity) note(upstream string, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lacks[upstream] = lack{time.Now(), size}
}

// full says which limits leave no room now, by upstream; "" is the limit of all.
// A limit of bytes is nearly never reached to the byte: it counts as reached
// when a message that it has kept out would not have room now.
func (c *capacity) full(ctx context.Context) map[string]string {
	full := map[string]string{}
	for upstream, lack := range c.current() {
		var limit *queue.LimitError
		if err := c.store.Room(ctx, upstream, lack.size); errors.As(err, &limit) {
			full[limit.Upstream] = limit.Error()
		}
	}
	return full
}

// current are the lacks that count, and for every other upstream that of a
// message of unknown size.
func (c *capacity) current() map[string]lack {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := map[string]lack{}
	for upstream, last := range c.lacks {
		if time.Since(last.at) >= lackLasts {
			last = lack{}
		}
		current[upstream] = last
	}
	return current
}

// room refuses a message for which the store has no room. The upstream is "" as
// long as it is not known, and the size 0.
func (s *session) room(upstream string, size int64) *refusal {
	err := s.server.options.Store.Room(s.ctx, upstream, size)
	s.server.space.note(noDisk(err))
	if err == nil {
		return nil
	}
	return s.refusalOf(err, size)
}

// noDisk reports whether there is too little of the disk.
func noDisk(err error) bool {
	var limit *queue.LimitError
	return errors.Is(err, queue.ErrFull) && !errors.As(err, &limit)
}
