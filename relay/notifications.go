package relay

import (
	"context"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dsn"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// newNotifier makes the one who tells senders, by what is configured.
func (r *Relay) newNotifier() *dsn.Notifier {
	o := notifierOptions(r.config, r.log)
	o.Store = r.store
	o.Outages = func(upstream string, from time.Time) (all []dsn.Outage) {
		for _, one := range r.book.Outages(upstream, from) {
			all = append(all, dsn.Outage(one))
		}
		return all
	}
	return dsn.New(o)
}

// existed reports whether a recipient is known to exist, or to have existed
// before its last refusal. That a domain has no source is no knowledge.
func (r *Relay) existed(recipient string) bool {
	path, err := smtp.ParsePath(recipient)
	if err != nil {
		return false
	}
	domain, err := smtp.ASCIIDomain(path.Domain)
	if err != nil { // the postmaster of no domain
		return false
	}
	a := r.recipients.Look(domain, path)
	return a.Verdict == recipients.Known && a.Source != "" || a.Doubted
}

// bounces is how operators give messages up.
func (r *Relay) bounces() admin.Bounces {
	return admin.Bounces{
		May: func(m queue.Message) (of []int, why map[int]string) {
			of, reasons := r.notifier.May(m, r.circumstances(m.Envelope.Upstream))
			why = map[int]string{}
			for i, reason := range reasons {
				why[i] = string(reason)
			}
			return of, why
		},
		Tell: func(ctx context.Context, m queue.Message, of []int) error {
			return r.notifier.GiveUp(ctx, m, of, time.Now())
		},
	}
}

// circumstances are how an upstream is. One that is no longer configured says
// nothing any more: a person may give its mail up.
func (r *Relay) circumstances(upstream string) dsn.Circumstances {
	c := dsn.Circumstances{Now: time.Now()}
	if p := r.primaryOf(upstream); p != nil {
		c = p.dispatcher.Circumstances()
		c.Spike = false // a person may know better
	}
	return c
}

// primaryOf finds an upstream by its name; nil if it is not configured.
func (r *Relay) primaryOf(upstream string) *primary {
	for _, p := range r.primaries {
		if p.name == upstream {
			return p
		}
	}
	return nil
}
