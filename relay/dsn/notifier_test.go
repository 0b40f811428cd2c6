package dsn

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// post is a Notifier on a store in memory, with a message that is claimed.
type post struct {
	*testing.T
	*Notifier
	store *queuetest.Memory
	m     queue.Message
	c     Circumstances
}

func newPost(t *testing.T, change func(*Options, *queue.Envelope)) *post {
	t.Helper()
	p := &post{T: t, store: queuetest.New()}
	o := Options{Store: p.store, Via: "smarthost", Hostname: "mx2.corp.example", Probation: 6 * time.Hour, Lifetime: time.Hour}
	e := queue.Envelope{Upstream: "exo", ReversePath: "a@sender.example",
		Recipients: []queue.Recipient{{ForwardPath: "bob@corp.example"}, {ForwardPath: "carol@corp.example", Notify: []string{"SUCCESS"}}, {ForwardPath: "dave@corp.example"}}}
	e.Origin.Auth.ReversePath = true
	if change != nil {
		change(&o, &e)
	}
	p.Notifier = New(o)
	now := time.Now()
	draft, err := p.store.Create(t.Context())
	if err == nil {
		_, err = io.WriteString(draft, hello)
	}
	if err == nil {
		err = draft.Commit(t.Context(), queue.Acceptance{At: now, Envelope: e, Lifetime: queue.DefaultLifetime})
	}
	if err != nil {
		t.Fatal(err)
	}
	p.claim(draft.ID())
	p.c = Circumstances{Now: now, Recovered: now.Add(-24 * time.Hour)}
	return p
}

func (p *post) claim(id queue.ID) {
	p.Helper()
	claimed, err := p.store.Claim(p.Context(), []queue.ID{id}, time.Hour)
	if err != nil || len(claimed) != 1 {
		p.Fatalf("%d claimed, %v", len(claimed), err)
	}
	p.m = claimed[0]
}

// conclude plans an attempt, concludes it, and says for each recipient "action kept".
func (p *post) conclude(results ...queue.Result) string {
	p.Helper()
	plan := queue.Settlement{ID: p.m.ID, Attempt: p.m.Attempts, Results: map[int]queue.Result{}}
	for i, r := range results {
		plan.Results[i] = r
	}
	ctx, cancel := context.WithCancel(p.Context())
	cancel() // a relay that stops settles all the same
	plan = p.Conclude(ctx, p.m, plan, p.c)
	var words []string
	for i := range results {
		words = append(words, strings.TrimSpace(plan.Results[i].Action.String()+" "+string(plan.Results[i].Kept)))
	}
	return strings.Join(words, ", ")
}

// told lists the notifications in the queue.
func (p *post) told() (all []queue.Message) {
	p.Helper()
	for m, err := range p.store.Messages(p.Context(), queue.Filter{States: queue.States()}) {
		if err != nil {
			p.Fatal(err)
		}
		if m.ID != p.m.ID {
			all = append(all, m)
		}
	}
	return all
}

func (p *post) report(m queue.Message) report {
	p.Helper()
	in, err := p.store.Content(p.Context(), m.ID)
	if err != nil {
		p.Fatal(err)
	}
	content, err := io.ReadAll(in)
	if err != nil {
		p.Fatal(err)
	}
	return mustRead(p.T, Composed{Content: content, EightBit: m.Envelope.Params.Body == "8BITMIME"})
}

func (p *post) want(got, want string, notifications int) {
	p.Helper()
	if n := len(p.told()); got != want || n != notifications {
		p.Errorf("%s, %d notifications; want %s, %d", got, n, want, notifications)
	}
}

var (
	failed  = queue.Result{Action: queue.Failed, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}}
	expired = queue.Result{Action: queue.Refused, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Code: 452, Enhanced: "4.2.2", Text: queue.LifetimeOver + "full"}}
	waits   = queue.Result{Action: queue.Deferred, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Code: 452, Enhanced: "4.2.2", Text: "full"}}
	taken   = queue.Result{Action: queue.Delivered, Reply: queue.Reply{Code: 250}}
	held    = queue.Result{Action: queue.Refused, Scope: queue.ScopeOwn, Reply: queue.Reply{Code: 550, Enhanced: "5.7.1"}}
)

func TestConclude(t *testing.T) {
	at := func(*Circumstances) {}
	for name, test := range map[string]struct {
		change        func(*Options, *queue.Envelope)
		circumstances func(*Circumstances)
		results       []queue.Result
		want          string
		notifications int
	}{
		"one attempt, one notification": {nil, at, []queue.Result{failed, failed, expired}, "failed, refused notify-never, expired", 1},
		"what is held is not told":      {nil, at, []queue.Result{held, taken, waits}, "refused hold, delivered, deferred", 0},
		"in an incident":                {nil, func(c *Circumstances) { c.Incident = true }, []queue.Result{expired}, "refused incident", 0},
		"in the probation":              {nil, func(c *Circumstances) { c.Recovered = c.Now.Add(-6*time.Hour + 1) }, []queue.Result{failed}, "refused incident", 0},
		"in a spike":                    {nil, func(c *Circumstances) { c.Spike = true }, []queue.Result{failed, taken, expired}, "refused spike, delivered, expired", 1},
		"off":                           {func(o *Options, _ *queue.Envelope) { o.Via = "" }, at, []queue.Result{failed}, "refused off", 0},
		"a null reverse-path":           {func(_ *Options, e *queue.Envelope) { e.ReversePath = "" }, at, []queue.Result{failed}, "refused null-sender", 0},
		"a forgery":                     {func(_ *Options, e *queue.Envelope) { e.Origin.Auth = queue.Verdicts{} }, at, []queue.Result{failed}, "refused unauthenticated", 0},
		"relayed":                       {nil, func(c *Circumstances) { c.Relayed = []int{1} }, []queue.Result{taken, taken, taken}, "delivered, delivered, delivered", 1},
		"relayed, and not asked for":    {nil, func(c *Circumstances) { c.Relayed = []int{0, 2} }, []queue.Result{taken, taken, taken}, "delivered, delivered, delivered", 0},
		"waiting, and delays are off":   {nil, func(c *Circumstances) { c.Now = c.Now.Add(100 * time.Hour) }, []queue.Result{waits}, "deferred", 0},
		"waiting":                       {func(o *Options, _ *queue.Envelope) { o.Delay = 4 * time.Hour }, func(c *Circumstances) { c.Now = c.Now.Add(4 * time.Hour) }, []queue.Result{waits, waits}, "deferred, deferred", 1},
		"waiting for a moment":          {func(o *Options, _ *queue.Envelope) { o.Delay = 4 * time.Hour }, func(c *Circumstances) { c.Now = c.Now.Add(4*time.Hour - 1) }, []queue.Result{waits}, "deferred", 0},
		"waiting in an incident": {func(o *Options, _ *queue.Envelope) { o.Delay = 4 * time.Hour },
			func(c *Circumstances) { c.Now, c.Incident = c.Now.Add(5*time.Hour), true }, []queue.Result{waits}, "deferred", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t, test.change)
			test.circumstances(&p.c)
			p.want(p.conclude(test.results...), test.want, test.notifications)
			p.want(p.conclude(test.results...), test.want, test.notifications) // after a stop that came before it was settled
		})
	}
}

// TestNotificationInTheQueue: it is a message like any other, and nobody is
// told when it fails.
func TestNotificationInTheQueue(t *testing.T) {
	p := newPost(t, func(o *Options, e *queue.Envelope) {
		e.Params = queue.Params{Ret: "FULL", EnvID: "e1"}
		o.Outages = func(upstream string, from time.Time) []Outage {
			if upstream != "exo" || from.IsZero() {
				t.Errorf("outages of %s since %v", upstream, from)
			}
			return []Outage{{From: noon}}
		}
	})
	p.want(p.conclude(failed), "failed", 1)
	original, m := p.m, p.told()[0]
	e := m.Envelope
	if e.Upstream != "smarthost" || e.ReversePath != "" || len(e.Recipients) != 1 || e.Recipients[0].ForwardPath != "a@sender.example" || e.Recipients[0].Notify[0] != "NEVER" ||
		e.Params != (queue.Params{Body: "7BIT"}) || e.Cause.ID != original.ID || !strings.HasPrefix(e.Cause.Kind, "failure ") || m.Lifetime != time.Hour || m.MessageID == "" || m.Held != "" {
		t.Errorf("%+v", m)
	}
	r := p.report(m)
	if string(r.last) != hello || !strings.Contains(r.text, "has not been able to take mail since") || r.message.Get("Original-Envelope-Id") != "e1" || m.MessageID != r.header.Get("Message-ID") {
		t.Errorf("%+v", r)
	}
	p.claim(m.ID)
	if got := p.conclude(failed); got != "refused null-sender" {
		t.Error(got)
	}
	stats, err := p.store.Stats(t.Context())
	if err != nil || stats.Account.Accepted != 4 {
		t.Errorf("%+v, %v", stats.Account, err)
	}
}

func TestInternationalNotification(t *testing.T) {
	p := newPost(t, func(_ *Options, e *queue.Envelope) { e.ReversePath, e.Params.SMTPUTF8 = "a@grün.example", true })
	p.want(p.conclude(failed), "failed", 1)
	m := p.told()[0]
	if m.Envelope.Params != (queue.Params{Body: "8BITMIME", SMTPUTF8: true}) {
		t.Errorf("%+v", m.Envelope)
	}
	p.report(m)
}

func TestDelayIsToldOnce(t *testing.T) {
	p := newPost(t, func(o *Options, _ *queue.Envelope) { o.Delay, o.PerSender = time.Hour, 2 })
	p.c.Now = p.c.Now.Add(2 * time.Hour)
	for range 5 {
		p.want(p.conclude(waits, waits, waits), "deferred, deferred, deferred", 1)
	}
	p.Notifier = New(p.options) // after a stop
	p.want(p.conclude(waits), "deferred", 1)
	p.delayed = map[queue.ID]bool{}
	for range maxRemembered {
		p.remember(queue.NextID("", time.Now().Add(time.Duration(len(p.delayed))*time.Millisecond)))
	}
	if p.remember(p.m.ID); len(p.delayed) != 1 {
		t.Errorf("%d are remembered", len(p.delayed))
	}
}

func TestPerSender(t *testing.T) {
	p := newPost(t, func(o *Options, _ *queue.Envelope) { o.PerSender = 2 })
	now := time.Date(2026, 3, 12, 12, 59, 0, 0, time.UTC)
	for i, want := range []bool{true, true, false} {
		if got := p.spend("A@sender.example", now); got != want {
			t.Errorf("%d: %v", i, got)
		}
	}
	if !p.spend("b@sender.example", now) || !p.spend("a@sender.example", now.Add(time.Minute)) {
		t.Error("another sender, or another hour, is not told")
	}
	for i := range maxRemembered {
		p.sent[strings.Repeat("x", i%7)+time.Duration(i).String()] = 1
	}
	if p.spend("c@sender.example", now.Add(time.Minute)) || !p.spend("a@sender.example", now.Add(time.Minute)) {
		t.Error("want no new senders when too many are remembered")
	}
	p.sent = map[string]int{"a@sender.example": 2}
	p.hour = p.c.Now.Truncate(time.Hour)
	p.want(p.conclude(failed), "refused rate", 0)
	if err := p.GiveUp(t.Context(), p.m, []int{0}, p.c.Now); err != nil {
		t.Errorf("an operator is not limited: %v", err)
	}
}

// flawed is a store whose disk fails.
type flawed struct {
	*queuetest.Memory
	create, write, commit, content, read error
}

func (f *flawed) Create(ctx context.Context) (queue.Draft, error) {
	d, err := f.Memory.Create(ctx)
	return flawedDraft{d, f}, errors.Join(err, f.create)
}

func (f *flawed) Content(ctx context.Context, id queue.ID) (io.ReadCloser, error) {
	in, err := f.Memory.Content(ctx, id)
	return flawedContent{in, f}, errors.Join(err, f.content)
}

type flawedDraft struct {
	queue.Draft
	f *flawed
}

func (d flawedDraft) Write(b []byte) (int, error) {
	if d.f.write != nil {
		return 0, d.f.write
	}
	return d.Draft.Write(b)
}

func (d flawedDraft) Commit(ctx context.Context, a queue.Acceptance) error {
	if d.f.commit != nil {
		return d.f.commit
	}
	return d.Draft.Commit(ctx, a)
}

type flawedContent struct {
	io.ReadCloser
	f *flawed
}

func (c flawedContent) Read(b []byte) (int, error) {
	if c.f.read != nil {
		return 0, c.f.read
	}
	return c.ReadCloser.Read(b)
}

func TestStoreFails(t *testing.T) {
	for name, test := range map[string]struct {
		flaw  func(*flawed)
		want  string
		parts int // 0: no notification
	}{
		"create":  {func(f *flawed) { f.create = queue.ErrFull }, "refused unsent", 0},
		"write":   {func(f *flawed) { f.write = queue.ErrFull }, "refused unsent", 0},
		"commit":  {func(f *flawed) { f.commit = queue.ErrFull }, "refused unsent", 0},
		"content": {func(f *flawed) { f.content = queue.ErrNotFound }, "failed", 2},
		"read":    {func(f *flawed) { f.read = queue.ErrDamaged }, "failed", 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t, nil)
			f := &flawed{Memory: p.store}
			test.flaw(f)
			p.options.Store = f
			p.want(p.conclude(failed), test.want, min(1, test.parts))
			if err := p.GiveUp(t.Context(), p.m, []int{0}, p.c.Now); (err != nil) != (test.parts == 0) {
				t.Errorf("given up: %v", err)
			}
			for _, m := range p.told() {
				if r := p.report(m); len(r.kinds) != test.parts {
					t.Errorf("parts %v", r.kinds)
				}
			}
		})
	}
}

func TestMay(t *testing.T) {
	p := newPost(t, nil)
	if of, why := p.May(p.m, p.c); len(of) != 0 || len(why) != 3 || why[0] != "" {
		t.Errorf("while an attempt runs: %v %v", of, why)
	}
	m := p.m
	m.LeasedUntil = time.Time{}
	m.Envelope.Recipients[2].Last.Action = queue.Delivered
	if of, why := p.May(m, p.c); len(of) != 1 || of[0] != 0 || len(why) != 1 || why[1] != queue.KeptNever {
		t.Errorf("%v %v", of, why)
	}
	p.c.Incident = true
	if of, why := p.May(m, p.c); len(of) != 0 || why[0] != queue.KeptIncident {
		t.Errorf("in an incident: %v %v", of, why)
	}
	p.c.Incident = false
	for range 2 { // the second is the first
		if err := p.GiveUp(t.Context(), m, []int{0}, p.c.Now); err != nil {
			t.Error(err)
		}
	}
	if all := p.told(); len(all) != 1 || !strings.Contains(strings.Join(strings.Fields(p.report(all[0]).text), " "), "have stopped trying") {
		t.Errorf("%d notifications", len(all))
	}
}
