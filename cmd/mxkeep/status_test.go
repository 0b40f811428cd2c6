package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/admin/admintest"
)

// scene is a situation that status has to describe.
type scene struct {
	name     string
	severity string
	lossless bool
	set      func(r *rig)
}

// backlog takes three messages, one of them refused later.
func backlog(r *rig) {
	first := r.accept("billing@supplier.example", "a.meyer@corp.example")
	r.attempt(first, deferred(451, "4.3.2", "Temporary server error. Please try again later"))
	r.accept("r.ito@partner.example", "sales@corp.example,b@corp.example")
	r.accept("", "k.lund@eu.corp.example")
	time.Sleep(127 * time.Minute)
}

func down(r *rig) {
	r.exo.Status = health.Status{State: health.Down, Since: time.Now(), Why: "three bad rounds"}
	r.exo.Recent = []health.Signal{{At: time.Now(), Source: health.SourceProbe, Class: health.Outage, Phase: health.PhaseMail,
		Reply: "451 4.3.2 Temporary server error. Please try again later", Address: "127.0.0.25:25", Took: 204 * time.Millisecond}}
}

var scenes = []scene{
	{"standby", "ok", true, func(r *rig) {
		r.exo.Recent = []health.Signal{{At: time.Now(), Source: health.SourceProbe, Phase: health.PhaseRcpt, Reply: "250 2.1.5 Recipient OK", Took: 184 * time.Millisecond}}
		r.exo.NextProbe = time.Now().Add(52 * time.Second)
		r.inbound.Stats = admin.InboundStats{Sessions: 2, Accepted: 17, Refused: map[string]int64{"relay_denied": 4, "tarpit": 2, "unknown_recipient": 0}, ListsFailed: 3}
		time.Sleep(8 * time.Second)
	}},
	{"standby-decide", "warning", true, func(r *rig) {
		r.attempt(r.accept("a@b.example", "gone@corp.example"), refused("no such user"))
		r.accept("a@b.example", "x@corp.example", func(a *queue.Acceptance) { a.Held = "looks like a phish" })
	}},
	{"standby-filters", "warning", true, func(r *rig) {
		r.inbound.Stats.Filters = []admin.Filter{
			{Name: "clamav", Address: "unix:/run/clamav/milter.sock", OnFailure: "hold", Answers: map[string]int64{}},
			{Name: "rspamd", Address: "127.0.0.1:11332", OnFailure: "defer", Answers: map[string]int64{"accept": 1204, "reject": 17, "hold": 1}, Failed: 3,
				Took: 90 * time.Second, FailingAt: time.Now(), Failure: "dial tcp 127.0.0.1:11332: connect: connection refused"},
		}
		time.Sleep(6 * time.Minute)
	}},
	{"standby-forced", "warning", true, func(r *rig) {
		down(r)
		r.exo.Status.Override = &health.Override{State: health.Up, Until: time.Now().Add(time.Hour), Actor: "j.doe", Reason: "they say it is mended"}
	}},
	{"standby-degraded", "warning", true, func(r *rig) {
		r.exo.Status = health.Status{Throttled: health.Condition{Since: time.Now(), Last: time.Now(), Reply: "451 4.7.500 Server busy"}}
	}},
	{"standby-unready", "critical", true, func(r *rig) {
		r.ready = errors.New("listen tcp :25: permission denied")
	}},
	{"misconfigured", "warning", true, func(r *rig) {
		r.exo.Status.Misconfigured = health.Condition{Since: time.Now(), Last: time.Now(), Reply: "550 5.7.51 TenantInboundAttribution"}
		time.Sleep(3 * time.Hour)
	}},
	{"misconfigured-ourselves", "warning", true, func(r *rig) {
		reply := "the host is " + health.Ourselves + ": we listen at 192.0.2.7:25"
		r.exo.Status.Misconfigured = health.Condition{Since: time.Now(), Last: time.Now(), Reply: reply}
		r.exo.Recent = []health.Signal{{At: time.Now(), Source: health.SourceProbe, Class: health.Misconfigured, Phase: health.PhaseResolve, Reply: reply}}
		r.inbound.Stats.Certificate = admin.Certificate{Source: "acme", Until: time.Now().Add(100 * time.Hour), Failure: "connection refused"}
	}},
	{"holding", "critical", true, func(r *rig) {
		down(r)
		backlog(r)
		r.exo.NextProbe = time.Now().Add(12 * time.Second)
	}},
	{"holding-two", "critical", true, func(r *rig) {
		down(r)
		other := &admintest.Upstream{Status: health.Status{State: health.Down, Since: time.Now()}}
		r.upstreams = append(r.upstreams, other.Part("lab", "lab.example"))
	}},
	{"holding-limited", "critical", true, func(r *rig) {
		down(r)
		r.limits = queue.Limits{All: queue.Limit{Messages: 1_000_000, Bytes: 20 << 30}, Upstreams: map[string]queue.Limit{"exo": {Messages: 12}}}
		other := &admintest.Upstream{Status: health.Status{State: health.Up, Since: time.Now()}}
		r.upstreams = append(r.upstreams, other.Part("lab", "lab.example"))
		backlog(r)
		r.watch(time.Minute, func() {
			r.accept("a@b.example", "c@corp.example")
			r.accept("a@b.example", "c@lab.example", func(a *queue.Acceptance) { a.Envelope.Upstream = "lab" })
		})
	}},
	{"holding-full", "critical", false, func(r *rig) {
		down(r)
		r.limits.Upstreams = map[string]queue.Limit{"exo": {Messages: 3, Bytes: 1 << 30}}
		r.inbound.Stats.Full = map[string]string{"exo": "the limit of 3 messages for exo leaves no room"}
		backlog(r)
	}},
	{"draining", "warning", true, func(r *rig) {
		backlog(r)
		r.exo.Status = health.Status{State: health.Recovering, Since: time.Now(), Trials: 3}
		r.exo.Delivery = admin.Delivery{InFlight: 2, Window: 4}
	}},
	{"draining-rate", "warning", true, func(r *rig) {
		backlog(r)
		r.watch(time.Minute, func() {
			r.inbound.Set(func() { r.inbound.Stats.Accepted = 90 })
			r.attempt(r.accept("a@b.example", "c@corp.example"), delivered())
		})
	}},
	{"paused-delivery", "warning", true, func(r *rig) {
		r.accept("a@b.example", "c@corp.example")
		r.exo.Delivery.Paused = admin.Pause{Until: time.Now().Add(2 * time.Hour), Actor: "j.doe", Reason: "tenant migration"}
	}},
	{"paused-inbound", "critical", true, func(r *rig) {
		down(r)
		r.inbound.Stats.Paused = admin.Pause{Until: time.Now().Add(26 * time.Hour), Actor: "j.doe", Reason: "disk exchange"}
	}},
	{"refusing-full", "critical", false, func(r *rig) {
		down(r)
		backlog(r)
		r.inbound.Stats.Refusing = "the disk is full"
	}},
	{"refusing-store", "critical", false, func(r *rig) {
		r.store.OnStats = func(*queue.Stats) error { return errors.New("read of queue file: input/output error") }
	}},
	{"damaged", "critical", false, func(r *rig) {
		down(r)
		backlog(r)
		r.store.OnStats = func(s *queue.Stats) error {
			s.Account.SetAside, s.Account.Queued = 1200, s.Account.Queued-1200
			return nil
		}
	}},
	{"unaccounted", "critical", false, func(r *rig) {
		backlog(r)
		r.store.OnStats = func(s *queue.Stats) error { s.Account.Queued--; return nil }
	}},
}

func TestStatusInEveryState(t *testing.T) {
	for _, scene := range scenes {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			scene.set(r)
			if r.server == nil {
				r.make()
			}
			st := r.server.Status(context.Background())
			if st.Severity != scene.severity || st.NothingLost != scene.lossless || st.NothingLost != (len(st.Trouble) == 0) {
				t.Errorf("%s: severity %s, nothing lost %v, trouble %q", scene.name, st.Severity, st.NothingLost, st.Trouble)
			}
			if strings.Contains(st.Headline, "Nothing is lost") && !scene.lossless {
				t.Errorf("%s says %q", scene.name, st.Headline)
			}
			if want, _, _ := strings.Cut(scene.name, "-"); (want == st.State) != (want != "misconfigured" && want != "damaged" && want != "unaccounted") {
				t.Errorf("%s: state %s", scene.name, st.State)
			}
			for _, width := range []int{80, 120} {
				var out bytes.Buffer
				a := &app{now: time.Now(), out: &out, env: func(string) string { return "" }, screen: screen{out: true, width: width, utf8: width == 120}}
				a.showStatus(&out, st)
				for _, line := range strings.Split(out.String(), "\n") {
					if cellWidth(line) > width {
						t.Errorf("%s at %d columns: %q has %d", scene.name, width, line, cellWidth(line))
					}
				}
				golden(t, fmt.Sprintf("status-%s-%d", scene.name, width), out.String())
			}
		})
	}
}

func TestStatusJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		down(r)
		backlog(r)
		r.serveInBubble()
		got := r.run("status", "--json")
		if got.code != 0 || got.errs != "" || strings.Count(got.out, "\n") != 1 {
			t.Fatalf("exit %d, %q, %q", got.code, got.errs, got.out)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, []byte(got.out), "", " "); err != nil {
			t.Fatal(err)
		}
		golden(t, "status-json", pretty.String())
		if few := r.run("status", "--json=1", "--fields", "state,severity"); few.out != `{"schema":"mxkeep.status/1","state":"holding","severity":"critical"}`+"\n" {
			t.Errorf("chosen fields: %q, %q", few.out, few.errs)
		}
	})
}

func TestStatusExitCode(t *testing.T) {
	for _, test := range []struct {
		scene string
		want  int
	}{{"standby", 0}, {"draining", 1}, {"holding", 2}, {"refusing-full", 2}} {
		for _, scene := range scenes {
			if scene.name != test.scene {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				scene.set(r)
				r.serveInBubble()
				if got := r.run("status", "--exit-code"); got.code != test.want || got.errs != "" || !strings.Contains(got.out, strings.ToUpper(strings.Split(scene.name, "-")[0])) {
					t.Errorf("%s: exit %d, %q, %q", scene.name, got.code, got.out, got.errs)
				}
				if got := r.run("status"); got.code != 0 {
					t.Errorf("%s without --exit-code: exit %d", scene.name, got.code)
				}
			})
		}
	}
	r := newRig(t) // nobody answers
	if got := r.run("status", "--exit-code"); got.code != 3 || !strings.Contains(got.errs, "E1203") {
		t.Errorf("without a relay: exit %d, %q", got.code, got.errs)
	}
	if got := r.run("status", "--exit-code", "-o", "mailq"); got.code != 3 && got.code != 2 {
		t.Errorf("wrong format: exit %d", got.code)
	}
}

func TestStatusOnAPipeIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		down(r)
		r.serveInBubble()
		got := r.run("status")
		if !strings.Contains(got.out, "2000-01-01T00:00:00.000Z") || strings.Contains(got.out, "\x1b") {
			t.Errorf("%q", got.out)
		}
	})
}

func TestColourGoesOnlyWhereItIsWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		colourful := screen{out: true, width: 80, utf8: true, color: true}
		if got := r.with(colourful, "", "status"); !strings.HasPrefix(got.out, "\x1b[1;32m● STANDBY\x1b[0m  ") {
			t.Errorf("on a colour terminal: %q", got.out)
		}
		if got := r.with(colourful, "", "status", "--no-color"); strings.Contains(got.out, "\x1b") {
			t.Errorf("--no-color: %q", got.out)
		}
	})
}
