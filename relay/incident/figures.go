package incident

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Figures are what became of the mail of an incident until At.
type Figures struct {
	At            time.Time        `json:"at"`
	Messages      int64            `json:"messages"` // accepted
	Bytes         int64            `json:"bytes"`
	Domains       int64            `json:"sender_domains"`
	Addresses     int64            `json:"recipient_addresses"` // different ones
	Account       Account          `json:"account"`
	ByState       map[string]int64 `json:"messages_by_state"`
	MaybeTwice    int64            `json:"maybe_delivered_twice"` // recipients
	Delay         Delays           `json:"delay"`
	FirstDelivery time.Time        `json:"first_delivery,omitzero"` // after the incident was opened
	LastDelivery  time.Time        `json:"last_delivery,omitzero"`
	Replies       []Replies        `json:"replies"`
	Unread        int64            `json:"unread_records"` // of the ledger and the queue, damaged: their mail may be missing in the account
	NoHistory     bool             `json:"no_history"`     // samples or changes could not be read: Replies and timeline lack something
}

// Account counts recipients: Accepted = all others together, but for Passed,
// which were handed to the upstream within the sender's session.
type Account struct {
	Accepted  int64 `json:"accepted"`
	Delivered int64 `json:"delivered"`
	Queued    int64 `json:"queued"`
	Held      int64 `json:"held"`
	Refused   int64 `json:"refused"`
	Failed    int64 `json:"failed"`
	Expired   int64 `json:"expired"`
	Deleted   int64 `json:"deleted"`
	SetAside  int64 `json:"set_aside"`
	Remainder int64 `json:"remainder"` // for which there is no account
	Passed    int64 `json:"passed"`
}

// Delays are the times from our 250 to the upstream's, of recipients. All are zero if none was delivered.
type Delays struct {
	Median time.Duration `json:"median"`
	P95    time.Duration `json:"p95"`
	P99    time.Duration `json:"p99"`
	Worst  time.Duration `json:"worst"`
}

// The place of a recipient in the account, as far as the ledger alone knows it.
type place uint8

const (
	open    place = iota
	before        // it was final, or refused, before the incident began
	settled       // final: state says how
	present       // it was found in the queue: state says how
)

// recipient is one of the incident. There may be millions, so it has no pointers.
type recipient struct {
	message uint32
	place   place
	state   queue.State
	twice   bool
}

// letter is one message of the incident.
type letter struct {
	at    int64 // accepted, Unix time in nanoseconds
	size  int64
	state queue.State
	any   bool // a recipient of it counts
}

// reckoning gathers the figures of one incident.
type reckoning struct {
	incident   health.Incident
	seed       maphash.Seed
	letters    []letter
	byID       map[uint64]uint32 // into letters
	recipients []recipient
	byKey      map[uint64]uint32 // into recipients
	domains    map[uint64]bool
	addresses  map[uint64]bool
	delays     []time.Duration
	replies    replies
	figures    Figures
}

// Reckon reads the ledger, the queue, and then what the ledger has got
// meanwhile. It takes the time of reading the ledger since Incident.From.
func Reckon(ctx context.Context, store Store, h History, i health.Incident) (Figures, error) {
	r := &reckoning{incident: i, seed: maphash.MakeSeed(), byID: map[uint64]uint32{}, byKey: map[uint64]uint32{},
		domains: map[uint64]bool{}, addresses: map[uint64]bool{}, replies: replies{}}
	r.figures.At = time.Now()
	known, err := r.read(ctx, store, i.From, 0)
	if err == nil {
		err = r.look(ctx, store)
	}
	unread := r.figures.Unread
	if err == nil {
		_, err = r.read(ctx, store, r.figures.At.Add(-again), known)
	}
	r.figures.Unread = unread // the second reading met the same lines
	if err != nil {
		return Figures{}, err
	}
	r.figures.NoHistory = r.replies.probes(ctx, h, i) != nil
	stats, err := store.Stats(ctx)
	if err != nil {
		return Figures{}, err
	}
	return r.sum(stats.Account.SetAside), nil
}

// again is how far back the second reading of the ledger goes: a line may carry
// a time from before it was written.
const again = time.Minute

// read takes in the lines of the ledger since an instant, and after a sequence
// number, and returns the highest one.
func (r *reckoning) read(ctx context.Context, store Store, since time.Time, after uint64) (last uint64, err error) {
	for e, err := range store.Ledger(ctx, queue.LedgerFilter{Since: since}) {
		switch {
		case errors.Is(err, queue.ErrDamaged):
			r.figures.Unread++
		case err != nil:
			return last, err
		case e.Seq > after:
			last = max(last, e.Seq)
			r.line(e)
		}
	}
	return last, nil
}

func (r *reckoning) id(id queue.ID) uint64 { return maphash.String(r.seed, string(id)) }

func (r *reckoning) key(id queue.ID, address string) uint64 {
	return maphash.String(r.seed, string(id)+" "+address)
}

// isOf reports whether mail that was accepted then may be of the incident.
func isOf(i health.Incident, at time.Time) bool {
	return !at.Before(i.From) && (i.Until.IsZero() || !at.After(i.Until))
}

// line takes in one line of the ledger.
func (r *reckoning) line(e queue.Entry) {
	switch e.Event {
	case queue.Accepted, queue.Adopted:
		if e.Upstream == r.incident.Upstream && isOf(r.incident, e.At) {
			r.accepted(e)
		}
	case queue.Passed:
		if e.Upstream == r.incident.Upstream && isOf(r.incident, e.At) && !e.At.Before(r.incident.Began) {
			r.figures.Account.Passed += int64(len(e.Recipients))
		}
	default:
		if n, known := r.byID[r.id(e.ID)]; known {
			r.happened(e, n)
		}
	}
}

func (r *reckoning) accepted(e queue.Entry) {
	id := r.id(e.ID)
	if _, known := r.byID[id]; known {
		return
	}
	n := uint32(len(r.letters))
	r.byID[id] = n
	r.letters = append(r.letters, letter{at: e.At.UnixNano(), size: e.Size})
	r.domains[maphash.String(r.seed, strings.ToLower(e.ReversePath[strings.LastIndexByte(e.ReversePath, '@')+1:]))] = true
	for _, address := range e.Recipients {
		r.byKey[r.key(e.ID, address)] = uint32(len(r.recipients))
		r.recipients = append(r.recipients, recipient{message: n})
		r.addresses[maphash.String(r.seed, strings.ToLower(address))] = true
	}
	r.happened(e, n)
}

// happened takes in what a line says about recipients of a message.
func (r *reckoning) happened(e queue.Entry, n uint32) {
	for at, address := range e.Recipients {
		index, known := r.byKey[r.key(e.ID, address)]
		if !known {
			continue
		}
		one := &r.recipients[index]
		switch e.Event {
		case queue.Delete:
			one.settle(queue.StateDeleted)
		case queue.Undelete, queue.Retry:
			one.place = open
		}
		if at < len(e.Results) {
			r.result(e, e.Results[at], one, time.Unix(0, r.letters[n].at))
		}
	}
}

func (one *recipient) settle(s queue.State) {
	if one.place == settled && one.state != queue.StateDeleted { // what left before it came into the trash has left
		return
	}
	one.place, one.state = settled, s
}

// finals are the states that results lead to.
var finals = map[queue.Action]queue.State{queue.Delivered: queue.StateDelivered, queue.Failed: queue.StateFailed, queue.Expired: queue.StateExpired}

func (r *reckoning) result(e queue.Entry, result queue.Result, one *recipient, accepted time.Time) {
	early := e.At.Before(r.incident.Began)
	state, final := finals[result.Action]
	switch {
	case early && (final || result.Action == queue.Refused):
		one.place = before
		return
	case final:
		one.settle(state)
	}
	one.twice = one.twice || result.MaybeDuplicate
	if early || e.Event == queue.Bounce {
		return
	}
	if result.Action == queue.Delivered {
		r.delays = append(r.delays, max(0, result.At.Sub(accepted)))
		if first := r.figures.FirstDelivery; result.At.After(r.incident.Opened) && (first.IsZero() || result.At.Before(first)) {
			r.figures.FirstDelivery = result.At
		}
		if result.At.After(r.figures.LastDelivery) {
			r.figures.LastDelivery = result.At
		}
	}
	if result.Action != queue.Queued {
		r.replies.attempt(result)
	}
}

// look finds those in the queue whom the ledger does not know to be final.
func (r *reckoning) look(ctx context.Context, store Store) error {
	upstream := r.incident.Upstream
	f := queue.Filter{Where: []queue.Condition{func(m queue.Message, _ time.Time) bool { return m.Envelope.Upstream == upstream }}}
	for m, err := range store.Messages(ctx, f) {
		if errors.Is(err, queue.ErrDamaged) {
			r.figures.Unread++
			continue
		}
		if err != nil {
			return err
		}
		for i, one := range m.Envelope.Recipients {
			if index, known := r.byKey[r.key(m.ID, one.ForwardPath)]; known && r.recipients[index].place == open {
				r.recipients[index].state = m.RecipientState(i)
				r.recipients[index].place = present
			}
		}
	}
	return nil
}

// sum makes the figures of what was gathered.
func (r *reckoning) sum(setAside int64) Figures {
	f := &r.figures
	var counted queue.Account
	for _, one := range r.recipients {
		if one.place == before {
			continue
		}
		f.Account.Accepted++
		l := &r.letters[one.message]
		if one.place == open {
			f.Account.Remainder++
			continue
		}
		if one.twice && one.state == queue.StateDelivered {
			f.MaybeTwice++
		}
		counted.Add(one.state, 1)
		if !l.any || one.state < l.state {
			l.state = one.state
		}
		l.any = true
	}
	f.ByState = map[string]int64{}
	for _, l := range r.letters {
		if l.any {
			f.Messages++
			f.Bytes += l.size
			f.ByState[l.state.String()]++
		}
	}
	a := &f.Account
	a.Delivered, a.Queued, a.Held, a.Refused = counted.Delivered, counted.Queued, counted.Held, counted.Refused
	a.Failed, a.Expired, a.Deleted = counted.Failed, counted.Expired, counted.Deleted
	// What stands in a file that was set aside is not known one by one.
	a.SetAside = min(a.Remainder, setAside)
	a.Remainder -= a.SetAside
	f.Domains, f.Addresses = int64(len(r.domains)), int64(len(r.addresses))
	f.Delay = delays(r.delays)
	f.Replies = r.replies.list()
	return *f
}

// delays sorts what it is given.
func delays(all []time.Duration) Delays {
	slices.Sort(all)
	return Delays{Median: percentile(all, 50), P95: percentile(all, 95), P99: percentile(all, 99), Worst: percentile(all, 100)}
}

// percentile is the least value that so many percent of the sorted values do not exceed.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

// Mail calls each with every ledger line about the mail of an incident, from
// its acceptance on, in the order in which they were written, until it returns
// an error; also about mail that was accepted since Incident.From and was final
// at Incident.Began. Damaged lines are left out and counted.
func Mail(ctx context.Context, store Store, i health.Incident, each func(queue.Entry) error) (unread int64, err error) {
	ids := map[queue.ID]bool{}
	for e, err := range store.Ledger(ctx, queue.LedgerFilter{Since: i.From}) {
		switch {
		case errors.Is(err, queue.ErrDamaged):
			unread++
			continue
		case err != nil:
			return unread, err
		case (e.Event == queue.Accepted || e.Event == queue.Adopted) && e.Upstream == i.Upstream && isOf(i, e.At):
			ids[e.ID] = true
		}
		if ids[e.ID] {
			if err := each(e); err != nil {
				return unread, err
			}
		}
	}
	return unread, nil
}
