package admintest

import (
	"context"
	"io"
	"iter"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// Store is a store in memory with a hook before each thing that admin does
// with it. A hook that is nil does nothing; its error is the store's.
type Store struct {
	*queuetest.Memory
	OnStats   func(*queue.Stats) error
	OnList    func(nth int) error // before the nth message, from 0, and at the end
	OnMessage func(queue.ID) error
	OnAmend   func(queue.Amendment) error
	OnAdopt   func(queue.Adoption) error
	OnNote    func(queue.Entry) error
	OnContent func(queue.ID) error
	OnLedger  func(nth int) error // as OnList
}

var _ admin.Store = (*Store)(nil)

// NewStore makes an empty store.
func NewStore() *Store { return &Store{Memory: queuetest.New()} }

func ask[T any](hook func(T) error, about T) error {
	if hook == nil {
		return nil
	}
	return hook(about)
}

// hooked asks the hook before each value of a list and at its end.
func hooked[T any](list iter.Seq2[T, error], hook func(int) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		nth := 0
		for v, err := range list {
			if broken := ask(hook, nth); broken != nil {
				yield(none, broken)
				return
			}
			if !yield(v, err) {
				return
			}
			nth++
		}
		if broken := ask(hook, nth); broken != nil {
			yield(none, broken)
		}
	}
}

// Stats counts; the hook may change what it counts.
func (s *Store) Stats(ctx context.Context) (queue.Stats, error) {
	stats, err := s.Memory.Stats(ctx)
	stats.DiskFree = 19 << 30
	if err == nil {
		err = ask(s.OnStats, &stats)
	}
	return stats, err
}

// Messages lists.
func (s *Store) Messages(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return hooked(s.Memory.Messages(ctx, f), s.OnList)
}

// Ledger lists.
func (s *Store) Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error] {
	return hooked(s.Memory.Ledger(ctx, f), s.OnLedger)
}

// Message finds one.
func (s *Store) Message(ctx context.Context, id queue.ID) (queue.Message, error) {
	if err := ask(s.OnMessage, id); err != nil {
		return queue.Message{}, err
	}
	return s.Memory.Message(ctx, id)
}

// Amend changes one.
func (s *Store) Amend(ctx context.Context, a queue.Amendment) error {
	if err := ask(s.OnAmend, a); err != nil {
		return err
	}
	return s.Memory.Amend(ctx, a)
}

// Adopt brings in one.
func (s *Store) Adopt(ctx context.Context, a queue.Adoption, content io.Reader) (queue.ID, error) {
	if err := ask(s.OnAdopt, a); err != nil {
		return "", err
	}
	return s.Memory.Adopt(ctx, a, content)
}

// Note adds a ledger line.
func (s *Store) Note(ctx context.Context, e queue.Entry) error {
	if err := ask(s.OnNote, e); err != nil {
		return err
	}
	return s.Memory.Note(ctx, e)
}

// Content opens the content.
func (s *Store) Content(ctx context.Context, id queue.ID) (io.ReadCloser, error) {
	if err := ask(s.OnContent, id); err != nil {
		return nil, err
	}
	return s.Memory.Content(ctx, id)
}

// Accept takes a message with a header and a body into custody.
func (s *Store) Accept(ctx context.Context, content string, a queue.Acceptance) (queue.ID, error) {
	draft, err := s.Create(ctx)
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(draft, content); err != nil {
		return "", err
	}
	return draft.ID(), draft.Commit(ctx, a)
}

// Snapshot is every message and every ledger line: what a request could have changed.
func (s *Store) Snapshot(ctx context.Context) (all []any) {
	for m, err := range s.Memory.Messages(ctx, queue.Filter{States: queue.States()}) {
		all = append(all, m, err)
	}
	for e, err := range s.Memory.Ledger(ctx, queue.LedgerFilter{}) {
		all = append(all, e, err)
	}
	return all
}
