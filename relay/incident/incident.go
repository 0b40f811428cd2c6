// Package incident keeps the incidents of all upstreams and reckons what became
// of their mail.
//
//	Book     the incidents, in memory and in health/history. It is asked on the
//	         path of mail (Stops, Lasts) and answers from memory.
//	Keeper   opens incidents when an upstream is down, moves them on, and closes
//	         them with their account: one goroutine, Run.
//	Reckon   joins an incident with the ledger and the queue: Figures.
//	Timeline joins it with the history: what happened, in the order of time.
//
// Guarantees: an incident is on disk before it is told, unless the history
// cannot be written; it then lives in memory, and status says so. No incident
// closes by itself before every recipient of its mail is accounted for:
//
//	accepted = delivered + queued + held + refused + failed + expired + deleted + set aside
//
// in recipients; what is missing on the right is the remainder. Losing the
// history loses evidence and the times in which clocks stood still, never mail.
//
// For whoever builds on the records:
//
//	Book.List, Book.Get        health.Incident: plain data, copies
//	Keeper.Record(ctx, id)     Record: the incident with Figures and timeline; what was reckoned when it was closed stays
//	Book.Note(id, Moment)      adds a line to the timeline, for example {What: "notified", Actor: "ops-sms"}
//	history.File.Samples       each probe and failed attempt, verbatim: between Incident.Began and ClosedAt
//	history.File.Changes       each change of state, override and condition
//	Mail(...)                  the ledger lines of the incident's mail
//
// Mail of an incident is what was accepted for its upstream from Incident.From
// until Incident.Until and was neither final nor refused at Incident.Began.
//
// What is logged, by event:
//
//	incident.opened, incident.moved, incident.closed   which, of what upstream, and why
//	incident.unsettled    why it does not close by itself
//	incident.unsaved      it could not be written
//	incident.forgotten    those that there were could not be read
//	incident.failed       the store could not be read
package incident

import (
	"context"
	"iter"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Store is what is needed of a queue.Store.
type Store interface {
	Messages(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error]
	Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error]
	Stats(ctx context.Context) (queue.Stats, error)
}

// History is what is needed of a history.File.
type History interface {
	PutIncident(health.Incident) error
	Incidents() ([]health.Incident, error)
	Samples(ctx context.Context, upstream string, from, until time.Time) iter.Seq2[health.Signal, error]
	Changes(ctx context.Context, upstream string, from, until time.Time) iter.Seq2[health.Change, error]
	Begun() time.Time
	Trouble() []string
}

// Record is an incident with all that is known of it.
type Record struct {
	Incident health.Incident `json:"incident"`
	Figures  Figures         `json:"figures"`
	Timeline []health.Moment `json:"timeline"`
}
