package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// chunkSize is what is written at once, and what a draft keeps in memory. A
// chunk has a bucket of its own, so that writing one does not copy its
// neighbour; with the headers of page (16 bytes) and element (16), and its key, it fills 16 pages.
const chunkSize = 64<<10 - 33

// draft is a message that is being received.
type draft struct {
	store  *Store
	id     queue.ID
	home   *generation // of its chunks and its record; nil until something is written
	chunks int         // written
	buffer []byte      // not written yet
	size   int64
	sum    hash.Hash
	ended  bool
}

func newDraft(s *Store, id queue.ID) *draft { return &draft{store: s, id: id, sum: sha256.New()} }

// ID returns the ID that the message will have.
func (d *draft) ID() queue.ID { return d.id }

// Write takes a part of the content. Full chunks are durable when it returns.
func (d *draft) Write(p []byte) (int, error) {
	if d.ended {
		return 0, d.over()
	}
	written := 0
	for len(p) > 0 {
		if len(d.buffer) == chunkSize {
			if err := d.flush(); err != nil {
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

// flush writes the buffer as a chunk. The buffer is not used again: a reader may have it.
func (d *draft) flush() error {
	if d.home == nil {
		var err error
		if d.home, err = d.store.youngest(); err != nil {
			return err
		}
	}
	number, bytes := d.chunks, d.buffer
	err := d.home.do(context.Background(), func(b *batch) error {
		if err := b.bucket(bucketDrafts).Put([]byte(d.id), []byte{}); err != nil {
			return err
		}
		return putChunk(b, d.id, number, bytes)
	})
	if err != nil {
		return err
	}
	d.chunks++
	d.buffer = make([]byte, 0, chunkSize)
	return nil
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
	return &draftReader{generation: d.home, id: d.id, chunks: d.chunks, last: d.buffer}, nil
}

// Commit makes the message durable and ours.
func (d *draft) Commit(ctx context.Context, a queue.Acceptance) error {
	if d.ended {
		return d.over()
	}
	d.ended = true
	err := d.commit(ctx, a)
	if err != nil {
		return errors.Join(err, d.discard())
	}
	return nil
}

func (d *draft) commit(ctx context.Context, a queue.Acceptance) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.home == nil {
		var err error
		if d.home, err = d.store.youngest(); err != nil {
			return err
		}
	}
	r := d.record(a)
	if len(r.cause) == 0 {
		return d.home.do(ctx, r.put)
	}
	d.store.causes.Lock()
	defer d.store.causes.Unlock()
	if err := d.store.isNew(r.cause); err != nil {
		return fmt.Errorf("%s: %w", d.id, err)
	}
	return d.home.do(ctx, r.put)
}

// acceptedRecord is an acceptance, encoded before the committer sees it.
type acceptedRecord struct {
	message          queue.Message
	number           int // of the last chunk
	chunk, trace     []byte
	record, entry    []byte
	dueKey, due      []byte
	cause            []byte
	hasEarlierChunks bool
}

func (d *draft) record(a queue.Acceptance) *acceptedRecord {
	m, entry := queue.Accept(d.id, a, d.size, queue.Digest(d.sum.Sum(nil)))
	r := &acceptedRecord{message: m, number: d.chunks, chunk: d.buffer, trace: a.Trace, record: encodeMessage(m),
		entry: encodeEntry(entry), cause: causeKey(a.Envelope.Cause), hasEarlierChunks: d.chunks > 0}
	if m.Waits() {
		r.dueKey, r.due = dueKey(m), encodeSummary(queue.Summarize(m))
	}
	return r
}

// put writes the rest of the content and the record, which implies all of it.
func (r *acceptedRecord) put(b *batch) error {
	id := []byte(r.message.ID)
	type pair struct{ bucket, key, value []byte }
	puts := []pair{
		{bucketTraces, id, r.trace},
		{shelf(r.message), id, r.record},
		{bucketLedger, sequenceKey(b.generation.store.seq.Add(1)), r.entry},
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
	if r.message.Waits() {
		b.wakes[r.message.Envelope.Upstream] = true
	}
	return nil
}

// causeKey is empty for no cause.
func causeKey(c queue.Cause) []byte {
	if c == (queue.Cause{}) {
		return nil
	}
	return fmt.Appendf(nil, "%s/%d/%s", c.ID, c.Attempt, c.Kind)
}

// isNew looks for the cause in every generation. The caller holds causes.
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
		if err != nil {
			return err
		}
	}
	return nil
}

// Abort removes what was written.
func (d *draft) Abort() error {
	if d.ended {
		return nil
	}
	d.ended = true
	return d.discard()
}

func (d *draft) discard() error {
	d.buffer = nil
	if d.chunks == 0 || d.store.Err() != nil { // of a failed store opening will remove them
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
