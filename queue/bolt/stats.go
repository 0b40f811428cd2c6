package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// Stats adds up the counters of all generations.
func (s *Store) Stats(ctx context.Context) (queue.Stats, error) {
	if err := ctx.Err(); err != nil {
		return queue.Stats{}, err
	}
	s.moving.RLock() // what moves counts once
	defer s.moving.RUnlock()
	all, account, err := s.accounts()
	if err != nil {
		return queue.Stats{}, err
	}
	stats := queue.Stats{Account: account, Messages: map[queue.State]int64{}, Upstreams: map[string]queue.Held{}}
	var oldest queue.ID
	for _, g := range all {
		c := g.standing().counters
		add(&stats.Account, c.Account)
		for state, n := range c.Messages {
			if n != 0 {
				stats.Messages[queue.State(state)] += n
			}
		}
		stats.Bytes += c.Bytes
		stats.Damaged += c.Damaged
		stats.Unreadable += c.Unreadable
		for upstream, held := range c.Upstreams {
			addHeld(stats.Upstreams, upstream, held)
		}
		used, err := diskUsed(filepath.Join(s.dir, g.name()))
		if err != nil && !g.retired.Load() {
			return queue.Stats{}, err
		}
		stats.DiskUsed += used
		first, err := g.firstLive()
		if err != nil && !errors.Is(err, errMoved) {
			return queue.Stats{}, err
		}
		if first != "" && (oldest == "" || first < oldest) {
			oldest = first
		}
	}
	asides, err := s.Aside(ctx)
	if err != nil {
		return queue.Stats{}, err
	}
	for _, a := range asides {
		add(&stats.Account, a.Account)
		if a.Open() {
			stats.Aside = append(stats.Aside, a)
		}
	}
	free, err := s.space.free(time.Now())
	if err != nil {
		return queue.Stats{}, err
	}
	stats.DiskFree = int64(free)
	if stats.LedgerUsed, err = s.ledger.used(); err != nil {
		return queue.Stats{}, err
	}
	stats.Oldest, err = s.acceptedAt(ctx, oldest)
	return stats, err
}

// acceptedAt is zero for no message.
func (s *Store) acceptedAt(ctx context.Context, id queue.ID) (time.Time, error) {
	if id == "" {
		return time.Time{}, nil
	}
	m, err := s.Message(ctx, id)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return time.Time{}, nil
	case errors.Is(err, queue.ErrDamaged): // one record must not hide the numbers of all
		return id.Time().UTC(), nil
	}
	return m.AcceptedAt, err
}

// firstLive is the first message that is not final; "" if there is none.
func (g *generation) firstLive() (id queue.ID, err error) {
	err = g.view(func(tx *bbolt.Tx) error {
		first, _ := tx.Bucket(bucketLive).Cursor().First()
		id = queue.ID(first)
		return nil
	})
	return id, err
}

func add(sum *queue.Account, a queue.Account) {
	sum.Accepted += a.Accepted
	sum.Delivered += a.Delivered
	sum.Queued += a.Queued
	sum.Held += a.Held
	sum.Refused += a.Refused
	sum.Failed += a.Failed
	sum.Expired += a.Expired
	sum.Deleted += a.Deleted
	sum.SetAside += a.SetAside
	sum.Passed += a.Passed
}

// diskUsed is what a file takes of the disk: bbolt extends it ahead of its writes.
func diskUsed(path string) (int64, error) {
	about, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if unix, ok := about.Sys().(*syscall.Stat_t); ok {
		return unix.Blocks * 512, nil
	}
	return about.Size(), nil
}

// space watches the room that the file system has left.
type space struct {
	dir string
	min uint64

	mu    sync.Mutex
	asked time.Time
	left  uint64 // then, without what has been taken since
}

// free asks the file system at most once a second. Much can be written in one,
// so what is taken meanwhile is counted.
func (s *space) free(now time.Time) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.asked); age >= 0 && age < time.Second {
		return s.left, nil
	}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &stat); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.dir, err)
	}
	s.asked, s.left = now, uint64(stat.Bavail)*uint64(stat.Bsize)
	return s.left, nil
}

// take counts bytes that are on their way to a file.
func (s *space) take(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left -= min(s.left, uint64(bytes))
}

// check refuses new mail when there is too little room. What is held needs
// some, too: settling writes.
func (s *space) check(now time.Time) error {
	left, err := s.free(now)
	if err != nil {
		return err
	}
	if left < s.min {
		return fmt.Errorf("%d MiB are left, %d are kept free: %w", left>>20, s.min>>20, queue.ErrFull)
	}
	return nil
}
