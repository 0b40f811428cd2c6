package admin_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

func TestWhatIsNotUnderstoodChangesNothing(t *testing.T) {
	long := strings.Repeat("x", 1001)
	for _, test := range []struct {
		rule, request, body string
		status              int
		code                string
	}{
		{"no such path", "GET /v2/status", "", 400, admin.CodeBadRequest},
		{"another method", "POST /v1/status", "", 400, admin.CodeBadRequest},
		{"no JSON", "POST /v1/queue/change", "hold all", 400, admin.CodeBadRequest},
		{"nothing", "POST /v1/queue/change", "", 400, admin.CodeBadRequest},
		{"a list", "POST /v1/queue/change", "[]", 400, admin.CodeBadRequest},
		{"a cut document", "POST /v1/queue/change", `{"verb":"hold","all":tr`, 400, admin.CodeBadRequest},
		{"another type", "POST /v1/queue/change", `{"verb":"hold","all":"yes"}`, 400, admin.CodeBadRequest},
		{"a mistyped member", "POST /v1/queue/change", `{"verb":"hold","all":true,"wher":["from=a@b.example"]}`, 400, admin.CodeBadRequest},
		{"two documents", "POST /v1/queue/change", `{"verb":"hold","all":true}{"where":["from=a@b.example"]}`, 400, admin.CodeBadRequest},
		{"garbage behind", "POST /v1/queue/change", `{"verb":"hold","all":true},`, 400, admin.CodeBadRequest},
		{"too long", "POST /v1/queue/change", `{"verb":"hold","all":true,"reason":"` + strings.Repeat("x", 16<<20) + `"}`, 400, admin.CodeBadRequest},
		{"no verb", "POST /v1/queue/change", `{"all":true}`, 400, admin.CodeBadRequest},
		{"no such verb", "POST /v1/queue/change", `{"verb":"burn","all":true}`, 400, admin.CodeBadRequest},
		{"no selection", "POST /v1/queue/change", `{"verb":"hold"}`, 400, admin.CodeNoSelection},
		{"an empty selection", "POST /v1/queue/change", `{"verb":"hold","where":[]}`, 400, admin.CodeNoSelection},
		{"a filter without a field", "POST /v1/queue/change", `{"verb":"hold","where":["all"]}`, 400, admin.CodeBadFilter},
		{"a filter without a value", "POST /v1/queue/change", `{"verb":"hold","where":["from="]}`, 400, admin.CodeBadFilter},
		{"no such field", "POST /v1/queue/change", `{"verb":"hold","where":["sender=a"]}`, 400, admin.CodeBadFilter},
		{"no id", "POST /v1/queue/change", `{"verb":"hold","where":["id=1"]}`, 400, admin.CodeBadFilter},
		{"a bad filter of an undelete", "POST /v1/queue/change", `{"verb":"undelete","where":["size=big"]}`, 400, admin.CodeBadFilter},
		{"a long reason", "POST /v1/queue/change", `{"verb":"hold","all":true,"reason":"` + long + `"}`, 400, admin.CodeBadRequest},
		{"a limit below zero", "POST /v1/queue/change", `{"verb":"hold","all":true,"limit":-1}`, 400, admin.CodeBadRequest},
		{"a hold that is spread", "POST /v1/queue/change", `{"verb":"hold","all":true,"spread_seconds":1}`, 400, admin.CodeBadRequest},
		{"a spread below zero", "POST /v1/queue/change", `{"verb":"retry","all":true,"spread_seconds":-1}`, 400, admin.CodeBadRequest},
		{"a spread over days", "POST /v1/queue/change", `{"verb":"retry","all":true,"spread_seconds":86401}`, 400, admin.CodeBadRequest},
		{"a delete without a reason", "POST /v1/queue/change", `{"verb":"delete","all":true,"if_count":2}`, 400, admin.CodeReasonRequired},
		{"a delete without the number", "POST /v1/queue/change", `{"verb":"delete","all":true,"reason":"spam"}`, 428, admin.CodeCountRequired},
		{"a bounce without a reason", "POST /v1/queue/change", `{"verb":"bounce","all":true,"if_count":2}`, 400, admin.CodeReasonRequired},
		{"a bounce without the number", "POST /v1/queue/change", `{"verb":"bounce","all":true,"reason":"gone"}`, 428, admin.CodeCountRequired},
		{"a bounce with another number", "POST /v1/queue/change", `{"verb":"bounce","all":true,"reason":"gone","if_count":1}`, 412, admin.CodeCountChanged},
		{"a delete with another number", "POST /v1/queue/change", `{"verb":"delete","all":true,"reason":"spam","if_count":1}`, 412, admin.CodeCountChanged},
		{"a hold with another number", "POST /v1/queue/change", `{"verb":"hold","all":true,"if_count":3}`, 412, admin.CodeCountChanged},
		{"a number of what is not there", "POST /v1/queue/change", `{"verb":"release","all":true,"if_count":3}`, 412, admin.CodeCountChanged},
		{"a listing with a limit below zero", "POST /v1/queue/list", `{"limit":-1}`, 400, admin.CodeBadRequest},
		{"a listing by colour", "POST /v1/queue/list", `{"sort":"colour"}`, 400, admin.CodeBadRequest},
		{"a listing with a bad filter", "POST /v1/queue/list", `{"where":["size=big"]}`, 400, admin.CodeBadFilter},
		{"a listing without JSON", "POST /v1/queue/list", ``, 400, admin.CodeBadRequest},
		{"a shape by colour", "POST /v1/queue/stats", `{"by":"colour"}`, 400, admin.CodeBadRequest},
		{"a shape with a bad filter", "POST /v1/queue/stats", `{"where":["size=big"]}`, 400, admin.CodeBadFilter},
		{"a shape without JSON", "POST /v1/queue/stats", `-`, 400, admin.CodeBadRequest},
		{"an unknown id", "GET /v1/queue/000000000000", "", 404, admin.CodeNotFound},
		{"an unknown beginning", "GET /v1/queue/zz", "", 404, admin.CodeNotFound},
		{"a hostile beginning", "GET /v1/queue/%1B%5D0;x%07", "", 404, admin.CodeNotFound},
		{"a beginning of two", "GET /v1/queue/COMMON", "", 409, admin.CodeAmbiguous},
		{"content of an unknown id", "GET /v1/queue/000000000000/content?part=raw", "", 404, admin.CodeNotFound},
		{"no part of the content", "GET /v1/queue/000000000000/content", "", 400, admin.CodeBadRequest},
		{"a trace of nothing", "GET /v1/trace?q=&limit=1", "", 400, admin.CodeBadRequest},
		{"a trace of prose", "GET /v1/trace?q=where+is+my+mail&limit=1", "", 400, admin.CodeBadRequest},
		{"a trace without a limit", "GET /v1/trace?q=a@b.example", "", 400, admin.CodeBadRequest},
		{"a trace with a limit of 0", "GET /v1/trace?q=a@b.example&limit=0", "", 400, admin.CodeBadRequest},
		{"a trace without end", "GET /v1/trace?q=a@b.example&limit=10001", "", 400, admin.CodeBadRequest},
		{"a trace of a beginning of two", "GET /v1/trace?q=COMMON&limit=9", "", 409, admin.CodeAmbiguous},
		{"a probe of nobody", "POST /v1/health/probe", `{"upstream":"lab"}`, 404, admin.CodeUnknownUpstream},
		{"a probe without JSON", "POST /v1/health/probe", ``, 400, admin.CodeBadRequest},
		{"an override without JSON", "POST /v1/health/override", ``, 400, admin.CodeBadRequest},
		{"an override to the side", "POST /v1/health/override", `{"state":"sideways","for_seconds":60,"reason":"x"}`, 400, admin.CodeBadRequest},
		{"an override without a reason", "POST /v1/health/override", `{"state":"up","for_seconds":60}`, 400, admin.CodeReasonRequired},
		{"an override with a long reason", "POST /v1/health/override", `{"state":"up","for_seconds":60,"reason":"` + long + `"}`, 400, admin.CodeBadRequest},
		{"an override without an end", "POST /v1/health/override", `{"state":"up","reason":"x"}`, 400, admin.CodeBadRequest},
		{"an override of nobody", "POST /v1/health/override", `{"upstream":"lab","state":"up","for_seconds":60,"reason":"x"}`, 404, admin.CodeUnknownUpstream},
		{"a salvage without JSON", "POST /v1/db/salvage", ``, 400, admin.CodeBadRequest},
		{"a salvage of no file", "POST /v1/db/salvage", `{"file":"gen-000001.db"}`, 404, admin.CodeNoFile},
		{"a loss without JSON", "POST /v1/db/accept-loss", ``, 400, admin.CodeBadRequest},
		{"a loss without a reason", "POST /v1/db/accept-loss", `{"file":"gen-000001.db"}`, 400, admin.CodeReasonRequired},
		{"a loss with a long reason", "POST /v1/db/accept-loss", `{"file":"gen-000001.db","reason":"` + long + `"}`, 400, admin.CodeBadRequest},
		{"a loss of no file", "POST /v1/db/accept-loss", `{"file":"gen-000001.db","reason":"x"}`, 404, admin.CodeNoFile},
		{"a dry loss of no file", "POST /v1/db/accept-loss", `{"file":"gen-000001.db","reason":"x","dry_run":true}`, 404, admin.CodeNoFile},
		{"recipients of no domain", "GET /v1/recipients?domain=lab.example", "", 404, admin.CodeUnknownDomain},
		{"recipients of prose", "GET /v1/recipients?domain=%1B%5D0%3Bx", "", 404, admin.CodeUnknownDomain},
		{"a check of nobody", "GET /v1/recipients/check?address=", "", 400, admin.CodeBadRequest},
		{"a check of prose", "GET /v1/recipients/check?address=%1B%5D0%3Bx", "", 400, admin.CodeBadRequest},
		{"a check elsewhere", "GET /v1/recipients/check?address=a@lab.example", "", 404, admin.CodeUnknownDomain},
		{"a check of the bare postmaster", "GET /v1/recipients/check?address=postmaster", "", 404, admin.CodeUnknownDomain},
		{"a sync without JSON", "POST /v1/recipients/sync", ``, 400, admin.CodeBadRequest},
		{"a sync of no domain", "POST /v1/recipients/sync", `{"domain":"lab.example","force":true}`, 404, admin.CodeUnknownDomain},
		{"an import without JSON", "POST /v1/recipients/import", ``, 400, admin.CodeBadRequest},
		{"an import for no domain", "POST /v1/recipients/import", `{"name":"x","text":"YQ=="}`, 404, admin.CodeUnknownDomain},
		{"an import that is no base64", "POST /v1/recipients/import", `{"domain":"corp.example","name":"x","text":"a@corp.example"}`, 400, admin.CodeBadRequest},
		{"a pause without JSON", "POST /v1/pause", ``, 400, admin.CodeBadRequest},
		{"a pause of nothing", "POST /v1/pause", `{"for_seconds":60,"reason":"x"}`, 400, admin.CodeNoSelection},
		{"a pause without a reason", "POST /v1/pause", `{"inbound":true,"for_seconds":60}`, 400, admin.CodeReasonRequired},
		{"a pause with a long reason", "POST /v1/pause", `{"inbound":true,"for_seconds":60,"reason":"` + long + `"}`, 400, admin.CodeBadRequest},
		{"a pause without an end", "POST /v1/pause", `{"inbound":true,"reason":"x"}`, 400, admin.CodeBadRequest},
		{"a pause for weeks", "POST /v1/pause", `{"inbound":true,"for_seconds":604801,"reason":"x"}`, 400, admin.CodeBadRequest},
		{"a pause of nobody", "POST /v1/pause", `{"outbound":true,"upstream":"lab","for_seconds":60,"reason":"x"}`, 404, admin.CodeUnknownUpstream},
		{"a resumption without JSON", "POST /v1/resume", ``, 400, admin.CodeBadRequest},
		{"a resumption of nothing", "POST /v1/resume", `{}`, 400, admin.CodeNoSelection},
	} {
		r := newRig()
		r.accept(t, "a@b.example", "c@corp.example")
		r.accept(t, "d@b.example", "c@corp.example")
		before := r.snapshot(t)
		test.request = strings.Replace(test.request, "COMMON", commonBeginning(t, r), 1)
		answer := r.ask(test.request, test.body)
		if e := lastError(t, answer); answer.Code != test.status || e.Code != test.code || e.Message == "" {
			t.Errorf("%s: status %d, %.200s", test.rule, answer.Code, answer.Body)
		}
		if r.snapshot(t) != before {
			t.Errorf("%s: something was changed", test.rule)
		}
		harmless(t, test.rule, answer.Body.String())
	}
}

// commonBeginning is what the ids of all messages begin with.
func commonBeginning(t *testing.T, r *rig) string {
	t.Helper()
	for m, err := range r.store.Messages(t.Context(), queue.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		return string(m.ID)[:4]
	}
	return ""
}

// harmless checks that an answer may go to a terminal as it is.
func harmless(t testing.TB, what, text string) {
	t.Helper()
	for _, r := range text {
		if r < 0x20 && r != '\n' || r >= 0x7f && r < 0xa0 || r == 0x202e {
			t.Errorf("%s: %U in %.200q", what, r, text)
			return
		}
	}
}

func TestSeveralUpstreamsHaveToBeNamed(t *testing.T) {
	r := newRig()
	r.server = admin.New(admin.Options{Store: r.store, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example"), r.exo.Part("lab", "lab.example")},
		Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	if e := lastError(t, r.ask("POST /v1/health/probe", `{}`)); e.Code != admin.CodeUnknownUpstream || !strings.Contains(e.Message, "exo, lab") {
		t.Errorf("%+v", e)
	}
	if answer := r.ask("POST /v1/health/probe", `{"upstream":"lab"}`); answer.Code != http.StatusOK {
		t.Errorf("status %d, %s", answer.Code, answer.Body)
	}
	if answer := r.ask("POST /v1/pause", `{"outbound":true,"for_seconds":60,"reason":"x"}`); !strings.Contains(answer.Body.String(), `"upstreams":["exo","lab"]`) {
		t.Errorf("status %d, %s", answer.Code, answer.Body)
	}
}

// errDisk is what a failed disk says.
var errDisk = errors.New("input/output error \x1b[31m")

func TestAStoreThatFails(t *testing.T) {
	for _, test := range []struct {
		rule, request, body string
		breaks              func(*rig)
		status              int
	}{
		{"a listing", "POST /v1/queue/list", `{}`, func(r *rig) { r.store.OnList = after(0) }, 500},
		{"a listing after its first line", "POST /v1/queue/list", `{}`, func(r *rig) { r.store.OnList = after(1) }, 200},
		{"the totals of a listing", "POST /v1/queue/list", `{}`, func(r *rig) { r.store.OnStats = func(*queue.Stats) error { return errDisk } }, 200},
		{"a sorted listing", "POST /v1/queue/list", `{"sort":"size"}`, func(r *rig) { r.store.OnList = after(1) }, 500},
		{"a message of a sorted listing", "POST /v1/queue/list", `{"sort":"size"}`, func(r *rig) { r.store.OnMessage = func(queue.ID) error { return errDisk } }, 500},
		{"a shape", "POST /v1/queue/stats", `{}`, func(r *rig) { r.store.OnList = after(1) }, 500},
		{"looking for a set", "POST /v1/queue/change", `{"verb":"hold","all":true}`, func(r *rig) { r.store.OnList = after(1) }, 500},
		{"looking for an id", "GET /v1/queue/1", ``, func(r *rig) { r.store.OnList = after(1) }, 500},
		{"a trace", "GET /v1/trace?q=a@b.example&limit=9", ``, func(r *rig) { r.store.OnLedger = after(0) }, 500},
		{"the second look of a trace", "GET /v1/trace?q=1@nowhere.example&limit=9", ``, func(r *rig) { r.store.OnLedger = onCall(2) }, 500},
		{"a message of a trace", "GET /v1/trace?q=a@b.example&limit=9", ``, func(r *rig) { r.store.OnMessage = func(queue.ID) error { return errDisk } }, 200},
		{"the record of an access", "GET /v1/queue/ID/content?part=raw", ``, func(r *rig) { r.store.OnNote = func(queue.Entry) error { return errDisk } }, 500},
		{"the content", "GET /v1/queue/ID/content?part=raw", ``, func(r *rig) { r.store.OnContent = func(queue.ID) error { return errDisk } }, 500},
		{"the record of a pause", "POST /v1/pause", `{"inbound":true,"outbound":true,"for_seconds":60,"reason":"x"}`, func(r *rig) { r.store.OnNote = func(queue.Entry) error { return errDisk } }, 500},
		{"the record of a pause of deliveries", "POST /v1/pause", `{"outbound":true,"for_seconds":60,"reason":"x"}`, func(r *rig) { r.store.OnNote = func(queue.Entry) error { return errDisk } }, 500},
		{"the record of an override", "POST /v1/health/override", `{"state":"up","for_seconds":60,"reason":"x"}`, func(r *rig) { r.store.OnNote = func(queue.Entry) error { return errDisk } }, 500},
	} {
		r := newRig()
		id := r.accept(t, "a@b.example", "c@corp.example")
		r.accept(t, "a@b.example", "d@corp.example")
		test.breaks(r)
		before := r.snapshot(t)
		answer := r.ask(strings.Replace(test.request, "ID", string(id), 1), test.body)
		if e := lastError(t, answer); answer.Code != test.status || e.Code != admin.CodeStoreFailed || !strings.Contains(e.Message, "input/output error") {
			t.Errorf("%s: status %d, %s", test.rule, answer.Code, answer.Body)
		}
		if strings.Contains(answer.Body.String(), admin.SchemaSummary) {
			t.Errorf("%s: ends like a whole answer: %s", test.rule, answer.Body)
		}
		if r.snapshot(t) != before && !strings.Contains(test.rule, "content") {
			t.Errorf("%s: something was changed", test.rule)
		}
		harmless(t, test.rule, answer.Body.String())
	}
}

// after fails before the nth of a list.
func after(n int) func(int) error {
	return func(nth int) error {
		if nth >= n {
			return errDisk
		}
		return nil
	}
}

// onCall fails at the nth call.
func onCall(n int) func(int) error {
	calls := 0
	return func(int) error {
		if calls++; calls >= n {
			return errDisk
		}
		return nil
	}
}

func TestAPartThatRefuses(t *testing.T) {
	for _, test := range []struct{ request, body string }{
		{"POST /v1/health/probe", `{}`},
		{"POST /v1/health/override", `{"state":"up","for_seconds":60,"reason":"x"}`},
		{"POST /v1/pause", `{"inbound":true,"for_seconds":60,"reason":"x"}`},
		{"POST /v1/pause", `{"outbound":true,"for_seconds":60,"reason":"x"}`},
		{"POST /v1/resume", `{"outbound":true}`},
		{"POST /v1/resume", `{"inbound":true}`},
	} {
		r := newRig()
		pause := admin.Pause{Until: time.Now().Add(time.Hour)}
		r.exo.Delivery.Paused, r.inbound.Stats.Paused = pause, pause
		r.exo.Fail, r.inbound.Fail = errors.New("not now"), errors.New("not now")
		answer := r.ask(test.request, test.body)
		if e := lastError(t, answer); answer.Code != http.StatusConflict || e.Code != admin.CodeRefused || !strings.Contains(e.Message, "not now") {
			t.Errorf("%s %s: status %d, %s", test.request, test.body, answer.Code, answer.Body)
		}
	}
	r := newRig()
	r.ready = errors.New("the listener is not open")
	if answer := r.ask("GET /v1/ready", ""); answer.Code != http.StatusServiceUnavailable || lastError(t, answer).Code != admin.CodeNotReady {
		t.Errorf("status %d, %s", answer.Code, answer.Body)
	}
}

func TestAChangeThatBreaksOff(t *testing.T) {
	r := newRig()
	for range 100 {
		r.accept(t, "a@b.example", "c@corp.example")
	}
	bad := r.accept(t, "a@b.example", "c@corp.example")
	for range 1000 {
		r.accept(t, "a@b.example", "c@corp.example")
	}
	r.store.OnAmend = func(a queue.Amendment) error {
		if a.ID == bad {
			return errDisk
		}
		return nil
	}
	e := lastError(t, r.ask("POST /v1/queue/change", `{"verb":"hold","all":true}`))
	held := 0
	for m, err := range r.store.Messages(t.Context(), queue.Filter{States: []queue.State{queue.StateHeld}}) {
		if err != nil || m.ID == bad {
			t.Errorf("%s, %v", m.ID, err)
		}
		held++
	}
	if e.Code != admin.CodeStoreFailed || !strings.Contains(e.Message, body("hold: %d of 1101 messages were done before this", held)) {
		t.Errorf("%d held, %q", held, e.Message)
	}
	if held < 100-32 || held > 1000 { // what stood before it, but for the workers that were slow, and not all that stood behind it
		t.Errorf("%d of 1101 were held", held)
	}
}

func TestContentThatIsNotWhole(t *testing.T) {
	r := newRig()
	id := r.accept(t, "a@b.example", "c@corp.example")
	r.store.Damage(id)
	client := serve(t, r.server.Handler())
	var e *admin.Error
	if err := client.Content(t.Context(), string(id), "raw", new(strings.Builder)); !errors.As(err, &e) || e.Code != admin.CodeContentDamaged {
		t.Errorf("damaged: %v", err)
	}
	r.store.OnContent = func(queue.ID) error { return queue.ErrNotFound }
	if err := client.Content(t.Context(), string(id), "raw", new(strings.Builder)); !errors.As(err, &e) || e.Code != admin.CodeContentGone {
		t.Errorf("final: %v", err)
	}
	if err := r.store.Amend(t.Context(), queue.Amendment{ID: id, At: time.Now().Add(-100 * time.Hour), Event: queue.Delete}); err != nil {
		t.Fatal(err)
	}
	if n, err := r.store.Purge(t.Context(), time.Now()); n != 1 || err != nil {
		t.Fatalf("purged %d, %v", n, err)
	}
	before := r.snapshot(t)
	if err := client.Content(t.Context(), string(id), "headers", new(strings.Builder)); !errors.As(err, &e) || e.Code != admin.CodeContentGone || r.snapshot(t) != before {
		t.Errorf("purged: %v", err)
	}
}

func TestReadyMeansThatMailIsAccepted(t *testing.T) {
	r := newRig()
	ready := func() int { return r.ask("GET /v1/ready", "").Code }
	if got := ready(); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	r.inbound.Set(func() { r.inbound.Stats.Refusing = "not enough free space on the disk" })
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("without room: status %d", got)
	}
	r.inbound.Set(func() { r.inbound.Stats = admin.InboundStats{Paused: admin.Pause{Until: time.Now().Add(time.Hour)}} })
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("paused: status %d", got)
	}
	r.inbound.Set(func() { r.inbound.Stats.Paused.Until = time.Now().Add(-time.Second) })
	if got := ready(); got != http.StatusOK {
		t.Errorf("after the pause: status %d", got)
	}
}
