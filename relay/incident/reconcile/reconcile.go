// Package reconcile compares what a relay has delivered with what Exchange
// Online says of it: the exports of its message trace.
//
// Rows are joined by Message-ID and recipient; then by the number that the
// server gave in its reply, if the trace has it; then, for messages without a
// Message-ID, by recipient, sender, time and size. A Message-ID may be used
// twice: then the number, the sender, the time and the size decide.
//
// What is joined is sorted in files (relay/spill): the memory does not depend on
// how many rows there are. Of one Message-ID and recipient 1,024 rows are
// joined at a time, in the order of time.
package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/incident/report"
	"github.com/mxkeep/mxkeep/relay/spill"
)

// Verdict says what became of a recipient in the end.
type Verdict string

// The verdicts, the most urgent first.
const (
	Missing     Verdict = "missing"     // the primary took it, and does not know of it
	Failed      Verdict = "failed"      // it took it, and could not deliver it
	Quarantined Verdict = "quarantined" // it waits for somebody's decision
	Filtered    Verdict = "filtered"    // it is in the junk folder
	Duplicate   Verdict = "duplicate"   // it came once more: from us, or from its sender
	Pending     Verdict = "pending"     // on its way, or in a state we do not know
	NotRelayed  Verdict = "not_relayed" // the primary has not taken it from us, and does not know of it
	Delivered   Verdict = "delivered"
)

// Verdicts lists them in their order.
func Verdicts() []Verdict {
	return []Verdict{Missing, Failed, Quarantined, Filtered, Duplicate, Pending, NotRelayed, Delivered}
}

// How two rows were joined.
const (
	ByMessageID = "message_id"
	ByInternal  = "internal_id"
	ByTime      = "time_and_size"
)

// Result is what became of a message for a recipient, by both accounts.
type Result struct {
	Verdict     Verdict   `json:"verdict"`
	ID          queue.ID  `json:"id"`
	MessageID   string    `json:"message_id"`
	Sender      string    `json:"sender"`
	Recipient   string    `json:"recipient"`
	State       string    `json:"state"` // ours
	DeliveredAt time.Time `json:"delivered_at"`
	TraceAt     time.Time `json:"trace_at"`
	Status      string    `json:"trace_status"` // in the words of the trace
	NetworkID   string    `json:"network_message_id"`
	ClientIP    string    `json:"trace_client_ip"` // who gave it to the primary
	InternalID  string    `json:"exo_internal_id"`
	Host        string    `json:"exo_host"`
	Session     string    `json:"session"`
	How         string    `json:"joined_by"`
}

// Summary counts results.
type Summary struct {
	Verdicts map[Verdict]int64 `json:"verdicts"`
	Rows     int64             `json:"trace_rows"`
	Others   int64             `json:"trace_others"` // messages of the trace that are not of the incident
}

const (
	atOnce   = 1024            // rows of one key
	near     = 2 * time.Minute // between our time of delivery and theirs
	maxGrown = 4 << 10         // bytes that a message may gain on its way
	maxTaken = 16              // numbers of a message
)

// Reconciler joins. It is for one goroutine; Close must be called.
type Reconciler struct {
	dir     string
	ours    *spill.Sorter
	traces  *spill.Sorter
	results *spill.Sorter
	sum     Summary
}

// New makes a Reconciler with its temporary files below dir; "" is the system's folder.
func New(dir string) (*Reconciler, error) {
	r := &Reconciler{dir: dir, sum: Summary{Verdicts: map[Verdict]int64{}}}
	for _, one := range []**spill.Sorter{&r.ours, &r.traces, &r.results} {
		var err error
		if *one, err = spill.New(dir); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// Close removes the temporary files.
func (r *Reconciler) Close() error {
	var all []error
	for _, one := range []*spill.Sorter{r.ours, r.traces, r.results} {
		if one != nil {
			all = append(all, one.Close())
		}
	}
	return errors.Join(all...)
}

// Ours takes a row of the report.
func (r *Reconciler) Ours(row report.Row) error { return put(r.ours, string(row.ID), row) }

// Trace takes an export of a message trace. ErrTrace if it is none, ErrRow if a row cannot be read.
func (r *Reconciler) Trace(in io.Reader) error {
	return readTrace(in, func(one record) error {
		r.sum.Rows++
		// The same message may be in several files, and several events be about it.
		key := one.NetworkID
		if key == "" {
			key = strings.Join([]string{one.MessageID, one.At.Format(time.RFC3339Nano), one.Sender, fmt.Sprint(one.Size)}, "\x01")
		}
		return put(r.traces, key+"\x00"+one.Recipient, one)
	})
}

func put(s *spill.Sorter, key string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.Add(key, text)
}

// merge makes one record of two about the same message and recipient.
func (one *record) merge(other record) {
	if rank(other.Verdict) > rank(one.Verdict) {
		one.Verdict, one.Status = other.Verdict, other.Status
	}
	if one.At.IsZero() || !other.At.IsZero() && other.At.Before(one.At) {
		one.At = other.At
	}
	for _, t := range other.Taken {
		if len(one.Taken) < maxTaken && !slices.Contains(one.Taken, t) {
			one.Taken = append(one.Taken, t)
		}
	}
	if one.MessageID == "" {
		one.MessageID = other.MessageID
	}
	if one.ClientIP == "" {
		one.ClientIP = other.ClientIP
	}
	one.Size = max(one.Size, other.Size)
}

// rank says which of two states of one message tells more: what was quarantined
// may be released, and what is delivered may be so to the junk folder.
func rank(v Verdict) int {
	return slices.Index([]Verdict{Pending, Failed, Quarantined, Delivered, Filtered}, v)
}

// either is one side of a join.
type either struct {
	Ours  *report.Row `json:"ours,omitempty"`
	Trace *record     `json:"trace,omitempty"`
	// A record may be known by several keys. Its copies share Copy; Joined says
	// that one of them was joined.
	Copy   string `json:"copy,omitempty"`
	Joined bool   `json:"joined,omitempty"`
}

// alone is the Copy of what has none.
const alone = ""

// step is one way to join: rows with the same key meet. Rows without a key wait for the next step.
type step struct {
	how  string
	keys func(either) []string
	fits func(*report.Row, *record) bool
}

func steps() []step {
	return []step{
		{ByMessageID, func(e either) []string {
			if e.Ours != nil {
				return key(e.Ours.Recipient, bracketed(e.Ours.MessageID))
			}
			return key(e.Trace.Recipient, e.Trace.MessageID)
		}, func(*report.Row, *record) bool { return true }},
		{ByInternal, func(e either) []string {
			if e.Ours != nil {
				return key(e.Ours.Recipient, internal(e.Ours))
			}
			var all []string
			for _, t := range e.Trace.Taken {
				all = append(all, key(e.Trace.Recipient, t.InternalID+"@"+t.Server)...)
			}
			return all
		}, func(*report.Row, *record) bool { return true }},
		{ByTime, func(e either) []string {
			if e.Ours == nil {
				return key(e.Trace.Recipient, "\x01"+e.Trace.Sender)
			}
			if e.Ours.MessageID != "" || e.Ours.DeliveredAt.IsZero() { // it would be in the trace
				return nil
			}
			return key(e.Ours.Recipient, "\x01"+strings.ToLower(e.Ours.Sender))
		}, alike},
	}
}

func key(recipient, rest string) []string {
	if rest == "" {
		return nil
	}
	return []string{strings.ToLower(recipient) + "\x00" + rest}
}

// internal is what the server called the message that took it.
func internal(r *report.Row) string {
	if r.InternalID == "" {
		return ""
	}
	return r.InternalID + "@" + label(r.Host)
}

// alike reports whether two rows can be of one message by time and size.
func alike(o *report.Row, t *record) bool {
	if o.DeliveredAt.IsZero() || t.At.IsZero() || t.At.Sub(o.DeliveredAt).Abs() > near {
		return false
	}
	return t.Size == 0 || t.Size >= o.Size && t.Size-o.Size <= maxGrown
}

// Results yields what became of everything, the most urgent first. It is to be
// called once, when everything was taken; Summary is right after it.
func (r *Reconciler) Results() iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		err := r.join()
		if err == nil {
			for one, wrong := range r.results.Sorted() {
				var result Result
				if err = wrong; err == nil {
					err = json.Unmarshal(one.Value, &result)
				}
				if err != nil {
					break
				}
				if !yield(result, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(Result{}, err)
		}
	}
}

// Summary counts what Results has found.
func (r *Reconciler) Summary() Summary { return r.sum }

func (r *Reconciler) result(o *report.Row, t *record, v Verdict, how string) error {
	one := Result{Verdict: v, ID: o.ID, MessageID: o.MessageID, Sender: o.Sender, Recipient: o.Recipient, State: o.State, DeliveredAt: o.DeliveredAt,
		InternalID: o.InternalID, Host: o.Host, Session: o.Session, How: how}
	if t != nil {
		one.TraceAt, one.Status, one.NetworkID, one.ClientIP = t.At, t.Status, t.NetworkID, t.ClientIP
	}
	r.sum.Verdicts[v]++
	return put(r.results, fmt.Sprintf("%d%s", slices.Index(Verdicts(), v), o.ID), one)
}
