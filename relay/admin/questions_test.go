package admin_test

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// outage is a rig whose primary is down, with a message that was tried.
func outage(t *testing.T) (*rig, queue.ID) {
	r := newRig()
	id := r.accept(t, "a@b.example", "c@corp.example")
	now := time.Now()
	claimed, err := r.store.Claim(t.Context(), []queue.ID{id}, time.Minute)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	result := queue.Result{At: now, Action: queue.Deferred, Scope: queue.ScopeUpstream, Reply: queue.Reply{Command: "MAIL", Code: 451, Enhanced: "4.3.2", Text: "later"}}
	if err := r.store.Settle(t.Context(), queue.Plan(queue.DefaultSchedule(), claimed[0], map[int]queue.Result{0: result}, now)); err != nil {
		t.Fatal(err)
	}
	r.exo.Status = health.Status{State: health.Down, Since: now, Why: "three bad rounds"}
	r.exo.Recent = []health.Signal{{At: now, Source: health.SourceProbe, Class: health.Outage, Reply: "451 4.3.2 later"}}
	r.exo.Transitions = []admin.Transition{{At: now, From: health.Degraded, To: health.Down, Why: "three bad rounds"}}
	r.exo.Dialogue = []string{"S: 220 mx.corp.example"}
	return r, id
}

func TestQuestions(t *testing.T) {
	r, id := outage(t)
	client := serve(t, r.server.Handler())
	before := r.snapshot(t)
	if st, err := client.Status(t.Context()); err != nil || st.State != admin.Holding || !st.NothingLost || st.Queue.Messages != 1 || st.Account.Accepted != 1 {
		t.Errorf("status: %+v, %v", st, err)
	}
	for _, word := range []string{string(id), string(id)[:11], strings.ToUpper(string(id))} {
		if m, err := client.Message(t.Context(), word); err != nil || m.ID != string(id) || m.State != "deferred" || m.NextReason != "on_recovery" || m.Recipients[0].LastReply.Code != 451 {
			t.Errorf("%s: %+v, %v", word, m, err)
		}
	}
	shape, err := client.Shape(t.Context(), admin.ShapeRequest{})
	if err != nil || shape.By != "domain" || shape.All.Total != 1 || shape.Rows[0].Name != "corp.example" || shape.Why[0].Text != "451 4.3.2 later" || shape.Verdict != "" {
		t.Errorf("shape: %+v, %v", shape, err)
	}
	var events []string
	known := 0
	err = client.Trace(t.Context(), string(id)[:10], 10, func(e admin.Entry) error {
		events = append(events, e.Event)
		return nil
	}, func(admin.Message) error {
		known++
		return nil
	})
	if err != nil || strings.Join(events, " ") != "accepted attempted" || known != 1 {
		t.Errorf("trace: %q, %d messages, %v", events, known, err)
	}
	upstreams := 0
	err = client.Health(t.Context(), func(u admin.UpstreamReport) error {
		if upstreams++; u.State != "down" || u.Recent[0].Class != "outage" || u.Transitions[0].To != "down" {
			t.Errorf("health: %+v", u)
		}
		return nil
	})
	if err != nil || upstreams != 1 {
		t.Errorf("%d upstreams, %v", upstreams, err)
	}
	probe, err := client.Probe(t.Context(), admin.ProbeRequest{Recipient: "canary@corp.example"})
	if err != nil || probe.OK || probe.Dialogue[0].Text != "S: 220 mx.corp.example" || r.exo.Probed != "canary@corp.example" {
		t.Errorf("probe: %+v, %v", probe, err)
	}
	if r.snapshot(t) != before {
		t.Error("a question changed something")
	}
}

func TestPausesAndOverridesEnd(t *testing.T) {
	r, _ := outage(t)
	client := serve(t, r.server.Handler())
	both := admin.ResumeRequest{Inbound: true, Outbound: true}
	if did, err := client.Pause(t.Context(), admin.PauseRequest{ResumeRequest: both, ForSeconds: 60, Reason: "x"}); err != nil || !did.Inbound || did.Upstreams[0] != "exo" || did.Until.IsZero() {
		t.Errorf("%+v, %v", did, err)
	}
	if st, err := client.Status(t.Context()); err != nil || st.State != admin.PausedBy || st.Inbound.Paused == nil || st.Upstreams[0].Paused == nil {
		t.Errorf("paused: %+v, %v", st, err)
	}
	if did, err := client.Resume(t.Context(), both); err != nil || did.Did != "resume" || r.inbound.Stats.Paused != (admin.Pause{}) || r.exo.Delivery.Paused != (admin.Pause{}) {
		t.Errorf("%+v, %v", did, err)
	}
	if did, err := client.Resume(t.Context(), both); err != nil || did.Inbound || len(did.Upstreams) != 0 {
		t.Errorf("what is not paused: %+v, %v", did, err)
	}
	for _, state := range []string{"up", "down"} {
		if did, err := client.Override(t.Context(), admin.OverrideRequest{State: state, ForSeconds: 60, Reason: "x"}); err != nil || did.State != state || r.exo.Status.Override == nil {
			t.Errorf("%+v, %v", did, err)
		}
		if st, err := client.Status(t.Context()); err != nil || st.Upstreams[0].State != "forced-"+state || st.Upstreams[0].ObservedState != "down" {
			t.Errorf("%s: %+v, %v", state, st, err)
		}
	}
	r.exo.Set(func() { r.exo.Status.Override.Until = time.Now().Add(-time.Second) }) // nobody has looked since
	if st, err := client.Status(t.Context()); err != nil || st.Upstreams[0].State != "down" || st.Upstreams[0].Override != nil {
		t.Errorf("after its end: %+v, %v", st, err)
	}
	if did, err := client.Override(t.Context(), admin.OverrideRequest{State: "auto", Reason: "x"}); err != nil || !did.Until.IsZero() || r.exo.Status.Override != nil {
		t.Errorf("%+v, %v", did, err)
	}
}

func TestWithoutTheKernelTheActorIsUnknown(t *testing.T) {
	r := newRig()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := run(r.server.Serve, listener)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	request := `{"inbound":true,"for_seconds":60,"reason":"x"}`
	if _, err := conn.Write([]byte(body("POST /v1/pause HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(request), request))); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := conn.Read(answer); err != nil || string(answer) != "HTTP/1.0 200" {
		t.Errorf("%q, %v", answer, err)
	}
	if err := errors.Join(conn.Close(), stop()); err != nil {
		t.Error(err)
	}
	if r.inbound.Stats.Paused.Actor != "unknown" {
		t.Errorf("%+v", r.inbound.Stats.Paused)
	}
}

func TestNothingReachesATerminalUnescaped(t *testing.T) {
	for text, want := range map[string]string{
		"a\x1b[2Jb":      `"a\u001b[2Jb"`,
		"\u009b\u0085":   `"\u009b\u0085"`,
		"\u202e\u2066":   `"\u202e\u2066"`,
		"\u200b\ufeff":   `"\u200b\ufeff"`,
		"\u2028\x7f\x00": `"\u2028\u007f\u0000"`,
		"\U000e0041":     `"\udb40\udc41"`,
		"\x9b":           `"\ufffd"`,
		"Grüße 日本 <b>&":  `"Grüße 日本 <b>&"`,
	} {
		got, err := admin.Encode(text)
		if err != nil || string(got) != want+"\n" {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%q comes back as %q, %v", text, back, err)
		}
	}
}

func TestSchemasAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, schema := range admin.Schemas() {
		if seen[schema] || !strings.HasPrefix(schema, "mxkeep.") || !strings.HasSuffix(schema, "/1") {
			t.Errorf("%q", schema)
		}
		seen[schema] = true
	}
}
