package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/health/history"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// TestTheAccountIsThatOfTheKeeper lets mail go all ways by chance, and compares
// the figures of a report with what the keeper reckons.
func TestTheAccountIsThatOfTheKeeper(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { chance(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func chance(t *testing.T, dice *rand.Rand) {
	ctx := context.Background()
	store := queuetest.New()
	file := history.Open(filepath.Join(t.TempDir(), "history.db"), history.Options{})
	defer file.Close()
	keeper := incident.New(incident.Options{Book: incident.NewBook(file, nil), History: file, Store: store, Upstreams: []incident.Upstream{{Name: "exo",
		Status: func() health.Status { return health.Status{State: health.Down} }, Recent: func() []health.Signal { return nil }}}})
	var ids []queue.ID
	accept := func() {
		e := queue.Envelope{Upstream: "exo", ReversePath: fmt.Sprintf("a@sender%d.example", dice.IntN(5))}
		for n := range 1 + dice.IntN(3) {
			e.Recipients = append(e.Recipients, queue.Recipient{ForwardPath: fmt.Sprintf("%d@corp.example", n)})
		}
		draft, err := store.Create(ctx)
		if err == nil {
			_, err = io.WriteString(draft, "Subject: x\r\n\r\n")
		}
		if err == nil {
			err = draft.Commit(ctx, queue.Acceptance{At: time.Now(), Envelope: e, Lifetime: queue.DefaultLifetime})
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, draft.ID())
	}
	attempt := func(id queue.ID) {
		claimed, err := store.Claim(ctx, []queue.ID{id}, time.Minute)
		if err != nil || len(claimed) != 1 {
			return // it is held, or has left
		}
		plan := queue.Settlement{ID: id, Attempt: claimed[0].Attempts, Results: map[int]queue.Result{}, NextAttempt: time.Now()}
		for _, n := range claimed[0].Pending() {
			plan.Results[n] = queue.Result{At: time.Now(), Action: []queue.Action{queue.Deferred, queue.Delivered, queue.Refused, queue.Failed, queue.Expired}[dice.IntN(5)],
				Reply: queue.Reply{Command: "DATA", Code: 250, Text: "x"}, MaybeDuplicate: dice.IntN(4) == 0}
		}
		if err := store.Settle(ctx, plan); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		accept()
		attempt(ids[len(ids)-1])
		time.Sleep(time.Second)
	}
	if _, err := keeper.Open(ctx, "exo", "j.doe", "a test"); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		time.Sleep(time.Second)
		id := ids[dice.IntN(len(ids))]
		switch dice.IntN(8) {
		case 0, 1:
			accept()
		case 2, 3, 4:
			attempt(id)
		default:
			a := queue.Amendment{ID: id, At: time.Now(), Event: []queue.Event{queue.Hold, queue.Release, queue.Retry, queue.Delete, queue.Undelete, queue.Bounce}[dice.IntN(6)], Actor: "j.doe", Of: []int{0}}
			if err := store.Amend(ctx, a); err != nil && !errors.Is(err, queue.ErrState) {
				t.Fatal(err)
			}
		}
	}
	compareWithKeeper(t, keeper)
}

func compareWithKeeper(t *testing.T, keeper *incident.Keeper) {
	t.Helper()
	b, err := NewBuilder(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var want incident.Figures
	if err := keeper.Evidence(context.Background(), keeper.List()[0].ID, func(p incident.Piece) error {
		if p.Head != nil {
			want = p.Head.Record.Figures
		}
		return b.Take(p)
	}); err != nil {
		t.Fatal(err)
	}
	r, err := b.Finish(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := r.Mail
	if m.Account != want.Account || m.Messages != want.Messages || m.Bytes != want.Bytes || m.MaybeTwice != want.MaybeTwice {
		t.Errorf("%+v\nwant %+v", m, want)
	}
	if m.Account.Remainder != 0 || m.Account.Accepted < 10 {
		t.Errorf("%+v", m.Account)
	}
	for _, one := range []struct {
		name     string
		got      int64
		reckoned time.Duration
	}{{"median", m.Delay.Median, want.Delay.Median}, {"p95", m.Delay.P95, want.Delay.P95}, {"worst", m.Delay.Worst, want.Delay.Worst}} {
		if got := time.Duration(one.got) * time.Second; got-one.reckoned >= time.Second || got < one.reckoned.Truncate(time.Millisecond) {
			t.Errorf("%s %v, want %v", one.name, got, one.reckoned)
		}
	}
}
