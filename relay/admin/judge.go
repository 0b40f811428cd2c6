package admin

import (
	"fmt"
	"slices"
	"time"
)

// The states of the relay, and the severities.
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

// shortRoom is how long the disk and the limits must at least leave room for
// mail, at the rate of now, or a person is told.
const shortRoom = 24 * time.Hour

// judge derives state, words and advice from the facts of a snapshot. It is
// pure: it adds to Trouble, and reads no clock but st.At.
func judge(st *Status) {
	for i := range st.Upstreams {
		st.Upstreams[i].Fault = fault(&st.Upstreams[i])
	}
	st.Trouble = append(st.Trouble, troubles(st)...)
	st.NothingLost = len(st.Trouble) == 0
	switch {
	case st.Inbound.Refusing != "" || st.Queue == nil:
		st.State = Refusing
	case len(pauses(st)) > 0:
		st.State = PausedBy
	case takesNothing(st):
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
	for _, u := range st.Upstreams {
		if u.full() {
			found = append(found, "New mail for "+u.Name+" cannot be stored ("+u.Held.Full+"): senders get a temporary reply and keep their mail.")
		}
	}
	found = append(found, unsettled(st)...)
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

// standing is how an upstream is, in the word that decides what people are told.
func (u UpstreamStatus) standing() string {
	switch {
	case u.Override != nil:
		return u.State
	case u.Network != nil && u.State != "down":
		return "cut off"
	case u.refuses():
		return "refuses"
	case u.Throttled != nil && u.State != "down":
		return "throttles"
	}
	return u.State
}

// takesNothing reports whether an upstream takes no mail of ours, so that mail waits here.
func takesNothing(st *Status) bool {
	for _, u := range st.Upstreams {
		switch u.standing() {
		case "down", "forced-down", "cut off":
			return true
		case "refuses": // senders may still reach one that is up
			if u.State != "up" || moving(st) > 0 {
				return true
			}
		}
	}
	return false
}

// unplanned is the status without the upstreams whose mail is held as planned.
func unplanned(st *Status) *Status {
	rest := *st
	rest.Upstreams = slices.DeleteFunc(slices.Clone(st.Upstreams), func(u UpstreamStatus) bool { return u.heldByPlan(st) })
	return &rest
}

// deaf reports whether no mail is accepted, for a reason that nothing else in
// the status tells.
func deaf(st *Status) bool {
	return !st.Ready && st.Inbound.Refusing == "" && st.Inbound.Paused == nil
}

func severity(st *Status) string {
	if !st.NothingLost || len(st.Stranded) > 0 || deaf(st) || takesNothing(unplanned(st)) || st.State == Refusing {
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

// fills reports whether the disk or a limit is full soon at the rate of now.
func fills(st *Status) bool {
	return st.Queue != nil && st.Queue.RoomSeconds != nil && *st.Queue.RoomSeconds < shortRoom.Seconds()
}

// full reports whether mail is kept out now.
func full(st *Status) bool {
	return st.Inbound.Refusing != "" || slices.ContainsFunc(st.Upstreams, UpstreamStatus.full)
}

// full reports whether a limit keeps mail for the upstream out now.
func (u UpstreamStatus) full() bool { return u.Held != nil && u.Held.Full != "" }
