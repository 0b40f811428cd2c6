package admin

import (
	"fmt"
	"time"
)

// Filter is a content filter as the relay sees it, with what it did since the start.
type Filter struct {
	Name, Address string
	OnFailure     string           // what becomes of a message that it could not be asked about: accept, hold or defer
	Answers       map[string]int64 // messages it has decided about: accept, hold, defer, reject
	Failed        int64            // messages that it could not be asked about
	Fields        int64            // header fields it has added
	Ignored       int64            // messages with a change that was not done
	Took          time.Duration    // all in all
	FailingAt     time.Time        // since when it fails; the zero Time if it does not
	Failure       string           // why it fails, "" if it does not
}

// FilterStatus is a Filter on the wire.
type FilterStatus struct {
	Name      string           `json:"name"`
	Address   string           `json:"address"`
	OnFailure string           `json:"on_failure"`
	Answers   map[string]int64 `json:"answers"`
	Failed    int64            `json:"failed"`
	Fields    int64            `json:"fields_added"`
	Ignored   int64            `json:"ignored"`
	Took      float64          `json:"took_seconds"`
	FailingAt Time             `json:"failing_since"` // null if it does not fail
	Failure   string           `json:"failure"`
}

func filterStatus(all []Filter) []FilterStatus {
	status := []FilterStatus{}
	for _, f := range all {
		answers := map[string]int64{}
		for action, n := range f.Answers {
			answers[action] = n
		}
		status = append(status, FilterStatus{Name: f.Name, Address: f.Address, OnFailure: f.OnFailure, Answers: answers, Failed: f.Failed,
			Fields: f.Fields, Ignored: f.Ignored, Took: Seconds(f.Took), FailingAt: Time{f.FailingAt}, Failure: f.Failure})
	}
	return status
}

// Does says what is done with the messages that the filter cannot be asked about.
func (f FilterStatus) Does() string {
	switch f.OnFailure {
	case "accept":
		return "mail is taken without it"
	case "hold":
		return "mail is taken and held"
	}
	return "mail is deferred, and senders keep it"
}

// filterTodo is what a person can do about filters that fail.
func filterTodo(st *Status) (list []Todo) {
	for _, f := range st.Inbound.Filters {
		if f.Failure != "" {
			list = append(list, Todo{fmt.Sprintf("The filter %s at %s has failed since %s, and meanwhile %s: %s", f.Name, f.Address, f.FailingAt.UTC().Format("2 Jan 15:04 UTC"), f.Does(), f.Failure), theLog})
		}
	}
	return list
}
