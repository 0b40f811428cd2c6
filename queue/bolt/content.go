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

// chunk appends one chunk to buffer; nothing if there is none.
func (g *generation) chunk(id queue.ID, number int, buffer []byte) ([]byte, error) {
	err := g.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketContent).Bucket(chunkKey(id, number)); b != nil {
			buffer = append(buffer, b.Get(keyBytes)...)
		}
		return nil
	})
	return buffer, err
}

// Content reads the trace header lines and then the bytes as received.
func (s *Store) Content(ctx context.Context, id queue.ID) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		g, err := s.home(id)
		if err != nil {
			return nil, err
		}
		r, err := g.content(id)
		if !errors.Is(err, errMoved) {
			return r, err
		}
	}
}

func (g *generation) content(id queue.ID) (io.ReadCloser, error) {
	var record, trace []byte
	err := g.view(func(tx *bbolt.Tx) error {
		_, found := findRecord(tx, id)
		record, trace = bytes.Clone(found), bytes.Clone(tx.Bucket(bucketTraces).Get([]byte(id)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if record == nil {
		return nil, fmt.Errorf("%s: %w", id, errMoved)
	}
	m, err := decodeMessage(id, record)
	if err != nil {
		return nil, err
	}
	if m.Purged {
		return nil, fmt.Errorf("content of %s: %w", id, queue.ErrNotFound)
	}
	r := &contentReader{generation: g, message: m, sum: sha256.New()}
	if r.rest, err = decodeTrace(id, trace); err != nil {
		return nil, err
	}
	return r, nil
}

// contentReader holds one chunk at a time and no transaction. When its
// generation goes, it reads on where the message has moved.
type contentReader struct {
	generation *generation
	message    queue.Message
	rest       []byte // of the trace or of a chunk
	buffer     []byte // for one chunk
	next       int    // number of the next chunk
	size       int64  // read so far, without the trace
	sum        hash.Hash
}

func (r *contentReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.size >= r.message.Size {
			return 0, r.verdict()
		}
		chunk, err := r.generation.chunk(r.message.ID, r.next, r.buffer[:0])
		if errors.Is(err, errMoved) {
			var g *generation
			if g, err = r.generation.store.home(r.message.ID); err == nil {
				r.generation = g
				continue
			}
		}
		if err != nil {
			return 0, err
		}
		if len(chunk) == 0 {
			return 0, r.verdict()
		}
		r.next++
		r.rest, r.buffer = chunk, chunk
		r.size += int64(len(chunk))
		r.sum.Write(chunk)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// verdict is what follows the last byte.
func (r *contentReader) verdict() error {
	if r.size == r.message.Size && queue.Digest(r.sum.Sum(nil)) == r.message.Digest {
		return io.EOF
	}
	return fmt.Errorf("content of %s: %w", r.message.ID, queue.ErrDamaged)
}

func (r *contentReader) Close() error { return nil }

// draftReader reads the chunks of a draft and then what is in memory.
type draftReader struct {
	generation *generation
	id         queue.ID
	next       int
	chunks     int
	rest, last []byte
	buffer     []byte // for one chunk
}

func (r *draftReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *draftReader) advance() error {
	if r.next == r.chunks {
		r.rest, r.last = r.last, nil
		if len(r.rest) == 0 {
			return io.EOF
		}
		return nil
	}
	chunk, err := r.generation.chunk(r.id, r.next, r.buffer[:0])
	if err != nil {
		return err
	}
	if len(chunk) == 0 {
		return fmt.Errorf("draft %s has ended: %w", r.id, queue.ErrState)
	}
	r.next++
	r.rest, r.buffer = chunk, chunk
	return nil
}

func (r *draftReader) Close() error { return nil }
