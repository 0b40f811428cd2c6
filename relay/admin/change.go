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
	"hold": queue.Hold, "release": queue.Release, "retry": queue.Retry, "delete": queue.Delete, "undelete": queue.Undelete,
}

const (
	maxReason  = 1000 // bytes of an operator's reason
	sampleSize = 3    // messages shown of a set
	amenders   = 32   // amendments on their way to the store: it commits together what comes together
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
	if err := s.amend(r.Context(), set, amendment); err != nil {
		return nil, err
	}
	return set, nil
}

// parse checks a request before anything is looked at.
func (c ChangeRequest) parse() (queue.Filter, error) {
	_, known := verbs[c.Verb]
	switch {
	case !known:
		return queue.Filter{}, fail(CodeBadRequest, "no verb %q (there are hold release retry delete undelete)", c.Verb)
	case len(c.Where) == 0 && !c.All:
		return queue.Filter{}, fail(CodeNoSelection, "no selection: %s would apply to every message", c.Verb)
	case len(c.Reason) > maxReason:
		return queue.Filter{}, fail(CodeBadRequest, "reason of %d bytes; %d are allowed", len(c.Reason), maxReason)
	case c.Verb == "delete" && c.Reason == "" && !c.DryRun:
		return queue.Filter{}, fail(CodeReasonRequired, "delete needs a reason")
	case c.Verb == "delete" && c.IfCount == nil && !c.DryRun:
		return queue.Filter{}, fail(CodeCountRequired, "delete needs the number of messages that it is meant for")
	}
	f, err := queue.ParseFilter(c.Where)
	if c.Verb == "undelete" && f.States == nil && f.IDs == nil {
		f.States = []queue.State{queue.StateDeleted}
	}
	return f, err
}

// gather looks for the messages that the amendment applies to, and changes nothing.
func (s *Server) gather(ctx context.Context, request ChangeRequest, f queue.Filter, a queue.Amendment) (*Change, error) {
	set := &Change{Schema: SchemaChange, Verb: request.Verb, DryRun: request.DryRun, Waiting: []string{}, IDs: []string{}, Sample: []Message{}}
	closed := s.gates(a.At)
	for m, err := range s.options.Store.Messages(ctx, f) {
		if err != nil {
			return nil, err
		}
		a.ID = m.ID
		_, entry, err := m.Amended(a)
		switch {
		case err != nil:
			set.Inapt++
		case a.Event == queue.Retry && !request.Now && closed[m.Envelope.Upstream] != "":
			set.wait(m.Envelope.Upstream)
		default:
			set.add(m, len(entry.Recipients))
			if len(set.Sample) < sampleSize {
				set.Sample = append(set.Sample, describe(m, closed, a.At))
			}
		}
	}
	return set, nil
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

// amend applies the amendment to the set, message by message. What has left
// or changed since is counted, any other error ends it.
func (s *Server) amend(ctx context.Context, set *Change, a queue.Amendment) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ids := make(chan queue.ID)
	var mu sync.Mutex // guards set.Done and set.Gone
	var workers sync.WaitGroup
	work := func() {
		for id := range ids {
			one := a
			one.ID = id
			err := s.options.Store.Amend(ctx, one)
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
	for _, id := range set.IDs {
		select {
		case ids <- queue.ID(id):
		case <-ctx.Done():
		}
	}
	close(ids)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return fail(asError(err).Code, "%s: %d of %d messages were done before this: %v", a.Event, set.Done, set.Count, err)
	}
	return nil
}
