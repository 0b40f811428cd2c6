package outbound

import (
	"context"
	"slices"
	"sync"
)

// slots bounds the sessions that are in use at a time: of deliveries, and of
// senders whose mail is passed on. A delivery waits for its slot. A sender does
// not, gives way to deliveries that wait, and leaves them one slot at least if
// there are several, for senders can keep theirs for long.
type slots struct {
	most int

	mu      sync.Mutex
	busy    int
	passing int             // of them, for senders
	waiting []chan struct{} // deliveries, the first one first; each is closed when its slot is there
}

// deliver waits for a slot; false if ctx ends before.
func (s *slots) deliver(ctx context.Context) bool {
	s.mu.Lock()
	if s.busy < s.most {
		s.busy++
		s.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, turn)
	if i < 0 { // the slot came at the same time
		return true
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return false
}

// pass takes a slot for a sender, if there is one.
func (s *slots) pass() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 || s.busy >= s.most || s.passing >= max(1, s.most-1) {
		return false
	}
	s.busy++
	s.passing++
	return true
}

// delivered gives back the slot of a delivery.
func (s *slots) delivered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free()
}

// passed gives back the slot of a sender.
func (s *slots) passed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passing--
	s.free()
}

// free hands a slot to who has waited for longest.
func (s *slots) free() {
	if len(s.waiting) == 0 {
		s.busy--
		return
	}
	close(s.waiting[0])
	s.waiting = slices.Delete(s.waiting, 0, 1)
}
