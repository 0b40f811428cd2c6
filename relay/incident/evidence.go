package incident

import (
	"context"
	"errors"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Piece is one piece of the evidence of an incident: one member is set. They
// come in the order of the members, and End is the last one.
type Piece struct {
	Head    *Head          `json:"head,omitempty"`
	Change  *health.Change `json:"change,omitempty"`
	Sample  *health.Signal `json:"sample,omitempty"`
	Line    *queue.Entry   `json:"line,omitempty"`
	Waiting *Waiting       `json:"waiting,omitempty"`
	End     *End           `json:"end,omitempty"`
}

// Head is what an account of an incident begins with.
type Head struct {
	At      time.Time `json:"at"`
	Relay   string    `json:"relay"` // our host name
	Version string    `json:"version"`
	Domains []string  `json:"domains"`
	Record  Record    `json:"record"`
}

// Waiting says how a message stands that is in the queue.
type Waiting struct {
	ID         queue.ID      `json:"id"`
	Recipients []string      `json:"recipients"`
	States     []queue.State `json:"states"`
}

// End says how complete the evidence is.
type End struct {
	Through   uint64 `json:"through"`    // number of the last ledger line that was read
	Unread    int64  `json:"unread"`     // lines and messages that are damaged
	NoHistory bool   `json:"no_history"` // changes or samples could not be read
}

// gathered hands on what it reads, and counts.
type gathered struct {
	incident health.Incident
	emit     func(Piece) error
	highest  queue.ID // of the mail of the incident
	after    uint64
	end      End
}

// Evidence calls emit with everything that is recorded of an incident: changes
// and samples while it lasted, and the ledger lines of its mail until now. Some
// lines may be of other mail: those of a message whose acceptance is not among
// them, which come without it. The memory it needs does not depend on how much
// there is, but for the figures of an incident that is not closed. ErrNotFound,
// an error of the store, or that of emit.
func (k *Keeper) Evidence(ctx context.Context, id string, emit func(Piece) error) error {
	at := time.Now()
	record, err := k.Record(ctx, id)
	if err != nil {
		return err
	}
	i := record.Incident
	record.Incident.Figures = nil // they are in the record
	if err := emit(Piece{Head: &Head{At: at, Record: record}}); err != nil {
		return err
	}
	g := &gathered{incident: i, emit: emit}
	if err := g.history(ctx, k.options.History); err != nil {
		return err
	}
	if err := g.ledger(ctx, k.options.Store, i.From); err != nil {
		return err
	}
	if err := g.queue(ctx, k.options.Store); err != nil {
		return err
	}
	unread := g.end.Unread
	if err := g.ledger(ctx, k.options.Store, at.Add(-again)); err != nil {
		return err
	}
	g.end.Unread = unread // the second reading met the same lines
	return emit(Piece{End: &g.end})
}

// History is read until an incident was closed, and a little before it began.
func (g *gathered) history(ctx context.Context, h History) error {
	i := g.incident
	for c, err := range h.Changes(ctx, i.Upstream, i.Began.Add(-around), i.ClosedAt) {
		if err != nil {
			g.end.NoHistory = true
			break
		}
		if err := g.emit(Piece{Change: &c}); err != nil {
			return err
		}
	}
	for s, err := range h.Samples(ctx, i.Upstream, i.Began, i.ClosedAt) {
		if err != nil {
			g.end.NoHistory = true
			break
		}
		if err := g.emit(Piece{Sample: &s}); err != nil {
			return err
		}
	}
	return nil
}

// ledger hands on the lines since an instant which were not handed on before.
// A message with an ID above all accepted ones cannot be of the incident.
func (g *gathered) ledger(ctx context.Context, store Store, since time.Time) error {
	after := g.after
	for e, err := range store.Ledger(ctx, queue.LedgerFilter{Since: since}) {
		switch {
		case errors.Is(err, queue.ErrDamaged):
			g.end.Unread++
			continue
		case err != nil:
			return err
		case e.Seq <= after:
			continue
		}
		g.after = max(g.after, e.Seq)
		g.end.Through = g.after
		if Begins(g.incident, e) {
			g.highest = max(g.highest, e.ID)
		}
		if e.ID == "" || e.ID > g.highest || e.Upstream != "" && e.Upstream != g.incident.Upstream {
			continue
		}
		if err := g.emit(Piece{Line: &e}); err != nil {
			return err
		}
	}
	return nil
}

// Begins reports whether a line takes mail of the incident into custody.
func Begins(i health.Incident, e queue.Entry) bool {
	return (e.Event == queue.Accepted || e.Event == queue.Adopted) && e.Upstream == i.Upstream && isOf(i, e.At)
}

func (g *gathered) queue(ctx context.Context, store Store) error {
	upstream := g.incident.Upstream
	f := queue.Filter{Where: []queue.Condition{func(m queue.Message, _ time.Time) bool { return m.Envelope.Upstream == upstream }}}
	for m, err := range store.Messages(ctx, f) {
		switch {
		case errors.Is(err, queue.ErrDamaged):
			g.end.Unread++
			continue
		case err != nil:
			return err
		case m.ID > g.highest:
			continue
		}
		w := Waiting{ID: m.ID}
		for n, r := range m.Envelope.Recipients {
			w.Recipients, w.States = append(w.Recipients, r.ForwardPath), append(w.States, m.RecipientState(n))
		}
		if err := g.emit(Piece{Waiting: &w}); err != nil {
			return err
		}
	}
	return nil
}
