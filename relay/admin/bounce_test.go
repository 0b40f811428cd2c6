package admin_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/admin/admintest"
)

// settle ends an attempt of one message, with one action for all its recipients.
func (r *rig) settle(t *testing.T, id queue.ID, action queue.Action) {
	t.Helper()
	claimed, err := r.store.Claim(t.Context(), []queue.ID{id}, time.Minute)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	result := queue.Result{At: time.Now(), Action: action, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Code: 550, Enhanced: "5.1.1"}}
	if err := r.store.Settle(t.Context(), queue.Plan(queue.DefaultSchedule(), claimed[0], map[int]queue.Result{0: result}, time.Now())); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) stateOf(t *testing.T, id queue.ID) string {
	t.Helper()
	m, err := r.store.Message(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return m.State().String()
}

func TestBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		refused, queued, held := r.accept(t, "a@b.example", "c@corp.example"), r.accept(t, "a@b.example", "c@corp.example"), r.accept(t, "a@b.example", "c@corp.example")
		forged, active := r.accept(t, "forged@b.example", "c@corp.example"), r.accept(t, "a@b.example", "c@corp.example")
		r.settle(t, refused, queue.Refused)
		r.settle(t, forged, queue.Refused)
		r.change(t, body(`{"verb":"hold","where":["id=%s"]}`, held))
		if _, err := r.store.Claim(t.Context(), []queue.ID{active}, time.Minute); err != nil {
			t.Fatal(err)
		}
		r.bounces.Why = map[string]queue.KeptFor{"forged@b.example": queue.KeptUnauthenticated}
		plan := r.change(t, `{"verb":"bounce","all":true,"dry_run":true}`)
		if plan.Count != 3 || plan.Inapt != 2 || len(plan.MayNot) != 2 || len(r.bounces.Told) != 0 {
			t.Errorf("%+v", plan)
		}
		want := []admin.Reason{{Text: "an attempt is running", Messages: 1}, {Text: admin.KeptWords("unauthenticated"), Messages: 1}}
		if fmt.Sprint(plan.MayNot) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", plan.MayNot, want)
		}
		done := r.change(t, `{"verb":"bounce","all":true,"reason":"gone","if_count":3}`)
		if done.Done != 3 || done.Gone != 0 || len(r.bounces.Told) != 3 {
			t.Errorf("%+v, told %v", done, r.bounces.Told)
		}
		for id, want := range map[queue.ID]string{refused: "failed", queued: "failed", held: "failed", forged: "refused", active: "active"} {
			if got := r.stateOf(t, id); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
		stats, err := r.store.Stats(t.Context())
		if a := stats.Account; err != nil || a.Failed != 3 || a.Missing() != 0 {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// TestBounceIsMetByOthers: what happens between looking and acting.
func TestBounceIsMetByOthers(t *testing.T) {
	for name, test := range map[string]struct {
		set   func(r *rig, id queue.ID) // before it is given up
		meet  func(r *rig, id queue.ID) // while it is
		fail  error
		state string
		told  int
	}{
		"an attempt begins": {nil, func(r *rig, id queue.ID) { r.store.Claim(context.Background(), []queue.ID{id}, time.Minute) }, nil, "active", 0},
		"it is held": {nil, func(r *rig, id queue.ID) {
			r.store.Amend(context.Background(), queue.Amendment{ID: id, At: time.Now(), Event: queue.Hold, Reason: "x"})
		}, nil, "held", 0},
		"it is deleted": {func(r *rig, id queue.ID) {
			r.store.Amend(context.Background(), queue.Amendment{ID: id, At: time.Now(), Event: queue.Hold, Reason: "x"})
		}, func(r *rig, id queue.ID) {
			r.store.Amend(context.Background(), queue.Amendment{ID: id, At: time.Now(), Event: queue.Delete, Reason: "x"})
		}, nil, "deleted", 1}, // nothing is delivered, so what was told is true
		"it cannot be told":   {nil, nil, errors.New("the disk is full"), "held", 0},
		"it may not any more": {nil, func(r *rig, _ queue.ID) { r.bounces.Why = map[string]queue.KeptFor{"a@b.example": queue.KeptIncident} }, nil, "queued", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig()
				id := r.accept(t, "a@b.example", "c@corp.example")
				if test.set != nil {
					test.set(r, id)
				}
				looks := 0
				r.bounces.Fail = test.fail
				r.bounces.Meet = func() {
					looks++
					due := 2 // the first is the one that shows the set
					if name == "it may not any more" {
						due = 1
					}
					if looks == due && test.meet != nil {
						test.meet(r, id)
					}
				}
				answer := r.ask("POST /v1/queue/change", `{"verb":"bounce","all":true,"reason":"gone","if_count":1}`)
				if (answer.Code == 200) == (test.fail != nil) {
					t.Errorf("status %d, %s", answer.Code, answer.Body)
				}
				if got := r.stateOf(t, id); got != test.state || len(r.bounces.Told) != test.told {
					t.Errorf("%s, told %d times; want %s, %d", got, len(r.bounces.Told), test.state, test.told)
				}
			})
		})
	}
}

func TestBounceWithoutAWayOut(t *testing.T) {
	r := newRig()
	r.server = admin.New(admin.Options{Store: r.store, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example")}, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	r.accept(t, "a@b.example", "c@corp.example")
	if plan := r.change(t, `{"verb":"bounce","all":true,"dry_run":true}`); plan.Count != 0 || len(plan.MayNot) != 1 || plan.MayNot[0].Text != admin.KeptWords("off") {
		t.Errorf("%+v", plan)
	}
}

// TestKeptWords: every reason is said in words.
func TestKeptWords(t *testing.T) {
	for _, why := range []queue.KeptFor{queue.KeptHold, queue.KeptOff, queue.KeptNullSender, queue.KeptUnauthenticated, queue.KeptNever,
		queue.KeptIncident, queue.KeptSpike, queue.KeptRate, queue.KeptUnsent} {
		if admin.KeptWords(string(why)) == "" {
			t.Errorf("no words for %s", why)
		}
	}
}

func TestSpikeIsShown(t *testing.T) {
	r := newRig()
	part := r.exo.Part("exo", "corp.example")
	spike := admin.Spike{Active: true, Since: time.Now(), Refused: 8, Known: 1200}
	part.Spike = func() admin.Spike { return spike }
	r.server = admin.New(admin.Options{Store: admintest.NewStore(), Upstreams: []admin.Upstream{part}, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	st := r.server.Status(t.Context())
	if s := st.Upstreams[0].Spike; s == nil || s.Refused != 8 || s.Known != 1200 || s.Since.IsZero() {
		t.Errorf("%+v", s)
	}
	if len(st.Todo) != 1 || st.Severity != admin.SeverityWarning || st.Todo[0].Text != "exo refuses 8 of 1,200 recipients that exist, as unknown. It is not believed: what it refuses so is kept here, and tried again. Tell its people." {
		t.Errorf("%s %+v", st.Severity, st.Todo)
	}
	spike.Active = false
	if st := r.server.Status(t.Context()); st.Upstreams[0].Spike != nil || len(st.Todo) != 0 {
		t.Errorf("%+v", st.Todo)
	}
}
