package relay

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	simulation "github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dsn"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// notifying is a relay whose notifications go to a smarthost, and both of its
// neighbours. The primary knows bob and the postmaster. Contents that the
// smarthost takes are in a folder.
func notifying(t *testing.T) (c configs.Config, primary, smarthost *simulation.Server, contents string) {
	t.Helper()
	c, contents = configuration(folder(t)), t.TempDir()
	start := func(o simulation.Options) *simulation.Server {
		o.RequireTLS = true
		s, err := simulation.Start(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	primary = start(simulation.Options{Addresses: []string{"127.0.0.25:0"}, Domains: []string{"corp.example"}, Recipients: []string{"bob@corp.example", "postmaster@corp.example"}})
	smarthost = start(simulation.Options{Addresses: []string{"127.0.0.26:0"}, Folder: contents})
	to(t, &c, "exo", "corp.example", primary)
	to(t, &c, "smarthost", "", smarthost)
	c.Domains = c.Domains[:1]
	c.Upstreams[0].Delivery.Doubt = time.Nanosecond
	c.Upstreams[1].Probe.Recipient = "postmaster@smarthost.example"
	c.DSN.Via, c.DSN.Probation = "smarthost", 0
	return c, primary, smarthost, contents
}

// hold puts a message into the queue as intake does.
func (r *Relay) hold(t *testing.T, from string, authenticated bool, recipients ...string) queue.ID {
	t.Helper()
	e := queue.Envelope{Upstream: "exo", ReversePath: from, Origin: queue.Origin{Hello: "mail.sender.example", Reason: "upstream_down"}}
	e.Origin.Auth = queue.Verdicts{By: "mx2.corp.example", ReversePath: authenticated}
	for _, recipient := range recipients {
		e.Recipients = append(e.Recipients, queue.Recipient{ForwardPath: recipient})
	}
	draft, err := r.store.Create(context.Background())
	if err == nil {
		_, err = io.WriteString(draft, content)
	}
	if err == nil {
		err = draft.Commit(context.Background(), queue.Acceptance{At: time.Now(), Envelope: e, MessageID: "<1@sender.example>", Lifetime: queue.DefaultLifetime})
	}
	if err != nil {
		t.Fatal(err)
	}
	return draft.ID()
}

// message waits until a message is in a state.
func (r *running) message(id queue.ID, state queue.State) queue.Message {
	r.t.Helper()
	r.log.await(r.t, "delivery."+state.String(), "id="+string(id))
	m, err := r.store.Message(context.Background(), id)
	if err != nil || m.State() != state { // the line is written after it was settled
		r.t.Fatalf("%s is %s, want %s; %v", id, m.State(), state, err)
	}
	return m
}

// TestSendersAreTold: the primary rejects; only the sender that is no forgery
// hears of it, by the smarthost, and the account is right.
func TestSendersAreTold(t *testing.T) {
	t.Parallel()
	c, primary, smarthost, contents := notifying(t)
	r := run(t, c)
	r.log.await(t, "health.changed", "upstream=exo", "to=up")
	told := r.hold(t, "a@sender.example", true, "gone@corp.example", "bob@corp.example", "left@corp.example")
	forged := r.hold(t, "b@sender.example", false, "gone@corp.example")
	null := r.hold(t, "", true, "gone@corp.example")

	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	deliveries, err := smarthost.Await(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if d := deliveries[0]; strings.Trim(d.ReversePath, "<>") != "" || len(d.Recipients) != 1 || d.Recipients[0] != "a@sender.example" {
		t.Errorf("%+v", d)
	}
	wantReport(t, filepath.Join(contents, deliveries[0].File), "gone@corp.example", "left@corp.example")
	if m := r.message(told, queue.StateFailed); m.RecipientState(0) != queue.StateFailed || m.RecipientState(1) != queue.StateDelivered || m.RecipientState(2) != queue.StateFailed {
		t.Errorf("%+v", m)
	}
	for id, why := range map[queue.ID]queue.KeptFor{forged: queue.KeptUnauthenticated, null: queue.KeptNullSender} {
		if m := r.message(id, queue.StateRefused); m.Envelope.Recipients[0].Last.Kept != why {
			t.Errorf("%+v", m)
		}
	}
	if got := received(t, primary, 1); len(got) != 1 || got[0] != "bob@corp.example" {
		t.Errorf("the primary has mail for %v", got)
	}

	change := func(request admin.ChangeRequest) admin.Change {
		t.Helper()
		done, err := r.client.Change(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	all := admin.Select{Where: []string{"state=refused"}}
	if plan := change(admin.ChangeRequest{Select: all, Verb: "bounce", DryRun: true}); plan.Count != 0 || plan.Inapt != 2 || len(plan.MayNot) != 2 {
		t.Errorf("%+v", plan)
	}
	held := r.hold(t, "a@sender.example", true, "bob@corp.example")
	one := admin.Select{Where: []string{"id=" + string(held)}}
	r.message(held, queue.StateDelivered)
	r.pause(t) // an override to down would be an incident, in which nobody is told
	waiting := r.hold(t, "c@sender.example", true, "bob@corp.example")
	one.Where[0] = "id=" + string(waiting)
	n := 1
	if done := change(admin.ChangeRequest{Select: one, Verb: "bounce", Reason: "he left", IfCount: &n}); done.Done != 1 {
		t.Errorf("%+v", done)
	}
	if deliveries, err = smarthost.Await(ctx, 2); err != nil || deliveries[1].Recipients[0] != "c@sender.example" {
		t.Fatalf("%+v, %v", deliveries, err)
	}
	r.stop()
	wantAccount(t, c, admin.Account{Accepted: 5 + 1 + 1 + 2, Delivered: 2 + 2, Failed: 2 + 1, Refused: 2})
}

// pause ends deliveries to the primary; none begins any more when it returns.
func (r *running) pause(t *testing.T) {
	t.Helper()
	d := r.primaries[0].dispatcher
	d.Pause(outbound.Pause{Until: time.Now().Add(time.Hour), Actor: "test", Reason: "test"})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := d.Turn(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestOneNotificationAfterAStop: the files are closed when the notification is
// in them, and its attempt is not settled.
func TestOneNotificationAfterAStop(t *testing.T) {
	t.Parallel()
	c, _, smarthost, _ := notifying(t)
	c.Queue.Interrupted = time.Millisecond
	before, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	id := before.hold(t, "a@sender.example", true, "gone@corp.example")
	claimed, err := before.store.Claim(context.Background(), []queue.ID{id}, time.Hour)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	now := time.Now()
	plan := queue.Settlement{ID: id, Attempt: 1, Results: map[int]queue.Result{0: {At: now, Action: queue.Failed, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Code: 550, Enhanced: "5.1.1"}}}}
	if plan = before.notifier.Conclude(context.Background(), claimed[0], plan, dsn.Circumstances{Now: now}); plan.Results[0].Action != queue.Failed {
		t.Errorf("%+v", plan)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	r := run(t, c)
	r.log.await(t, "dsn.exists", "id="+string(id))
	if m := r.message(id, queue.StateFailed); m.Attempts < 2 { // those before the primary was seen to be up were not believed
		t.Errorf("%+v", m)
	}
	received(t, smarthost, 1)
	r.log.await(t, "delivery.delivered", "upstream=smarthost")
	r.stop()
	if n := len(smarthost.Received()); n != 1 {
		t.Errorf("%d notifications", n)
	}
	wantAccount(t, c, admin.Account{Accepted: 2, Delivered: 1, Failed: 1})
}

// wantReport checks a notification that was taken.
func wantReport(t *testing.T, path string, recipients ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || m.Header.Get("Auto-Submitted") != "auto-replied" {
		t.Errorf("%v, %v", m.Header, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i := range 3 {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, recipient := range recipients {
			if i == 1 && (!strings.Contains(string(body), "Final-Recipient: rfc822; "+recipient+"\r\nAction: failed\r\nStatus: 5.") || !strings.Contains(string(body), "Diagnostic-Code: smtp; 550 5.")) {
				t.Errorf("%s is not told about:\n%s", recipient, body)
			}
		}
		if i == 2 && !strings.Contains(string(body), "Message-ID: <1@sender.example>") {
			t.Errorf("returned %s", body)
		}
	}
}

// wantAccount opens the files once more and counts.
func wantAccount(t *testing.T, c configs.Config, want admin.Account) {
	t.Helper()
	r, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stats, err := r.store.Stats(context.Background())
	a := stats.Account
	got := admin.Account{Accepted: a.Accepted, Delivered: a.Delivered, Queued: a.Queued, Held: a.Held, Refused: a.Refused, Failed: a.Failed, Expired: a.Expired, Deleted: a.Deleted, SetAside: a.SetAside, Missing: a.Missing()}
	if err != nil || got != want {
		t.Errorf("account %+v, want %+v; %v", got, want, err)
	}
}

func TestPassed(t *testing.T) {
	now := time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)
	long := now.Add(-24 * time.Hour)
	for name, test := range map[string]struct {
		kept  queue.KeptFor
		at    time.Time
		c     dsn.Circumstances
		again bool
	}{
		"a spike":                        {queue.KeptSpike, long, dsn.Circumstances{Recovered: long}, true},
		"in a spike, to see":             {queue.KeptSpike, long, dsn.Circumstances{Recovered: long, Spike: true}, true},
		"a moment ago":                   {queue.KeptSpike, now.Add(1 - againAfter), dsn.Circumstances{Recovered: long}, false},
		"while it is down":               {queue.KeptSpike, long, dsn.Circumstances{Recovered: long, Incident: true}, false},
		"a spike, soon after an outage":  {queue.KeptSpike, long, dsn.Circumstances{Recovered: now.Add(-time.Hour)}, true},
		"an incident":                    {queue.KeptIncident, long, dsn.Circumstances{Recovered: now.Add(-6 * time.Hour)}, true},
		"an incident, within probation":  {queue.KeptIncident, long, dsn.Circumstances{Recovered: now.Add(1 - 6*time.Hour)}, false},
		"the disk was full":              {queue.KeptUnsent, long, dsn.Circumstances{}, true},
		"a forgery":                      {queue.KeptUnauthenticated, long, dsn.Circumstances{}, false},
		"what a person has to decide":    {queue.KeptHold, long, dsn.Circumstances{}, false},
		"of before reasons were written": {"", long, dsn.Circumstances{}, false},
	} {
		test.c.Now = now
		m := queue.Message{Envelope: queue.Envelope{Recipients: []queue.Recipient{{Last: queue.Result{Action: queue.Delivered, Kept: test.kept}},
			{Last: queue.Result{At: test.at, Action: queue.Refused, Kept: test.kept}}}}}
		of := passed(m, test.c, 6*time.Hour)
		if got := len(of) == 1 && of[0] == 1; got != test.again || len(of) > 1 {
			t.Errorf("%s: %v", name, of)
		}
	}
}

// refuse settles an attempt of messages as refused a while ago.
func (r *Relay) refuse(t *testing.T, kept queue.KeptFor, ids ...queue.ID) {
	t.Helper()
	claimed, err := r.store.Claim(context.Background(), ids, time.Minute)
	if err != nil || len(claimed) != len(ids) {
		t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	for _, m := range claimed {
		result := queue.Result{At: time.Now().Add(-time.Hour), Action: queue.Refused, Scope: queue.ScopeOneRecipient, Kept: kept, Reply: queue.Reply{Code: 550, Enhanced: "5.1.1"}}
		if err := r.store.Settle(context.Background(), queue.Settlement{ID: m.ID, Attempt: m.Attempts, Results: map[int]queue.Result{0: result}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusedInDoubtIsTriedAgain: after a stop as well, and in a spike only as
// many as show whether it is over.
func TestRefusedInDoubtIsTriedAgain(t *testing.T) {
	t.Parallel()
	c, _, _, _ := notifying(t)
	open := func() *Relay {
		t.Helper()
		r, err := Open(Options{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	ctx := context.Background()
	r := open()
	if err := r.tryAgain(ctx, true); err != nil {
		t.Error(err)
	}
	up := health.Status{State: health.Up, Since: time.Now().Add(-24 * time.Hour)}
	if err := r.state.Put(healthOwner, "exo", remembered{up, ""}); err != nil {
		t.Fatal(err)
	}
	var spiked, doubted []queue.ID
	for range againSpike + 5 {
		spiked = append(spiked, r.hold(t, "a@sender.example", true, "gone@corp.example"))
	}
	r.refuse(t, queue.KeptSpike, spiked...)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	r = open()
	queued := func() int64 {
		t.Helper()
		stats, err := r.store.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return stats.Account.Queued
	}
	if err := r.tryAgain(ctx, true); err != nil || queued() != againSpike || !r.primaries[0].dispatcher.Spike().Active {
		t.Errorf("%d are tried again, %+v, %v", queued(), r.primaries[0].dispatcher.Spike(), err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	r = open() // nobody has looked whether there was a spike
	for range 3 {
		doubted = append(doubted, r.hold(t, "a@sender.example", true, "gone@corp.example"))
	}
	r.refuse(t, queue.KeptIncident, doubted...)
	stranded := r.hold(t, "a@sender.example", true, "gone@corp.example")
	r.refuse(t, queue.KeptHold, stranded)
	if err := r.tryAgain(ctx, false); err != nil || queued() != againSpike+5+3 {
		t.Errorf("%d are tried again, %v", queued(), err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.again(ctx); err == nil {
		t.Error("a store that is closed is no error")
	}
}

func TestExisted(t *testing.T) {
	t.Parallel()
	c, _, _, _ := notifying(t)
	list := filepath.Join(filepath.Dir(c.Data), "people.txt")
	if err := os.WriteFile(list, []byte("bob@corp.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := configs.DefaultDomain()
	d.Name, d.Upstream = "open.example", "exo"
	c.Domains[0].Recipients.File, c.Domains[0].Recipients.Sources = list, []string{configs.SourceList, configs.SourceLearned}
	c.Domains = append(c.Domains, d)
	r, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for recipient, want := range map[string]bool{"bob@corp.example": true, "gone@corp.example": false, "bob@open.example": false, "bob@elsewhere.example": false, "postmaster": false, "": false, "x": false} {
		if got := r.existed(recipient); got != want {
			t.Errorf("%q: %v", recipient, got)
		}
	}
	taken := outbound.Heard{Path: smtp.Path{Local: "new", Domain: "corp.example"}, At: time.Now(), Exists: true, Delivered: true}
	r.heard(r.primaries[0], taken)
	if !r.existed("new@corp.example") {
		t.Error("who was delivered to does not exist")
	}
	if o := r.notifier; o == nil || r.circumstances("elsewhere").Incident || !r.circumstances("exo").Incident {
		t.Error("an upstream that is not configured is in no incident; one that was never probed is")
	}
}
