package milter

import (
	"sync"
	"time"
)

// Status is what a filter did since the start, and how it is.
type Status struct {
	Name      string
	Address   string // "unix:PATH" or "HOST:PORT"
	OnFailure Action
	Answers   map[string]int64 // messages it has decided about: accept, hold, defer, reject
	Failed    int64            // messages that it could not be asked about
	Fields    int64            // header fields added
	Ignored   int64            // messages with a change that was not done
	Took      time.Duration    // all in all
	FailingAt time.Time        // when the first of the failures in a row was; zero if it answers
	Failure   string           // the last one; "" if it answers
}

// record counts.
type record struct {
	mu sync.Mutex
	s  Status
	by [Reject + 1]int64

	ignored map[string]bool // kinds of changes that were ignored before
}

// unheard are the kinds of changes that were not ignored before.
func (r *record) unheard(ignored []string) (news []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, what := range ignored {
		if !r.ignored[what] {
			news = append(news, what)
			r.ignored[what] = true
		}
	}
	return news
}

// answered counts an answer. back says that the filter had failed before.
func (r *record) answered(v said, took time.Duration) (back bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by[v.Action]++
	r.s.Took += took
	r.s.Fields += int64(len(v.fields))
	if len(v.ignored) > 0 {
		r.s.Ignored++
	}
	back = r.s.Failure != ""
	r.s.FailingAt, r.s.Failure = time.Time{}, ""
	return back
}

// failed counts a failure. first says that the filter had answered before.
func (r *record) failed(why string, at time.Time, took time.Duration) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Failed++
	r.s.Took += took
	if first = r.s.Failure == ""; first {
		r.s.FailingAt = at
	}
	r.s.Failure = why
	return first
}

// Status says how the filter is.
func (f *Filter) Status() Status {
	f.record.mu.Lock()
	defer f.record.mu.Unlock()
	s := f.record.s
	s.Name, s.Address, s.OnFailure = f.options.Name, f.options.Address, f.options.OnFailure
	if f.options.Network == "unix" {
		s.Address = "unix:" + s.Address
	}
	s.Answers = map[string]int64{}
	for action, n := range f.record.by {
		s.Answers[Action(action).String()] = n
	}
	return s
}

// Status says how the filters are, in their order.
func (c Chain) Status() []Status {
	all := make([]Status, 0, len(c))
	for _, f := range c {
		all = append(all, f.Status())
	}
	return all
}
