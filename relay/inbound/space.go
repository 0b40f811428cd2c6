package inbound

import (
	"context"
	"sync"
	"time"
)

// space knows whether the disk has room for mail. It asks at most once a second.
type space struct {
	store Store
	min   int64

	mu    sync.Mutex
	asked time.Time
	free  int64
	full  bool // the store has said so since
}

// room refuses size octets that would leave less than the minimum.
func (s *space) room(ctx context.Context, size int64) *refusal {
	if s.min <= 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.asked) >= time.Second {
		stats, err := s.store.Stats(ctx)
		if err != nil {
			return storeFailed()
		}
		s.asked, s.free, s.full = now, stats.DiskFree, false
	}
	if s.free-size < s.min {
		return noSpace()
	}
	return nil
}

// note keeps what the store said when a message was begun.
func (s *space) note(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// refusing says why nothing can be stored now, "" if it can.
func (s *space) refusing(ctx context.Context) string {
	no := s.room(ctx, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case no != nil && no.reason == reasonStore:
		return "the store does not answer"
	case no != nil, s.full:
		return "not enough free space on the disk"
	}
	return ""
}
