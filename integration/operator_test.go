package integration

import (
	"context"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// operate does to some messages what an operator can do, and undoes it. A life
// that ends meanwhile leaves some undone, for the next one.
func (o *ordeal) operate() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, verb := range []string{"hold", "release", "delete", "undelete", "retry", "hold"} {
		request := admin.ChangeRequest{Select: admin.Select{All: true}, Verb: verb, Reason: "an ordeal"}
		if verb == "hold" || verb == "delete" {
			request.Limit = 10
		}
		if verb == "delete" { // wants to know of how many
			request.DryRun = true
			some, err := o.client.Change(ctx, request)
			if err != nil {
				continue // the life has ended, or it is full of changes
			}
			request.DryRun, request.IfCount = false, &some.Count
		}
		change, err := o.client.Change(ctx, request)
		if err == nil {
			o.changes.Add(int64(change.Done))
		}
	}
}

// undo undoes what operators have left behind. The life must not end.
func (o *ordeal) undo(l *life) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, verb := range []string{"undelete", "release"} {
		if _, err := o.client.Change(ctx, admin.ChangeRequest{Select: admin.Select{All: true}, Verb: verb, Reason: "the end of an ordeal"}); err != nil {
			o.complain("life %d: %s: %v", l.number, verb, err)
		}
	}
}
