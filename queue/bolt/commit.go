package bolt

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// maxBatch bounds the changes of one transaction.
const maxBatch = 256

// fewChanges is how many must wait, or others get the time to come, too: the
// syncs of a transaction of few cost more than the changes.
const fewChanges = 16

// change is one caller's part of a transaction.
type change struct {
	// apply either refuses with an error of queue before it has written
	// anything, and then fails alone, or fails with the whole transaction.
	apply  func(*batch) error
	alone  bool       // shares its transaction with no other change
	result chan error // gets one value
	err    error
}

func newChange(apply func(*batch) error) *change {
	return &change{apply: apply, result: make(chan error, 1)}
}

// batch is one transaction. What it changes beside the file is published only
// when the file is synced.
type batch struct {
	generation *generation
	tx         *bbolt.Tx
	now        standing
	wakes      map[string]bool
	opened     map[string]*bbolt.Bucket
	known      []room // changes of its counters that the holdings have already
}

// do has the committer apply a change, and waits for it. Once handed over, a
// change is not taken back when the context ends: its outcome counts.
func (g *generation) do(ctx context.Context, apply func(*batch) error) error {
	c := newChange(apply)
	if err := g.send(ctx, c); err != nil {
		return err
	}
	return <-c.result
}

// send hands a change to the committer, which applies changes in the order in
// which they come and always gives a result.
func (g *generation) send(ctx context.Context, c *change) error {
	g.sending.RLock()
	defer g.sending.RUnlock()
	if g.closed {
		return g.whyClosed()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case g.changes <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitAll is the committer. It ends when the channel is closed and drained.
// The summary follows soon after the changes.
func (g *generation) commitAll() {
	defer close(g.committed)
	together := false         // several shared the transaction before: a lone writer must not wait for anybody
	var late <-chan time.Time // a token: the summary is due; nil if it is not behind
	for {
		select {
		case first, ok := <-g.changes:
			if !ok {
				return
			}
			together = g.commitThose(first, together)
			if late == nil {
				late = time.After(max(0, summaryEvery-time.Since(g.summarized)))
			}
		case <-late:
			g.summarize()
			late = nil
		}
	}
}

// commitThose writes one transaction for all that wait, of whom one is known;
// if others are expected and there are few, it lets them come. It reports
// whether there were others.
func (g *generation) commitThose(first *change, expected bool) (together bool) {
	batch := []*change{first}
	var next *change
drain:
	for yielded := !expected; len(batch) < maxBatch && !first.alone; {
		select {
		case c, ok := <-g.changes:
			if !ok {
				break drain
			}
			if c.alone {
				next = c
				break drain
			}
			batch = append(batch, c)
		default:
			if yielded || len(batch) >= fewChanges {
				break drain
			}
			runtime.Gosched() // those who have just got their result may come back at once
			yielded = true
		}
	}
	g.commitOne(batch)
	if next != nil {
		g.commitOne([]*change{next})
	}
	return len(batch) > 1
}

// commitOne writes one transaction and gives each change its result.
func (g *generation) commitOne(batch []*change) {
	err := g.commit(batch)
	for _, c := range batch {
		if err != nil {
			c.err = err
		}
		c.result <- c.err
	}
}

// commit writes one transaction. If it fails, so does the store.
func (g *generation) commit(changes []*change) error {
	if err := g.store.Err(); err != nil {
		return err
	}
	before := g.standing()
	b := &batch{generation: g, now: *before, wakes: map[string]bool{}, opened: map[string]*bbolt.Bucket{}}
	b.now.counters = before.counters.clone()
	g.writing.Store(g.store.seq.Load() + 1)
	err := g.update(func(tx *bbolt.Tx) error {
		b.tx = tx
		for _, c := range changes {
			if c.err = c.apply(b); c.err != nil && !isOurs(c.err) {
				return c.err
			}
		}
		return b.finish()
	})
	if err != nil {
		return g.store.fail(fmt.Errorf("%s: %w", g.name(), plain(err)))
	}
	g.store.holdings.publish(b)
	g.writing.Store(0) // not after a failure: what the disk has is unknown
	if before.phase() != b.now.phase() {
		g.store.look()
	}
	for upstream := range b.wakes {
		g.store.wake(upstream)
	}
	return nil
}

// finish writes what every transaction writes.
func (b *batch) finish() error {
	b.now.size, b.now.tx = b.tx.Size(), uint64(b.tx.ID())
	b.now.counters.Tx = b.now.tx
	before := b.generation.standing()
	if b.now.counters.Done > before.counters.Done {
		b.now.lastDone = now()
		if b.now.counters.DoneAt.IsZero() {
			b.now.counters.DoneAt = b.now.lastDone
		}
	}
	if !before.isSmall() {
		b.now.smallSince = now()
	}
	if err := b.bucket(bucketMeta).Put(keyLastID, []byte(b.generation.store.idSoFar())); err != nil {
		return err
	}
	return b.bucket(bucketCounters).Put(keyAccount, encodeCounters(b.now.counters))
}

// bucket opens a bucket once for the transaction.
func (b *batch) bucket(name []byte) *bbolt.Bucket {
	if open := b.opened[string(name)]; open != nil {
		return open
	}
	open := b.tx.Bucket(name)
	open.FillPercent = 1 // most keys come in order
	b.opened[string(name)] = open
	return open
}

// note adds a ledger line.
func (b *batch) note(e queue.Entry) error {
	b.now.lastSeq = b.generation.store.seq.Add(1)
	return b.bucket(bucketLedger).Put(sequenceKey(b.now.lastSeq), encodeEntry(e))
}

// record returns the message as this transaction sees it; errMoved if it is not here any more.
func (b *batch) record(id queue.ID) (queue.Message, error) {
	_, raw := findRecord(b.tx, id)
	if raw == nil {
		return queue.Message{}, fmt.Errorf("%s: %w", id, errMoved)
	}
	m, err := decodeMessage(id, raw)
	return b.generation.store.withStops(m), err
}

// replace writes after in the place of before, with its index and counters.
func (b *batch) replace(before, after queue.Message) error {
	b.now.counters.count(before, -1)
	b.now.counters.count(after, 1)
	from, to := shelf(before), shelf(after)
	if &from[0] != &to[0] {
		if err := b.bucket(from).Delete([]byte(before.ID)); err != nil {
			return err
		}
	}
	if err := b.bucket(to).Put([]byte(after.ID), encodeMessage(after)); err != nil {
		return err
	}
	if before.Waits() {
		if err := b.bucket(bucketDue).Delete(dueKey(before)); err != nil {
			return err
		}
	}
	if !after.Waits() {
		return nil
	}
	return b.bucket(bucketDue).Put(dueKey(after), encodeSummary(queue.Summarize(after)))
}

// shelf is the bucket of a message's record.
func shelf(m queue.Message) []byte {
	if !m.State().Final() {
		return bucketLive
	}
	if inTrash(m) {
		return bucketTrash
	}
	return bucketDone
}

// inTrash reports whether there is something of a final message that can be brought back.
func inTrash(m queue.Message) bool {
	if m.Purged {
		return false
	}
	for i := range m.Envelope.Recipients {
		if m.RecipientState(i) == queue.StateDeleted {
			return true
		}
	}
	return false
}
