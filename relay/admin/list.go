package admin

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// list streams the messages that match, then a Summary. In order of age it
// needs constant memory, in any other order one key for each message.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	var request ListRequest
	if err := read(r, &request); err != nil {
		writeError(w, err)
		return
	}
	l, err := request.parse()
	if err != nil {
		writeError(w, err)
		return
	}
	out := newStream(w)
	if l.key == nil {
		out.end(s.listByAge(r.Context(), l, out))
		return
	}
	out.end(s.listSorted(r.Context(), l, out))
}

// listing is a ListRequest that has been understood.
type listing struct {
	filter  queue.Filter
	all     bool                                   // it chooses everything that is not final
	key     func(queue.Message, time.Time) sortKey // nil: the store's own order will do
	reverse bool
	limit   int
}

// sortKey is what a listing is sorted by; equal ones stay in order of age.
type sortKey struct {
	number int64
	text   string
	id     queue.ID
}

// sortKeys has the orders. An id is in order of age by itself.
var sortKeys = map[string]func(m queue.Message, now time.Time) sortKey{
	"age":  func(m queue.Message, _ time.Time) sortKey { return sortKey{} },
	"size": func(m queue.Message, _ time.Time) sortKey { return sortKey{number: m.Size} },
	"from": func(m queue.Message, _ time.Time) sortKey {
		return sortKey{text: strings.ToLower(m.Envelope.ReversePath)}
	},
	"next":    func(m queue.Message, _ time.Time) sortKey { return sortKey{number: m.NextAttempt.UnixNano()} },
	"expires": func(m queue.Message, now time.Time) sortKey { return sortKey{number: m.Expires(now).UnixNano()} },
}

// parse checks a request.
func (l ListRequest) parse() (listing, error) {
	if l.Limit < 0 {
		return listing{}, fail(CodeBadRequest, "limit %d is below zero", l.Limit)
	}
	f, err := queue.ParseFilter(l.Where)
	if err != nil {
		return listing{}, err
	}
	by := cmp.Or(l.Sort, "age")
	key, ok := sortKeys[by]
	if !ok {
		return listing{}, fail(CodeBadRequest, "cannot sort by %q (there are age next expires size from)", by)
	}
	if by == "age" && !l.Reverse {
		key = nil
	}
	return listing{filter: f, all: len(l.Where) == 0, key: key, reverse: l.Reverse, limit: l.Limit}, nil
}

func (s *Server) listByAge(ctx context.Context, l listing, out *stream) error {
	v := s.view(time.Now())
	sum := Summary{Schema: SchemaSummary}
	for m, err := range s.options.Store.Messages(ctx, l.filter) {
		if errors.Is(err, queue.ErrDamaged) {
			sum.Damaged++
			continue
		}
		if err != nil {
			return err
		}
		sum.add(m)
		if l.limit > 0 && sum.Shown == l.limit {
			continue
		}
		if err := out.write(v.describe(m)); err != nil {
			return err
		}
		if sum.Shown++; sum.Shown != l.limit {
			continue
		}
		if l.all { // how many more there are, the counters know
			return s.summarizeAll(ctx, sum, out)
		}
		if err := out.flush(); err != nil { // nobody waits for the count of the rest
			return err
		}
	}
	return s.summarize(ctx, sum, out)
}

func (s *Server) listSorted(ctx context.Context, l listing, out *stream) error {
	v := s.view(time.Now())
	sum := Summary{Schema: SchemaSummary}
	var keys []sortKey
	for m, err := range s.options.Store.Messages(ctx, l.filter) {
		if errors.Is(err, queue.ErrDamaged) {
			sum.Damaged++
			continue
		}
		if err != nil {
			return err
		}
		sum.add(m)
		k := l.key(m, v.now)
		k.id = m.ID
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b sortKey) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.text, b.text), cmp.Compare(a.id, b.id))
	})
	if l.reverse {
		slices.Reverse(keys)
	}
	for _, k := range keys {
		if l.limit > 0 && sum.Shown == l.limit {
			break
		}
		m, err := s.options.Store.Message(ctx, k.id)
		if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) { // it went meanwhile
			continue
		}
		if err != nil {
			return err
		}
		if err := out.write(v.describe(m)); err != nil {
			return err
		}
		sum.Shown++
	}
	return s.summarize(ctx, sum, out)
}

// readable leaves out what cannot be read: the status counts it.
func readable[T any](list iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range list {
			if !errors.Is(err, queue.ErrDamaged) && !yield(v, err) {
				return
			}
		}
	}
}

func (s *Summary) add(m queue.Message) {
	s.Matching++
	s.MatchingBytes += m.Size
}

// summarize ends a listing with its totals.
func (s *Server) summarize(ctx context.Context, sum Summary, out *stream) error {
	stats, err := s.options.Store.Stats(ctx)
	if err != nil {
		return err
	}
	sum.total(stats)
	return out.write(sum)
}

// summarizeAll ends a listing of everything that was left early.
func (s *Server) summarizeAll(ctx context.Context, sum Summary, out *stream) error {
	stats, err := s.options.Store.Stats(ctx)
	if err != nil {
		return err
	}
	sum.total(stats)
	sum.Damaged = int(stats.Unreadable)
	sum.Matching, sum.MatchingBytes = max(sum.Shown, int(sum.Queued)-sum.Damaged), max(sum.MatchingBytes, stats.Bytes)
	return out.write(sum)
}

func (s *Summary) total(stats queue.Stats) {
	for _, n := range stats.Messages {
		s.Queued += n
	}
	s.QueuedBytes = stats.Bytes
}
