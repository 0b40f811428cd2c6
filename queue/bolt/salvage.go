package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
)

// linesAtOnce is how many ledger lines are brought back in one transaction.
const linesAtOnce = 100

// Salvage brings back what can be read of a file that was set aside: its ledger
// lines, and as held those of its messages that are not final and not in the
// store. The file stays where it is. What was done before an error stays done,
// and the next run goes on. A dry run changes nothing.
// ErrNoFile if no such file is set aside, ErrState if nothing of it is left or
// it has been given up.
func (s *Store) Salvage(ctx context.Context, name, actor string, dry bool) (queue.Salvage, error) {
	if err := s.takesChanges(ctx); err != nil {
		return queue.Salvage{}, err
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	a, before, err := s.findAside(name)
	if err != nil {
		return queue.Salvage{}, err
	}
	if before.File == "" {
		return queue.Salvage{}, fmt.Errorf("there is nothing to salvage: %s: %w", before.Why, queue.ErrState)
	}
	look := search
	if before.Ledger {
		look = searchLedger
	}
	found, err := look(filepath.Join(s.dir, before.File))
	if err != nil {
		return queue.Salvage{}, fmt.Errorf("%s: %w", name, err)
	}
	defer found.Close()
	if err := found.readLater(s.Ledger(ctx, queue.LedgerFilter{})); err != nil {
		return queue.Salvage{}, err
	}
	s.adopting.alone.Lock() // what is found missing must not come in meanwhile
	defer s.adopting.alone.Unlock()
	run := &salvage{store: s, find: found, aside: a, actor: actor, result: queue.Salvage{File: name, Ledger: before.Ledger, DryRun: dry}}
	if err := run.bringBack(ctx, before); err != nil {
		return run.result, err
	}
	before.Lines = run.lines
	after := run.books(before)
	run.result.Rest, run.result.Certainty = after.Waiting-after.Back, after.Certainty
	if dry {
		return run.result, nil
	}
	if err := s.Note(ctx, run.told()); err != nil {
		return run.result, err
	}
	return run.result, s.replaceAside(a, after)
}

// salvage is one run of Salvage.
type salvage struct {
	*find
	store   *Store
	aside   *aside
	actor   string
	lines   uint64 // the last one brought back, of the file
	result  queue.Salvage
	account queue.Account // of the messages found, as the file alone says; who waited is Queued
	back    int64         // recipients who waited and are in the store, or were
}

// bringBack does everything but the books of the file.
func (r *salvage) bringBack(ctx context.Context, from aside) error {
	if err := errors.Join(r.bringCauses(ctx), r.bringLines(ctx, from)); err != nil {
		return err
	}
	for _, id := range sortedKeys(r.messages) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.bring(ctx, id); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

// bringLines brings back the ledger lines that are not filed, under new numbers
// and in their order. What has been brought back is saved now and then: an
// interrupted run may repeat some.
func (r *salvage) bringLines(ctx context.Context, from aside) error {
	r.lines = max(from.Filed, from.Lines)
	numbers := sortedKeys(r.find.lines)
	numbers = slices.DeleteFunc(numbers, func(n uint64) bool { return n <= r.lines })
	for some := range slices.Chunk(numbers, linesAtOnce) {
		r.result.Lines += int64(len(some))
		if r.result.DryRun {
			continue
		}
		if err := r.noteLines(ctx, some); err != nil {
			return err
		}
		r.lines = some[len(some)-1]
		from.Lines = r.lines
		if err := r.store.replaceAside(r.aside, from); err != nil {
			return err
		}
	}
	return nil
}

func (r *salvage) noteLines(ctx context.Context, numbers []uint64) error {
	var lines []queue.Entry
	for _, number := range numbers {
		e, err := r.line(number)
		if err != nil {
			return err
		}
		lines = append(lines, e)
	}
	g, err := r.store.youngest()
	if err != nil {
		return err
	}
	defer g.done()
	return g.do(ctx, func(b *batch) error {
		for _, e := range lines {
			if err := b.note(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// bring brings back one message, unless it is here or needs nothing.
func (r *salvage) bring(ctx context.Context, id queue.ID) error {
	left := r.messages[id]
	then, rebuilt, err := r.rebuild(id)
	if err != nil {
		return nil // chunks of a message that was never ours
	}
	then = left.past.apply(then)
	waited := r.count(then)
	m := left.later.apply(then)
	_, err = r.store.home(id)
	switch {
	case err != nil && !errors.Is(err, queue.ErrNotFound):
		return err
	case err == nil:
		r.result.Present++
		r.back += waited
		return nil
	case m.State().Final():
		r.result.Final++
		if !then.State().Final() { // it was brought back before, and has left since
			r.back += waited
		}
		return nil
	}
	var interrupted *queue.Entry
	if !m.LeasedUntil.IsZero() {
		var e queue.Entry
		m, e = m.Interrupted(now(), 0)
		interrupted = &e
	}
	m.Held, m.HeldAt = r.reason(m, rebuilt, interrupted != nil), now()
	if m.Damaged, err = r.keep(ctx, then, m, interrupted); err != nil {
		return err
	}
	r.back += waited
	r.result.Messages++
	r.result.Recipients += waited
	r.result.Bytes += m.Size
	if m.Damaged {
		r.result.Damaged++
	}
	if rebuilt {
		r.result.Rebuilt++
	}
	return nil
}

// rebuild reads the record of a message or, without one, makes it from the line
// of its acceptance.
func (r *salvage) rebuild(id queue.ID) (m queue.Message, rebuilt bool, err error) {
	left := r.messages[id]
	if left.record.length > 0 {
		m, err = r.record(id)
		return m, false, err
	}
	if left.accepted == 0 {
		return m, false, queue.ErrNotFound
	}
	e, err := r.line(left.accepted)
	if err != nil {
		return m, false, err
	}
	return accepted(e), true, nil
}

// count enters a message into the account, and returns who waited.
func (r *salvage) count(m queue.Message) (waited int64) {
	r.account.Accepted += int64(len(m.Envelope.Recipients))
	for state, n := range m.Tally() {
		if !state.Final() {
			waited += n
			state = queue.StateQueued
		}
		r.account.Add(state, n)
	}
	return waited
}

// reason says for people why the message is held.
func (r *salvage) reason(m queue.Message, rebuilt, interrupted bool) string {
	words := []string{"salvaged from " + r.result.File}
	if rebuilt {
		words = append(words, "its record was lost and made anew from the ledger: parameters of its envelope are lost")
	}
	if interrupted {
		words = append(words, "an attempt was running: a duplicate is possible")
	}
	if m.Held != "" {
		words = append(words, "it was held before: "+m.Held)
	}
	return strings.Join(words, "; ")
}

// keep writes a message into the store: content first, the record last. then is
// the message as the file alone has it. It reports whether the content differs
// from what was received.
func (r *salvage) keep(ctx context.Context, then, m queue.Message, interrupted *queue.Entry) (damaged bool, err error) {
	d := newDraft(r.store, m.ID)
	defer d.Abort() // after the record it does nothing
	left := r.messages[m.ID]
	for _, number := range sortedKeys(left.chunks) {
		chunk, err := r.extent(left.chunks[number].at, left.chunks[number].length)
		if err != nil {
			return false, err
		}
		if r.result.DryRun {
			d.sum.Write(chunk)
			d.size += int64(len(chunk))
		} else if _, err := d.Write(chunk); err != nil {
			return false, err
		}
	}
	m.Damaged = d.size != m.Size || queue.Digest(d.sum.Sum(nil)) != m.Digest
	if r.result.DryRun {
		return m.Damaged, nil
	}
	record, err := r.sealed(d, m)
	if err != nil {
		return false, err
	}
	return m.Damaged, d.finish(ctx, func(b *batch) error { return record.putBack(b, then, interrupted) })
}

// sealed is what the record of a message is written from.
func (r *salvage) sealed(d *draft, m queue.Message) (*acceptedRecord, error) {
	place, trace := r.messages[m.ID].trace, encodeTrace(nil)
	if place.length > 0 {
		var err error
		if trace, err = r.extent(place.at, place.length); err != nil {
			return nil, err
		}
	}
	line := queue.Entry{At: m.HeldAt, Event: queue.Hold, ID: m.ID, Actor: r.actor, Reason: m.Held, MessageID: m.MessageID}
	for _, i := range m.Pending() {
		line.Recipients = append(line.Recipients, m.Envelope.Recipients[i].ForwardPath)
	}
	return d.recordOf(m, trace, line), nil
}

// putBack writes a message that has been accepted before, into the account of
// the file that it was in: what counts here now is taken out of what counts there.
func (r *acceptedRecord) putBack(b *batch, then queue.Message, interrupted *queue.Entry) error {
	if interrupted != nil {
		if err := b.note(*interrupted); err != nil {
			return err
		}
	}
	if err := r.put(b); err != nil {
		return err
	}
	account := &b.now.counters.Account
	account.Accepted -= int64(len(then.Envelope.Recipients))
	for state, n := range then.Tally() {
		if state.Final() {
			account.Add(state, -n)
		} else {
			account.SetAside -= n
		}
	}
	return nil
}

// books is what the description of the file says after the run. What the
// counters said stays, if it is certain; if not, there was at least what has
// been found, and nothing else if everything could be read.
func (r *salvage) books(a aside) aside {
	a.Salvaged, a.Back = now(), r.back
	if a.Ledger {
		a.Certainty = queue.About
		if r.whole {
			a.Certainty = queue.Exact
		}
		return a
	}
	if a.Certainty == queue.Exact {
		return a
	}
	was, is := a.Account, r.account
	waited := is.Queued
	if r.whole {
		a.Certainty = queue.Exact
	} else {
		is.Delivered, is.Failed = max(is.Delivered, was.Delivered), max(is.Failed, was.Failed)
		is.Expired, is.Deleted = max(is.Expired, was.Expired), max(is.Deleted, was.Deleted)
		waited = max(waited, was.Accepted-is.Delivered-is.Failed-is.Expired-is.Deleted)
	}
	is.Queued, is.Passed = 0, was.Passed
	is.SetAside = was.SetAside - a.Waiting + waited
	is.Accepted = is.Delivered + is.Failed + is.Expired + is.Deleted + is.SetAside
	a.Account, a.Waiting = is, waited
	return a
}

// told is the ledger line about the run.
func (r *salvage) told() queue.Entry {
	s := r.result
	if s.Ledger {
		return queue.Entry{At: now(), Event: queue.Noted, Actor: r.actor, Reason: fmt.Sprintf("salvaged %s: %d ledger lines are back, under new numbers", s.File, s.Lines)}
	}
	return queue.Entry{At: now(), Event: queue.Noted, Actor: r.actor, Reason: fmt.Sprintf(
		"salvaged %s: %d messages are held again, %d of them damaged, with %d recipients; %s recipients are still set aside",
		s.File, s.Messages, s.Damaged, s.Recipients, number(s.Rest, s.Certainty))}
}
