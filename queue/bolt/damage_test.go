package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// reopenDamaged closes the store, changes each occurrence of old in its files,
// and opens it again. It logs to the returned buffer.
func reopenDamaged(t *testing.T, s *Store, old, changed string) (*Store, *bytes.Buffer) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "gen-*.db"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found += bytes.Count(text, []byte(old))
		if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(old), []byte(changed)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 || len(old) != len(changed) {
		t.Fatalf("%q is %d times in the files", old, found)
	}
	var log bytes.Buffer
	return open(t, s.dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}), &log
}

func TestDamagedContentIsFound(t *testing.T) {
	for _, c := range []struct {
		rule string
		size int
		at   int // of the changed byte
	}{
		{"the first byte", 100, 0},
		{"the last byte", 100, 95},
		{"the first chunk", 3 * chunkSize, 10},
		{"the second chunk", 3 * chunkSize, chunkSize + 10},
		{"the last chunk", 3*chunkSize + 10, 3*chunkSize + 5},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			body := bytes.Repeat([]byte("x"), c.size)
			copy(body[c.at:], "here")
			id := accept(t, s, benchAcceptance(t), body)
			intact := acceptOne(t, s)
			s, _ = reopenDamaged(t, s, "here", "hexe")
			r, err := s.Content(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if !errors.Is(err, queue.ErrDamaged) || !strings.Contains(err.Error(), string(id)) {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, queue.ErrDamaged) {
				t.Errorf("and then: %v", err)
			}
			wantContent(t, s, intact, "kept")
		})
	}
}

// TestMissingChunkIsFound removes each of three chunks behind the store's back.
func TestMissingChunkIsFound(t *testing.T) {
	for number := range 3 {
		s := open(t, t.TempDir(), Options{})
		id := accept(t, s, benchAcceptance(t), make([]byte, 2*chunkSize+5))
		err := row(t, s)[0].db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketContent).DeleteBucket(chunkKey(id, number))
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Content(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("chunk %d is missing: %v", number, err)
		}
	}
}

func TestDamagedTraceIsFound(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	id := acceptOne(t, s)
	s, _ = reopenDamaged(t, s, "Received: from", "Received\n\nfrom")
	if _, err := s.Content(t.Context(), id); !errors.Is(err, queue.ErrDamaged) {
		t.Fatal(err)
	}
}

// TestDamagedRecordIsMended damages the record of the message that is due
// first: the others go their way, and it is made anew from the ledger, and held.
func TestDamagedRecordIsMended(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	a := benchAcceptance(t)
	a.Envelope.Params.EnvID = "victim"
	damaged := accept(t, s, a, []byte("kept"))
	trash := accept(t, s, a, nil)
	if err := s.Amend(t.Context(), queue.Amendment{ID: trash, At: time.Now(), Event: queue.Delete}); err != nil {
		t.Fatal(err)
	}
	others := []queue.ID{acceptOne(t, s), acceptOne(t, s)}
	s, log := reopenDamaged(t, s, "victim", "victom")
	for what, err := range map[string]error{
		"message": func() error { _, err := s.Message(t.Context(), damaged); return err }(),
		"content": func() error { _, err := s.Content(t.Context(), damaged); return err }(),
		"amend":   s.Amend(t.Context(), queue.Amendment{ID: damaged, At: time.Now(), Event: queue.Hold}),
		"settle":  s.Settle(t.Context(), queue.Settlement{ID: damaged, Attempt: 1}),
	} {
		if !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n, broken := countMessages(t, s); n != len(others) || broken != 1 {
		t.Errorf("%d messages and %d errors are listed", n, broken)
	}
	if stats, err := s.Stats(t.Context()); err != nil || stats.Account.Missing() != 0 || !stats.Oldest.Equal(damaged.Time()) {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if due := dueIDs(t, s); len(due) != 3 || due[0] != damaged {
		t.Fatalf("due %s", due)
	}
	claimed, err := s.Claim(t.Context(), dueIDs(t, s), time.Hour)
	if err != nil || len(claimed) != 2 || claimed[0].ID != others[0] || claimed[1].ID != others[1] {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	if due := dueIDs(t, s); len(due) != 0 {
		t.Errorf("%s is due", due)
	}
	if s.Err() != nil || !strings.Contains(log.String(), string(damaged)) {
		t.Errorf("error %v, log %q", s.Err(), log)
	}
	log.Reset()
	if n, err := s.Purge(t.Context(), time.Now().Add(1000*time.Hour)); n != 0 || err != nil || !strings.Contains(log.String(), string(trash)) {
		t.Errorf("purge: %d, %v, log %q", n, err, log)
	}
	m, err := s.Message(t.Context(), damaged)
	if err != nil || m.State() != queue.StateHeld || !strings.Contains(m.Held, "made anew") || m.MessageID != a.MessageID ||
		m.Envelope.Recipients[0].ForwardPath != a.Envelope.Recipients[0].ForwardPath || m.Envelope.Params.EnvID != "" {
		t.Errorf("message %+v, %v", m, err)
	}
	wantContent(t, s, damaged, "kept")
	if lines := eventsOf(t, s, damaged); lines != "accepted damaged" {
		t.Errorf("ledger: %s", lines)
	}
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Account.Missing() != 0 || stats.Account.Held != 1 || stats.Unreadable != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if id := acceptOne(t, s); s.Err() != nil {
		t.Errorf("after %s: %v", id, s.Err())
	}
}

// TestUnreadableIsCounted damages a record and every line about it as well.
func TestUnreadableIsCounted(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	a := benchAcceptance(t)
	a.MessageID = "<victim@client.example>"
	damaged := accept(t, s, a, []byte("victim"))
	acceptOne(t, s)
	s, _ = reopenDamaged(t, s, "victim@", "victom@")
	for range 2 { // the second time it is known
		if claimed, err := s.Claim(t.Context(), []queue.ID{damaged}, time.Hour); err != nil || len(claimed) != 0 {
			t.Fatalf("claimed %+v, %v", claimed, err)
		}
	}
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Unreadable != 1 || stats.Account.Missing() != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	read, broken := 0, 0
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{}) {
		switch {
		case errors.Is(err, queue.ErrDamaged):
			broken++
		case err != nil:
			t.Error(err)
		case e.Event != queue.Damaged || strings.Contains(e.Reason, "nothing in the ledger"):
			read++
		}
	}
	if read != 2 || broken != 1 {
		t.Errorf("%d lines and %d errors", read, broken)
	}
}

// TestDamagedScheduleIsMended changes a value, a time and an ID in the due
// index, which has no checksums.
func TestDamagedScheduleIsMended(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	ids := []queue.ID{acceptOne(t, s), acceptOne(t, s), acceptOne(t, s), acceptOne(t, s)}
	err := s.generations[0].do(t.Context(), func(b *batch) error {
		due := b.bucket(bucketDue)
		keys := make([][]byte, len(ids))
		for i, id := range ids {
			m, err := b.record(id)
			if err != nil {
				return err
			}
			keys[i] = dueKey(m)
		}
		late := dueTime(duePrefix("primary"), time.Now().Add(-time.Hour))
		return errors.Join(due.Put(keys[0], []byte{0x80}), due.Delete(keys[1]), due.Put(append(late, ids[1]...), nil),
			due.Delete(keys[2]), due.Put([]byte("\aprimary"), nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := findings(t, s); !slices.Equal(got, []string{string(ids[1]) + " " + errUnscheduled.Error(), string(ids[2]) + " " + errUnscheduled.Error()}) {
		t.Errorf("found %q", got)
	}
	if due := dueIDs(t, s); !slices.Equal(due, []queue.ID{ids[1], ids[0], ids[3]}) {
		t.Fatalf("due %s", due)
	}
	// What is due by its record can be claimed whatever the index says.
	claimed, err := s.Claim(t.Context(), ids[:2], time.Hour)
	if err != nil || len(claimed) != 2 {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	if claimed, err = s.Claim(t.Context(), ids[:2], time.Hour); err != nil || len(claimed) != 0 {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	if err := s.Amend(t.Context(), queue.Amendment{ID: ids[2], At: time.Now(), Event: queue.Retry}); err != nil {
		t.Fatal(err)
	}
	if got := findings(t, s); len(got) != 0 {
		t.Errorf("found %q", got)
	}
	if due := dueIDs(t, s); !slices.Equal(due, []queue.ID{ids[3], ids[2]}) {
		t.Errorf("due %s", due)
	}
	held := ids[3]
	if err := s.Amend(t.Context(), queue.Amendment{ID: held, At: time.Now(), Event: queue.Hold}); err != nil {
		t.Fatal(err)
	}
	err = s.generations[0].do(t.Context(), func(b *batch) error {
		return b.bucket(bucketDue).Put(append(dueTime(duePrefix("primary"), time.Now()), held...), encodeSummary(queue.Summary{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if claimed, err := s.Claim(t.Context(), []queue.ID{held}, time.Hour); err != nil || len(claimed) != 0 {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	if due := dueIDs(t, s); !slices.Equal(due, []queue.ID{ids[2]}) {
		t.Errorf("due %s", due)
	}
}

// findings writes what a check finds.
func findings(t *testing.T, s *Store) (found []string) {
	t.Helper()
	sum, err := s.Audit(t.Context(), "", func(f queue.Finding) error {
		found = append(found, string(f.ID)+" "+f.What)
		return nil
	})
	if err != nil || sum.Damaged != int64(len(found)) {
		t.Fatalf("%+v, %v", sum, err)
	}
	return found
}

// countMessages counts what is listed, and what cannot be.
func countMessages(t *testing.T, s *Store) (messages, broken int) {
	t.Helper()
	for _, err := range s.Messages(t.Context(), queue.Filter{}) {
		switch {
		case err == nil:
			messages++
		case errors.Is(err, queue.ErrDamaged):
			broken++
		default:
			t.Fatal(err)
		}
	}
	return messages, broken
}

// eventsOf lists the events of a message.
func eventsOf(t *testing.T, s *Store, id queue.ID) string {
	t.Helper()
	var events []string
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{ID: id}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, string(e.Event))
	}
	return strings.Join(events, " ")
}

func dueIDs(t *testing.T, s *Store) (ids []queue.ID) {
	t.Helper()
	for summary, err := range s.Due(t.Context(), "primary", time.Now()) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, summary.ID)
	}
	return ids
}

// TestDecodeRefuses takes the headers and bodies apart.
func TestDecodeRefuses(t *testing.T) {
	good := encodeMessage(queue.Message{ID: "374kdrw00000"})
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x20
		if _, err := decodeMessage("374kdrw00000", bad); !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := decodeMessage("374kdrw00000", good[:i]); !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for what, err := range map[string]error{
		"other JSON": func() error { _, err := decodeMessage("374kdrw00000", seal([]byte(`{"id":7}`))); return err }(),
		"an unknown word": func() error {
			_, err := decodeEntry(sequenceKey(7), seal([]byte(`{"results":[{"action":"lost"}]}`)))
			return err
		}(),
		"a counter of text":   func() error { _, err := decodeCounters(seal([]byte(`{"bytes":"x"}`))); return err }(),
		"a short due entry":   func() error { _, err := decodeSummary([]byte("short"), encodeSummary(queue.Summary{})); return err }(),
		"a due entry cut off": func() error { _, err := decodeSummary(make([]byte, 30), []byte{2, 2}); return err }(),
	} {
		if !errors.Is(err, queue.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzDecode reads any bytes as each kind of value: an error, or a value that
// is written as it was read, but no panic.
func FuzzDecode(f *testing.F) {
	f.Add(encodeMessage(queue.Message{ID: "374kdrw00000"}), dueKey(queue.Message{ID: "374kdrw00000"}))
	f.Add(encodeSummary(queue.Summary{Domain: "relay.example", Size: 5}), dueKey(queue.Message{ID: "374kdrw00000", NextAttempt: time.Unix(-5, 3)}))
	f.Fuzz(func(t *testing.T, value, key []byte) {
		var errs []error
		_, err := decodeMessage("374kdrw00000", value)
		errs = append(errs, err)
		_, err = decodeEntry(sequenceKey(1), value)
		errs = append(errs, err)
		_, err = decodeCounters(value)
		errs = append(errs, err)
		_, err = decodeTrace("374kdrw00000", value)
		errs = append(errs, err)
		summary, err := decodeSummary(key, value)
		errs = append(errs, err)
		for _, err := range errs {
			if err != nil && !errors.Is(err, queue.ErrDamaged) {
				t.Errorf("%v is not ErrDamaged", err)
			}
		}
		if err != nil {
			return
		}
		again, err := decodeSummary(key, encodeSummary(summary))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(summary) {
			t.Errorf("%+v is read as %+v, %v", summary, again, err)
		}
	})
}

func lastError[T any](list func(func(T, error) bool)) (last error) {
	list(func(_ T, err error) bool { last = err; return true })
	return last
}
