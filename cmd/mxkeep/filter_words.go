package main

import (
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// filterActions are what filters say, in the order in which it is shown.
var filterActions = [...]struct{ action, word string }{{"accept", "let through"}, {"reject", "rejected"}, {"defer", "deferred"}, {"hold", "held"}}

// filterWords says how a content filter is, and what it did since the start.
func filterWords(f admin.FilterStatus, now time.Time) []string {
	words := []string{f.Name + " at " + f.Address}
	if f.Failure != "" {
		words = append(words, "DOWN for "+since(f.FailingAt, now)+", "+f.Does())
	}
	asked := f.Failed
	for _, a := range filterActions {
		asked += f.Answers[a.action]
		if n := f.Answers[a.action]; n > 0 {
			words = append(words, admin.Thousands(n)+" "+a.word)
		}
	}
	if f.Failed > 0 {
		words = append(words, admin.Thousands(f.Failed)+" without an answer")
	}
	if asked == 0 {
		words = append(words, "not asked yet")
	}
	return words
}

// filters says what content filters did.
func (e *exposition) filters(all []admin.FilterStatus) {
	if len(all) == 0 {
		return
	}
	e.gauge("filter_up", "Whether a content filter answered when it was last asked.")
	for _, f := range all {
		e.value("filter_up", one(f.Failure == ""), "filter", f.Name)
	}
	e.counter("filter_messages_total", "Messages that a content filter was asked about, by what it said.")
	for _, f := range all {
		for _, a := range filterActions {
			e.value("filter_messages_total", float64(f.Answers[a.action]), "filter", f.Name, "result", a.action)
		}
		e.value("filter_messages_total", float64(f.Failed), "filter", f.Name, "result", "failed")
	}
	e.counter("filter_seconds_total", "Time that content filters took.")
	for _, f := range all {
		e.value("filter_seconds_total", f.Took, "filter", f.Name)
	}
}
