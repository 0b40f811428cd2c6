package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
)

// chunkSize is what is written at once. A chunk has a bucket of its own, so
// that writing one does not copy its neighbour; with the headers of page (16
// bytes) and element (16), and its key, it fills 16 pages.
const chunkSize = 64<<10 - 33

// buffers are lent to drafts, each as long as a chunk.
type buffers struct{ pool sync.Pool }

func (b *buffers) take() []byte {
	if buffer, ok := b.pool.Get().(*[chunkSize]byte); ok {
		return buffer[:0]
	}
	return make([]byte, 0, chunkSize)
}

// giveBack takes a buffer that nobody reads any more; nil is none.
func (b *buffers) giveBack(buffer []byte) {
	if buffer != nil {
		b.pool.Put((*[chunkSize]byte)(buffer[:chunkSize]))
	}
}

// draft is a message that is being received. At most two chunks of it are in
// memory: the one that fills, and the one before, which the committer writes meanwhile.
type draft struct {
	store   *Store
	id      queue.ID
	home    *generation // of its chunks and its record; nil until something is written
	chunks  int         // handed to the committer
	buffer  []byte      // not handed over yet; nil until the first Write
	writing *change     // of the last chunk; nil when it is written
	written []byte      // the bytes of that chunk
	size    int64
	sum     hash.Hash
	broken  error // of a Write, or of a chunk: what came is not all here
	ended   bool
}

func newDraft(s *Store, id queue.ID) *draft { return &draft{store: s, id: id, sum: sha256.New()} }

// ID returns the ID that the message will have.
func (d *draft) ID() queue.ID { return d.id }

// Write takes a part of the content. Full chunks are on their way to the file
// when it returns; that they have arrived is known when the record has.
func (d *draft) Write(p []byte) (int, error) {
	if d.ended {
		return 0, d.over()
	}
	if d.buffer == nil {
		d.buffer = d.store.buffers.take()
	}
	written := 0
	for len(p) > 0 {
		if len(d.buffer) == chunkSize {
			if err := d.flush(); err != nil {
				d.broken = err
				return written, err
			}
		}
		n := min(len(p), chunkSize-len(d.buffer))
		d.buffer = append(d.buffer, p[:n]...)
		d.sum.Write(p[:n])
		d.size += int64(n)
		written += n
		p = p[n:]
	}
	return written, nil
}

// flush hands the buffer to the committer as a chunk and begins the next one.
func (d *draft) flush() error {
	if err := d.awaitChunk(); err != nil {
		return err
	}
	if err := d.store.space.check(time.Now()); err != nil {
		return err
	}
	if err := d.findHome(); err != nil {
		return err
	}
	number, chunk := d.chunks, d.buffer
	c := newChange(func(b *batch) error {
		if err := b.bucket(bucketDrafts).Put([]byte(d.id), []byte{}); err != nil {
			return err
		}
		failpoint.Hit(failpoint.StoreChunk)
		return putChunk(b, d.id, number, chunk)
	})
	if err := d.home.send(context.Background(), c); err != nil {
		return err
	}
	d.store.space.take(len(chunk))
	d.chunks++
	d.writing, d.written = c, chunk
	d.buffer = d.store.buffers.take()
	return nil
}

// awaitChunk waits until all chunks are in the file, and says if they are.
func (d *draft) awaitChunk() error {
	if d.writing != nil {
		d.broken = errors.Join(d.broken, <-d.writing.result)
		d.store.buffers.giveBack(d.written)
		d.writing, d.written = nil, nil
	}
	return d.broken
}

// findHome chooses the generation, once.
func (d *draft) findHome() (err error) {
	if d.home == nil {
		d.home, err = d.store.youngest()
	}
	return err
}

func (d *draft) leaveHome() {
	if d.home != nil {
		d.home.done()
	}
}

func putChunk(b *batch, id queue.ID, number int, bytes []byte) error {
	chunk, err := b.bucket(bucketContent).CreateBucket(chunkKey(id, number))
	if err != nil {
		return err
	}
	return chunk.Put(keyBytes, bytes)
}

// Content reads what has been written so far.
func (d *draft) Content() (io.ReadCloser, error) {
	if d.ended {
		return nil, d.over()
	}
	if err := d.awaitChunk(); err != nil {
		return nil, err
	}
	return &draftReader{generation: d.home, id: d.id, chunks: d.chunks, last: bytes.Clone(d.buffer)}, nil
}

// Commit makes the message durable and ours.
func (d *draft) Commit(ctx context.Context, a queue.Acceptance) error {
	if d.ended {
		return d.over()
	}
	d.ended = true
	defer d.leaveHome()
	defer d.store.forgetDraft(d.id)
	if err := d.commit(ctx, a); err != nil {
		return errors.Join(err, d.discard())
	}
	return d.letGo()
}

// letGo gives the buffers back. What the committer was given before the record
// is written when the record is.
func (d *draft) letGo() error {
	err := d.awaitChunk()
	d.store.buffers.giveBack(d.buffer)
	d.buffer = nil
	return err
}

func (d *draft) commit(ctx context.Context, a queue.Acceptance) error {
	if err := errors.Join(ctx.Err(), d.broken); err != nil {
		return err
	}
	if err := d.findHome(); err != nil {
		return err
	}
	r := d.record(a)
	if failpoint.Armed(failpoint.Lie) {
		d.buffer = nil // it is still to be written
		return d.home.send(ctx, newChange(r.put))
	}
	d.store.space.take(len(r.chunk) + len(r.record) + len(r.entry))
	if len(r.cause) == 0 {
		return d.commitWithin(ctx, r)
	}
	d.store.causes.Lock()
	defer d.store.causes.Unlock()
	if err := d.store.isNew(r.cause); err != nil {
		return fmt.Errorf("%s: %w", d.id, err)
	}
	return d.home.do(ctx, r.put)
}

// commitWithin commits if the limits leave room.
func (d *draft) commitWithin(ctx context.Context, r *acceptedRecord) error {
	r.reserved = &room{r.message.Envelope.Upstream, queue.Held{Messages: 1, Bytes: r.message.Size}}
	if err := d.store.holdings.reserve(*r.reserved); err != nil {
		return fmt.Errorf("%s: %w", d.id, err)
	}
	err := d.home.do(ctx, r.put)
	if err != nil {
		d.store.holdings.release(*r.reserved)
	}
	return err
}

// finish writes the record of a message that was accepted before, and ends the draft.
func (d *draft) finish(ctx context.Context, put func(*batch) error) error {
	if err := d.findHome(); err != nil {
		return err
	}
	if err := d.home.do(ctx, put); err != nil {
		return err
	}
	d.ended = true
	defer d.leaveHome()
	return d.letGo()
}

// acceptedRecord is an acceptance, encoded before the committer sees it. An
// empty value is not written.
type acceptedRecord struct {
	message          queue.Message
	number           int // of the last chunk
	chunk, trace     []byte
	record, entry    []byte
	dueKey, due      []byte
	cause            []byte
	hasEarlierChunks bool
	reserved         *room // nil: it is not subject to the limits
}

func (d *draft) record(a queue.Acceptance) *acceptedRecord {
	m, entry := queue.Accept(d.id, a, d.size, queue.Digest(d.sum.Sum(nil)))
	return d.recordOf(m, encodeTrace(a.Trace), entry)
}

// recordOf is what the record of a message with this content is written from.
func (d *draft) recordOf(m queue.Message, trace []byte, line queue.Entry) *acceptedRecord {
	r := &acceptedRecord{message: m, number: d.chunks, chunk: d.buffer, trace: trace, record: encodeMessage(m),
		entry: encodeEntry(line), cause: causeKey(m.Envelope.Cause), hasEarlierChunks: d.chunks > 0}
	if m.Waits() {
		r.dueKey, r.due = dueKey(m), encodeSummary(queue.Summarize(m))
	}
	return r
}

// put writes the rest of the content and the record, which implies all of it.
func (r *acceptedRecord) put(b *batch) error {
	id := []byte(r.message.ID)
	b.now.lastSeq = b.generation.store.seq.Add(1)
	type pair struct{ bucket, key, value []byte }
	puts := []pair{
		{bucketTraces, id, r.trace},
		{shelf(r.message), id, r.record},
		{bucketLedger, sequenceKey(b.now.lastSeq), r.entry},
		{bucketDue, r.dueKey, r.due},
		{bucketCauses, r.cause, id},
	}
	for _, p := range puts {
		if len(p.key) == 0 || len(p.value) == 0 {
			continue
		}
		if err := b.bucket(p.bucket).Put(p.key, p.value); err != nil {
			return err
		}
	}
	if len(r.chunk) > 0 {
		if err := putChunk(b, r.message.ID, r.number, r.chunk); err != nil {
			return err
		}
	}
	if r.hasEarlierChunks {
		if err := b.bucket(bucketDrafts).Delete(id); err != nil {
			return err
		}
	}
	b.now.ids = b.now.ids.with(r.message.ID)
	b.now.counters.Account.Accepted += int64(len(r.message.Envelope.Recipients))
	b.now.counters.count(r.message, 1)
	if r.reserved != nil {
		b.known = append(b.known, *r.reserved)
	}
	if r.message.Waits() {
		b.wakes[r.message.Envelope.Upstream] = true
	}
	failpoint.Hit(failpoint.StoreAccepting)
	return nil
}

// causeKey is empty for no cause.
func causeKey(c queue.Cause) []byte {
	if c == (queue.Cause{}) {
		return nil
	}
	return fmt.Appendf(nil, "%s/%d/%s", c.ID, c.Attempt, c.Kind)
}

// isNew looks for the cause in every generation and in the ledger. The caller holds causes.
func (s *Store) isNew(cause []byte) error {
	all, err := s.all()
	if err != nil {
		return err
	}
	for _, g := range all {
		err := g.view(func(tx *bbolt.Tx) error {
			if tx.Bucket(bucketCauses).Get(cause) != nil {
				return queue.ErrExists
			}
			return nil
		})
		if err != nil && !errors.Is(err, errMoved) {
			return err
		}
	}
	if s.ledger.knows(cause) { // asked last: causes are there before their generation goes
		return queue.ErrExists
	}
	return nil
}

// Abort removes what was written.
func (d *draft) Abort() error {
	if d.ended {
		return nil
	}
	d.ended = true
	defer d.leaveHome()
	defer d.store.forgetDraft(d.id)
	return d.discard()
}

// discard removes the chunks. If the store has failed, opening it will.
func (d *draft) discard() error {
	if err := d.letGo(); err != nil || d.chunks == 0 || d.store.Err() != nil {
		return nil
	}
	return d.home.do(context.Background(), func(b *batch) error {
		if err := removeContent(b.tx, d.id); err != nil {
			return err
		}
		return b.bucket(bucketDrafts).Delete([]byte(d.id))
	})
}

func (d *draft) over() error { return fmt.Errorf("draft %s has ended: %w", d.id, queue.ErrState) }

// removeContent removes the chunks and the trace of a message.
func removeContent(tx *bbolt.Tx, id queue.ID) error {
	content := tx.Bucket(bucketContent)
	var keys [][]byte // a cursor that deletes skips
	c := content.Cursor()
	for k, _ := c.Seek([]byte(id)); bytes.HasPrefix(k, []byte(id)); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := content.DeleteBucket(k); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketTraces).Delete([]byte(id))
}
