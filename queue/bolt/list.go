package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// One transaction reads at most pageLength pairs. A source begins with one, and
// then with pageGrowth times as many: of most files a listing that is soon left
// needs to know only where they begin.
const (
	pageLength = 64
	pageGrowth = 8
	pageBytes  = 256 << 10 // of values, and one more
)

// pair is a key and its value, copied.
type pair struct{ key, value []byte }

// page reads up to length pairs of some buckets in order of their keys, after one
// key and before another; nil is open. It stops as well at pageBytes, and says
// whether that was the end.
func (g *generation) page(names [][]byte, after, end []byte, length int) (page []pair, ended bool, err error) {
	type position struct {
		cursor     *bbolt.Cursor
		key, value []byte
	}
	last := after
	err = g.view(func(tx *bbolt.Tx) error {
		var open []*position
		for _, name := range names {
			p := &position{cursor: tx.Bucket(name).Cursor()}
			p.key, p.value = p.cursor.Seek(after)
			if p.key != nil && bytes.Equal(p.key, after) {
				p.key, p.value = p.cursor.Next()
			}
			open = append(open, p)
		}
		for size := 0; len(page) < length && size < pageBytes; {
			open = slices.DeleteFunc(open, func(p *position) bool {
				return p.key == nil || end != nil && bytes.Compare(p.key, end) >= 0
			})
			if len(open) == 0 {
				ended = true
				break
			}
			first := slices.MinFunc(open, func(a, b *position) int { return bytes.Compare(a.key, b.key) })
			if bytes.Compare(first.key, last) <= 0 && last != nil { // who reads on behind it would never come to an end
				return fmt.Errorf("%s: %w: key %q comes after %q", g.name(), ErrDamagedFile, first.key, last)
			}
			last = first.key
			page = append(page, pair{bytes.Clone(first.key), g.store.values.copied(first.value)})
			size += len(first.value)
			first.key, first.value = first.cursor.Next()
		}
		return nil
	})
	if errors.Is(err, ErrDamagedFile) && g.opened {
		err = g.suspect(err)
	}
	return page, ended, err
}

// source reads pairs of one generation page by page.
type source struct {
	generation *generation
	buckets    [][]byte
	after, end []byte
	length     int  // of the next page
	long       bool // several pages have been read, and others follow
	rest       []pair
	ended      bool
}

func (g *generation) source(buckets [][]byte, after, end []byte) *source {
	return &source{generation: g, buckets: buckets, after: after, end: end, length: 1}
}

// fill reads the next page if there is nothing left of the one before.
func (s *source) fill() error {
	if len(s.rest) > 0 || s.ended {
		return nil
	}
	page, ended, err := s.generation.page(s.buckets, s.after, s.end, s.length)
	if err != nil {
		return err
	}
	s.rest, s.ended = page, ended
	if long := s.length == pageLength && !ended; long != s.long {
		s.long = long
		err = s.generation.view(func(tx *bbolt.Tx) error { readOn(tx, long); return nil })
	}
	s.length = min(s.length*pageGrowth, pageLength)
	if len(page) > 0 {
		s.after = page[len(page)-1].key
	}
	return err
}

// pairs lists the pairs of some buckets in order of their keys.
func (g *generation) pairs(ctx context.Context, buckets [][]byte) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		for s := g.source(buckets, nil, nil); ; s.rest = s.rest[1:] {
			first, _, err := fillAll(ctx, []*source{s})
			if err != nil {
				yield(pair{}, err)
				return
			}
			if first == nil || !yield(s.rest[0], nil) {
				return
			}
		}
	}
}

// merge yields the pairs of all sources in order of their keys. Where a key is
// in two, the later source wins. The last error is errMoved when the layout has
// changed since: a pair may have slipped by from one source to another.
func (s *Store) merge(ctx context.Context, layout uint64, sources []*source) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		for {
			first, second, err := fillAll(ctx, sources)
			if err == nil && s.layout.Load() != layout {
				err = errMoved
			}
			if err != nil {
				yield(pair{}, err)
				return
			}
			if first == nil {
				return
			}
			for again := true; again && s.layout.Load() == layout; again = first.isBefore(second) {
				p := first.rest[0]
				first.rest = first.rest[1:]
				if bytes.Equal(p.key, second) {
					passOver(sources, second)
				}
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

// isBefore reports whether what is left of the page begins before a key; nil is the end.
func (s *source) isBefore(key []byte) bool {
	return len(s.rest) > 0 && (key == nil || bytes.Compare(s.rest[0].key, key) < 0)
}

// passOver takes a key out of the sources that begin with it.
func passOver(sources []*source, key []byte) {
	for _, s := range sources {
		if len(s.rest) > 0 && bytes.Equal(s.rest[0].key, key) {
			s.rest = s.rest[1:]
		}
	}
}

// fillAll returns the source with the first pair, nil at the end of all, and the
// first key of the others, nil if they have none. Of equal keys the later source
// has the first.
func fillAll(ctx context.Context, sources []*source) (first *source, second []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for _, s := range sources {
		if err := s.fill(); err != nil {
			return nil, nil, err
		}
		switch {
		case len(s.rest) == 0:
		case first == nil:
			first = s
		case bytes.Compare(s.rest[0].key, first.rest[0].key) <= 0:
			first, second = s, first.rest[0].key
		case second == nil || bytes.Compare(s.rest[0].key, second) < 0:
			second = s.rest[0].key
		}
	}
	return first, second, nil
}

// part lists the same range of every generation, as long as the layout is that
// one: the last error may be errMoved.
func (s *Store) part(ctx context.Context, layout uint64, buckets [][]byte, after, end []byte) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		all, err := s.all()
		if err != nil {
			yield(pair{}, err)
			return
		}
		var sources []*source
		for _, g := range all {
			sources = append(sources, g.source(buckets, after, end))
		}
		for p, err := range s.merge(ctx, layout, sources) {
			if !yield(p, err) {
				return
			}
		}
	}
}

// walk lists the same range of every generation, and begins again behind the
// last pair when the layout has changed.
func (s *Store) walk(ctx context.Context, buckets [][]byte, after, end []byte) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		for again := true; again; {
			again = false
			for p, err := range s.part(ctx, s.layout.Load(), buckets, after, end) {
				if again = errors.Is(err, errMoved); again {
					break
				}
				if !yield(p, err) {
					return
				}
				after = p.key
			}
		}
	}
}

// Due lists what is due for the upstream at now, earliest first.
func (s *Store) Due(ctx context.Context, upstream string, now time.Time) iter.Seq2[queue.Summary, error] {
	return func(yield func(queue.Summary, error) bool) {
		for p, err := range s.walk(ctx, [][]byte{bucketDue}, duePrefix(upstream), dueTime(duePrefix(upstream), now.Add(1))) {
			var summary queue.Summary
			if err == nil {
				summary, err = decodeSummary(p.key, p.value)
			}
			if errors.Is(err, queue.ErrDamaged) { // it must not keep others from being delivered
				s.options.Log.Error("schedule.damaged", "error", err)
				if summary, err = s.summarize(ctx, p.key); errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) {
					continue
				}
			}
			if !yield(summary, err) || err != nil {
				return
			}
		}
	}
}

// summarize makes the summary that a due key should have had from its message.
func (s *Store) summarize(ctx context.Context, key []byte) (queue.Summary, error) {
	id, err := queue.ParseID(string(key[max(0, len(key)-idSize):]))
	if err != nil {
		return queue.Summary{}, queue.ErrNotFound
	}
	m, err := s.Message(ctx, id)
	return queue.Summarize(m), err
}

// Message returns one message.
func (s *Store) Message(ctx context.Context, id queue.ID) (queue.Message, error) {
	if err := ctx.Err(); err != nil {
		return queue.Message{}, err
	}
	for {
		g, err := s.home(id)
		if err != nil {
			return queue.Message{}, err
		}
		m, err := g.message(id)
		if !errors.Is(err, errMoved) {
			return s.withStops(m), err
		}
	}
}

// withStops is the message with what stops its clock.
func (s *Store) withStops(m queue.Message) queue.Message {
	m.Stops = s.options.Stops(m.Envelope.Upstream)
	return m
}

// Messages lists what matches, in order of ID.
func (s *Store) Messages(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		found := 0
		for m, err := range s.candidates(ctx, f) {
			m = s.withStops(m)
			switch {
			case err == nil && !f.Match(m, time.Now()):
				continue
			case err == nil:
				found++
			}
			if !yield(m, err) || err != nil && !errors.Is(err, queue.ErrDamaged) || found == f.Limit && f.Limit > 0 {
				return
			}
		}
	}
}

// candidates lists what the filter may choose.
func (s *Store) candidates(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	if len(f.IDs) > 0 {
		return s.byID(ctx, f.IDs)
	}
	buckets := [][]byte{bucketLive}
	if slices.ContainsFunc(f.States, queue.State.Final) {
		buckets = shelves()
	}
	pairs := s.walk(ctx, buckets, nil, nil)
	if 0 < f.Limit && f.Limit < batchRecords {
		return inLine(pairs)
	}
	return s.ahead(pairs)
}

func (s *Store) byID(ctx context.Context, ids []queue.ID) iter.Seq2[queue.Message, error] {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return func(yield func(queue.Message, error) bool) {
		for _, id := range slices.Compact(ids) {
			m, err := s.Message(ctx, id)
			if errors.Is(err, queue.ErrNotFound) {
				continue
			}
			if !yield(m, err) {
				return
			}
		}
	}
}
