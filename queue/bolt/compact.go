package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Giving back waits until little of a file is needed, or for an hour. A
// compaction does the same, at once, for every file of which at least half is
// not needed any more. It is done by the one who gives back, with the same
// steps, so that the same is true of a crash, and others wait as little.

// worthAsking is how many bytes a file must give back if a person asks for it.
const worthAsking = 64 << 10

// compaction is what somebody has asked for.
type compaction struct {
	store  *Store
	asker  context.Context // who asks may go away; between two files that ends it
	dry    bool
	sum    queue.Compaction
	result chan error // gets one value
}

// Compact gives back the disk of what is done with, without waiting for as
// long as it is done by itself; with dry it only says what it would do. Mail is
// taken and delivered meanwhile. If ctx ends, what was begun with a file is
// finished.
func (s *Store) Compact(ctx context.Context, dry bool) (queue.Compaction, error) {
	if err := s.takesChanges(ctx); err != nil {
		return queue.Compaction{}, err
	}
	c := &compaction{store: s, asker: ctx, dry: dry, sum: queue.Compaction{DryRun: dry}, result: make(chan error, 1)}
	select {
	case s.asked <- c:
	case <-ctx.Done():
		return queue.Compaction{}, ctx.Err()
	case <-s.stopped:
		return queue.Compaction{}, s.whyStopped()
	}
	err := <-c.result
	return c.sum, err
}

// whyStopped is the error of those who come when nothing gives back any more.
func (s *Store) whyStopped() error {
	if err := s.Err(); err != nil {
		return err
	}
	return queue.ErrClosed
}

// run is called by the one who gives back. It waits while a backup is made.
func (c *compaction) run(ctx context.Context) {
	begun := time.Now()
	err := c.store.holdStill(ctx)
	if err == nil {
		err = c.all(ctx)
		c.store.goOn()
	}
	if ctx.Err() != nil {
		err = queue.ErrClosed
	}
	c.sum.Took = time.Since(begun)
	c.result <- err
}

// all looks at every file once.
func (c *compaction) all(ctx context.Context) error {
	s := c.store
	row, err := s.all()
	if err != nil {
		return err
	}
	for _, g := range row {
		f, err := c.look(g)
		if err != nil {
			return err
		}
		c.sum.Files = append(c.sum.Files, f)
		c.sum.Before += f.Before
	}
	if c.dry {
		c.guess()
		return nil
	}
	for i, g := range row {
		if err := errors.Join(c.asker.Err(), ctx.Err()); err != nil {
			return err
		}
		f := &c.sum.Files[i]
		if f.Outcome != queue.Freed {
			continue
		}
		if f.Outcome, err = s.compactOne(ctx, g); err != nil {
			return c.broken(ctx, err)
		}
	}
	s.dropCopies(time.Now())
	if err := s.trimLedger(); err != nil {
		return c.broken(ctx, err)
	}
	return c.measure()
}

// broken puts the store out of service, unless it is being closed.
func (c *compaction) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return queue.ErrClosed
	}
	return c.store.fail(fmt.Errorf("compact: %w", err))
}

// look sees whether giving a file back would gain something.
func (c *compaction) look(g *generation) (f queue.CompactedFile, err error) {
	now := g.standing()
	f = queue.CompactedFile{Name: g.name(), Needed: now.needed()}
	if f.Before, err = diskUsed(filepath.Join(c.store.dir, f.Name)); err != nil {
		return f, err
	}
	f.After = f.Before
	if now.reusable() < max(now.size/2, worthAsking) || now.counters.Done == 0 {
		return f, nil
	}
	f.Outcome = queue.Freed
	if !c.store.roomToMove(now.needed()) {
		f.Outcome = queue.NoRoom
	}
	return f, nil
}

// needed is about how many bytes of the file somebody needs.
func (st *standing) needed() int64 {
	left := st.counters.left()
	return min(left.Bytes+left.Messages*perMessage, st.size)
}

// reusable is about how many bytes would be free if what is needed were elsewhere.
func (st *standing) reusable() int64 { return st.size - st.needed() }

// roomToMove reports whether that much can be written before anything is given back.
func (s *Store) roomToMove(bytes int64) bool {
	left, err := s.space.free(time.Now())
	return err == nil && left >= min(s.space.min/shareSpare, maxSpare)+uint64(bytes)
}

// compactOne gives one file back.
func (s *Store) compactOne(ctx context.Context, g *generation) (queue.Outcome, error) {
	if !s.roomToMove(g.standing().needed()) {
		return queue.NoRoom, nil
	}
	if err := s.succeed(g); err != nil {
		return queue.Kept, err
	}
	g.wanted = true
	if g.users.Load() > 0 {
		return queue.Busy, nil
	}
	if err := s.moveAndRetire(ctx, g); err != nil {
		return queue.Kept, err
	}
	if !g.retired.Load() {
		return queue.Stuck, nil
	}
	return queue.Freed, nil
}

// measure finds out what the files take now, also those that were begun.
func (c *compaction) measure() error {
	now, err := c.store.Files(context.WithoutCancel(c.asker))
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, f := range now {
		sizes[f.Name] = f.Size
		c.sum.After += f.Size
	}
	for i := range c.sum.Files {
		f := &c.sum.Files[i]
		f.After = sizes[f.Name]
		if f.Outcome == queue.Kept && f.After > f.Before {
			f.Outcome = queue.Grew
		}
		delete(sizes, f.Name)
	}
	for _, f := range now {
		if size, fresh := sizes[f.Name]; fresh {
			c.sum.Files = append(c.sum.Files, queue.CompactedFile{Name: f.Name, After: size, Needed: f.Bytes, Outcome: queue.Grew})
		}
	}
	return nil
}

// guess says what there would be: what is needed of the files that go is
// written once more.
func (c *compaction) guess() {
	c.sum.After = c.sum.Before
	for i := range c.sum.Files {
		if f := &c.sum.Files[i]; f.Outcome == queue.Freed {
			c.sum.After -= f.Before - f.Needed
			f.After = 0
		}
	}
}
