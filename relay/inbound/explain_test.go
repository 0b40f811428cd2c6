package inbound

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// words writes an explanation: what it comes to, and the checks.
func words(e Explanation) string {
	all := []string{e.Action, e.Rule}
	for _, f := range e.Facts {
		all = append(all, f.Check)
	}
	return strings.Join(all, " ")
}

// TestExplain: it says what a session would decide, for every rule.
func TestExplain(t *testing.T) {
	up, degraded, down, recovering := health.Up, health.Degraded, health.Down, health.Recovering
	for _, test := range []struct {
		name    string
		to      string
		state   health.State
		suppose *health.State
		prepare func(g *stage)
		want    string
		reply   string
	}{
		{"foreign", "a@x.example", up, nil, nil, "refuse relay_denied sessions domain", "550 5.7.1 relaying denied"},
		{"unknown", "b@d.example", up, nil, nil, "refuse unknown_recipient sessions domain recipient", "550 5.1.1 no such recipient"},
		{"not known, and down", "c@d.example", down, nil, nil, "defer recipient_not_known sessions domain recipient role upstream", "451 4.4.3 whether this recipient exists cannot be checked now, try again later"},
		{"not known, and it passes", "c@d.example", degraded, nil, nil, "pass pass sessions domain recipient role upstream", ""},
		{"fallback, up", "a@g.example", up, nil, nil, "defer primary_up sessions domain recipient role upstream sender", "451 4.3.2 use the primary: the mail exchanger with the lowest preference"},
		{"fallback, supposed down", "a@g.example", up, &down, nil, "take upstream_down sessions domain recipient role upstream", ""},
		{"fallback, degraded", "a@g.example", degraded, nil, nil, "take upstream_degraded sessions domain recipient role upstream", ""},
		{"fallback, recovering", "a@g.example", recovering, nil, nil, "take upstream_recovering sessions domain recipient role upstream", ""},
		{"fallback that passes", "a@e.example", up, nil, nil, "pass pass sessions domain recipient role upstream", ""},
		{"front, up", "a@d.example", up, nil, nil, "pass pass sessions domain recipient role upstream", ""},
		{"front, supposed degraded", "a@d.example", down, &degraded, nil, "pass pass sessions domain recipient role upstream", ""},
		{"front, down", "a@d.example", down, nil, nil, "take upstream_down sessions domain recipient role upstream", ""},
		{"paused", "a@d.example", down, nil, func(g *stage) { g.server.Pause(Pause{Until: time.Now().Add(time.Hour)}) },
			"defer paused sessions domain recipient role upstream intake", "451 4.3.2 no mail is taken for now, try again later"},
		{"store failed", "a@d.example", up, nil, func(g *stage) { g.server.fail(errors.New("disk")) },
			"defer store_failed sessions domain recipient role upstream intake", "451 4.3.0 local error, try again later"},
		{"full, and it passes", "a@d.example", up, nil, func(g *stage) { g.store.Limit(full) }, "pass pass sessions domain recipient role upstream", ""},
		{"full", "a@d.example", down, nil, func(g *stage) { g.store.Limit(full) },
			"defer limit_reached sessions domain recipient role upstream intake", "452 4.3.1 too much mail is held already, try again later"},
		{"full, and front in doubt", "a@d.example", degraded, nil, func(g *stage) { g.store.Limit(full) },
			"defer limit_reached sessions domain recipient role upstream intake", "452 4.3.1 too much mail is held already, try again later"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := front(t, func(o *Options) {
				o.Domains["g.example"] = "exo"
				o.Recipients = who(func(_ string, p smtp.Path, _ recipients.Primary) recipients.Answer { return somebody(p.Local) })
			})
			g.state = test.state
			keepOne(g)
			if test.prepare != nil {
				test.prepare(g)
			}
			e, err := g.server.Explain(Question{ReversePath: "s@far.example", Recipient: test.to, Client: netip.MustParseAddr("192.0.2.1"), Suppose: test.suppose})
			if got := words(e); err != nil || got != test.want || e.Reply != test.reply || e.Why == "" {
				t.Errorf("%s, %q, %v\nwant %s", got, e.Reply, err, test.want)
			}
			g.end() // with the error of a store that failed
		})
	}
}

var full = queue.Limits{All: queue.Limit{Messages: 1}}

// keepOne puts a message into the store.
func keepOne(g *stage) {
	d, err := g.store.Create(g.t.Context())
	if err == nil {
		err = d.Commit(g.t.Context(), queue.Acceptance{At: time.Now(), Envelope: queue.Envelope{Upstream: "exo", Recipients: []queue.Recipient{{ForwardPath: "a@d.example"}}}})
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// TestExplainReturning: looking is no visit, and what it says is what happens.
func TestExplainReturning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.State = func(string) health.State { return health.Up } })
		defer r.finish()
		q := Question{ReversePath: "s@far.example", Recipient: "a@d.example", Client: netip.MustParseAddr("192.0.2.1")}
		w := r.dial("192.0.2.1").hello()
		w.ask("MAIL FROM:<s@far.example>", "250")
		for i, want := range []string{"defer it was not told to use the upstream lately", "defer it came back 0 times over 0s; it is believed from 2 times over 5m0s on",
			"defer it came back 1 times over 3m0s; it is believed from 2 times over 5m0s on", "take it came back 2 times over 6m0s: it is believed that it cannot reach the upstream"} {
			for range 3 {
				e, err := r.server.Explain(q)
				if got := fmt.Sprint(e.Action, " ", e.Facts[len(e.Facts)-1].Finding); err != nil || got != want {
					t.Errorf("visit %d: %s, %v\nwant %s", i, got, err, want)
				}
			}
			w.ask("RCPT TO:<a@d.example>", map[bool]string{false: "451", true: "250"}[i > 1])
			if i < 2 {
				time.Sleep(3 * time.Minute)
			}
		}
		w.close()
	})
}

func TestExplainWantsAddresses(t *testing.T) {
	r := newRig(t, nil)
	defer r.finish()
	for _, q := range []Question{{}, {Recipient: "a"}, {Recipient: "a@d.example", ReversePath: "s@@"}, {Recipient: "a@d.example> x"}} {
		if e, err := r.server.Explain(q); err == nil {
			t.Errorf("%+v: %+v", q, e)
		}
	}
}
