package reconcile

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/incident/report"
	"github.com/mxkeep/mxkeep/relay/spill"
)

// join takes the steps one after the other; what was not joined goes on.
func (r *Reconciler) join() (err error) {
	rest := r.begin()
	for _, s := range steps() {
		left, wrong := spill.New(r.dir)
		if wrong != nil {
			return wrong
		}
		defer func() { err = errors.Join(err, left.Close()) }()
		if err := r.take(s, rest, left); err != nil {
			return err
		}
		rest = unpacked(left)
	}
	for e, err := range rest {
		switch {
		case err != nil:
			return err
		case e.Trace != nil:
			r.sum.Others++
		default:
			verdict := NotRelayed
			if !e.Ours.DeliveredAt.IsZero() {
				verdict = Missing
			}
			if err := r.result(e.Ours, nil, verdict, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin yields our rows, and one record for each message and recipient of the traces.
func (r *Reconciler) begin() iter.Seq2[either, error] {
	return func(yield func(either, error) bool) {
		for one, err := range r.ours.Sorted() {
			var row report.Row
			if err == nil {
				err = json.Unmarshal(one.Value, &row)
			}
			if !yield(either{Ours: &row}, err) || err != nil {
				return
			}
		}
		var last *record
		key := ""
		for one, err := range r.traces.Sorted() {
			var next record
			if err == nil {
				err = json.Unmarshal(one.Value, &next)
			}
			if err != nil {
				yield(either{}, err)
				return
			}
			if last != nil && one.Key == key {
				last.merge(next)
				continue
			}
			if last != nil && !yield(either{Trace: last}, nil) {
				return
			}
			last, key = &next, one.Key
		}
		if last != nil {
			yield(either{Trace: last}, nil)
		}
	}
}

// unpacked yields what was put aside. Of copies one comes, and none if one was joined.
func unpacked(s *spill.Sorter) iter.Seq2[either, error] {
	return func(yield func(either, error) bool) {
		var copies either
		key := ""
		for one, err := range s.Sorted() {
			var e either
			if err == nil {
				err = json.Unmarshal(one.Value, &e)
			}
			if err != nil {
				yield(e, err)
				return
			}
			if one.Key == alone {
				if !yield(e, nil) {
					return
				}
				continue
			}
			if one.Key == key {
				copies.Joined = copies.Joined || e.Joined
				continue
			}
			if key != "" && !copies.Joined && !yield(copies, nil) {
				return
			}
			copies, key = e, one.Key
		}
		if key != "" && !copies.Joined {
			yield(copies, nil)
		}
	}
}

// take does one step: it sorts by the key of the step, and by time.
func (r *Reconciler) take(s step, all iter.Seq2[either, error], left *spill.Sorter) (err error) {
	sorted, err := spill.New(r.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sorted.Close()) }()
	copies := 0
	for e, err := range all {
		if err != nil {
			return err
		}
		keys := s.keys(e)
		if e.Copy = alone; len(keys) > 1 {
			copies++
			e.Copy = fmt.Sprintf("%016x", copies)
		}
		for _, k := range keys {
			if err := put(sorted, k+"\x00"+e.time().Format(time.RFC3339Nano), e); err != nil {
				return err
			}
		}
		if len(keys) == 0 {
			if err := put(left, alone, e); err != nil {
				return err
			}
		}
	}
	var group []either
	last := ""
	for one, err := range sorted.Sorted() {
		var e either
		if err == nil {
			err = json.Unmarshal(one.Value, &e)
		}
		if err != nil {
			return err
		}
		k := one.Key[:strings.LastIndexByte(one.Key, 0)]
		if k != last || len(group) >= atOnce {
			if err := r.match(s, group, left); err != nil {
				return err
			}
			group = group[:0]
		}
		last, group = k, append(group, e)
	}
	return r.match(s, group, left)
}

// time is when the primary took it, as far as that side knows.
func (e either) time() time.Time {
	if e.Ours != nil {
		return cmp.Or(e.Ours.DeliveredAt, e.Ours.ReceivedAt)
	}
	return e.Trace.At
}

// match joins those that have met. Each of ours takes the record that fits best;
// what is left of the trace then came once more.
func (r *Reconciler) match(s step, group []either, left *spill.Sorter) error {
	var ours []*report.Row
	var traces []either
	for _, e := range group {
		if e.Ours != nil {
			ours = append(ours, e.Ours)
		} else {
			traces = append(traces, e)
		}
	}
	traces = folded(traces)
	taken := make([]int, len(ours))
	free := make([]bool, len(traces))
	for n := range free {
		free[n] = true
	}
	for _, sure := range []bool{true, false} { // who is certain chooses first
		for n, o := range ours {
			if sure {
				taken[n] = -1
			}
			if taken[n] < 0 {
				if taken[n] = best(s, o, traces, free, sure); taken[n] >= 0 {
					free[taken[n]] = false
				}
			}
		}
	}
	var joined *report.Row
	for n, o := range ours {
		if taken[n] < 0 {
			if err := put(left, alone, either{Ours: o}); err != nil {
				return err
			}
			continue
		}
		joined = o
		t := traces[taken[n]]
		if err := r.result(o, t.Trace, t.Trace.Verdict, s.how); err != nil {
			return err
		}
		if t.Copy != alone {
			if err := put(left, t.Copy, either{Joined: true}); err != nil {
				return err
			}
		}
	}
	for n, t := range traces {
		if !free[n] {
			continue
		}
		var err error
		if joined != nil && s.how == ByMessageID {
			err = r.result(joined, t.Trace, Duplicate, s.how)
		} else {
			err = put(left, t.Copy, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folded merges records of a summary, which has no network Message-ID, with
// those of the same message in another export.
func folded(traces []either) []either {
	return slices.DeleteFunc(traces, func(e either) bool {
		if e.Trace.NetworkID != "" {
			return false
		}
		for _, other := range traces {
			if t := other.Trace; t != nil && t.NetworkID != "" && t.Sender == e.Trace.Sender && t.At.Sub(e.Trace.At).Abs() < near {
				t.merge(*e.Trace)
				return true
			}
		}
		return false
	})
}

// best is the index of the free record that fits a row best; -1 if none does:
// the one with the number of the reply, or else of the sender, near in time, and
// of the size. sure wants the number, or sender and time.
func best(s step, o *report.Row, traces []either, free []bool, sure bool) int {
	found, most := -1, score{}
	for n, t := range traces {
		if !free[n] || !s.fits(o, t.Trace) {
			continue
		}
		this := scoreOf(o, t.Trace)
		if sure && !this.number && !(this.sender && this.near) {
			continue
		}
		if found < 0 || this.compare(most) > 0 {
			found, most = n, this
		}
	}
	return found
}

// score says how well a record fits.
type score struct {
	number, sender, near, size bool
	away                       time.Duration
}

func scoreOf(o *report.Row, t *record) score {
	s := score{sender: strings.EqualFold(o.Sender, t.Sender), size: t.Size >= o.Size && t.Size-o.Size <= maxGrown}
	for _, one := range t.Taken {
		s.number = s.number || one.InternalID+"@"+one.Server == internal(o)
	}
	if !o.DeliveredAt.IsZero() && !t.At.IsZero() {
		s.away = t.At.Sub(o.DeliveredAt).Abs()
		s.near = s.away <= near
	}
	return s
}

func (s score) compare(other score) int {
	truth := func(a, b bool) int {
		switch {
		case a == b:
			return 0
		case a:
			return 1
		}
		return -1
	}
	return cmp.Or(truth(s.number, other.number), truth(s.sender, other.sender), truth(s.near, other.near), truth(s.size, other.size), cmp.Compare(other.away, s.away))
}
