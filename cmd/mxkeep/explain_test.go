package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/inbound"
)

// explained is what a server would really say, in the words of the wire.
func explained(t *testing.T, to string, state health.State) admin.Explanation {
	t.Helper()
	server, err := inbound.New(inbound.Options{Hostname: "mx2.corp.example", Domains: map[string]string{"corp.example": "exo"}, Store: queuetest.New(),
		Hints: map[string]string{"exo": "corp-example.mail.protection.outlook.com"}, State: func(string) health.State { return state }})
	if err != nil {
		t.Fatal(err)
	}
	e, err := server.Explain(inbound.Question{ReversePath: "billing@supplier.example", Recipient: to, Client: netip.MustParseAddr("192.0.2.44")})
	if err != nil {
		t.Fatal(err)
	}
	given := admin.Explanation{Domain: e.Domain, Upstream: e.Upstream, Action: e.Action, Rule: e.Rule, Why: e.Why, Reply: e.Reply}
	if e.Upstream != "" {
		given.State = e.State.String()
	}
	for _, f := range e.Facts {
		given.Facts = append(given.Facts, admin.Fact(f))
	}
	return given
}

func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		args := []string{"explain", "--from", "billing@supplier.example", "--to", "a.meyer@corp.example", "--client", "192.0.2.44"}
		for _, view := range []struct {
			name, to string
			state    health.State
		}{{"up", "a.meyer@corp.example", health.Up}, {"down", "a.meyer@corp.example", health.Down}, {"foreign", "a.meyer@elsewhere.example", health.Up}} {
			r.inbound.Given = explained(t, view.to, view.state)
			for _, width := range []int{80, 120} {
				golden(t, fmt.Sprintf("explain-%s-%d", view.name, width), r.terminal(width, "", args...).out)
			}
			golden(t, "explain-"+view.name+"-pipe", r.run(args...).out)
			golden(t, "explain-"+view.name+"-json", r.run(append(args, "--json")...).out)
		}
		if got := r.run("explain", "--from", "<>", "--to", "a@corp.example", "--upstream", "down"); got.code != 0 || r.inbound.Explain != (admin.ExplainRequest{To: "a@corp.example", Upstream: "down"}) {
			t.Errorf("exit %d, asked %+v", got.code, r.inbound.Explain)
		}
		if got := r.run("explain", "--from", "a@b.example"); got.code != 2 || !strings.Contains(got.errs, "--to ADDRESS") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		r.inbound.Fail = errors.New("no address")
		if got := r.run("explain", "--to", "a@corp.example"); got.code != 2 || !strings.Contains(got.errs, "E1104") || !strings.Contains(got.errs, "no address") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
	})
}
