package bolt

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// foreign is a message that another relay has accepted.
func foreign(t *testing.T, text string) queue.Adoption {
	t.Helper()
	a := benchAcceptance(t)
	a.At = now().Add(-time.Hour)
	m, _ := queue.Accept(queue.NextID("", a.At), a, int64(len(text)), sha256.Sum256([]byte(text)))
	return queue.Adoption{Message: m, Trace: a.Trace, Actor: "carol", Source: "from a test"}
}

func adopt(t *testing.T, s *Store, a queue.Adoption, text string) queue.ID {
	t.Helper()
	id, err := s.Adopt(t.Context(), a, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestAdoptionAtOnce: many bring the same message; one succeeds.
func TestAdoptionAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	text := strings.Repeat("x", 3*chunkSize)
	a := foreign(t, text)
	var done, there atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			_, err := s.Adopt(context.Background(), a, strings.NewReader(text))
			switch {
			case err == nil:
				done.Add(1)
			case errors.Is(err, queue.ErrExists):
				there.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if done.Load() != 1 || there.Load() != 15 {
		t.Errorf("%d succeeded, %d found it", done.Load(), there.Load())
	}
	queuetest.Balanced(t, s)
	end, err := s.adopting.begin(t.Context(), a.Message.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.adopting.begin(ctx, a.Message.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("who waits: %v", err)
	}
}

// TestAdoptionAfterTheFileWent: the ledger alone knows the messages, that of a
// restart as well.
func TestAdoptionAfterTheFileWent(t *testing.T) {
	dir := t.TempDir()
	a := queue.Adoption{}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, restless())
		a = foreign(t, "text")
		id := adopt(t, s, a, "text")
		deliver(t, s, id)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := s.Message(t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("it is still here: %v", err)
		}
		if _, err := s.Adopt(t.Context(), a, nil); !errors.Is(err, queue.ErrExists) {
			t.Errorf("error %v", err)
		}
		time.Sleep(knownFor + time.Second)
		synctest.Wait()
		if s.adopting.known.prints != nil {
			t.Error("what the ledger knows stays in memory")
		}
		if _, err := s.Adopt(t.Context(), a, nil); !errors.Is(err, queue.ErrExists) {
			t.Errorf("after that: %v", err)
		}
	})
	s := open(t, dir, Options{})
	if _, err := s.Adopt(t.Context(), a, nil); !errors.Is(err, queue.ErrExists) {
		t.Errorf("after a restart: %v", err)
	}
}

// TestAdoptionRefused for want of room, or since nobody can tell which is which.
func TestAdoptionRefused(t *testing.T) {
	full := open(t, t.TempDir(), Options{MinFree: 1 << 60})
	a := foreign(t, "text")
	if _, err := full.Adopt(t.Context(), a, strings.NewReader("text")); !errors.Is(err, queue.ErrFull) {
		t.Errorf("no room: %v", err)
	}
	s := open(t, t.TempDir(), Options{Limits: queue.Limits{All: queue.Limit{Messages: 1}}})
	for _, text := range []string{"one", "another"} { // the limits are no matter of these
		other := foreign(t, text)
		other.Message.ID = a.Message.ID
		if text == "another" {
			other.Message.ID = a.Message.Alias()
		}
		adopt(t, s, other, text)
	}
	if _, err := s.Adopt(t.Context(), a, strings.NewReader("text")); !errors.Is(err, queue.ErrState) {
		t.Errorf("both IDs are taken: %v", err)
	}
	if err := row(t, s)[0].do(t.Context(), func(b *batch) error {
		return b.bucket(bucketLive).Put([]byte(a.Message.ID), []byte("ruined"))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Adopt(t.Context(), a, strings.NewReader("text")); !errors.Is(err, queue.ErrExists) || errors.Is(err, queue.ErrDamaged) {
		t.Errorf("a record that cannot be read: %v", err)
	}
}

// TestAdoptionIsMended: without its record an adopted message is made anew from
// the line of its adoption.
func TestAdoptionIsMended(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	a := foreign(t, "text")
	recipients := append(a.Message.Envelope.Recipients[:1:1], queue.Recipient{ForwardPath: "dora@relay.example"})
	recipients[0].Last = queue.Result{At: now(), Action: queue.Delivered}
	a.Message.Envelope.Recipients = recipients
	id := adopt(t, s, a, "text")
	if err := row(t, s)[0].do(t.Context(), func(b *batch) error {
		return b.bucket(bucketLive).Put([]byte(id), []byte("ruined"))
	}); err != nil {
		t.Fatal(err)
	}
	if claimed, err := s.Claim(t.Context(), []queue.ID{id}, time.Hour); err != nil || len(claimed) != 0 {
		t.Errorf("claimed %+v, %v", claimed, err)
	}
	m := messageOf(t, s, id)
	if !m.Same(a.Message) || m.State() != queue.StateHeld || m.RecipientState(0) != queue.StateDelivered || len(m.Pending()) != 1 {
		t.Errorf("it is %+v", m)
	}
	wantContent(t, s, id, "text")
	queuetest.Balanced(t, s)
}
