package admin

import (
	"strings"
	"testing"
	"time"
)

var noon = Time{time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)}

// standingOf is a relay with one upstream and so many messages by state.
func standingOf(u UpstreamStatus, byState map[string]int64) Status {
	if u.ObservedState == "" {
		u.ObservedState = strings.TrimPrefix(u.State, "forced-")
	}
	u.Name = "exo"
	st := Status{At: noon, Ready: true, Upstreams: []UpstreamStatus{u}, Queue: &QueueStatus{ByState: byState}, Account: &Account{}}
	for _, n := range byState {
		st.Queue.Messages += n
	}
	return st
}

func TestJudge(t *testing.T) {
	condition := &Condition{Since: noon, Last: noon, Reply: "x"}
	soon := Time{noon.Add(90 * time.Minute)}
	force := func(state string) *Override {
		return &Override{State: state, Until: soon, Actor: "j.doe", Reason: "call 4711"}
	}
	queued := map[string]int64{"queued": 3}
	for _, test := range []struct {
		rule            string
		upstream        UpstreamStatus
		kept            map[string]int64
		state, severity string
		headline        string
		next            string
		todo            []string // commands
	}{
		{"a quiet day", UpstreamStatus{State: "up"}, nil, Standby, SeverityOK, "exo is taking mail. The queue is empty.", "", nil},
		{"an outage", UpstreamStatus{State: "down"}, queued, Holding, SeverityCritical, "exo is not taking mail. Nothing is lost: 3 messages are stored here.",
			"automatic when exo is back: trial messages first, then all, oldest first", nil},
		{"an outage with nothing that waits", UpstreamStatus{State: "down"}, nil, Holding, SeverityCritical, "exo is not taking mail. The queue is empty.", "", nil},
		{"it comes back", UpstreamStatus{State: "recovering"}, queued, Draining, SeverityWarning, "exo is coming back: trial messages go first. Nothing is lost: 3 messages are stored here.",
			"automatic: what is due goes out, oldest first", nil},
		{"it is slow with us", UpstreamStatus{State: "recovering", Throttled: condition}, queued, Draining, SeverityWarning, "exo takes mail, but limits how fast. Nothing",
			"automatic: what is due goes out, oldest first", nil},
		{"our address is banned", UpstreamStatus{State: "up", Throttled: &Condition{Since: noon, Last: noon, Reply: "550 5.7.606 banned", Fix: "delist it"}}, queued, Draining, SeverityWarning,
			"exo takes mail, but limits how fast. Nothing", "automatic: what is due goes out, oldest first", []string{"mxkeep health show"}},
		{"it is slow, which ends by itself", UpstreamStatus{State: "up", Throttled: &Condition{Since: noon, Last: noon, Reply: "451 4.7.500 busy", Fix: "deliver more slowly"}}, queued, Draining, SeverityWarning,
			"exo takes mail, but limits how fast. Nothing", "automatic: what is due goes out, oldest first", nil},
		{"it was slow before it went down", UpstreamStatus{State: "down", Throttled: condition}, queued, Holding, SeverityCritical, "exo is not taking mail.", "automatic when exo is back", nil},
		{"refuses us, senders use it", UpstreamStatus{State: "up", Misconfigured: condition}, nil, Standby, SeverityWarning, "exo refuses us, as we or it are configured: that does not mend itself. The queue is empty.", "",
			[]string{"mxkeep help exchange-online", "mxkeep health probe"}},
		{"refuses us, mail waits", UpstreamStatus{State: "recovering", Misconfigured: condition}, map[string]int64{"queued": 1, "refused": 2}, Holding, SeverityCritical, "exo refuses us",
			"automatic when exo accepts us: trial", []string{"mxkeep help exchange-online", "mxkeep health probe", "mxkeep queue retry --state refused", "mxkeep queue list --state refused"}},
		{"refuses us after an outage", UpstreamStatus{State: "down", Misconfigured: condition}, queued, Holding, SeverityCritical, "exo refuses us", "automatic when exo accepts us",
			[]string{"mxkeep help exchange-online", "mxkeep health probe"}},
		{"forced up against what is seen", UpstreamStatus{State: "forced-up", ObservedState: "down", Override: force("up")}, queued, Draining, SeverityWarning,
			"exo counts as up until 13:30 UTC (j.doe: call 4711), but what is observed is: down. Nothing is lost", "automatic: what is due goes out, oldest first", []string{`mxkeep health override auto --reason "..."`}},
		{"forced down", UpstreamStatus{State: "forced-down", ObservedState: "down", Override: force("down")}, queued, Holding, SeverityCritical, "exo counts as down until 13:30 UTC (j.doe: call 4711). Nothing",
			"automatic when the override ends at 13:30 UTC and exo is up: trial", []string{`mxkeep health override auto --reason "..."`}},
		{"paused", UpstreamStatus{State: "up", Paused: &Paused{Until: soon, Actor: "j.doe", Reason: "x"}}, queued, PausedBy, SeverityWarning, "Delivery to exo is paused until 13:30 UTC (j.doe: x). Nothing is lost",
			"automatic when the pause ends at 13:30 UTC: all, oldest first", nil},
		{"paused in an outage", UpstreamStatus{State: "down", Paused: &Paused{Until: Time{noon.Add(20 * time.Hour)}, Actor: "j.doe", Reason: "x"}}, queued, PausedBy, SeverityCritical,
			"Delivery to exo is paused until 13 Mar 08:00 UTC (j.doe: x). exo is not taking mail. Nothing is lost", "automatic when the pause ends at 13 Mar 08:00 UTC and exo is back", nil},
		{"for a person to decide", UpstreamStatus{State: "up"}, map[string]int64{"held": 1, "refused": 1}, Standby, SeverityWarning, "exo is taking mail. Nothing is lost: 2 messages are stored here.", "",
			[]string{"mxkeep queue list --state refused", "mxkeep queue list --state held"}},
	} {
		st := standingOf(test.upstream, test.kept)
		judge(&st)
		if st.State != test.state || st.Severity != test.severity || !strings.HasPrefix(st.Headline, test.headline) || !strings.HasPrefix(st.WhatNext, test.next) || test.next == "" && st.WhatNext != "" {
			t.Errorf("%s: %s, %s, %q, next %q", test.rule, st.State, st.Severity, st.Headline, st.WhatNext)
		}
		var commands []string
		for _, todo := range st.Todo {
			commands = append(commands, todo.Command)
		}
		if strings.Join(commands, "\n") != strings.Join(test.todo, "\n") {
			t.Errorf("%s: to do %q", test.rule, commands)
		}
	}
}

func TestSeveralUpstreams(t *testing.T) {
	st := standingOf(UpstreamStatus{State: "down"}, map[string]int64{"queued": 1})
	st.Upstreams = append(st.Upstreams, UpstreamStatus{Name: "lab", State: "down"}, UpstreamStatus{Name: "eu", State: "up"},
		UpstreamStatus{Name: "us", State: "up", Misconfigured: &Condition{}})
	judge(&st)
	if want := "exo and lab are not taking mail. us refuses us, as we or it are configured: that does not mend itself. Nothing is lost: 1 message is stored here."; st.Headline != want {
		t.Errorf("%q", st.Headline)
	}
	if st.Todo[1].Command != "mxkeep health probe --upstream us" {
		t.Errorf("%+v", st.Todo)
	}
	if got := list([]string{"a", "b", "c"}); got != "a, b and c" {
		t.Errorf("%q", got)
	}
}

func TestMailForNobodyIsSaid(t *testing.T) {
	st := standingOf(UpstreamStatus{State: "up"}, map[string]int64{"queued": 1})
	st.Stranded = []string{"old"}
	judge(&st)
	if st.Severity != SeverityCritical || len(st.Todo) != 1 || !strings.Contains(st.Todo[0].Text, "Mail waits for old,") {
		t.Errorf("%s, %+v", st.Severity, st.Todo)
	}
}

func TestADiskThatFillsIsSaidInTime(t *testing.T) {
	for hours, said := range map[float64]bool{0.5: true, 23.5: true, 24: false, 1000: false} {
		st := standingOf(UpstreamStatus{State: "down"}, map[string]int64{"queued": 3})
		room := hours * 3600
		st.Queue.RoomSeconds, st.Queue.RoomOf = &room, "the disk"
		judge(&st)
		if len(st.Todo) == 1 != said || said && !strings.Contains(st.Todo[0].Text, "the disk is full in about") {
			t.Errorf("room for %g hours: %+v", hours, st.Todo)
		}
	}
}

// TestOneUpstreamIsFull: it is trouble, though the others go on, and one that
// is full is not said to be full soon.
func TestOneUpstreamIsFull(t *testing.T) {
	st := standingOf(UpstreamStatus{State: "up"}, nil)
	room := 0.0
	st.Queue.RoomSeconds, st.Queue.RoomOf = &room, "the limit of messages for exo"
	st.Upstreams[0].Held = &Share{Messages: 5, MaxMessages: 5, Full: "the limit of 5 messages for exo leaves no room"}
	judge(&st)
	if st.State != Standby || st.Severity != SeverityCritical || st.NothingLost || len(st.Todo) != 1 ||
		!strings.HasPrefix(st.Headline, "New mail for exo cannot be stored (the limit of 5 messages for exo leaves no room): senders get a temporary reply") ||
		!strings.Contains(st.Todo[0].Text, "other mail is taken. Raise queue.max_messages") {
		t.Errorf("%+v", st)
	}
}

func TestFault(t *testing.T) {
	for _, test := range []struct {
		says   string
		state  string
		signal *Signal
	}{
		{"", "up", &Signal{Class: "outage", Reply: "451 x"}},
		{"", "degraded", nil},
		{"", "recovering", &Signal{Class: "ok", Reply: "250 x"}},
		{"the fault is there, not here", "down", &Signal{Class: "outage", Phase: "rcpt", Reply: "451 4.3.2 later"}},
		{"limits how fast", "degraded", &Signal{Class: "throttle", Reply: "451 4.7.500 busy"}},
		{"Its name is not found", "down", &Signal{Class: "outage", Phase: "resolve", Reply: "no such host"}},
		{"cannot be reached", "down", &Signal{Class: "outage", Phase: "connect", Reply: "dial tcp: refused"}},
		{"TLS fails", "degraded", &Signal{Class: "outage", Phase: "tls", Reply: "EOF"}},
		{"does not answer", "down", &Signal{Class: "outage", Phase: "banner"}},
	} {
		if got := fault(&UpstreamStatus{ObservedState: test.state, LastSignal: test.signal}); test.says == "" && got != "" || !strings.Contains(got, test.says) {
			t.Errorf("%s, %+v: %q", test.state, test.signal, got)
		}
	}
	if got := fault(&UpstreamStatus{ObservedState: "up", Misconfigured: &Condition{}}); !strings.Contains(got, "refuses us") {
		t.Errorf("%q", got)
	}
}

func TestARefusalEndsBeforeItsCondition(t *testing.T) {
	for _, test := range []struct {
		class string
		after time.Duration
		holds bool
	}{
		{"misconfigured", 0, true},
		{"temporary", time.Hour, true},
		{"outage", 59 * time.Second, true},
		{"outage", time.Minute, false},
		{"ok", time.Second, false},
	} {
		u := UpstreamStatus{Misconfigured: &Condition{Last: noon}, LastSignal: &Signal{Class: test.class, At: Time{noon.Add(test.after)}}}
		if u.refuses() != test.holds {
			t.Errorf("%s after %v: %v", test.class, test.after, u.refuses())
		}
	}
}

func TestBrief(t *testing.T) {
	for text, want := range map[string]string{
		"451 4.3.2 Temporary server error. Please try again later ATTR2 [XX1PEPF00000002.namprd00.prod.outlook.com 2026-11-25T18:53:59.919Z 08DE2ECFE9FF23DF]": "451 4.3.2 Temporary server error. Please try again later ATTR2",
		"550 5.4.1 [a@b.example]: Recipient address rejected":                                          "550 5.4.1 [a@b.example]: Recipient address rejected",
		"read tcp 127.0.0.1:46002->127.0.0.3:2526: i/o timeout":                                        "no answer in time",
		"dial tcp [::1]:25: connect: connection refused":                                               "connection refused",
		"3 bad rounds; last reply: read tcp 127.0.0.1:4->127.0.0.3:25: read: connection reset by peer": "3 bad rounds; last reply: connection reset by peer",
		"last reply: EOF": "last reply: it hung up",
		"":                "",
	} {
		if got := Brief(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
