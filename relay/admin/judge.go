package admin

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The states of the relay, the severities, and the two upstream states that mean "takes nothing".
const (
	Standby  = "standby"
	Holding  = "holding"
	Draining = "draining"
	PausedBy = "paused"
	Refusing = "refusing"

	SeverityOK       = "ok"
	SeverityWarning  = "warning"
	SeverityCritical = "critical"
)

// judge derives state, words and advice from the facts of a snapshot. It is
// pure: it adds to Trouble, and reads no clock but st.At.
func judge(st *Status) {
	st.Trouble = append(st.Trouble, troubles(st)...)
	st.NothingLost = len(st.Trouble) == 0
	switch {
	case st.Inbound.Refusing != "" || st.Queue == nil:
		st.State = Refusing
	case len(pauses(st)) > 0:
		st.State = PausedBy
	case len(takingNothing(st)) > 0:
		st.State = Holding
	case moving(st) > 0:
		st.State = Draining
	default:
		st.State = Standby
	}
	st.Severity = severity(st)
	st.Headline = headline(st)
	st.WhatNext = whatNext(st)
	st.Todo = append(st.Todo, todo(st)...)
}

// troubles lists what keeps us from saying that nothing is lost.
func troubles(st *Status) (found []string) {
	if st.Inbound.Refusing != "" {
		found = append(found, "New mail cannot be stored ("+st.Inbound.Refusing+"): senders get a temporary reply and keep their mail.")
	}
	if st.Account == nil {
		return found // that it cannot be read is known
	}
	found = append(found, damage(st)...)
	if n := st.Account.Missing; n != 0 {
		found = append(found, fmt.Sprintf("The account is off by %s.", count(n, "recipient")))
	}
	return found
}

// moving is how many messages will leave by themselves.
func moving(st *Status) int64 {
	if st.Queue == nil {
		return 0
	}
	return st.Queue.ByState["queued"] + st.Queue.ByState["active"] + st.Queue.ByState["deferred"]
}

// takingNothing names the upstreams that take no mail now.
func takingNothing(st *Status) (names []string) {
	for _, u := range st.Upstreams {
		if u.State == "down" || u.State == "forced-down" {
			names = append(names, u.Name)
		}
	}
	return names
}

func pauses(st *Status) (words []string) {
	if p := st.Inbound.Paused; p != nil {
		words = append(words, "Accepting mail is paused "+until(p, st.At))
	}
	for _, u := range st.Upstreams {
		if u.Paused != nil {
			words = append(words, "Delivery to "+u.Name+" is paused "+until(u.Paused, st.At))
		}
	}
	return words
}

func until(p *Paused, now Time) string {
	layout := "15:04 UTC"
	if p.Until.Sub(now.Time) > 12*time.Hour {
		layout = "2 Jan 15:04 UTC"
	}
	return fmt.Sprintf("until %s (%s: %s).", p.Until.UTC().Format(layout), p.Actor, p.Reason)
}

// deaf reports whether no mail is accepted, for a reason that nothing else in
// the status tells.
func deaf(st *Status) bool {
	return !st.Ready && st.Inbound.Refusing == "" && st.Inbound.Paused == nil
}

func severity(st *Status) string {
	if !st.NothingLost || deaf(st) || st.State == Holding || st.State == Refusing {
		return SeverityCritical
	}
	if st.State != Standby || len(todo(st)) > 0 {
		return SeverityWarning
	}
	for _, u := range st.Upstreams {
		if u.State != "up" || u.Throttled != nil {
			return SeverityWarning
		}
	}
	return SeverityOK
}

// headline is the first line of every view: what is wrong with our own duty comes first.
func headline(st *Status) string {
	words := append([]string{}, st.Trouble...)
	if deaf(st) {
		words = append(words, "Mail is not accepted: "+st.NotReady+".")
	}
	switch st.State {
	case PausedBy:
		words = append(words, pauses(st)...)
		if down := takingNothing(st); len(down) > 0 {
			words = append(words, are(down, "not taking mail."))
		}
	case Holding:
		words = append(words, are(takingNothing(st), "not taking mail."))
	case Draining, Standby:
		words = append(words, upstreamWords(st)...)
	}
	return strings.Join(append(words, storedWords(st)...), " ")
}

// upstreamWords says how the upstreams are, of which none is down.
func upstreamWords(st *Status) (words []string) {
	names := map[string][]string{}
	for _, u := range st.Upstreams {
		state := strings.TrimPrefix(u.State, "forced-")
		names[state] = append(names[state], u.Name)
	}
	for _, w := range []struct{ state, words string }{
		{"up", "taking mail."},
		{"recovering", "coming back: trial messages go out."},
		{"degraded", "in doubt: new mail is stored here and tried at once."},
	} {
		if len(names[w.state]) > 0 {
			words = append(words, are(names[w.state], w.words))
		}
	}
	return words
}

func storedWords(st *Status) []string {
	if st.Queue == nil {
		return nil
	}
	stored := "The queue is empty."
	if st.Queue.Messages > 0 {
		stored = count(st.Queue.Messages, "message") + " are stored here."
		if st.Queue.Messages == 1 {
			stored = "1 message is stored here."
		}
	}
	switch {
	case !st.NothingLost && st.Queue.Messages == 0: // it would sound like good news
		return nil
	case st.NothingLost && st.Queue.Messages > 0:
		stored = "Nothing is lost: " + stored
	}
	return []string{stored}
}

// whatNext says what happens by itself; "" is nothing.
func whatNext(st *Status) string {
	var words []string
	if down := takingNothing(st); len(down) > 0 && moving(st) > 0 {
		words = append(words, "automatic when "+are(down, "back: trial messages first, then all, oldest first"))
	}
	if st.State == Draining {
		words = append(words, draining(st))
	}
	return strings.Join(words, "; ")
}

// draining says when the queue will be empty, if that can be known.
func draining(st *Status) string {
	out := st.Queue.OutPerMinute
	if out == nil || *out <= 0 {
		return "automatic: what is due goes out, oldest first"
	}
	minutes := math.Ceil(float64(st.Account.Queued) / *out)
	return fmt.Sprintf("about %s to empty at this rate", count(int64(minutes), "minute"))
}

// todo lists what only a person can do.
func todo(st *Status) (list []Todo) {
	if st.Inbound.Refusing != "" {
		list = append(list, Todo{"New mail cannot be stored; deliveries go on. Make room on the disk of the store, or see the log.", ""})
	}
	if deaf(st) {
		list = append(list, Todo{"Senders cannot reach us, and keep their mail: see the log.", "journalctl -u mxkeep"})
	}
	if st.Queue == nil {
		return append(list, Todo{"The store cannot be read: see the log. A restart checks the files.", "journalctl -u mxkeep"})
	}
	list = append(list, damageTodo(st)...)
	for _, u := range st.Upstreams {
		if u.Misconfigured != nil {
			list = append(list, Todo{u.Name + " refuses us for our, or its own, configuration.", "mxkeep health show"})
		}
		if u.Override != nil {
			list = append(list, Todo{fmt.Sprintf("%s is %s by %s: %s.", u.Name, u.State, u.Override.Actor, u.Override.Reason), "mxkeep health override auto --upstream " + u.Name + ` --reason "..."`})
		}
	}
	for _, state := range []struct{ name, words string }{
		{"refused", "refused and kept: a person decides"},
		{"held", "held"},
	} {
		if n := st.Queue.ByState[state.name]; n > 0 {
			list = append(list, Todo{fmt.Sprintf("%s %s.", count(n, "message"), state.words), "mxkeep queue list --state " + state.name})
		}
	}
	return list
}

// are joins names and a predicate: "a is ...", "a and b are ...".
func are(names []string, predicate string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0] + " is " + predicate
	}
	return strings.Join(names[:last], ", ") + " and " + names[last] + " are " + predicate
}

// count writes a number with its noun: "1 message", "5,724 messages".
func count(n int64, noun string) string {
	if n == 1 || n == -1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return Thousands(n) + " " + noun + "s"
}

// Thousands writes a number with a comma after every three digits.
func Thousands(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
