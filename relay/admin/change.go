package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// verbs are the events that a ChangeRequest may ask for.
var verbs = map[string]queue.Event{
	"hold": queue.Hold, "release": queue.Release, "retry": queue.Retry, "delete": queue.Delete, "undelete": queue.Undelete, "bounce": queue.Bounce,
}

const (
	maxReason  = 1000 // bytes of an operator's reason
	sampleSize = 3    // messages shown of a set
	amenders   = 32   // amendments on their way to the store: it commits together what comes together
	maxSpread  = 24 * time.Hour
)

// change finds the set that a verb applies to and, unless it is a dry run, applies it.
func (s *Server) change(r *http.Request) (any, error) {
	var request ChangeRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	filter, err := request.parse()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	amendment := queue.Amendment{At: now, Event: verbs[request.Verb], Actor: actor(r.Context()), Reason: request.Reason}
	set, err := s.gather(r.Context(), request, filter, amendment)
	if err != nil {
		return nil, err
	}
	if request.DryRun || set.Count == 0 && request.IfCount == nil {
		return set, nil
	}
	if want := request.IfCount; want != nil && *want != set.Count {
		return nil, fail(CodeCountChanged, "%d messages match now, not %d; nothing was changed", set.Count, *want)
	}
	if err := s.amend(r.Context(), set, amendment, Duration(request.SpreadSeconds)); err != nil {
		return nil, err
	}
	return set, nil
}

// parse checks a request before anything is looked at.
func (c ChangeRequest) parse() (queue.Filter, error) {
	_, known := verbs[c.Verb]
	switch {
	case !known:
		return queue.Filter{}, fail(CodeBadRequest, "no verb %q (there are hold release retry delete undelete bounce)", c.Verb)
	case len(c.Where) == 0 && !c.All:
		return queue.Filter{}, fail(CodeNoSelection, "no selection: %s would apply to every message", c.Verb)
	case len(c.Reason) > maxReason:
		return queue.Filter{}, fail(CodeBadRequest, "reason of %d bytes; %d are allowed", len(c.Reason), maxReason)
	case c.Limit < 0:
		return queue.Filter{}, fail(CodeBadRequest, "limit %d is below zero", c.Limit)
	case !(c.SpreadSeconds >= 0 && c.SpreadSeconds <= maxSpread.Seconds()):
		return queue.Filter{}, fail(CodeBadRequest, "spread over %g seconds; at most %g are allowed", c.SpreadSeconds, maxSpread.Seconds())
	case c.SpreadSeconds > 0 && c.Verb != "retry":
		return queue.Filter{}, fail(CodeBadRequest, "%s cannot be spread, only retry can", c.Verb)
	case c.severe() && c.Reason == "" && !c.DryRun:
		return queue.Filter{}, fail(CodeReasonRequired, "%s needs a reason", c.Verb)
	case c.severe() && c.IfCount == nil && !c.DryRun:
		return queue.Filter{}, fail(CodeCountRequired, "%s needs the number of messages that it is meant for", c.Verb)
	}
	f, err := queue.ParseFilter(c.Where)
	if c.Verb == "undelete" && f.States == nil && f.IDs == nil {
		f.States = []queue.State{queue.StateDeleted}
	}
	return f, err
}

// severe reports whether the verb wants a reason and the number of messages.
func (c ChangeRequest) severe() bool { return c.Verb == "delete" || c.Verb == "bounce" }

// gather looks for the messages that the amendment applies to, and changes nothing.
func (s *Server) gather(ctx context.Context, request ChangeRequest, f queue.Filter, a queue.Amendment) (*Change, error) {
	set := &Change{Schema: SchemaChange, Verb: request.Verb, DryRun: request.DryRun, Waiting: []string{}, IDs: []string{}, Sample: []Message{}, MayNot: []Reason{}}
	why := map[string]int{} // a bounce does not apply
	v := s.view(a.At)
	if a.Event == queue.Delete {
		set.KeptUntil = Time{a.At.Add(v.keep.Trash)}
	}
	for m, err := range readable(s.options.Store.Messages(ctx, f)) {
		if err != nil {
			return nil, err
		}
		if request.Limit > 0 && set.Count == request.Limit {
			break
		}
		a.ID = m.ID
		recipients := s.touched(m, a, why)
		switch {
		case recipients == 0:
			set.Inapt++
		case a.Event == queue.Retry && !request.Now && v.closed[m.Envelope.Upstream] != "":
			set.wait(m.Envelope.Upstream)
		default:
			set.add(m, recipients)
			if len(set.Sample) < sampleSize {
				set.Sample = append(set.Sample, v.describe(m))
			}
		}
	}
	set.MayNot = ranked(why)
	return set, nil
}

// touched is to how many recipients of the message the amendment applies.
func (s *Server) touched(m queue.Message, a queue.Amendment, why map[string]int) int {
	if a.Event == queue.Bounce {
		return s.mayBounce(m, why)
	}
	_, entry, err := m.Amended(a)
	if err != nil {
		return 0
	}
	return len(entry.Recipients)
}

func (c *Change) wait(upstream string) {
	c.WaitingCount++
	if !slices.Contains(c.Waiting, upstream) {
		c.Waiting = append(c.Waiting, upstream)
	}
}

func (c *Change) add(m queue.Message, recipients int) {
	c.Count++
	c.Bytes += m.Size
	c.Recipients += recipients
	c.IDs = append(c.IDs, string(m.ID))
	if c.Oldest.IsZero() || m.AcceptedAt.Before(c.Oldest.Time) {
		c.Oldest = Time{m.AcceptedAt}
	}
	if m.AcceptedAt.After(c.Newest.Time) {
		c.Newest = Time{m.AcceptedAt}
	}
}

// amend applies the amendment to the set, message by message, a retry evenly
// over the time of spread. What has left or changed since is counted, any
// other error ends it.
func (s *Server) amend(ctx context.Context, set *Change, a queue.Amendment, spread time.Duration) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	amendments := make(chan queue.Amendment) // closed when all are handed out
	var mu sync.Mutex                        // guards set.Done and set.Gone
	var workers sync.WaitGroup
	work := func() {
		for one := range amendments {
			err := s.apply(ctx, one)
			mu.Lock()
			switch {
			case err == nil:
				set.Done++
			case errors.Is(err, queue.ErrNotFound), errors.Is(err, queue.ErrState):
				set.Gone++
			default:
				stop(err)
			}
			mu.Unlock()
		}
	}
	for range min(amenders, len(set.IDs)) {
		workers.Go(work)
	}
	for i, id := range set.IDs {
		share := float64(i) / float64(len(set.IDs))
		a.ID, a.Next = queue.ID(id), a.At.Add(time.Duration(share*float64(spread)))
		select {
		case amendments <- a:
		case <-ctx.Done():
		}
	}
	close(amendments)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return fail(asError(err).Code, "%s: %d of %d messages were done before this: %v", a.Event, set.Done, set.Count, err)
	}
	return nil
}
