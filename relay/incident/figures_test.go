package incident

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// TestTheAccount: mail in every state, of before, within and after the incident.
func TestTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.attempt(r.accept("final@corp.example"), delivered)
		refused := r.accept("refused@corp.example")
		r.attempt(refused, unknown)
		waiting := r.accept("waiting@corp.example", "gone@corp.example")
		r.attempt(waiting, outage, delivered)
		time.Sleep(time.Minute)
		r.becomes(health.Down)
		ids := map[string]queue.ID{}
		for _, name := range []string{"delivered", "queued", "held", "refused", "deleted", "undeleted", "twice", "retried", "both"} {
			ids[name] = r.accept(name + "@Corp.example")
		}
		two := r.accept("first@corp.example", "second@corp.example")
		if err := r.store.Note(context.Background(), queue.Entry{At: time.Now(), Event: queue.Passed, Upstream: "exo", Recipients: []string{"x@corp.example", "y@corp.example"}}); err != nil {
			t.Fatal(err)
		}
		if err := r.store.Note(context.Background(), queue.Entry{At: time.Now(), Event: queue.Passed, Upstream: "other", Recipients: []string{"x@corp.example"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		r.attempt(ids["delivered"], delivered)
		r.attempt(two, delivered, unknown)
		r.amend(ids["held"], queue.Hold)
		r.attempt(ids["refused"], unknown)
		r.amend(ids["deleted"], queue.Delete)
		r.amend(ids["undeleted"], queue.Delete)
		r.amend(ids["undeleted"], queue.Undelete)
		lost := outage
		lost.MaybeDuplicate = true
		r.attempt(ids["twice"], lost)
		time.Sleep(10 * time.Minute)
		r.attempt(ids["twice"], delivered)
		r.attempt(ids["retried"], unknown)
		r.amend(ids["retried"], queue.Retry)
		r.attempt(ids["both"], delivered)
		time.Sleep(time.Minute)
		r.becomes(health.Up)
		time.Sleep(time.Second)
		r.accept("later@corp.example")
		time.Sleep(time.Second)

		f := r.figures()
		want := Account{Accepted: 12, Delivered: 4, Queued: 4, Held: 1, Refused: 2, Deleted: 1, Passed: 2}
		if f.Account != want {
			t.Errorf("%+v, want %+v", f.Account, want)
		}
		if f.Messages != 11 || f.Domains != 1 || f.MaybeTwice != 1 || f.Bytes != 11*14 || !reflect.DeepEqual(f.ByState, map[string]int64{"deferred": 2, "queued": 2, "held": 1, "refused": 2, "deleted": 1, "delivered": 3}) {
			t.Errorf("%+v", f)
		}
		if f.Delay != (Delays{10 * time.Minute, 20 * time.Minute, 20 * time.Minute, 20 * time.Minute}) || f.LastDelivery.Sub(f.FirstDelivery) != 10*time.Minute {
			t.Errorf("%+v %v %v", f.Delay, f.FirstDelivery, f.LastDelivery)
		}
		for _, reply := range f.Replies {
			if reply.Code == 550 && (reply.Count != 3 || reply.Last.Sub(reply.First) != 10*time.Minute || len(reply.Servers) != 1 || len(reply.Sessions) != 1 || reply.Servers[0] != "mx.corp.example 192.0.2.1:25") {
				t.Errorf("%+v", reply)
			}
		}

		lines := map[queue.ID]int{}
		if unread, err := Mail(context.Background(), r.store, r.only(), func(e queue.Entry) error { lines[e.ID]++; return nil }); err != nil || unread != 0 || len(lines) != 13 || lines[two] != 2 {
			t.Errorf("%v %d %v", lines, unread, err)
		}
		if _, err := Mail(context.Background(), r.store, r.only(), func(queue.Entry) error { return errDisk }); !errors.Is(err, errDisk) {
			t.Error(err)
		}
		r.wrong.set(ills{damaged: true})
		if unread, err := Mail(context.Background(), r.wrong, r.only(), func(queue.Entry) error { return nil }); err != nil || unread != 1 {
			t.Error(unread, err)
		}
		r.wrong.set(ills{fail: errDisk})
		if _, err := Mail(context.Background(), r.wrong, r.only(), func(queue.Entry) error { return nil }); !errors.Is(err, errDisk) {
			t.Error(err)
		}
	})
}

// TestSetAside: what is missing may be in a file that was set aside, as far as that has so many.
func TestSetAside(t *testing.T) {
	for aside, want := range map[int64]Account{0: {Accepted: 3, Remainder: 3}, 2: {Accepted: 3, SetAside: 2, Remainder: 1}, 5: {Accepted: 3, SetAside: 3}} {
		r := &reckoning{recipients: make([]recipient, 3), letters: make([]letter, 1), replies: replies{}}
		if f := r.sum(aside); f.Account != want {
			t.Errorf("%d: %+v", aside, f.Account)
		}
	}
}

// TestLinesOfALedger: what one line does to what was known of a recipient.
func TestLinesOfALedger(t *testing.T) {
	minute := func(n int) time.Time { return time.Unix(int64(60*n), 0) }
	accepted := queue.Entry{At: minute(1), Event: queue.Accepted, ID: "a", Upstream: "exo", Recipients: []string{"a@corp.example"}}
	line := func(at int, event queue.Event, action queue.Action) queue.Entry {
		e := queue.Entry{At: minute(at), Event: event, ID: "a", Recipients: []string{"a@corp.example"}}
		if action != queue.Queued {
			e.Results = []queue.Result{{At: minute(at), Action: action}}
		}
		return e
	}
	tests := map[string]struct {
		lines []queue.Entry
		want  queue.State
		place place
	}{
		"accepted":                  {nil, 0, open},
		"twice in the ledger":       {[]queue.Entry{accepted, line(2, queue.Attempted, queue.Delivered)}, queue.StateDelivered, settled},
		"given up":                  {[]queue.Entry{line(2, queue.Bounce, queue.Failed)}, queue.StateFailed, settled},
		"expired":                   {[]queue.Entry{line(2, queue.Attempted, queue.Expired)}, queue.StateExpired, settled},
		"left in the trash":         {[]queue.Entry{line(2, queue.Delete, 0), line(3, queue.Attempted, queue.Delivered)}, queue.StateDelivered, settled},
		"deleted when it had left":  {[]queue.Entry{line(2, queue.Attempted, queue.Delivered), line(3, queue.Delete, 0)}, queue.StateDelivered, settled},
		"of another message":        {[]queue.Entry{{At: minute(2), Event: queue.Attempted, ID: "b"}}, 0, open},
		"of another recipient":      {[]queue.Entry{{At: minute(2), Event: queue.Delete, ID: "a", Recipients: []string{"b@corp.example"}}}, 0, open},
		"adopted, refused long ago": {[]queue.Entry{line(1, queue.Attempted, queue.Refused)}, 0, open},
	}
	for name, test := range tests {
		r := &reckoning{incident: health.Incident{Upstream: "exo", From: minute(0), Began: minute(0)}, byID: map[uint64]uint32{}, byKey: map[uint64]uint32{},
			domains: map[uint64]bool{}, addresses: map[uint64]bool{}, replies: replies{}, seed: seed()}
		r.line(accepted)
		for _, e := range test.lines {
			r.line(e)
		}
		if len(r.recipients) != 1 || r.recipients[0].place != test.place || r.recipients[0].state != test.want {
			t.Errorf("%s: %+v", name, r.recipients)
		}
	}
}

func TestPercentile(t *testing.T) {
	all := func(n int) (list []time.Duration) {
		for i := range n {
			list = append(list, time.Duration(i+1))
		}
		return list
	}
	for _, test := range []struct {
		n, percent int
		want       time.Duration
	}{{0, 50, 0}, {1, 50, 1}, {1, 99, 1}, {2, 50, 1}, {3, 50, 2}, {100, 95, 95}, {100, 100, 100}, {101, 95, 96}, {1000, 99, 990}} {
		if got := percentile(all(test.n), test.percent); got != test.want {
			t.Errorf("%d%% of %d: %d", test.percent, test.n, got)
		}
	}
}

func TestReplies(t *testing.T) {
	for text, want := range map[string]queue.Reply{
		"451 4.3.2 Temporary / error":  {Command: "RCPT", Code: 451, Enhanced: "4.3.2", Text: "Temporary / error"},
		"421":                          {Command: "RCPT", Code: 421},
		"550 no enhanced code":         {Command: "RCPT", Code: 550, Text: "no enhanced code"},
		"250 2.1.5":                    {Command: "RCPT", Code: 250, Enhanced: "2.1.5"},
		"dial tcp: connection refused": {Command: "RCPT", Text: "dial tcp: connection refused"},
		"4511 is no code":              {Command: "RCPT", Text: "4511 is no code"},
		"":                             {Command: "RCPT"},
	} {
		if got := parseReply("RCPT", text); got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
	all := replies{}
	for i := range maxReplies + 5 { // a remote server may say anything
		all.add(health.SourceProbe, queue.Reply{Text: time.Duration(i).String()}, time.Unix(int64(100-i), 0), time.Duration(i).String(), "")
	}
	for i := range maxNamed + 5 {
		all.add(health.SourceProbe, queue.Reply{Text: "0s"}, time.Unix(int64(-i), 0), time.Duration(i).String(), "s")
	}
	list := all.list()
	if len(list) != maxReplies || list[0].Count != maxNamed+6 || len(list[0].Servers) != maxNamed || len(list[0].Sessions) != 1 || !list[0].First.Equal(time.Unix(-maxNamed-4, 0)) || !list[0].Last.Equal(time.Unix(100, 0)) {
		t.Errorf("%d kinds, %+v", len(list), list[0])
	}
}

// TestTimeline joins what was recorded, in the order of time, each line once.
func TestTimeline(t *testing.T) {
	minute := func(n int) time.Time { return time.Unix(int64(60*n), 0).UTC() }
	i := health.OpenIncident("x", "exo", health.Seen{At: minute(9), State: health.Down, Why: "bad"}, health.ByRelay, minute(4))
	changes := []health.Change{{At: minute(5), Kind: health.ChangeState, From: "up", To: "degraded", Why: "one"}, {At: minute(12), Kind: health.ChangeOverride, From: "none", To: "up", Actor: "j.doe", Why: "until"},
		{At: minute(6), Kind: health.ChangeThrottled, To: "began", Why: "451"}}
	f := Figures{FirstDelivery: minute(20), LastDelivery: minute(30), Replies: []Replies{{Code: 250, First: minute(20)}, {Code: 451, Enhanced: "4.3.2", Text: "x", First: minute(4)}}}
	all := Timeline(i, changes, f, nil)
	if got := whats(all); got != "first-bad-reply health throttled opened override first-delivery last-delivery" || all[0].Text != "451 4.3.2 x" || all[4].Actor != "j.doe" {
		t.Errorf("%q %+v", got, all)
	}
	i = i.Close(minute(40), health.ByRelay, "").Link(minute(50), "j.doe", "MO1")
	if got := whats(Timeline(i, nil, f, all)); got != "first-bad-reply health throttled opened override first-delivery last-delivery closed link" {
		t.Errorf("%q", got)
	}
	if got := Timeline(i, nil, Figures{}, nil); got[0].Text != "" {
		t.Errorf("%+v", got[0])
	}
}

func TestExpiring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		find := func() Expiring {
			t.Helper()
			e, err := expiring(context.Background(), r.wrong, queue.DefaultLifetime, time.Now())
			if err != nil || e.Within != 24*time.Hour {
				t.Fatal(e, err)
			}
			return e
		}
		first := r.accept("a@corp.example")
		end := time.Now().Add(queue.DefaultLifetime)
		r.amend(r.accept("held@corp.example"), queue.Hold)
		time.Sleep(time.Hour)
		second := r.accept("b@corp.example")
		time.Sleep(4*24*time.Hour - time.Hour - time.Second)
		if e := find(); e.Messages != 0 || !e.First.IsZero() {
			t.Errorf("%+v", e)
		}
		time.Sleep(2 * time.Second)
		r.wrong.set(ills{damaged: true})
		if e := find(); e.Messages != 1 || !e.First.Equal(end) {
			t.Errorf("%+v", e)
		}
		time.Sleep(time.Hour)
		if e := find(); e.Messages != 2 || !e.First.Equal(end) {
			t.Errorf("%+v", e)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); r.keeper.WatchExpiry(ctx) }()
		synctest.Wait()
		if e := r.keeper.Expiring(); e.Messages != 2 {
			t.Errorf("%+v", e)
		}
		r.attempt(first, delivered)
		r.attempt(second, delivered)
		time.Sleep(expiryEvery)
		synctest.Wait()
		if e := r.keeper.Expiring(); e.Messages != 0 {
			t.Errorf("%+v", e)
		}
		r.wrong.set(ills{gone: errDisk})
		time.Sleep(expiryEvery)
		cancel()
		<-done
		if short, err := expiring(context.Background(), r.store, time.Hour, time.Now()); err != nil || short.Within != 30*time.Minute {
			t.Errorf("%+v %v", short, err)
		}
	})
}
