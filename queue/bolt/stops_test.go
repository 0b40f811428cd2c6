package bolt

import (
	"context"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// TestStopsAreFilledIn wherever a message is read, and count in a release; no record has them.
func TestStopsAreFilledIn(t *testing.T) {
	dir, began := t.TempDir(), time.Now().Add(-time.Hour)
	stops := func(string) queue.Stops { return queue.Stops{{From: began}} }
	s, ctx := open(t, dir, Options{Stops: stops}), context.Background()
	id := accept(t, s, benchAcceptance(t), []byte("body"))
	read := map[string]queue.Message{}
	for m, err := range s.Messages(ctx, queue.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		read["listed"] = m
	}
	one, err := s.Message(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	read["alone"] = one
	claimed, err := s.Claim(ctx, []queue.ID{id}, time.Minute)
	if err != nil || len(claimed) != 1 {
		t.Fatal(claimed, err)
	}
	read["claimed"] = claimed[0]
	for how, m := range read {
		if len(m.Stops) != 1 || !m.Stops[0].From.Equal(began) {
			t.Errorf("%s: %+v", how, m.Stops)
		}
	}
	for _, a := range []queue.Amendment{{Event: queue.Hold, At: time.Now()}, {Event: queue.Release, At: time.Now().Add(time.Hour)}} {
		a.ID, a.Actor = id, "j.doe"
		if err := s.Amend(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if m, err := s.Message(ctx, id); err != nil || m.Stops != nil || m.Extended != 0 {
		t.Errorf("%+v %v", m, err)
	}
}
