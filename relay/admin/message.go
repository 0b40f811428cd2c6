package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// view is what messages are described by: the instant, what stops deliveries
// now, and how long what is not wanted any more is kept.
type view struct {
	now    time.Time
	closed map[string]string // by upstream: why nothing is delivered to it now
	keep   queue.Keep
}

func (s *Server) view(now time.Time) view {
	v := view{now: now, closed: map[string]string{}, keep: s.options.Keep}
	for _, u := range s.options.Upstreams {
		switch {
		case u.Delivery().Paused.Active(now):
			v.closed[u.Name] = "paused"
		case u.Status().Effective(now) == health.Down:
			v.closed[u.Name] = "on_recovery"
		}
	}
	return v
}

// describe makes the wire form of a message.
func (v view) describe(m queue.Message) Message {
	o := m.Envelope.Origin
	d := Message{Schema: SchemaMessage, ID: string(m.ID), State: m.State().String(), Upstream: m.Envelope.Upstream,
		ReceivedAt: Time{m.AcceptedAt}, Attempts: m.Attempts, SizeBytes: m.Size, From: m.Envelope.ReversePath,
		MessageID: m.MessageID, HeldReason: m.Held, HeldAt: Time{m.HeldAt}, DeletedAt: Time{m.DeletedAt}, Purged: m.Purged, Damaged: m.Damaged,
		KeptUntil:  Time{v.keptUntil(m)},
		Digest:     m.Digest.String(),
		Client:     Origin{IP: o.Address, Host: o.Host, Hello: o.Hello, TLS: o.TLS, Reason: o.Reason},
		Auth:       DescribeAuth(o.Auth),
		Recipients: make([]Recipient, 0, len(m.Envelope.Recipients))}
	d.NextReason, d.NextAt = v.next(m)
	if len(m.Pending()) > 0 {
		d.ExpiresAt = Time{m.Expires(v.now)}
	}
	for i, r := range m.Envelope.Recipients {
		line := Recipient{Address: r.ForwardPath, State: m.RecipientState(i).String()}
		if r.Last != (queue.Result{}) {
			reply := describeResult(r.Last)
			line.LastReply = &reply
		}
		d.Recipients = append(d.Recipients, line)
	}
	return d
}

// next says what happens next with a message, and when, if the clock decides.
func (v view) next(m queue.Message) (reason string, at Time) {
	switch state := m.State(); {
	case state.Final():
		return "none", Time{}
	case state == queue.StateHeld, state == queue.StateRefused, state == queue.StateActive:
		return state.String(), Time{}
	case v.closed[m.Envelope.Upstream] != "":
		return v.closed[m.Envelope.Upstream], Time{}
	case m.NextAttempt.After(v.now):
		return "scheduled", Time{m.NextAttempt}
	}
	return "now", Time{m.NextAttempt}
}

// keptUntil is when a refused message goes to the trash, or a deleted one
// loses its content; zero for any other.
func (v view) keptUntil(m queue.Message) (until time.Time) {
	switch m.State() {
	case queue.StateDeleted:
		if !m.Purged {
			until = m.DeletedAt.Add(v.keep.Trash)
		}
	case queue.StateRefused:
		until = v.keep.Until(m)
	}
	return until
}

func describeResult(r queue.Result) Reply {
	return Reply{At: Time{r.At}, Outcome: r.Action.String(), Scope: r.Scope.String(), Command: r.Reply.Command,
		Code: r.Reply.Code, Enhanced: r.Reply.Enhanced, Text: r.Reply.Text, Host: r.Host, Address: r.Address,
		TookSeconds: Seconds(r.Took), MaybeDuplicate: r.MaybeDuplicate, Kept: string(r.Kept)}
}

func describeEntry(e queue.Entry) Entry {
	d := Entry{Schema: SchemaEntry, Seq: e.Seq, At: Time{e.At}, Event: string(e.Event), ID: string(e.ID), Attempt: e.Attempt,
		Actor: e.Actor, Reason: e.Reason, Upstream: e.Upstream, From: e.ReversePath, Recipients: e.Recipients,
		Results: make([]Reply, 0, len(e.Results)), MessageID: e.MessageID, SizeBytes: e.Size,
		Client: Origin{IP: e.Origin.Address, Host: e.Origin.Host, Hello: e.Origin.Hello, TLS: e.Origin.TLS, Reason: e.Origin.Reason},
		Auth:   DescribeAuth(e.Origin.Auth)}
	if d.Recipients == nil {
		d.Recipients = []string{}
	}
	for _, r := range e.Results {
		d.Results = append(d.Results, describeResult(r))
	}
	return d
}

func (s *Server) getMessage(r *http.Request) (any, error) {
	m, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return s.view(time.Now()).describe(m), nil
}

// find returns the message of an id or of the beginning of one.
func (s *Server) find(ctx context.Context, word string) (queue.Message, error) {
	word = strings.ToLower(word)
	if id, err := queue.ParseID(word); err == nil {
		return s.options.Store.Message(ctx, id)
	}
	var found []queue.Message
	for m, err := range readable(s.options.Store.Messages(ctx, queue.Filter{States: queue.States()})) {
		if err != nil {
			return queue.Message{}, err
		}
		if strings.HasPrefix(string(m.ID), word) {
			found = append(found, m)
		}
		if len(found) > 1 {
			return queue.Message{}, fail(CodeAmbiguous, "%q begins more than one message id, for example %s and %s", word, found[0].ID, found[1].ID)
		}
	}
	if len(found) == 0 {
		return queue.Message{}, fail(CodeNotFound, "no message with the id %q", word)
	}
	return found[0], nil
}
