package report

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/incident"
	"github.com/mxkeep/mxkeep/relay/spill"
)

// Mail is what the rows of messages.csv add up to.
type Mail struct {
	Account    incident.Account `json:"recipients"` // Remainder: those unaccounted for; Passed and SetAside are not in the rows
	Messages   int64            `json:"messages"`
	Bytes      int64            `json:"bytes"`
	Domains    int64            `json:"sender_domains"`
	Addresses  int64            `json:"recipient_addresses"`
	MaybeTwice int64            `json:"maybe_delivered_twice"`
	Tried      int64            `json:"tried_recipients"` // at least one attempt
	Delay      Delay            `json:"delay_seconds"`
	Delays     []DelayBin       `json:"delays"`
	First      time.Time        `json:"first_delivery_at,omitzero"`
	Last       time.Time        `json:"last_delivery_at,omitzero"`
	Queue      []int64          `json:"queue"`     // recipients waiting at each edge of the bins
	Taken      []int64          `json:"delivered"` // recipients delivered in each bin
}

// Delay is the time from our 250 to that of the primary, in whole seconds, rounded up.
type Delay struct {
	Median int64 `json:"median"`
	P95    int64 `json:"p95"`
	P99    int64 `json:"p99"`
	Worst  int64 `json:"worst"`
}

// DelayBin counts recipients with a delay up to so much, above the one before.
type DelayBin struct {
	Seconds    int64 `json:"up_to_seconds"` // 0: any
	Recipients int64 `json:"recipients"`
}

// delayBounds are the bounds of DelayBins.
func delayBounds() []int64 { return []int64{60, 300, 900, 3600, 14400, 28800, 86400} }

// counter adds up rows in the order of messages. Close must be called.
type counter struct {
	mail      Mail
	bins      Bins
	account   queue.Account
	last      queue.ID
	delays    map[int64]int64 // recipients by whole seconds
	changes   []int64         // of the queue, at each edge and after
	domains   *spill.Sorter
	addresses *spill.Sorter
}

func newCounter(dir string, bins Bins) (*counter, error) {
	domains, err := spill.New(dir)
	if err != nil {
		return nil, err
	}
	addresses, err := spill.New(dir)
	if err != nil {
		return nil, errors.Join(err, domains.Close())
	}
	return &counter{bins: bins, delays: map[int64]int64{}, changes: make([]int64, bins.Count+2), domains: domains, addresses: addresses,
		mail: Mail{Taken: make([]int64, bins.Count)}}, nil
}

func (c *counter) close() error { return errors.Join(c.domains.Close(), c.addresses.Close()) }

func (c *counter) add(r Row) error {
	m := &c.mail
	if r.ID < c.last {
		return fmt.Errorf("%w: %s comes after %s", errRow, r.ID, c.last)
	}
	if r.ID != c.last {
		m.Messages++
		m.Bytes += r.Size
		c.last = r.ID
		if err := c.domains.Add(strings.ToLower(r.SenderDomain), nil); err != nil {
			return err
		}
	}
	m.Account.Accepted++
	if r.State == Unaccounted {
		m.Account.Remainder++
	} else {
		var state queue.State
		if err := state.UnmarshalText([]byte(r.State)); err != nil {
			return fmt.Errorf("%w: state: %w", errRow, err)
		}
		c.account.Add(state, 1)
	}
	if r.Unconfirmed && r.State == queue.StateDelivered.String() {
		m.MaybeTwice++
	}
	if r.Attempts > 0 {
		m.Tried++
	}
	c.times(r)
	return c.addresses.Add(strings.ToLower(r.Recipient), nil)
}

func (c *counter) times(r Row) {
	m := &c.mail
	c.changes[c.bins.edge(r.ReceivedAt)]++
	if !r.EndedAt.IsZero() {
		c.changes[max(c.bins.edge(r.ReceivedAt), c.bins.edge(r.EndedAt))]--
	}
	at := r.DeliveredAt
	if at.IsZero() {
		return
	}
	c.delays[int64((max(0, at.Sub(r.ReceivedAt))+time.Second-1)/time.Second)]++
	if n, in := c.bins.in(at); in {
		m.Taken[n]++
	}
	if m.First.IsZero() || at.Before(m.First) {
		m.First = at
	}
	if at.After(m.Last) {
		m.Last = at
	}
}

// sum is what was counted.
func (c *counter) sum() (Mail, error) {
	m := c.mail
	a, counted := &m.Account, c.account
	a.Delivered, a.Queued, a.Held, a.Refused = counted.Delivered, counted.Queued, counted.Held, counted.Refused
	a.Failed, a.Expired, a.Deleted = counted.Failed, counted.Expired, counted.Deleted
	waiting := int64(0)
	for _, change := range c.changes[:c.bins.Count+1] {
		waiting += change
		m.Queue = append(m.Queue, waiting)
	}
	m.Delay, m.Delays = delaysOf(c.delays)
	var first, second error
	m.Domains, first = c.domains.Distinct()
	m.Addresses, second = c.addresses.Distinct()
	return m, errors.Join(first, second)
}

// delaysOf finds the least seconds that so many percent do not exceed, and the bins.
func delaysOf(by map[int64]int64) (d Delay, bins []DelayBin) {
	total := int64(0)
	for _, n := range by {
		total += n
	}
	for _, bound := range append(delayBounds(), 0) {
		bins = append(bins, DelayBin{Seconds: bound})
	}
	seen, at := int64(0), 0
	for _, seconds := range slices.Sorted(maps.Keys(by)) {
		before := seen
		seen += by[seconds]
		for _, one := range []struct {
			percent int64
			into    *int64
		}{{50, &d.Median}, {95, &d.P95}, {99, &d.P99}, {100, &d.Worst}} {
			if rank := (total*one.percent + 99) / 100; before < rank && rank <= seen {
				*one.into = seconds
			}
		}
		for bins[at].Seconds != 0 && seconds > bins[at].Seconds {
			at++
		}
		bins[at].Recipients += by[seconds]
	}
	return d, bins
}
