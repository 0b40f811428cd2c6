package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// backlog is a store of several files, with messages that were tried.
func backlog(t *testing.T, messages int) *Store {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, Options{Unsynced: true, GenerationSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b := queuetest.Backlog{Upstream: "exo", Domain: "corp.example", Messages: messages / 2, Attempts: 2, Size: 4000, Since: now.Add(-time.Hour), Due: now}
	// What comes second finds the first file full.
	if err := errors.Join(queuetest.Fill(t.Context(), s, b), queuetest.Fill(t.Context(), s, b), s.Close()); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, Options{})
}

func TestUnsyncedStoreIsWholeAfterClose(t *testing.T) {
	s := backlog(t, 600)
	if len(s.generations) < 2 {
		t.Fatalf("%d files: this proves nothing", len(s.generations))
	}
	queuetest.Balanced(t, s)
	for _, g := range s.generations {
		if err := checkStructure(s.dir + "/" + g.name()); err != nil {
			t.Errorf("%s: %v", g.name(), err)
		}
	}
}

// TestListingsAgree: however a listing is read, it has the same messages.
func TestListingsAgree(t *testing.T) {
	s := backlog(t, 600)
	var want []queue.Message
	for m, err := range inLine(s.walk(t.Context(), [][]byte{bucketLive}, nil, nil)) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, m)
	}
	if len(want) != 600 || !slices.IsSortedFunc(want, func(a, b queue.Message) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		t.Fatalf("%d messages", len(want))
	}
	for _, limit := range []int{0, 1, batchRecords - 1, batchRecords, 200, 600, 2000} {
		n := 0
		for m, err := range s.Messages(t.Context(), queue.Filter{Limit: limit}) {
			if err != nil || fmt.Sprint(m) != fmt.Sprint(want[n]) {
				t.Fatalf("message %d of %d: %v, %v", n, limit, m, err)
			}
			n++
		}
		if most := min(limit, len(want)); limit > 0 && n != most || limit == 0 && n != len(want) {
			t.Errorf("limit %d: %d messages", limit, n)
		}
	}
}

// TestListingIsLeft: nothing goes on behind the back of one who has left.
func TestListingIsLeft(t *testing.T) {
	s := backlog(t, 600)
	for _, after := range []int{1, 2, 100, 500} {
		n := 0
		for _, err := range s.Messages(t.Context(), queue.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == after {
				break
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, last = range s.Messages(ctx, queue.Filter{}) {
		if n++; n == 10 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) || n > 500 {
		t.Errorf("after %d messages: %v", n, last)
	}
	for _, err := range s.ahead(func(yield func(pair, error) bool) { yield(pair{}, errMoved) }) {
		if !errors.Is(err, errMoved) {
			t.Error(err)
		}
		break
	}
	if err := s.Close(); err != nil { // it waits for readers
		t.Error(err)
	}
}

// TestLargeRecordsMakeShortBatches: what a listing has in memory does not grow
// with the records.
func TestLargeRecordsMakeShortBatches(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	a := benchAcceptance(t)
	for i := range 500 {
		a.Envelope.Recipients = append(a.Envelope.Recipients, queue.Recipient{ForwardPath: fmt.Sprintf("%s%d@relay.example", strings.Repeat("x", 50), i)})
	}
	const messages = 100
	for range messages {
		accept(t, s, a, nil)
	}
	page, ended, err := s.generations[0].page([][]byte{bucketLive}, nil, nil, pageLength)
	if err != nil || ended || len(page) >= pageLength {
		t.Errorf("a page of %d records, %v, %v", len(page), ended, err)
	}
	n := 0
	for m, err := range s.Messages(t.Context(), queue.Filter{}) {
		if err != nil || len(m.Envelope.Recipients) != 501 {
			t.Fatal(m, err)
		}
		n++
	}
	if n != messages {
		t.Errorf("%d messages", n)
	}
}

// TestListingGoesOnBehindDamage: of a record that cannot be read, a listing says
// so in its place.
func TestListingGoesOnBehindDamage(t *testing.T) {
	s := backlog(t, 300)
	var ids []queue.ID
	for m := range s.Messages(t.Context(), queue.Filter{}) {
		ids = append(ids, m.ID)
	}
	g, err := s.home(ids[100])
	if err != nil {
		t.Fatal(err)
	}
	err = g.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLive).Put([]byte(ids[100]), bytes.Repeat([]byte{recordVersion}, 50))
	})
	if err != nil {
		t.Fatal(err)
	}
	n, wrong := 0, 0
	for m, err := range s.Messages(t.Context(), queue.Filter{}) {
		switch {
		case n == 100 && errors.Is(err, queue.ErrDamaged):
			wrong++
		case err != nil || m.ID != ids[n]:
			t.Fatalf("message %d: %v, %v", n, m.ID, err)
		}
		n++
	}
	if n != len(ids) || wrong != 1 {
		t.Errorf("%d messages, %d damaged", n, wrong)
	}
}
