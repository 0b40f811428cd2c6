package admin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// change sends a ChangeRequest that has to succeed.
func (r *rig) change(t *testing.T, request string) (done admin.Change) {
	t.Helper()
	answer := r.ask("POST /v1/queue/change", request)
	if err := json.Unmarshal(answer.Body.Bytes(), &done); err != nil || answer.Code != 200 {
		t.Fatalf("%s: status %d, %s, %v", request, answer.Code, answer.Body, err)
	}
	return done
}

func TestTrashIsKeptForThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		id := r.accept(t, "a@b.example", "c@corp.example")
		deleted := r.change(t, `{"verb":"delete","all":true,"reason":"spam","if_count":1}`)
		if want := time.Now().Add(72 * time.Hour); !deleted.KeptUntil.Equal(want) || deleted.Done != 1 {
			t.Errorf("%d deleted, kept until %v, want %v", deleted.Done, deleted.KeptUntil, want)
		}
		time.Sleep(72*time.Hour - time.Second)
		if n, err := r.store.Purge(t.Context(), time.Now()); n != 0 || err != nil {
			t.Errorf("purged too early: %d, %v", n, err)
		}
		if back := r.change(t, `{"verb":"undelete","all":true}`); back.Done != 1 || !back.KeptUntil.IsZero() {
			t.Errorf("%+v", back)
		}
		r.change(t, body(`{"verb":"delete","where":["id=%s"],"reason":"spam","if_count":1}`, id))
		time.Sleep(72 * time.Hour)
		if n, err := r.store.Purge(t.Context(), time.Now()); n != 1 || err != nil {
			t.Errorf("purged: %d, %v", n, err)
		}
		if late := r.change(t, `{"verb":"undelete","all":true}`); late.Done != 0 || late.Inapt != 1 {
			t.Errorf("%+v", late)
		}
	})
}

func TestUntilWhenAMessageIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		id := r.accept(t, "a@b.example", "c@corp.example")
		kept := func() (m admin.Message) {
			if err := json.Unmarshal(r.ask("GET /v1/queue/"+string(id), "").Body.Bytes(), &m); err != nil {
				t.Fatal(err)
			}
			return m
		}
		if m := kept(); !m.KeptUntil.IsZero() || m.NextReason != "now" {
			t.Errorf("queued: %+v", m)
		}
		claimed, err := r.store.Claim(t.Context(), []queue.ID{id}, time.Minute)
		if err != nil || len(claimed) != 1 {
			t.Fatalf("%d claimed, %v", len(claimed), err)
		}
		if m := kept(); m.NextReason != "active" {
			t.Errorf("active: %+v", m)
		}
		now := time.Now()
		refused := queue.Result{At: now, Action: queue.Refused, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Code: 550}}
		if err := r.store.Settle(t.Context(), queue.Plan(queue.DefaultSchedule(), claimed[0], map[int]queue.Result{0: refused}, now)); err != nil {
			t.Fatal(err)
		}
		if m := kept(); !m.KeptUntil.Equal(now.Add(30*24*time.Hour)) || m.NextReason != "refused" {
			t.Errorf("refused: %+v", m)
		}
		r.change(t, `{"verb":"delete","all":true,"reason":"spam","if_count":1}`)
		if m := kept(); !m.KeptUntil.Equal(now.Add(72*time.Hour)) || m.NextReason != "none" {
			t.Errorf("deleted: %+v", m)
		}
		time.Sleep(72 * time.Hour)
		if n, err := r.store.Purge(t.Context(), time.Now()); n != 1 || err != nil {
			t.Errorf("purged: %d, %v", n, err)
		}
		if m := kept(); !m.KeptUntil.IsZero() || !m.Purged {
			t.Errorf("purged: %+v", m)
		}
	})
}

func TestALimitTakesTheOldest(t *testing.T) {
	r := newRig()
	var ids []string
	for range 5 {
		ids = append(ids, string(r.accept(t, "a@b.example", "c@corp.example")))
	}
	if held := r.change(t, `{"verb":"hold","all":true,"limit":2}`); held.Done != 2 || !slices.Equal(held.IDs, ids[:2]) {
		t.Errorf("%+v", held)
	}
	// Those to which the verb does not apply do not count.
	if held := r.change(t, `{"verb":"hold","all":true,"limit":2}`); held.Done != 2 || held.Inapt != 2 || !slices.Equal(held.IDs, ids[2:4]) {
		t.Errorf("%+v", held)
	}
	if held := r.change(t, `{"verb":"release","all":true,"limit":9,"if_count":4}`); held.Done != 4 {
		t.Errorf("%+v", held)
	}
}

func TestARetryCanBeSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		for range 4 {
			r.accept(t, "a@b.example", "c@corp.example")
		}
		now := time.Now()
		if done := r.change(t, `{"verb":"retry","all":true,"spread_seconds":600}`); done.Done != 4 {
			t.Errorf("%+v", done)
		}
		var waits []time.Duration
		for m, err := range r.store.Messages(t.Context(), queue.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			waits = append(waits, m.NextAttempt.Sub(now))
		}
		if want := []time.Duration{0, 150 * time.Second, 300 * time.Second, 450 * time.Second}; !slices.Equal(waits, want) {
			t.Errorf("%v, want %v", waits, want)
		}
	})
}

func TestARetryWaitsForItsUpstream(t *testing.T) {
	r := newRig()
	r.accept(t, "a@b.example", "c@corp.example")
	r.exo.Status = health.Status{State: health.Down}
	before := r.snapshot(t)
	if got := r.change(t, `{"verb":"retry","all":true}`); got.Count != 0 || got.WaitingCount != 1 || !slices.Equal(got.Waiting, []string{"exo"}) || r.snapshot(t) != before {
		t.Errorf("%+v", got)
	}
	if got := r.change(t, `{"verb":"retry","all":true,"now":true}`); got.Done != 1 || got.WaitingCount != 0 {
		t.Errorf("%+v", got)
	}
}

func TestOrders(t *testing.T) {
	r := newRig()
	for _, from := range []string{"b@x.example", "C@x.example", "a@x.example"} {
		r.accept(t, from, "c@corp.example")
	}
	for _, test := range []struct{ request, want string }{
		{`{}`, "bCa"},
		{`{"sort":"age"}`, "bCa"},
		{`{"reverse":true}`, "aCb"},
		{`{"sort":"from"}`, "abC"},
		{`{"sort":"from","reverse":true}`, "Cba"},
		{`{"sort":"size"}`, "bCa"},
		{`{"sort":"expires","limit":2}`, "bC"},
		{`{"sort":"next","reverse":true,"limit":1}`, "a"},
		{`{"limit":2}`, "bC"},
		{`{"where":["!from=b@x.example"]}`, "Ca"},
	} {
		var order, shown string
		for lines := json.NewDecoder(r.ask("POST /v1/queue/list", test.request).Body); lines.More(); {
			var line struct {
				From     string `json:"from"`
				Shown    *int   `json:"shown"`
				Matching int    `json:"matching"`
			}
			if err := lines.Decode(&line); err != nil {
				t.Fatal(err)
			}
			if line.Shown != nil {
				shown = fmt.Sprint(*line.Shown)
				continue
			}
			order += line.From[:1]
		}
		if order != test.want || shown != fmt.Sprint(len(test.want)) {
			t.Errorf("%s: %q, %s shown, want %q", test.request, order, shown, test.want)
		}
	}
}

func TestContentParts(t *testing.T) {
	r := newRig()
	for content, headers := range map[string]string{
		"Subject: x\r\n\r\nbody\r\n":  "Subject: x\r\n",
		"\r\nno header\r\n":           "",
		"Subject: no body\r\n":        "Subject: no body\r\n",
		"Subject: no line end":        "Subject: no line end",
		"A: bare\nB: feeds\n\nbody\n": "A: bare\nB: feeds\n",
	} {
		id, err := r.store.Accept(t.Context(), content, queue.Acceptance{At: time.Now(), Envelope: queue.Envelope{Upstream: "exo", Recipients: []queue.Recipient{{ForwardPath: "c@corp.example"}}}})
		if err != nil {
			t.Fatal(err)
		}
		client := serve(t, r.server.Handler())
		for part, want := range map[string]string{"raw": content, "headers": headers} {
			var got bytes.Buffer
			if err := client.Content(t.Context(), string(id), part, &got); err != nil || got.String() != want {
				t.Errorf("%s of %q: %q, %v", part, content, got.String(), err)
			}
		}
	}
}
