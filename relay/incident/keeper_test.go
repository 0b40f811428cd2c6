package incident

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// TestAnOutage: the way of one incident, with a restart in each of its states.
func TestAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		restart := func() { r.stop(); r.start() }
		early := r.accept("early@corp.example")
		time.Sleep(time.Minute)
		r.mu.Lock()
		r.recent = []health.Signal{{At: time.Now().Add(-time.Hour), Class: health.OK}, {At: time.Now().Add(-20 * time.Second), Class: health.Outage}, {At: time.Now(), Class: health.Outage}}
		r.mu.Unlock()
		began := time.Now().Add(-20 * time.Second)
		r.becomes(health.Degraded)
		if all := r.keeper.List(); len(all) != 0 {
			t.Fatalf("%+v", all)
		}
		r.becomes(health.Down)
		i := r.only()
		if i.State != health.IncidentOpen || !i.Began.Equal(began) || !i.From.Equal(time.Now().Add(-time.Minute)) || i.Opener != health.ByRelay || i.Why != "it is down" {
			t.Errorf("%+v", i)
		}
		restart()
		if lasts, _ := r.keeper.Standing("exo"); !lasts {
			t.Error("it does not last")
		}
		if lasts, _ := r.keeper.Standing("other"); lasts {
			t.Error("another upstream has it")
		}
		id := r.accept("a@corp.example", "b@corp.example")
		time.Sleep(time.Hour)
		if got := r.keeper.Stops("exo").Within(i.From, time.Now()); got != time.Hour+time.Minute {
			t.Errorf("stopped for %v", got)
		}
		r.becomes(health.Recovering)
		restart()
		r.attempt(id, outage, fullBox)
		r.becomes(health.Up)
		if i = r.only(); i.State != health.IncidentRecovering || i.UpAt.IsZero() {
			t.Errorf("%+v", i)
		}
		restart()
		time.Sleep(time.Minute)
		r.attempt(early, delivered)
		time.Sleep(time.Minute + time.Second) // not at the instant of a look
		if i = r.only(); i.State != health.IncidentRecovering {
			t.Errorf("drained, though a recipient waits: %+v", i)
		}
		r.attempt(id, delivered, fullBox) // what waits for its own sake holds up nothing
		r.accept("new@corp.example")      // nor what came later
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if i = r.only(); i.State != health.IncidentDrained {
			t.Fatalf("%+v", i)
		}
		restart()
		if lasts, recovered := r.keeper.Standing("exo"); lasts || !recovered.Equal(i.UpAt) {
			t.Error(lasts, recovered)
		}
		time.Sleep(DefaultQuiet - 10*time.Second)
		if i = r.only(); i.State != health.IncidentDrained {
			t.Fatalf("%+v", i)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		i = r.only()
		want := Account{Accepted: 3, Delivered: 2, Queued: 1}
		if got := r.figures(); i.State != health.IncidentClosed || got.Account != want || got.Messages != 2 || got.Delay.Worst <= time.Hour || got.ByState["deferred"] != 1 {
			t.Errorf("%+v %+v", i, got)
		}
		restart()
		record, err := r.keeper.Record(context.Background(), i.ID)
		if err != nil || whats(record.Timeline) != "first-bad-reply opened recovering up first-delivery last-delivery drained closed" {
			t.Errorf("%q %v", whats(record.Timeline), err)
		}
		if outages := r.keeper.Outages("exo", i.Began); !reflect.DeepEqual(outages, []Outage{{i.Began, i.Until}}) {
			t.Errorf("%+v", outages)
		}
		if outages := r.keeper.Outages("exo", i.Until); outages != nil {
			t.Errorf("%+v", outages)
		}
	})
}

// TestARelapse: down again before the end is the same incident; after it, another one.
func TestARelapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, s := range []health.State{health.Down, health.Up, health.Down} {
			r.becomes(s)
			time.Sleep(time.Minute)
		}
		if i := r.only(); i.State != health.IncidentOpen || whats(i.Moments) != "opened recovering up drained down" {
			t.Errorf("%+v", i)
		}
		r.becomes(health.Up)
		time.Sleep(time.Hour)
		r.becomes(health.Down)
		if all := r.keeper.List(); len(all) != 2 || all[0].State != health.IncidentClosed || all[1].State != health.IncidentOpen || all[0].ID == all[1].ID {
			t.Errorf("%+v", all)
		}
	})
}

// TestNoAccount: an incident with a recipient that is nowhere does not close,
// says so, and does not swallow the next one; a person can close it.
func TestNoAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ctx := newRig(t), context.Background()
		r.becomes(health.Down)
		r.wrong.set(ills{lost: r.accept("a@corp.example", "b@corp.example")})
		id := r.only().ID
		if i, _, err := r.keeper.Close(ctx, id, "j.doe", "", 2); !errors.Is(err, ErrState) || i.State != health.IncidentOpen {
			t.Errorf("closed while it is down: %v", err)
		}
		r.becomes(health.Up)
		time.Sleep(DefaultQuiet + 10*time.Second)
		synctest.Wait()
		i := r.only()
		if i.State != health.IncidentDrained || i.Unsettled != "2 of 2 recipients have no account" {
			t.Errorf("%+v", i)
		}
		moments := len(i.Moments)
		time.Sleep(time.Hour)
		if i = r.only(); len(i.Moments) != moments {
			t.Errorf("it says the same again and again: %+v", i.Moments)
		}
		if _, waiting, err := r.keeper.Close(ctx, id, "j.doe", "why", 1); waiting != 2 || err != nil || r.only().State == health.IncidentClosed {
			t.Errorf("closed for %d of %d, %v", 1, waiting, err)
		}
		r.becomes(health.Down)
		if all := r.keeper.List(); len(all) != 2 || all[0].State != health.IncidentDrained || all[1].State != health.IncidentOpen {
			t.Errorf("%+v", all)
		}
		r.becomes(health.Up)
		if _, _, err := r.keeper.Close(ctx, id, "j.doe", "the disk was replaced", 2); err != nil {
			t.Error(err)
		}
		if _, _, err := r.keeper.Close(ctx, id, "j.doe", "", 2); !errors.Is(err, ErrState) {
			t.Error("closed twice:", err)
		}
		record, err := r.keeper.Record(ctx, id)
		if a := record.Figures.Account; err != nil || a.Remainder != 2 || record.Incident.State != health.IncidentClosed || record.Incident.Unsettled != "" {
			t.Errorf("%+v %v", record, err)
		}
	})
}

// TestItIsSettledLater: what could not be read can be read again.
func TestItIsSettledLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.becomes(health.Down)
		r.becomes(health.Up)
		r.wrong.set(ills{damaged: true})
		time.Sleep(DefaultQuiet + 10*time.Second)
		synctest.Wait()
		if i := r.only(); i.Unsettled != "2 records could not be read" {
			t.Errorf("%+v", i)
		}
		r.wrong.set(ills{})
		r.wrong.set(ills{fail: errDisk})
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := r.keeper.Record(context.Background(), r.only().ID); !errors.Is(err, errDisk) {
			t.Error(err)
		}
		if _, _, err := r.keeper.Close(context.Background(), r.only().ID, "j.doe", "", 0); !errors.Is(err, errDisk) {
			t.Error(err)
		}
		r.wrong.set(ills{})
		time.Sleep(time.Minute)
		synctest.Wait()
		if i := r.only(); i.State != health.IncidentClosed {
			t.Errorf("%+v", i)
		}
	})
}

// TestAStoreThatFails: the incident is opened all the same, and goes on later.
func TestAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.wrong.set(ills{fail: errDisk})
		r.becomes(health.Down)
		r.becomes(health.Up)
		if i := r.only(); i.State != health.IncidentOpen {
			t.Errorf("%+v", i)
		}
		r.wrong.set(ills{})
		time.Sleep(time.Minute)
		synctest.Wait()
		if i := r.only(); i.State != health.IncidentDrained {
			t.Errorf("%+v", i)
		}
	})
}

// TestByAPerson: opened, annotated and closed by hand.
func TestByAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ctx := newRig(t), context.Background()
		if _, err := r.keeper.Open(ctx, "other", "j.doe", "x"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		i, err := r.keeper.Open(ctx, "exo", "j.doe", "users see nothing")
		if err != nil || i.Opener != "j.doe" || i.Why != "users see nothing" || i.WasDown {
			t.Errorf("%+v %v", i, err)
		}
		if again, err := r.keeper.Open(ctx, "exo", "j.doe", "x"); !errors.Is(err, ErrState) || again.ID != i.ID {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if lasts, _ := r.keeper.Standing("exo"); !lasts || r.keeper.Outages("exo", time.Time{}) != nil {
			t.Error("it is no outage, but lasts")
		}
		for _, do := range []func() (health.Incident, error){
			func() (health.Incident, error) { return r.keeper.Acknowledge(i.ID, "j.doe", "") },
			func() (health.Incident, error) { return r.keeper.Link(i.ID, "j.doe", "MO1221364") },
			func() (health.Incident, error) {
				return r.keeper.Note(i.ID, health.Moment{What: "notified", Actor: "ops-sms"})
			},
		} {
			if _, err := do(); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.keeper.Link(i.ID, "j.doe", "MO1221364"); !errors.Is(err, ErrState) {
			t.Error("linked twice:", err)
		}
		if _, err := r.keeper.Note("INC-1", health.Moment{}); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if _, _, err := r.keeper.Close(ctx, "INC-1", "j.doe", "", 0); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if _, _, err := r.keeper.Close(ctx, i.ID, "j.doe", "all clear", 0); err != nil {
			t.Error(err)
		}
		i = r.only()
		if whats(i.Moments) != "opened acknowledged link notified closed" || i.Acked.Actor != "j.doe" || !reflect.DeepEqual(i.Links, []string{"MO1221364"}) {
			t.Errorf("%+v", i)
		}
		if lasts, recovered := r.keeper.Standing("exo"); lasts || !recovered.Equal(i.ClosedAt) {
			t.Error(lasts, recovered)
		}
	})
}

// TestAnOverride opens an incident, too, and says whose it is.
func TestAnOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.mu.Lock()
		r.status.Override = &health.Override{State: health.Down, Until: time.Now().Add(time.Hour), Actor: "j.doe", Reason: "migration"}
		r.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if i := r.only(); i.Why != "override by j.doe: migration" || i.State != health.IncidentOpen {
			t.Errorf("%+v", i)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if i := r.only(); i.State != health.IncidentDrained {
			t.Errorf("%+v", i)
		}
	})
}

// TestAHistoryThatIsGone: incidents live on in memory, and it is told.
func TestAHistoryThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if r.keeper.Trouble() != nil {
			t.Error(r.keeper.Trouble())
		}
		r.file.Close()
		r.becomes(health.Down)
		if i := r.only(); i.State != health.IncidentOpen || !strings.Contains(strings.Join(r.keeper.Trouble(), " "), "could not be written") {
			t.Errorf("%+v %q", i, r.keeper.Trouble())
		}
		if f := r.figures(); !f.NoHistory {
			t.Errorf("%+v", f)
		}
		for _, err := range r.keeper.Changes(context.Background(), "", time.Time{}, time.Time{}) {
			if err == nil {
				t.Error("a change")
			}
		}
		b := NewBook(r.file, nil)
		if lasts, recovered := b.Standing("exo"); lasts || !recovered.Equal(time.Now()) {
			t.Error(lasts, recovered)
		}
	})
}

// TestAClockThatWasSetBack before a restart does not hold up the end.
func TestAClockThatWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.becomes(health.Down)
		r.becomes(health.Up)
		i := r.only()
		r.stop()
		r.file = nil
		i.QuietSince = time.Now().Add(1000 * time.Hour)
		r.start()
		if err := r.file.PutIncident(i); err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.start()
		time.Sleep(DefaultQuiet + 10*time.Second)
		synctest.Wait()
		if i := r.only(); i.State != health.IncidentClosed {
			t.Errorf("%+v", i)
		}
	})
}

func TestFirstBad(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	of := func(classes string) (all []health.Signal) {
		kinds := map[rune]health.Class{'k': health.OK, 'o': health.Outage, 't': health.Throttle}
		for n, c := range classes {
			s := health.Signal{At: at(n + 1), Class: kinds[c]}
			if c == 's' {
				s = health.Signal{At: at(n + 1), Source: health.SourceSender}
			}
			if c == 'c' {
				s = health.Signal{At: at(n + 1), Source: health.SourceControl, Class: health.OK}
			}
			all = append(all, s)
		}
		return all
	}
	for classes, want := range map[string]int{"": 0, "k": 0, "ko": 2, "okoo": 3, "oo": 1, "koto": 2, "kosso": 2, "koco": 2, "ok": 0, "ktto": 4} {
		got := firstBad(of(classes))
		if want == 0 && !got.IsZero() || want > 0 && !got.Equal(at(want)) {
			t.Errorf("%q: %v", classes, got)
		}
	}
}

func TestWaits(t *testing.T) {
	of := func(held string, all ...queue.Result) queue.Message {
		m := queue.Message{Held: held}
		for _, r := range all {
			m.Envelope.Recipients = append(m.Envelope.Recipients, queue.Recipient{ForwardPath: "a@corp.example", Last: r})
		}
		return m
	}
	ours := queue.Result{Action: queue.Deferred, Scope: queue.ScopeOwn}
	for name, test := range map[string]struct {
		m    queue.Message
		want bool
	}{
		"never tried":      {of("", queue.Result{}), true},
		"an outage":        {of("", outage), true},
		"our own trouble":  {of("", ours), true},
		"held":             {of("by j.doe", outage), false},
		"a full mailbox":   {of("", fullBox), false},
		"one of two":       {of("", fullBox, outage), true},
		"refused":          {of("", unknown), false},
		"delivered":        {of("", delivered), false},
		"nobody to get it": {of(""), false},
	} {
		if got := waits(test.m); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
