package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mxkeep/mxkeep/queue"
)

// Bounces is how messages are given up. The zero Bounces allows none.
type Bounces struct {
	// May says which recipients of a message may be given up now, because its
	// sender may be told, and why each of the others that is not final may not:
	// a queue.KeptFor, or "" for its state.
	May func(m queue.Message) (of []int, why map[int]string)
	// Tell puts the notification into the queue. Once more is no error, and makes no second one.
	Tell func(ctx context.Context, m queue.Message, of []int) error
}

// keptWords say for people why a sender is not told.
var keptWords = map[queue.KeptFor]string{
	queue.KeptHold:            "the reply is not about the recipient alone, or is not understood",
	queue.KeptOff:             "notifications are off: see dsn.via in the configuration",
	queue.KeptNullSender:      "there is no sender to tell: it is a notification itself",
	queue.KeptUnauthenticated: "the sender may be forged: neither SPF nor an aligned DKIM signature passed when it came",
	queue.KeptNever:           "the sender does not want to be told (NOTIFY)",
	queue.KeptIncident:        "the upstream is, or was lately, in trouble, and its refusals are not believed",
	queue.KeptSpike:           "the upstream refuses recipients that it has, and is not believed",
	queue.KeptRate:            "the sender has been told much already",
	queue.KeptUnsent:          "the notification could not be stored",
}

// KeptWords say for people why a refused recipient is kept; "" if it is not known.
func KeptWords(why string) string { return keptWords[queue.KeptFor(why)] }

// mayBounce says how many recipients of the message a bounce applies to, and
// counts why it does not apply to the others.
func (s *Server) mayBounce(m queue.Message, why map[string]int) int {
	if s.options.Bounces.May == nil {
		why[keptWords[queue.KeptOff]]++
		return 0
	}
	of, reasons := s.options.Bounces.May(m)
	seen := map[string]bool{}
	for _, reason := range reasons {
		words := cmp.Or(KeptWords(reason), "an attempt is running")
		if !seen[words] {
			seen[words] = true
			why[words]++
		}
	}
	return len(of)
}

// ranked sorts reasons, the most frequent first.
func ranked(why map[string]int) []Reason {
	list := []Reason{}
	for text, n := range why {
		list = append(list, Reason{text, n})
	}
	slices.SortFunc(list, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Text, b.Text))
	})
	return list
}

// apply makes one amendment.
func (s *Server) apply(ctx context.Context, a queue.Amendment) error {
	if a.Event == queue.Bounce {
		return s.bounce(ctx, a)
	}
	return s.options.Store.Amend(ctx, a)
}

// bounce gives one message up. It is held first, if it waits for an attempt, so
// that nothing is delivered that the sender is told has failed. If we stop on
// the way, it stays held or refused, and a second try makes no second notification.
func (s *Server) bounce(ctx context.Context, a queue.Amendment) error {
	m, err := s.options.Store.Message(ctx, a.ID)
	if err != nil {
		return err
	}
	of, _ := s.options.Bounces.May(m)
	if len(of) == 0 {
		return fmt.Errorf("bounce of %s: %w", a.ID, queue.ErrState)
	}
	if m.Waits() {
		hold := a
		hold.Event, hold.Reason = queue.Hold, "being given up: "+a.Reason
		if err := s.options.Store.Amend(ctx, hold); err != nil {
			return err
		}
		if m, err = s.options.Store.Message(ctx, a.ID); err != nil {
			return err
		}
		of = slices.DeleteFunc(of, func(i int) bool { return !m.MayGiveUp(i, a.At) }) // an attempt began a moment before
	}
	if len(of) == 0 {
		return fmt.Errorf("bounce of %s: %w", a.ID, errors.Join(queue.ErrState, s.unhold(ctx, a)))
	}
	if err := s.options.Bounces.Tell(ctx, m, of); err != nil {
		return err
	}
	a.Of = of
	return s.options.Store.Amend(ctx, a)
}

// unhold takes the hold back that bounce has made.
func (s *Server) unhold(ctx context.Context, a queue.Amendment) error {
	a.Event, a.Reason = queue.Release, "an attempt had begun"
	return s.options.Store.Amend(ctx, a)
}
