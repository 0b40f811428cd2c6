package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// life is what a damaged file held.
type life struct {
	dir   string
	store *Store
	ids   map[string]queue.ID // by what became of the message
	sizes map[string]int
}

// lived makes a file with messages in every state, and sets it aside: break is
// called on the closed file.
func lived(t *testing.T, damage func(t *testing.T, path string)) life {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 8 << 20})
	l := life{dir: dir, ids: map[string]queue.ID{}, sizes: map[string]int{"queued": 40, "large": 3*chunkSize + 7, "held": 2000, "leased": 9000, "deferred": 300}}
	for _, name := range []string{"queued", "large", "held", "leased", "deferred", "delivered", "deleted", "purged", "partly", "caused"} {
		a := benchAcceptance(t)
		a.MessageID = "<" + name + "@client.example>"
		if name == "partly" {
			a.Envelope.Recipients = append(slices.Clone(a.Envelope.Recipients), queue.Recipient{ForwardPath: "second@relay.example"})
		}
		if name == "caused" {
			a.Envelope.Cause = queue.Cause{ID: l.ids["queued"], Attempt: 1, Kind: "delay"}
		}
		l.ids[name] = accept(t, s, a, text(name, l.sizes[name]))
	}
	ctx := t.Context()
	settle := func(name string, results map[int]queue.Result) {
		t.Helper()
		claimed, err := s.Claim(ctx, []queue.ID{l.ids[name]}, time.Hour)
		if err != nil || len(claimed) != 1 {
			t.Fatalf("claimed %+v, %v", claimed, err)
		}
		if results == nil {
			return
		}
		if err := s.Settle(ctx, queue.Settlement{ID: l.ids[name], Attempt: 1, NextAttempt: now().Add(time.Hour), Results: results}); err != nil {
			t.Fatal(err)
		}
	}
	settle("leased", nil)
	settle("deferred", map[int]queue.Result{0: {At: now(), Action: queue.Deferred}})
	settle("delivered", map[int]queue.Result{0: {At: now(), Action: queue.Delivered}})
	settle("partly", map[int]queue.Result{1: {At: now(), Action: queue.Delivered}})
	for name, event := range map[string]queue.Event{"held": queue.Hold, "deleted": queue.Delete, "purged": queue.Delete} {
		at := now()
		if name == "purged" {
			at = at.Add(-80 * time.Hour)
		}
		if err := s.Amend(ctx, queue.Amendment{ID: l.ids[name], At: at, Event: event, Actor: "carol", Reason: "spam"}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Purge(ctx, now()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, filepath.Join(dir, generationName(1)))
	l.store = open(t, dir, Options{GenerationSize: 8 << 20, Check: inProcess})
	return l
}

// text is content that tells what it belongs to.
func text(name string, size int) []byte {
	return bytes.Repeat([]byte(name+"\r\n"), size/(len(name)+2)+1)
}

// bothMetas damages both meta pages: no page can be reached any more.
func bothMetas(t *testing.T, path string) {
	t.Helper()
	writeAt(t, path, pageHeader, make([]byte, metaLength))
	writeAt(t, path, int64(os.Getpagesize())+pageHeader, make([]byte, metaLength))
}

// noCreation leaves every page as it is, but the file cannot be opened.
func noCreation(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The instant of creation stands behind its key.
	for at := 0; ; {
		i := bytes.Index(raw[at:], keyCreated)
		if i < 0 {
			break
		}
		at += i + len(keyCreated)
		raw[at] = 'x'
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSalvage(t *testing.T) {
	for _, c := range []struct {
		rule   string
		damage func(t *testing.T, path string)
	}{
		{"a file of which every page can be read", noCreation},
		{"a file without meta pages", bothMetas},
	} {
		t.Run(c.rule, func(t *testing.T) {
			l := lived(t, c.damage)
			s := l.store
			aside := statsOf(t, s).Aside
			if len(aside) != 1 || aside[0].Recipients != 7 {
				t.Fatalf("aside %+v", aside)
			}
			fresh := acceptOne(t, s)
			would, err := s.Salvage(t.Context(), aside[0].File, "carol", true)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := countMessages(t, s); n != 1 {
				t.Errorf("a dry run brought back %d messages", n-1)
			}
			did, err := s.Salvage(t.Context(), aside[0].File, "carol", false)
			would.DryRun = false
			if err != nil || did != would {
				t.Fatalf("did %+v, %v; it would have %+v", did, err, would)
			}
			if did.Messages != 7 || did.Recipients != 7 || did.Damaged != 0 || did.Rebuilt != 0 || did.Final != 3 || did.Present != 0 || did.Rest != 0 || did.Certainty != queue.Exact {
				t.Errorf("did %+v", did)
			}
			l.check(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, l.dir, Options{Check: inProcess})
			l.check(t, s)
			again, err := s.Salvage(t.Context(), aside[0].File, "carol", false)
			if err != nil || again.Messages != 0 || again.Present != 7 || again.Rest != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
			l.check(t, s)
			wantContent(t, s, fresh, "kept")
		})
	}
}

// pending compares the counters with what is there and not final: what is final
// may be in a file that is set aside.
func pending(t *testing.T, s *Store) {
	t.Helper()
	stats := statsOf(t, s)
	var account queue.Account
	messages, size := map[queue.State]int64{}, int64(0)
	for m, err := range s.Messages(t.Context(), queue.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		for state, n := range m.Tally() {
			account.Add(state, n)
		}
		messages[m.State()]++
		size += m.Size
	}
	is := stats.Account
	if is.Queued != account.Queued || is.Held != account.Held || is.Refused != account.Refused || !maps.Equal(messages, stats.Messages) || size != stats.Bytes {
		t.Errorf("the counters say %+v, the messages %+v %v, %d bytes", stats, account, messages, size)
	}
}

// check looks at what a salvage has brought back.
func (l life) check(t *testing.T, s *Store) {
	t.Helper()
	pending(t, s)
	stats := statsOf(t, s)
	if len(stats.Aside) != 0 || stats.Account.SetAside != 0 {
		t.Errorf("stats %+v", stats)
	}
	if want := (queue.Account{Accepted: 12, Delivered: 2, Queued: 1, Held: 7, Deleted: 2}); stats.Account != want {
		t.Errorf("account %+v, want %+v", stats.Account, want)
	}
	for name, id := range l.ids {
		m, err := s.Message(t.Context(), id)
		switch name {
		case "delivered", "deleted", "purged":
			if !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("%s: %+v, %v", name, m, err)
			}
			continue
		}
		if err != nil || m.State() != queue.StateHeld || !strings.HasPrefix(m.Held, "salvaged from gen-000001.db") || m.Damaged || !m.LeasedUntil.IsZero() {
			t.Errorf("%s: %+v, %v", name, m, err)
			continue
		}
		for part, of := range map[string]string{"a duplicate is possible": "leased", "it was held before: spam": "held"} {
			if strings.Contains(m.Held, part) != (name == of) {
				t.Errorf("%s is held: %s", name, m.Held)
			}
		}
		wantContent(t, s, id, string(text(name, l.sizes[name])))
	}
	if due := dueIDs(t, s); len(due) != 1 {
		t.Errorf("due %s", due)
	}
	for name, want := range map[string]string{"queued": "accepted hold", "leased": "accepted interrupted hold", "delivered": "accepted attempted", "partly": "accepted attempted hold"} {
		if got := eventsOf(t, s, l.ids[name]); got != want {
			t.Errorf("ledger of %s: %s", name, got)
		}
	}
	d := draftOf(t, s, nil)
	a := benchAcceptance(t)
	a.Envelope.Cause = queue.Cause{ID: l.ids["queued"], Attempt: 1, Kind: "delay"}
	if err := d.Commit(t.Context(), a); !errors.Is(err, queue.ErrExists) {
		t.Errorf("a notification may be sent twice: %v", err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("found %q", found)
	}
}

// TestSalvagedMailIsDelivered releases what was brought back.
func TestSalvagedMailIsDelivered(t *testing.T) {
	l := lived(t, bothMetas)
	s := l.store
	name := statsOf(t, s).Aside[0].File
	if _, err := s.Salvage(t.Context(), name, "carol", false); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"queued", "partly"} {
		id := l.ids[kind]
		if err := s.Amend(t.Context(), queue.Amendment{ID: id, At: now(), Event: queue.Release}); err != nil {
			t.Fatal(err)
		}
		claimed, err := s.Claim(t.Context(), []queue.ID{id}, time.Hour)
		if err != nil || len(claimed) != 1 || len(claimed[0].Pending()) != 1 {
			t.Fatalf("claimed %+v, %v", claimed, err)
		}
		if err := s.Settle(t.Context(), queue.Settlement{ID: id, Attempt: claimed[0].Attempts, Results: map[int]queue.Result{0: {At: now(), Action: queue.Delivered}}}); err != nil {
			t.Fatal(err)
		}
	}
	did, err := s.Salvage(t.Context(), name, "carol", false)
	if err != nil || did.Messages != 0 || did.Rest != 0 {
		t.Errorf("again: %+v, %v", did, err)
	}
	if want := (queue.Account{Accepted: 11, Delivered: 4, Held: 5, Deleted: 2}); statsOf(t, s).Account != want {
		t.Errorf("account %+v, want %+v", statsOf(t, s).Account, want)
	}
}

// TestSalvageOfALaterLife: what is final by the store's ledger is not brought back.
func TestSalvageOfALaterLife(t *testing.T) {
	l := lived(t, bothMetas)
	s := l.store
	// It was brought back, delivered, and has left the store.
	line := queue.Entry{At: now(), Event: queue.Attempted, ID: l.ids["queued"], Recipients: []string{"bob@relay.example"}, Results: []queue.Result{{Action: queue.Delivered}}}
	if m, err := s.Message(t.Context(), l.ids["queued"]); !errors.Is(err, queue.ErrNotFound) {
		t.Fatal(m, err)
	}
	line.Recipients[0] = benchAcceptance(t).Envelope.Recipients[0].ForwardPath
	if err := s.Note(t.Context(), line); err != nil {
		t.Fatal(err)
	}
	did, err := s.Salvage(t.Context(), statsOf(t, s).Aside[0].File, "carol", false)
	if err != nil || did.Messages != 6 || did.Final != 4 || did.Rest != 0 {
		t.Errorf("did %+v, %v", did, err)
	}
	if m, err := s.Message(t.Context(), l.ids["queued"]); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestSalvageWithoutRecords destroys the page with the records: they are made
// anew from the ledger.
func TestSalvageWithoutRecords(t *testing.T) {
	l := lived(t, func(t *testing.T, path string) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Every version of every record, on whatever page: their checksums do not fit any more.
		raw = bytes.ReplaceAll(raw, []byte(`"next_attempt"`), []byte(`"next_attempd"`))
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		bothMetas(t, path)
	})
	s := l.store
	did, err := s.Salvage(t.Context(), statsOf(t, s).Aside[0].File, "carol", false)
	if err != nil || did.Messages != 7 || did.Rebuilt != 7 || did.Damaged != 0 || did.Final != 3 || did.Rest != 0 {
		t.Errorf("did %+v, %v", did, err)
	}
	m, err := s.Message(t.Context(), l.ids["partly"])
	if err != nil || !strings.Contains(m.Held, "made anew from the ledger") || m.RecipientState(1) != queue.StateDelivered || m.RecipientState(0) != queue.StateHeld {
		t.Errorf("message %+v, %v", m, err)
	}
	wantContent(t, s, l.ids["large"], string(text("large", l.sizes["large"])))
	pending(t, s)
}

// TestSalvageWithDamagedContent changes a byte, and takes a chunk away.
func TestSalvageWithDamagedContent(t *testing.T) {
	l := lived(t, func(t *testing.T, path string) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.ReplaceAll(raw, []byte("deferred\r\ndeferred"), []byte("deferred\r\ndefarred")) // also in copies that no longer count
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		id, size := pageOf(t, path, func(p page) bool { return p.total > 16*4096-1 && p.flags == flagLeaf })
		writeAt(t, path, int64(id)*size, make([]byte, 8))
		noCreation(t, path)
	})
	s := l.store
	did, err := s.Salvage(t.Context(), statsOf(t, s).Aside[0].File, "carol", false)
	if err != nil || did.Messages != 7 || did.Damaged != 2 || did.Rest != 0 {
		t.Errorf("did %+v, %v", did, err)
	}
	for _, name := range []string{"deferred", "large"} {
		m, err := s.Message(t.Context(), l.ids[name])
		if err != nil || !m.Damaged || m.State() != queue.StateHeld {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		r, err := s.Content(t.Context(), l.ids[name])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); !errors.Is(err, queue.ErrDamaged) || len(got) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if stats := statsOf(t, s); stats.Damaged != 2 {
		t.Errorf("stats %+v", stats)
	}
	pending(t, s)
}

// TestSalvageWithUncertainNumbers: what was found corrects what was thought.
func TestSalvageWithUncertainNumbers(t *testing.T) {
	for _, c := range []struct {
		rule      string
		damage    func(t *testing.T, path string)
		certainty queue.Certainty
		rest      int64
	}{
		{"everything can be read, so nothing is missing", noCreation, queue.Exact, 0},
		{"not everything can be reached, so something may be missing", bothMetas, queue.About, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			l := lived(t, func(t *testing.T, path string) {
				c.damage(t, path)
				old := summary{Format: format, Tx: 1, Counters: counters{Account: queue.Account{Accepted: 3, Queued: 3}}}
				raw, err := os.ReadFile(path)
				if err == nil { // the counters are lost, too
					raw = bytes.ReplaceAll(raw, []byte(`{"account":`), []byte(`{"accaunt":`))
					err = os.WriteFile(path, raw, 0o600)
				}
				if err := errors.Join(err, os.Remove(filepath.Join(filepath.Dir(path), cleanMark)),
					writeJSON(filepath.Join(filepath.Dir(path), summaryName(1)), old, (*os.File).Sync)); err != nil {
					t.Fatal(err)
				}
			})
			s := l.store
			aside := statsOf(t, s).Aside
			if aside[0].Recipients != 3 || aside[0].Certainty != queue.About {
				t.Fatalf("aside %+v", aside)
			}
			did, err := s.Salvage(t.Context(), aside[0].File, "carol", false)
			if err != nil || did.Messages != 7 || did.Rest != c.rest || did.Certainty != c.certainty {
				t.Errorf("did %+v, %v", did, err)
			}
			stats := statsOf(t, s)
			if want := (queue.Account{Accepted: 11, Delivered: 2, Held: 7, Deleted: 2}); stats.Account != want {
				t.Errorf("account %+v, want %+v", stats.Account, want)
			}
			if open := len(stats.Aside) == 1; open != (c.certainty != queue.Exact) {
				t.Errorf("aside %+v", stats.Aside)
			}
			if c.certainty == queue.Exact {
				return
			}
			if _, err := s.AcceptLoss(t.Context(), aside[0].File, "carol", "that is all", false); err != nil {
				t.Error(err)
			}
			if stats := statsOf(t, s); len(stats.Aside) != 0 || stats.Account.Held != 7 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

// TestInterruptedSalvage ends it, or the process, between two messages, and
// runs it again.
func TestInterruptedSalvage(t *testing.T) {
	l := lived(t, bothMetas)
	s := l.store
	name := statsOf(t, s).Aside[0].File
	did, err := s.Salvage(&patience{t.Context(), 14}, name, "carol", false)
	if !errors.Is(err, context.Canceled) || did.Messages == 0 || did.Messages == 7 {
		t.Fatalf("did %+v, %v", did, err)
	}
	dir := t.TempDir()
	copyFiles(t, l.dir, dir)
	again := open(t, dir, Options{Check: inProcess})
	pending(t, again)
	if stats := statsOf(t, again); stats.Account.SetAside != 7-did.Recipients || stats.Account.Held != did.Recipients {
		t.Errorf("stats %+v after %+v", stats, did)
	}
	rest, err := again.Salvage(t.Context(), name, "carol", false)
	if err != nil || rest.Messages != 7-did.Messages || rest.Present != did.Messages || rest.Rest != 0 {
		t.Errorf("then %+v, %v", rest, err)
	}
	if want := (queue.Account{Accepted: 11, Delivered: 2, Held: 7, Deleted: 2}); statsOf(t, again).Account != want {
		t.Errorf("account %+v, want %+v", statsOf(t, again).Account, want)
	}
}

// patience is a context that ends when it has been asked so often.
type patience struct {
	context.Context
	left int
}

func (p *patience) Err() error {
	if p.left--; p.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestForgedPage: a sender writes what looks like a page of ours into a
// message. Nothing of it is believed.
func TestForgedPage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 8 << 20})
	size := os.Getpagesize()
	var pages []byte
	for id := range 200 { // one of them may stand where it says it does
		page := make([]byte, size)
		binary.NativeEndian.PutUint64(page, uint64(id))
		binary.NativeEndian.PutUint16(page[8:], flagLeaf)
		binary.NativeEndian.PutUint16(page[10:], 1)
		key := queue.NextID("", time.Now())
		record := encodeMessage(queue.Message{ID: key, Envelope: queue.Envelope{Upstream: "primary", Recipients: []queue.Recipient{{ForwardPath: fmt.Sprint("forged@", id)}}}})
		binary.NativeEndian.PutUint32(page[pageHeader+4:], elementHeader)
		binary.NativeEndian.PutUint32(page[pageHeader+8:], idSize)
		binary.NativeEndian.PutUint32(page[pageHeader+12:], uint32(len(record)))
		copy(page[pageHeader+elementHeader:], append([]byte(key), record...))
		pages = append(pages, page...)
	}
	// A chunk begins at an offset of 33 bytes in its first page.
	for shift := range 4 {
		accept(t, s, benchAcceptance(t), append(make([]byte, size-pageHeader-elementHeader-1+shift*size), pages...))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bothMetas(t, filepath.Join(dir, generationName(1)))
	s = open(t, dir, Options{})
	did, err := s.Salvage(t.Context(), statsOf(t, s).Aside[0].File, "carol", false)
	if err != nil || did.Messages != 4 || did.Damaged != 0 {
		t.Errorf("did %+v, %v", did, err)
	}
}
