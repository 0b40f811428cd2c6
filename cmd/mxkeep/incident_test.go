package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// outage is a closed incident, and one that goes on with a recipient too few.
func outage(r *rig) {
	now := time.Now()
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	closed := health.OpenIncident("INC-1999-12-31-1", "exo", health.Seen{At: at(-1000), State: health.Down, Why: "3 bad probe rounds in a row, no address takes mail; last reply: 451 4.3.2 Temporary server error"}, "relay", at(-1003))
	closed = closed.Acknowledge(at(-990), "j.doe", "").Link(at(-980), "j.doe", "MO1221364")
	closed = closed.Next(health.Seen{At: at(-720), State: health.Up, Why: "probes go well"}).Close(at(-700), "relay", "every recipient has its account")
	figures := incident.Figures{At: at(-700), Messages: 12841, Bytes: 1900 << 20, Domains: 2204, Addresses: 1911, MaybeTwice: 3, FirstDelivery: at(-719), LastDelivery: at(-715),
		Account: incident.Account{Accepted: 12847, Delivered: 12841, Refused: 6, Passed: 12}, ByState: map[string]int64{"delivered": 12835, "refused": 6},
		Delay: incident.Delays{Median: 157 * time.Minute, P95: 274 * time.Minute, P99: 280 * time.Minute, Worst: 287 * time.Minute},
		Replies: []incident.Replies{{Source: health.SourceAttempt, Command: "DATA", Code: 250, Enhanced: "2.6.0", Text: "Queued mail for delivery", Count: 12841, First: at(-719), Last: at(-715), Servers: []string{"mx.corp.example 198.51.100.25:25"}},
			{Source: health.SourceProbe, Command: "RCPT", Code: 451, Enhanced: "4.3.2", Text: "Temporary \x1b[31mserver error", Count: 562, First: at(-1003), Last: at(-721), Servers: []string{"mx.corp.example 198.51.100.25:25", "mx.corp.example 198.51.100.31:25"}, Sessions: []string{"ABC"}}}}
	open := health.OpenIncident("INC-2000-01-01-1", "exo", health.Seen{At: at(-60), State: health.Down, Why: "override by a.roe: test"}, "a.roe", time.Time{})
	open.Unsettled = "1 of 4 recipients have no account"
	few := incident.Figures{At: now, Messages: 3, Account: incident.Account{Accepted: 4, Queued: 1, Held: 1, SetAside: 1, Remainder: 1}, Unread: 1, NoHistory: true}
	r.incidents.Records = []incident.Record{{Incident: closed, Figures: figures, Timeline: incident.Timeline(closed, []health.Change{{At: at(-1002), Kind: health.ChangeState, From: "up", To: "degraded", Why: "1 bad probe round"}}, figures, nil)},
		{Incident: open, Figures: few, Timeline: open.Moments}}
	r.incidents.History = []health.Change{{At: at(-1002), Upstream: "exo", Kind: health.ChangeState, From: "up", To: "degraded", Why: "1 bad probe round in a row, no address takes mail; last reply: 451 4.3.2 Temporary \x1bserver error"},
		{At: at(-60), Upstream: "exo", Kind: health.ChangeOverride, From: "none", To: "down", Actor: "a.roe", Why: "until later: test"},
		{At: at(-50), Upstream: "exo", Kind: health.ChangeThrottled, To: "began", Why: "451 4.7.500 Server busy"}}
}

func TestIncidentViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		for args, want := range map[string]string{"incident list": "There has been no incident.", "health history": "Nothing has changed in the last 7d0h."} {
			if got := r.terminal(80, "", strings.Fields(args)...); got.code != 0 || strings.TrimSpace(got.errs) != want {
				t.Errorf("%s: %d %q %q", args, got.code, got.out, got.errs)
			}
		}
		outage(r)
		for name, args := range map[string]string{"incident-list": "incident list", "incident-show": "incident show INC-1999-12-31-1", "incident-open": "incident show", "health-history": "health history"} {
			golden(t, name+"-80", r.terminal(80, "", strings.Fields(args)...).out)
			golden(t, name+"-120", r.terminal(120, "", strings.Fields(args)...).out)
			golden(t, name+"-pipe", r.run(strings.Fields(args)...).out)
		}
		golden(t, "incident-json", r.run("incident", "show", "INC-1999-12-31-1", "--json").out)
		golden(t, "incident-list-csv", r.run("incident", "list", "-o", "csv").out)
		if got := r.run("incident", "list", "-o", "id"); got.out != "INC-2000-01-01-1\nINC-1999-12-31-1\n" {
			t.Errorf("%q", got.out)
		}
	})
}

// TestIncidentActs are done, dry, and confirmed as other acts are.
func TestIncidentActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		outage(r)
		for _, test := range []struct {
			input string // of a person; "-" is a script
			args  []string
			code  int
			want  string
		}{
			{"-", []string{"ack", "last"}, 0, "Your acknowledgement is in the timeline of INC-2000-01-01-1."},
			{"-", []string{"ack", "last", "on it", "-n"}, 0, "Dry run: nothing was changed. It would be: "},
			{"-", []string{"note", "INC-2000-01-01-1", "service health shows it"}, 0, "Noted in the timeline of INC-2000-01-01-1."},
			{"-", []string{"link", "last", "EX0000000"}, 0, "Linked in the records of INC-2000-01-01-1."},
			{"-", []string{"note", "last"}, 2, "give ID TEXT"},
			{"-", []string{"ack"}, 2, "give ID [TEXT]"},
			{"-", []string{"close"}, 2, "give the id of an incident"},
			{"-", []string{"ack", "INC-7"}, 5, "E1401"},
			{"-", []string{"open"}, 2, "E1106"},
			{"-", []string{"open", "--reason", "x"}, 2, "E1108"},
			{"-", []string{"open", "--reason", "x", "-n"}, 0, "It would open an incident of exo."},
			{"n\n", []string{"open", "--reason", "x"}, 2, "E1109"},
			{"y\n", []string{"open", "--reason", "x"}, 1, "E1901"},
			{"-", []string{"close", "last"}, 2, "E1106"},
			{"-", []string{"close", "last", "-n"}, 0, "It would close INC-2000-01-01-1, which is not over for 3 recipients."},
			{"-", []string{"close", "last", "--reason", "x"}, 2, "E1107"},
			{"-", []string{"close", "last", "--reason", "x", "--confirm=2"}, 2, "E1105"},
			{"3\n", []string{"close", "last"}, 2, "E1106"},
			{"2\n", []string{"close", "last", "--reason", "x"}, 2, "E1109"},
			{"3\n", []string{"close", "last", "--reason", "x"}, 0, "Closed INC-2000-01-01-1."},
			{"-", []string{"close", "INC-2000-01-01-1"}, 2, "E1106"},
			{"-", []string{"open", "--reason", "x", "--yes"}, 0, "End it: mxkeep incident close INC-2000-01-01-1"},
		} {
			args := append([]string{"incident"}, test.args...)
			ask := func() result { return r.terminal(80, test.input, args...) }
			if test.input == "-" {
				ask = func() result { return r.run(args...) }
			}
			got := ask()
			if got.code != test.code || !strings.Contains(got.out+got.errs, test.want) {
				t.Errorf("%v: exit %d, %q %q; want %d, %q", test.args, got.code, got.out, got.errs, test.code, test.want)
			}
		}
		if got := r.run("health", "history", "--since", "0s"); got.code != 2 {
			t.Errorf("%+v", got)
		}
		if recipientCount(1) != "1 recipient" {
			t.Error(recipientCount(1))
		}
	})
}
