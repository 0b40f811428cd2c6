package bolt

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// batchMessages is how many messages change their generation in one transaction.
const batchMessages = 64

// moving is what a generation knows of the last messages that came from an
// older one: after a crash they may be in both.
type moving struct {
	From int        `json:"from"`
	IDs  []queue.ID `json:"ids"`
}

// moveRemainder moves the messages that still need an old generation to the
// youngest. Nobody adds to it meanwhile. What cannot be read stays.
func (s *Store) moveRemainder(ctx context.Context, g *generation) error {
	var parcel []queue.Message
	var size int64
	send := func() error {
		err := s.moveParcel(ctx, g, parcel)
		parcel, size = parcel[:0], 0
		return err
	}
	for p, err := range g.pairs(ctx, [][]byte{bucketLive, bucketTrash}) {
		if err != nil {
			return err
		}
		m, err := decodeMessage(queue.ID(p.key), p.value)
		if err != nil {
			s.options.Log.Error("record.damaged", "id", queue.ID(p.key), "error", err)
			continue
		}
		parcel = append(parcel, m)
		if size += m.Size; size >= batchBytes || len(parcel) == batchMessages {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(parcel) == 0 {
		return nil
	}
	return send()
}

// moveParcel moves some messages: first their content, then their records.
func (s *Store) moveParcel(ctx context.Context, from *generation, parcel []queue.Message) error {
	to, err := s.youngest()
	if err != nil {
		return err
	}
	defer to.done()
	if err := s.copyContent(ctx, from, to, parcel); err != nil {
		return err
	}
	s.options.step("content")
	s.moving.Lock()
	defer s.moving.Unlock()
	c := newChange(func(b *batch) error { return b.handOver(ctx, to, parcel) })
	c.alone = true // what another change does in this transaction is not known to be kept
	if err := from.send(ctx, c); err != nil {
		return err
	}
	err = <-c.result
	s.options.step("records")
	return err
}

// copyContent copies chunks in transactions of a bounded size. Until the
// records follow they count as those of drafts: a crash removes them.
func (s *Store) copyContent(ctx context.Context, from, to *generation, parcel []queue.Message) error {
	type piece struct {
		id     queue.ID
		number int
		bytes  []byte
	}
	var pieces []piece
	size := 0
	write := func() error {
		err := to.do(ctx, func(b *batch) error {
			for _, p := range pieces {
				if err := b.bucket(bucketDrafts).Put([]byte(p.id), []byte{}); err != nil {
					return err
				}
				if err := putChunk(b, p.id, p.number, p.bytes); err != nil {
					return err
				}
			}
			return nil
		})
		pieces, size = pieces[:0], 0
		s.options.step("chunks")
		return err
	}
	for _, m := range parcel {
		for number := range chunksOf(m) {
			chunk, err := from.chunk(m.ID, number, nil)
			if err != nil {
				return err
			}
			if len(chunk) == 0 { // damaged, and stays so
				continue
			}
			pieces = append(pieces, piece{m.ID, number, chunk})
			if size += len(chunk); size >= batchBytes {
				if err := write(); err != nil {
					return err
				}
			}
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	return write()
}

// chunksOf is how many chunks the content of the message has.
func chunksOf(m queue.Message) int { return int((m.Size + chunkSize - 1) / chunkSize) }

// departure is a message that leaves its generation.
type departure struct {
	message       queue.Message
	record, trace []byte
}

// handOver writes the records to another generation and takes them out of this
// one, whose committer waits meanwhile: no change can fall between the two.
func (b *batch) handOver(ctx context.Context, to *generation, parcel []queue.Message) error {
	var leaving []departure
	var staying []queue.ID
	for _, m := range parcel {
		d, err := b.departure(m.ID)
		if err != nil || d.message.State().Final() && !inTrash(d.message) { // damaged, or done with meanwhile
			staying = append(staying, m.ID)
			continue
		}
		leaving = append(leaving, d)
	}
	from := b.generation
	if err := to.do(ctx, func(t *batch) error { return t.takeOver(from.number, leaving, staying) }); err != nil {
		return err
	}
	from.store.options.step("copied")
	from.store.layout.Add(1)
	for _, d := range leaving {
		if err := b.remove(d.message); err != nil {
			return err
		}
		b.moved(d.message, -1)
	}
	return nil
}

// moved tells the holdings that a message which is counted here now (sign 1), or
// not any more (sign -1), has moved: it never takes room twice.
func (b *batch) moved(m queue.Message, sign int64) {
	if !m.State().Final() {
		b.known = append(b.known, room{m.Envelope.Upstream, queue.Held{Messages: sign, Bytes: sign * m.Size}})
	}
}

func (b *batch) departure(id queue.ID) (departure, error) {
	_, raw := findRecord(b.tx, id)
	if raw == nil {
		return departure{}, fmt.Errorf("%s: %w", id, errMoved)
	}
	m, err := decodeMessage(id, raw)
	return departure{m, bytes.Clone(raw), bytes.Clone(b.bucket(bucketTraces).Get([]byte(id)))}, err
}

// takeOver writes messages that leave an older generation, and removes the
// content of those that stay there.
func (b *batch) takeOver(from int, leaving []departure, staying []queue.ID) error {
	last := moving{From: from}
	for _, d := range leaving {
		m, id := d.message, []byte(d.message.ID)
		last.IDs = append(last.IDs, m.ID)
		if err := b.bucket(shelf(m)).Put(id, d.record); err != nil {
			return err
		}
		if d.trace != nil {
			if err := b.bucket(bucketTraces).Put(id, d.trace); err != nil {
				return err
			}
		}
		if m.Waits() {
			if err := b.bucket(bucketDue).Put(dueKey(m), encodeSummary(queue.Summarize(m))); err != nil {
				return err
			}
		}
		if err := b.bucket(bucketDrafts).Delete(id); err != nil {
			return err
		}
		b.now.ids = b.now.ids.with(m.ID)
		b.now.counters.Account.Accepted += int64(len(m.Envelope.Recipients))
		b.now.counters.count(m, 1)
		b.moved(m, 1)
	}
	for _, id := range staying {
		if err := removeContent(b.tx, id); err != nil {
			return err
		}
		if err := b.bucket(bucketDrafts).Delete([]byte(id)); err != nil {
			return err
		}
	}
	return b.bucket(bucketMeta).Put(keyMoving, encode(last))
}

// remove takes a message out that another generation has. Its content goes with the file.
func (b *batch) remove(m queue.Message) error {
	b.now.counters.Account.Accepted -= int64(len(m.Envelope.Recipients))
	b.now.counters.count(m, -1)
	if err := b.bucket(shelf(m)).Delete([]byte(m.ID)); err != nil {
		return err
	}
	if !m.Waits() {
		return nil
	}
	return b.bucket(bucketDue).Delete(dueKey(m))
}

// finishMoves takes messages out of their old generation which the last
// process had written to a younger one.
func (s *Store) finishMoves() error {
	byNumber := map[int]*generation{}
	for _, g := range s.generations {
		byNumber[g.number] = g
		last, err := g.lastMoving()
		if err != nil {
			return err
		}
		from := byNumber[last.From]
		for _, id := range last.IDs {
			if from == nil {
				break
			}
			if err := from.finishMove(id, g); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *generation) lastMoving() (last moving, err error) {
	err = g.view(func(tx *bbolt.Tx) error {
		if raw := tx.Bucket(bucketMeta).Get(keyMoving); raw != nil {
			return decode(raw, &last)
		}
		return nil
	})
	return last, err
}

func (g *generation) finishMove(id queue.ID, to *generation) error {
	here, err := g.has(id)
	if err != nil || !here {
		return err
	}
	if there, err := to.has(id); err != nil || !there {
		return err
	}
	return g.do(context.Background(), func(b *batch) error {
		m, err := b.record(id)
		if err != nil {
			return err
		}
		return b.remove(m)
	})
}
