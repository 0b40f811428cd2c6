package admintest

import (
	"context"
	"time"

	"github.com/mxkeep/mxkeep/relay/incident"
)

// Evidence hands on the record of an incident, the changes, and what the test has set.
func (i *Incidents) Evidence(ctx context.Context, id string, emit func(incident.Piece) error) error {
	record, err := i.Record(ctx, id)
	if err != nil {
		return err
	}
	pieces := []incident.Piece{{Head: &incident.Head{At: time.Now(), Record: record}}}
	for _, c := range i.History {
		pieces = append(pieces, incident.Piece{Change: &c})
	}
	for _, p := range append(pieces, i.Pieces...) {
		if err := emit(p); err != nil {
			return err
		}
	}
	return nil
}
