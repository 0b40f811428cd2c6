package queuetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/mxkeep/mxkeep/queue"
)

type draft struct {
	store   *Memory
	id      queue.ID
	content bytes.Buffer
	ended   bool
}

func (d *draft) ID() queue.ID { return d.id }

func (d *draft) Write(p []byte) (int, error) {
	if d.ended {
		return 0, d.over()
	}
	return d.content.Write(p)
}

func (d *draft) Content() (io.ReadCloser, error) {
	if d.ended {
		return nil, d.over()
	}
	return &reader{rest: bytes.Clone(d.content.Bytes()), end: io.EOF}, nil
}

func (d *draft) Commit(ctx context.Context, a queue.Acceptance) error {
	if d.ended {
		return d.over()
	}
	d.ended = true
	s := d.store
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	delete(s.drafts, d.id)
	if a.Envelope.Cause == (queue.Cause{}) {
		if err := s.room(a.Envelope.Upstream, int64(d.content.Len())); err != nil {
			return fmt.Errorf("%s: %w", d.id, err)
		}
	} else {
		if s.causes[a.Envelope.Cause] {
			return fmt.Errorf("%s: %w", d.id, queue.ErrExists)
		}
		s.causes[a.Envelope.Cause] = true
	}
	received := bytes.Clone(d.content.Bytes())
	m, entry := queue.Accept(d.id, a, int64(len(received)), sha256.Sum256(received))
	s.messages[d.id] = &held{message: clone(m), trace: slices.Clone(a.Trace), received: received}
	s.accepted += int64(len(m.Envelope.Recipients))
	s.write(entry)
	s.wake(m)
	return nil
}

func (d *draft) Abort() error {
	d.ended = true
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	delete(d.store.drafts, d.id)
	return nil
}

func (d *draft) over() error { return fmt.Errorf("draft %s has ended: %w", d.id, queue.ErrState) }

// reader reads a copy; end is what the last Read says.
type reader struct {
	rest []byte
	end  error
}

func (r *reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, r.end
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *reader) Close() error { return nil }
