package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
)

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		add := []string{"window", "add", "--from", "22:00", "--to", "02:00", "--reason", "tenant move"}
		golden(t, "window-add-dry", r.run(append(add, "-n")...).out)
		if len(r.windows.All) != 0 {
			t.Errorf("%+v", r.windows.All)
		}
		golden(t, "window-add", r.run(append(add, "-y")...).out)
		golden(t, "window-add-approval", r.terminal(80, "y\n", "window", "add", "--for", "2h", "--release", "approval", "--reason", "an \x1b[31m end").out)
		golden(t, "window-add-json", r.run("window", "add", "--from", "2000-01-02 08:00", "--to", "2000-01-02T09:30:00Z", "--reason", "x", "-y", "--json").out)
		if all := r.windows.All; len(all) != 3 || all[0].From.Hour() != 22 || all[0].To.Sub(all[0].From.Time) != 4*time.Hour {
			t.Errorf("%+v", all)
		}
		golden(t, "window-list-120", r.terminal(120, "", "window", "list").out)
		golden(t, "window-list-json", r.run("window", "list", "--json").out)
		golden(t, "window-status-80", r.terminal(80, "", "status").out)
		golden(t, "window-remove-dry", r.run("window", "remove", "WIN-2000-01-01-2", "--reason", "done", "-n").out)
		golden(t, "window-remove", r.terminal(80, "y\n", "window", "remove", "WIN-2000-01-01-2", "--reason", "done").out)
		if len(r.windows.All) != 2 {
			t.Errorf("%+v", r.windows.All)
		}
		r.windows.All = nil
		golden(t, "window-list-none", r.run("window", "list").out)
	})
}

func TestWrongWindow(t *testing.T) {
	r := newRig(t)
	r.serve()
	for _, test := range []struct {
		args string
		code int
		errs string
	}{
		{"window add --for 1h -y", exitUsage, "needs a reason"},
		{"window add --reason x -y", exitUsage, "give --to or --for"},
		{"window add --for 1h --to 22:00 --reason x -y", exitUsage, "give --to or --for"},
		{"window add --to 25:00 --reason x -y", exitUsage, `"25:00" is no time`},
		{"window add --from noon --for 1h --reason x -y", exitUsage, `"noon" is no time`},
		{"window add --for 1h --reason x", exitUsage, "nobody can be asked here"},
		{"window add --for 30d --reason x -y", exitUsage, "may last 7 days"},
		{"window remove --reason x -y", exitUsage, "give the id of a window"},
		{"window remove WIN-1 -y", exitUsage, "needs a reason"},
		{"window remove WIN-1 --reason x", exitUsage, "nobody can be asked here"},
		{"window remove WIN-1 --reason x -y", exitNotFound, "no such window"},
	} {
		if got := r.run(strings.Fields(test.args)...); got.code != test.code || !strings.Contains(got.errs, test.errs) || got.out != "" {
			t.Errorf("%s: %d %s%s", test.args, got.code, got.out, got.errs)
		}
	}
	if got := r.terminal(80, "n\n", "window", "add", "--for", "1h", "--reason", "x"); got.code == 0 || len(r.windows.All) != 0 {
		t.Errorf("%+v", got)
	}
	r.windows.Fail = errors.New("disk full")
	if got := r.run("window", "add", "--for", "1h", "--reason", "x", "-y"); got.code == 0 || !strings.Contains(got.errs, "disk full") {
		t.Errorf("%+v", got)
	}
}

// While a window holds, and after it.
func TestStatusInAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		now := time.Now()
		r.windows.All = []admin.Window{{ID: "WIN-1", Upstream: "exo", State: admin.WindowHolds, Reason: "move"}}
		r.exo.Status.Planned = &health.Override{State: health.Down, Until: now.Add(time.Hour), Actor: "jo", Reason: "move", Window: "WIN-1"}
		golden(t, "window-holds-80", r.terminal(80, "", "status").out)
		golden(t, "window-health-80", r.terminal(80, "", "health", "show").out)
		r.windows.All[0].State = admin.WindowWaits
		r.exo.Status.Planned.Until = time.Time{}
		golden(t, "window-waits-80", r.terminal(80, "", "status").out)
	})
}

func TestHealthShowsAllKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		now := time.Now()
		took := 88 * time.Millisecond
		r.exo.Topics = []health.Signal{
			{At: now, Source: health.SourceCanary, Address: "192.0.2.25:25", Host: "mx.corp.example", Phase: health.PhaseFinal, Reply: "250 2.6.0 Queued mail for delivery", Took: took},
			{At: now, Source: health.SourceControl, Host: "mx.provider.example:25", Address: "198.51.100.7:25", Reply: "220 mx.provider.example ESMTP", Took: took},
			{At: now, Source: health.SourceDNS, Host: "mx.corp.example", Address: "192.0.2.53:53", Reply: "answered: 192.0.2.25", Took: took},
			{At: now, Source: health.SourceDNS, Host: "mx.corp.example", Address: "198.51.100.53:53", Class: health.Outage, Reply: "servfail", Took: took},
			{At: now, Source: health.SourcePublic, Host: "Graph: Exchange Online", Class: health.Temporary, Reply: "serviceDegradation; EX1 \x1b[31m investigating", Took: took},
			{At: now, Source: health.SourceVantage, Host: "mx3", Address: "203.0.113.8:8026", Reply: "up: 250 2.1.5 ok", Took: took},
		}
		r.exo.Recent = []health.Signal{{At: now, Source: health.SourceControl, Address: "198.51.100.7:25"}, {At: now, Source: health.SourceProbe, Address: "192.0.2.25:25", Phase: health.PhaseRcpt, Reply: "250 ok", Took: took}}
		r.serveInBubble()
		golden(t, "health-kinds-80", r.terminal(80, "", "health", "show").out)
		golden(t, "probe-kinds-80", r.terminal(80, "", "health", "probe", "-v").out)
	})
}
