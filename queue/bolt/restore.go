package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/mxkeep/mxkeep/queue"
)

// Restoring says how a backup comes back.
type Restoring struct {
	Held   string // reason to hold what comes back; "" has it delivered
	Actor  string
	Source string // for the ledger: which backup
	DryRun bool
	// Progress is told about each message that has been looked at; nil is nobody.
	Progress func(Restored)
}

// Restored counts what a restore brought back, or would.
type Restored struct {
	Messages   int64 // that came back
	Recipients int64 // of them, that are not final
	Bytes      int64
	Damaged    int64 // of Messages, those whose content differs from what was received
	Present    int64 // messages that are here
	Final      int64 // messages of which nothing is left to do, by the present ledger
	Unreadable int64 // messages whose record or trace cannot be read
}

// atOnce is how many changes a restore has under way.
const atOnce = 32

// Restore brings in each message of a backup of which something is left to do,
// and which is not here. What the ledger here says became of its recipients
// since counts. So does the whole: what is delivered, deleted or present does
// not come twice, and a restore that was interrupted may be begun again. A
// message of which the ledger knows, but which is neither here nor done with, was
// lost, and comes back; if its file is set aside, it counts there as well until
// that is salvaged or given up. The ledger of the backup stays where it is.
//
// Nobody else may use the store meanwhile.
func (s *Store) Restore(ctx context.Context, from *Snapshot, r Restoring) (Restored, error) {
	if err := s.takesChanges(ctx); err != nil {
		return Restored{}, err
	}
	run := &restore{store: s, from: from, how: r, pasts: map[queue.ID]*past{}}
	if err := run.findPasts(ctx); err != nil {
		return Restored{}, err
	}
	for m, err := range from.Messages(ctx, restorable()) {
		if errors.Is(err, queue.ErrDamaged) {
			run.sum.Unreadable++
			continue
		}
		if err == nil {
			err = run.bring(ctx, m)
		}
		if err != nil {
			return run.sum, err
		}
		if r.Progress != nil {
			r.Progress(run.sum)
		}
	}
	if r.DryRun || run.sum.Messages == 0 {
		return run.sum, nil
	}
	return run.sum, s.Note(ctx, queue.Entry{At: now(), Event: queue.Noted, Actor: r.Actor, Reason: fmt.Sprintf(
		"restored %d messages %s; %d were here, %d done with", run.sum.Messages, r.Source, run.sum.Present, run.sum.Final)})
}

// restorable chooses messages of which something is left to do, or can be brought back.
func restorable() queue.Filter {
	var states []queue.State
	for _, state := range queue.States() {
		if !state.Final() || state == queue.StateDeleted {
			states = append(states, state)
		}
	}
	return queue.Filter{States: states}
}

// restore is one run of Restore.
type restore struct {
	store *Store
	from  *Snapshot
	how   Restoring
	pasts map[queue.ID]*past // by the ledger here, of messages in the backup
	sum   Restored
}

// findPasts reads what the ledger here says about messages in the backup.
func (r *restore) findPasts(ctx context.Context) error {
	for m, err := range r.from.Messages(ctx, restorable()) {
		if err != nil && !errors.Is(err, queue.ErrDamaged) {
			return err
		}
		if err == nil {
			r.pasts[m.ID] = nil
		}
	}
	for e, err := range r.store.Ledger(ctx, queue.LedgerFilter{}) {
		if err != nil && !errors.Is(err, queue.ErrDamaged) {
			return err
		}
		p, wanted := r.pasts[e.ID]
		if err != nil || !wanted {
			continue
		}
		if p == nil {
			p = &past{}
			r.pasts[e.ID] = p
		}
		p.add(e)
	}
	return nil
}

// bring brings back one message, unless it is here or needs nothing.
func (r *restore) bring(ctx context.Context, m queue.Message) error {
	if m.Purged {
		r.sum.Final++
		return nil
	}
	id, lost := m.ID, false
	found, other, err := r.store.adopting.known.find(ctx, r.store, m.ID, m)
	if err != nil {
		return err
	}
	if found && !other {
		if _, err := r.store.home(m.ID); err == nil {
			r.sum.Present++
			return nil
		} else if !errors.Is(err, queue.ErrNotFound) {
			return err
		}
		if p := r.pasts[m.ID]; p != nil {
			m = p.apply(m)
		}
		lost = true
	}
	if (queue.Adoption{Message: m}).Check() != nil {
		r.sum.Final++
		return nil
	}
	if !lost {
		id, err = r.store.idFor(ctx, m)
		if errors.Is(err, queue.ErrExists) {
			r.sum.Present++
			return nil
		}
		if err != nil {
			return err
		}
	}
	return r.adopt(ctx, id, m, lost)
}

func (r *restore) adopt(ctx context.Context, id queue.ID, m queue.Message, lost bool) error {
	trace, content, err := r.from.content(m.ID)
	if errors.Is(err, queue.ErrDamaged) {
		r.sum.Unreadable++
		return nil
	}
	if err != nil {
		return err
	}
	a := queue.Adoption{Message: m, Trace: trace, Held: r.store.heldInDoubt(r.how.Held), Actor: r.how.Actor, Source: r.how.Source}
	a.Message.Damaged = true // what the backup has is taken; whether it is whole is found out
	if lost {
		a.Source += "; it was lost here"
	}
	damaged := false
	if r.how.DryRun {
		_, err = io.Copy(io.Discard, content)
		damaged = errors.Is(err, queue.ErrDamaged)
	} else {
		damaged, err = r.store.adopt(ctx, id, a, whole{content}, lost)
	}
	switch {
	case errors.Is(err, queue.ErrExists): // its cause is not new
		r.sum.Present++
		return nil
	case err != nil && !damaged:
		return fmt.Errorf("%s: %w", m.ID, err)
	}
	r.sum.Messages++
	r.sum.Recipients += int64(len(m.Pending()))
	r.sum.Bytes += m.Size
	if damaged {
		r.sum.Damaged++
	}
	return nil
}

// whole ends what is damaged as if it were whole: whoever reads it knows.
type whole struct{ io.Reader }

func (w whole) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if errors.Is(err, queue.ErrDamaged) {
		err = io.EOF
	}
	return n, err
}

// HoldAll holds every message that waits and is not held, and returns how many;
// progress is told so meanwhile. It may be begun again.
func (s *Store) HoldAll(ctx context.Context, actor, reason string, progress func(held int64)) (held int64, err error) {
	var ids []queue.ID
	for m, err := range s.Messages(ctx, queue.Filter{}) {
		if err != nil && !errors.Is(err, queue.ErrDamaged) {
			return 0, err
		}
		if err == nil && m.Waits() {
			ids = append(ids, m.ID)
		}
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	for some := range slices.Chunk(ids, max(1, (len(ids)+atOnce-1)/atOnce)) {
		group.Go(func() {
			for _, id := range some {
				failed := s.Amend(ctx, queue.Amendment{ID: id, At: now(), Event: queue.Hold, Actor: actor, Reason: reason})
				mu.Lock()
				if failed == nil {
					held++
					progress(held)
				} else {
					err = errors.Join(err, failed)
				}
				mu.Unlock()
				if failed != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return held, err
}
