package outbound

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/dsn"
)

func TestSpikeRules(t *testing.T) {
	var r SpikeRules
	r.complete()
	if r != (SpikeRules{Share: 0.1, Least: 5, Window: 30 * time.Minute, Patience: 24 * time.Hour}) {
		t.Errorf("defaults %+v", r)
	}
	for _, test := range []struct {
		refused, all int
		want         bool
	}{{0, 0, false}, {4, 4, false}, {5, 5, true}, {5, 49, true}, {5, 50, false}, {6, 50, true}, {10, 100, false}, {11, 100, true}} {
		if got := r.exceeded(test.refused, test.all); got != test.want {
			t.Errorf("%d of %d: %v", test.refused, test.all, got)
		}
	}
}

// TestSpikeGuard: what is said at which minute, and what is thought after it.
func TestSpikeGuard(t *testing.T) {
	rules := SpikeRules{Share: 0.5, Least: 3, Window: 30 * time.Minute, Patience: 4 * time.Hour}
	for name, steps := range map[string][]struct {
		minute int
		said   string // recipients; with - they are refused
		want   Spike  // Since is not compared
	}{
		"a mailbox that has gone":    {{0, "-a -a -a -a", Spike{Refused: 1, Known: 1}}},
		"a spike":                    {{0, "-a -b", Spike{Refused: 2, Known: 2}}, {1, "-c", Spike{Active: true, Refused: 3, Known: 3}}},
		"below the share":            {{0, "-a -b -c d e f", Spike{Refused: 3, Known: 6}}},
		"refusals grow old":          {{0, "-a -b", Spike{Refused: 2, Known: 2}}, {30, "-c", Spike{Refused: 1, Known: 1}}},
		"it ends when all are taken": {{0, "-a -b -c", Spike{Active: true, Refused: 3, Known: 3}}, {60, "-a -b", Spike{Active: true, Refused: 3, Known: 3}}, {61, "a b c", Spike{Known: 3}}},
		"it ends when enough are taken": {{0, "-a -b -c", Spike{Active: true, Refused: 3, Known: 3}}, {60, "d e", Spike{Active: true, Refused: 3, Known: 5}}, {61, "f", Spike{Refused: 3, Known: 6}},
			{62, "", Spike{Known: 3}}}, // and then the window counts again
		"silence does not end it": {{0, "-a -b -c", Spike{Active: true, Refused: 3, Known: 3}}, {120, "", Spike{Active: true, Refused: 3, Known: 3}}},
		"patience does":           {{0, "-a -b -c", Spike{Active: true, Refused: 3, Known: 3}}, {200, "-a -b -c", Spike{Active: true, Refused: 3, Known: 3}}, {240, "", Spike{Refused: 3, Known: 3}}, {241, "-d", Spike{Refused: 4, Known: 4}}, {700, "", Spike{}}, {701, "-a -b -c", Spike{Active: true, Refused: 3, Known: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			g, began := newSpikeGuard(rules), time.Now()
			for _, step := range steps {
				now := began.Add(time.Duration(step.minute) * time.Minute)
				for _, word := range strings.Fields(step.said) {
					recipient, refused := strings.CutPrefix(word, "-")
					g.note(recipient, refused, now)
				}
				got := g.look(now)
				if got.Active == got.Since.IsZero() && got.Refused < 3 {
					t.Errorf("minute %d: since %v", step.minute, got.Since)
				}
				if got.Since = (time.Time{}); got != step.want {
					t.Errorf("minute %d: %+v, want %+v", step.minute, got, step.want)
				}
			}
		})
	}
}

func TestSpikeIsSuspected(t *testing.T) {
	g, now := newSpikeGuard(SpikeRules{Share: 0.5, Least: 3, Window: time.Hour, Patience: 24 * time.Hour}), time.Now()
	g.suspect(now)
	if g.suspect(now.Add(time.Minute)); !g.look(now.Add(time.Hour)).Active || !g.look(now).Since.Equal(now) {
		t.Errorf("%+v", g.look(now))
	}
	g.note("a", false, now)
	if g.look(now).Active {
		t.Error("who asked for one recipient, and was given it, has no spike")
	}
	g.suspect(now)
	if g.look(now.Add(25 * time.Hour)).Active {
		t.Error("nobody was asked for in a day")
	}
}

func TestSpikeGuardIsBounded(t *testing.T) {
	g, now := newSpikeGuard(SpikeRules{Share: 0.5, Least: 3, Window: time.Hour}), time.Now()
	for i := range maxSaid + 10 {
		g.note(fmt.Sprint(i), false, now)
	}
	if got := g.look(now).Known; got != maxSaid*9/10+10 {
		t.Errorf("%d are remembered", got)
	}
	g.note("late", false, now.Add(2*time.Hour))
	if got := g.look(now.Add(2 * time.Hour)).Known; got != 1 {
		t.Errorf("%d are remembered", got)
	}
}

// refuses answers 550 5.1.1 to every recipient, while it does.
func refuses(while func() bool) primaryFunc {
	return func(_ context.Context, m queue.Message, _ func() (io.ReadCloser, error)) Report {
		if !while() {
			return gives(m, queue.Delivered, queue.ScopeNone, health.OK)
		}
		r := gives(m, queue.Failed, queue.ScopeOneRecipient, health.Recipient)
		for i, result := range r.Results {
			result.Reply = queue.Reply{Command: "RCPT", Code: 550, Enhanced: "5.1.1", Text: "no such user"}
			r.Results[i] = result
		}
		return r
	}
}

// TestSpikeHoldsInsteadOfFailing is the day on which a primary says of
// everybody that it does not know them.
func TestSpikeHoldsInsteadOfFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		gone.Store(true)
		log := &journal{}
		d := newDesk(t, refuses(gone.Load), func(o *DispatcherOptions) {
			o.Known = func(recipient string) bool { return strings.HasPrefix(recipient, "known") }
			o.Connections, o.Log = 1, slog.New(log)
			o.Notifier = dsn.New(dsn.Options{Store: o.Store.(dsn.Store), Via: "smarthost", Hostname: "mx2.corp.example", Lifetime: time.Hour})
		})
		var ids []queue.ID
		for i := range 8 {
			ids = append(ids, d.acceptFor(fmt.Sprintf("known%d@corp.example", i)))
			synctest.Wait()
		}
		stranger := d.acceptFor("stranger@corp.example")
		time.Sleep(time.Minute)
		var states []string
		for _, id := range append(ids, stranger) {
			last := d.message(id).Envelope.Recipients[0].Last
			states = append(states, strings.TrimSpace(last.Action.String()+" "+string(last.Kept)))
		}
		if got := strings.Join(states, ", "); got != "failed, failed, failed, failed, refused spike, refused spike, refused spike, refused spike, refused spike" {
			t.Error(got)
		}
		told := slices.DeleteFunc(log.all(), func(line string) bool {
			return !strings.HasPrefix(line, "delivery.refused") || !strings.HasSuffix(line, " kept=spike")
		})
		if len(told) != 5 {
			t.Errorf("the log says it of %d: %q", len(told), log.all())
		}
		if s := d.Spike(); !s.Active || s.Refused != 8 || s.Known != 8 || !d.Circumstances().Spike {
			t.Errorf("%+v", s)
		}
		gone.Store(false)
		for _, id := range append(ids[4:], stranger) {
			if err := d.store.Amend(t.Context(), queue.Amendment{ID: id, At: time.Now(), Event: queue.Retry, Actor: "relay"}); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		for _, id := range append(ids[4:], stranger) {
			if got := d.state(id); got != queue.StateDelivered {
				t.Errorf("%s is %s", id, got)
			}
		}
		stats, err := d.store.Stats(t.Context())
		if a := stats.Account; err != nil || a.Missing() != 0 || a.Failed != 4 || a.Delivered != 5 || a.Queued != 4 || a.Accepted != 13 { // four notifications wait for their upstream
			t.Errorf("%+v, %v", a, err)
		}
		if s := d.Spike(); s.Refused != 4 || s.Known != 8 || s.Active { // those who were told about are not asked for again
			t.Errorf("%+v", s)
		}
		d.end(nil)
	})
}

// TestOneNotificationAfterAStop: the relay stops between the notification and
// the end of the attempt; the next one fails in the same way.
func TestOneNotificationAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := fmt.Errorf("the disk has gone")
		fails := &settles{fail: broken}
		change := func(o *DispatcherOptions) {
			o.Notifier = dsn.New(dsn.Options{Store: o.Store.(dsn.Store), Via: "smarthost", Hostname: "mx2.corp.example", Lifetime: time.Hour})
			fails.Store = o.Store
			o.Store = fails
		}
		d := newDesk(t, refuses(func() bool { return true }), change)
		id := d.acceptFor("bob@corp.example", "carol@corp.example")
		synctest.Wait()
		if err := <-d.ended; err == nil {
			t.Error("the dispatcher goes on though nothing can be settled")
		}
		count := func() (n int) {
			for m, err := range d.store.Messages(t.Context(), queue.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				if m.Envelope.Upstream == "smarthost" {
					n++
				}
			}
			return n
		}
		if n := count(); n != 1 || d.message(id).State() != queue.StateActive {
			t.Errorf("%d notifications, the message is %s", n, d.message(id).State())
		}
		time.Sleep(time.Hour) // its lease is over
		fails.fail = nil
		o := d.options
		var err error
		if d.Dispatcher, err = NewDispatcher(o); err != nil {
			t.Fatal(err)
		}
		go func() { d.ended <- d.Dispatcher.Run(d.run) }()
		if got := d.state(id); got != queue.StateFailed || count() != 1 {
			t.Errorf("the message is %s, %d notifications", got, count())
		}
		if a := d.message(id).Attempts; a != 2 {
			t.Errorf("%d attempts", a)
		}
		d.end(nil)
	})
}

// settles is a store that cannot write down what became of an attempt.
type settles struct {
	Store
	fail error
}

func (s *settles) Settle(ctx context.Context, plan queue.Settlement) error {
	if s.fail != nil {
		return s.fail
	}
	return s.Store.Settle(ctx, plan)
}
