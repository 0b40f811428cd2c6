package queuetest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func someBacklog() queuetest.Backlog {
	now := time.Now()
	return queuetest.Backlog{Upstream: "exo", Domain: "corp.example", Messages: 300, Attempts: 3, Size: 500, Since: now.Add(-time.Hour), Due: now.Add(time.Hour)}
}

func TestFill(t *testing.T) {
	s := queuetest.New()
	if err := queuetest.Fill(t.Context(), s, someBacklog()); err != nil {
		t.Fatal(err)
	}
	queuetest.Balanced(t, s)
	n := 0
	for m, err := range s.Messages(t.Context(), queue.Filter{}) {
		if n++; err != nil || m.State() != queue.StateDeferred || m.Attempts != 3 || len(m.Envelope.Recipients) != 2 || m.Size != 500 {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	for range s.Due(t.Context(), "exo", time.Now()) {
		t.Error("a message is due")
	}
	if n != 300 {
		t.Errorf("%d messages", n)
	}
}

// broken is a store of which a method fails.
type broken struct {
	queue.Store
	create, claim, settle, commit error
	few                           bool // Claim leaves one out
}

func (b broken) Create(ctx context.Context) (queue.Draft, error) {
	d, err := b.Store.Create(ctx)
	return brokenDraft{d, b.commit}, errors.Join(b.create, err)
}

func (b broken) Claim(ctx context.Context, ids []queue.ID, lease time.Duration) ([]queue.Message, error) {
	if b.few {
		ids = ids[1:]
	}
	claimed, err := b.Store.Claim(ctx, ids, lease)
	return claimed, errors.Join(b.claim, err)
}

func (b broken) Settle(context.Context, queue.Settlement) error { return b.settle }

type brokenDraft struct {
	queue.Draft
	err error
}

func (b brokenDraft) Write(p []byte) (int, error) { return len(p), b.err }

func TestFillOfABrokenStore(t *testing.T) {
	disk := errors.New("the disk")
	for name, s := range map[string]broken{
		"create": {create: disk}, "write": {commit: disk}, "claim": {claim: disk}, "settle": {settle: disk}, "few": {few: true},
	} {
		s.Store = queuetest.New()
		if err := queuetest.Fill(t.Context(), s, someBacklog()); err == nil || !s.few && !errors.Is(err, disk) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
