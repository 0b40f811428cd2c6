package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestEveryStateSaysWhatComesNext shows a message in each state that it can be in.
func TestEveryStateSaysWhatComesNext(t *testing.T) {
	for _, test := range []struct {
		state string
		set   func(r *rig, id queue.ID)
		next  string
		list  string // the column of a listing
		do    []string
		why   string // of queue stats
	}{
		{"queued", func(*rig, queue.ID) {}, "attempt as soon as its turn comes", "now", []string{"retry", "hold", "delete"}, "not tried yet: due now"},
		{"active", func(r *rig, id queue.ID) {
			if _, err := r.store.Claim(context.Background(), []queue.ID{id}, time.Minute); err != nil {
				r.t.Fatal(err)
			}
		}, "an attempt is running", "active", []string{"retry", "hold", "delete"}, "being delivered now"},
		{"deferred", func(r *rig, id queue.ID) {
			result := deferred(452, "4.2.2", "mailbox full")
			result.Scope, result.MaybeDuplicate = queue.ScopeMessage, true
			r.attempt(id, result)
		}, "attempt at ", "in ", []string{"retry", "hold", "delete"}, "452 4.2.2 mailbox full"},
		{"queued", func(r *rig, id queue.ID) { r.exo.Status = health.Status{State: health.Down} }, "attempt when exo is back, oldest first", "on recovery", []string{"retry"}, "not tried yet: exo is down"},
		{"queued", func(r *rig, id queue.ID) {
			r.exo.Delivery.Paused = admin.Pause{Until: time.Now().Add(time.Hour), Actor: "j.doe", Reason: "x"}
		}, "attempt when the delivery to exo is resumed", "paused", []string{"retry"}, "not tried yet: delivery to exo is paused"},
		{"held", func(r *rig, id queue.ID) { r.run("queue", "hold", string(id), "--reason", "looks odd") }, "nothing until a person releases it; until then it does not expire", "held", []string{"release", "delete"}, "held: looks odd"},
		{"refused", func(r *rig, id queue.ID) { r.attempt(id, refused("no such user")) }, "nothing until a person decides; it goes to the trash at 31 Jan 00:00:00 UTC", "refused", []string{"retry", "bounce", "delete"}, "refused and kept: 550 5.1.1 no such user"},
		{"refused", func(r *rig, id queue.ID) {
			result := refused("no such user")
			result.Kept = queue.KeptSpike
			r.attempt(id, result)
		}, "it is tried again by itself when exo is believed", "refused", []string{"retry", "bounce", "delete"}, "refused and kept: 550 5.1.1 no such user"},
		{"deleted", func(r *rig, id queue.ID) { r.run("queue", "delete", string(id), "--reason", "x", "--confirm=1") }, "in the trash until 4 Jan 00:00:00 UTC, then the content is removed", "-", []string{"undelete"}, "does not wait: deleted"},
		{"delivered", func(r *rig, id queue.ID) { r.attempt(id, delivered()) }, "nothing: every recipient has an outcome", "-", nil, "does not wait: delivered"},
		{"queued", func(r *rig, id queue.ID) {
			r.run("queue", "retry", string(id), "--spread", "1h") // the only one is the first
		}, "attempt as soon as its turn comes", "now", []string{"retry"}, "due now"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.serveInBubble()
			id := r.accept("a@b.example", "c@corp.example")
			test.set(r, id)
			shown := r.terminal(200, "", "queue", "show", string(id)).out
			if !strings.Contains(shown, "   "+test.state+"   ") || !strings.Contains(shown, "  next       "+test.next) {
				t.Errorf("%s: %s", test.state, shown)
			}
			for _, verb := range []string{"release", "retry", "hold", "delete", "undelete", "bounce"} {
				if named := strings.Contains(shown, "mxkeep queue "+verb+" "+string(id)); named != slices.Contains(test.do, verb) && len(test.do) != 1 {
					t.Errorf("%s names %s: %v", test.state, verb, named)
				}
			}
			if got := r.terminal(200, "", "queue", "list", string(id), "--fields", "next_attempt_at").out; !strings.HasPrefix(strings.Split(got, "\n")[1], test.list) {
				t.Errorf("%s in a list: %q", test.state, got)
			}
			if got := r.terminal(200, "", "queue", "stats", string(id), "--by", "state").out; !strings.Contains(got, test.why) || !strings.Contains(got, test.state) {
				t.Errorf("%s in stats: %q", test.state, got)
			}
		})
	}
}

func TestTheLifeOfADeliveredMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		id := r.accept("billing@supplier.example", "a.meyer@corp.example")
		time.Sleep(4*time.Hour + 47*time.Minute)
		r.attempt(id, delivered())
		got := r.terminal(120, "", "trace", string(id))
		want := "Delivered 4h47m after it was accepted.\n" +
			"In Exchange Online: Get-MessageTraceV2 -MessageId '<1.billing@supplier.example>' -StartDate 2000-01-01 -EndDate 2000-01-02\n"
		if got.code != 0 || !strings.HasSuffix(got.errs, want) {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		if quiet := r.terminal(120, "", "trace", string(id), "-q"); quiet.errs != "" {
			t.Errorf("-q: %q", quiet.errs)
		}
		if piped := r.run("trace", string(id)); piped.errs != "" {
			t.Errorf("on a pipe: %q", piped.errs)
		}
		r.accept("billing@supplier.example", "a.meyer@corp.example")
		if two := r.terminal(120, "", "trace", "billing@supplier.example"); strings.Contains(two.errs, "Delivered") {
			t.Errorf("two messages: %q", two.errs)
		}
		for range fewMessages {
			r.accept("billing@supplier.example", "a.meyer@corp.example")
		}
		if many := r.terminal(120, "", "trace", "billing@supplier.example"); !strings.HasSuffix(many.errs, "\n... 2 more messages\n") || !strings.Contains(many.out, "WHAT") {
			t.Errorf("many messages: %q", many.errs)
		}
	})
	at := func(minutes int) admin.Time {
		return admin.Time{Time: time.Unix(0, 0).Add(time.Duration(minutes) * time.Minute)}
	}
	for id, pasted := range map[string]bool{"<a@b>": true, "<a'; rm -rf /'@b>": false, "<a\u2019@b>": false, "<$(x)@b>": false, "<`x`@b>": false, "<a b@c>": false, "a@b": false, "": false} {
		var l life
		l.add(admin.Entry{Event: "noted"}) // is about no message
		l.add(admin.Entry{ID: "1", Event: "accepted", At: at(0), MessageID: id})
		l.add(admin.Entry{ID: "1", Event: "attempted", At: at(7), Results: []admin.Reply{{Outcome: "delivered"}}})
		if words := l.words(); words[0] != "Delivered 7m after it was accepted." || (len(words) == 2) != pasted {
			t.Errorf("%q: %q", id, words)
		}
	}
}

func TestAListingThatBreaksOffShowsWhatCame(t *testing.T) {
	for _, format := range []string{"tsv", "table", "jsonl", "csv", "id", "mailq", "json"} {
		r := newRig(t)
		first := r.accept("a@b.example", "c@corp.example")
		r.accept("a@b.example", "c@corp.example")
		r.store.OnList = func(nth int) error {
			if nth == 1 {
				return bytes.ErrTooLarge
			}
			return nil
		}
		r.serve()
		got := r.run("queue", "list", "-o", format)
		if got.code != 1 || !strings.Contains(got.out, string(first)) || !strings.Contains(got.errs, "store_failed") {
			t.Errorf("%s: exit %d, %q, %q", format, got.code, got.out, got.errs)
		}
		if strings.Contains(got.out, "summary") {
			t.Errorf("%s ends like a whole listing: %q", format, got.out)
		}
	}
}

func TestWideTablesAreNotCut(t *testing.T) {
	inScene(t, func(r *rig) {
		got := r.terminal(80, "", "queue", "list", "-o", "wide")
		if strings.Contains(got.out, "…") || !strings.Contains(got.out, "451 4.3.2 Temporary server error. Please try again later") || !strings.Contains(got.out, "SHA256") || !strings.Contains(got.out, "2h07m") {
			t.Errorf("%s", got.out)
		}
		if got := r.run("queue", "list", "-o", "wide", "--fields", "id,to"); !strings.HasPrefix(got.out, "ID            TO\n") {
			t.Errorf("%q", got.out)
		}
		if got := r.terminal(80, "", "queue", "show", "000000000000", "-o", "wide"); got.code != 5 {
			t.Errorf("exit %d", got.code)
		}
		if got := r.terminal(40, "", "queue", "stats", "--by", "reply", "-o", "wide"); strings.Contains(got.out, "…") {
			t.Errorf("%s", got.out)
		}
	})
}

func TestTheShapeOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		r.exo.Status = health.Status{State: health.Down}
		for i := range 60 {
			r.accept("a"+string(rune('a'+i%26))+"@b.example", "c@d"+string(rune('a'+i%26))+".example")
			time.Sleep(time.Minute)
		}
		got := r.terminal(80, "", "queue", "stats", "--limit", "3")
		if !strings.Contains(got.out, "... 23 more rows (--limit 0)") || !strings.HasSuffix(got.out, "Even arrival for 60 minutes: an upstream outage, not a burst.\n") {
			t.Errorf("%s", got.out)
		}
		if got := r.terminal(80, "", "queue", "stats", "--limit", "3", "--by", "reply", "-o", "csv"); strings.Count(got.out, "\n") != 3 || !strings.HasPrefix(got.out, "name,total,under_5_minutes,") {
			t.Errorf("%s", got.out)
		}
	})
}

// TestNotificationsComeFromHere: nobody gave them to us.
func TestNotificationsComeFromHere(t *testing.T) {
	for want, o := range map[string]admin.Origin{"this relay": {Reason: "a notification about 7hq2m8x4kd3w"}, "192.0.2.9, plaintext": {IP: "192.0.2.9"}} {
		if got := client(o); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
