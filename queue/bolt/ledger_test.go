package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

const day = 24 * time.Hour

// days accepts and delivers a message on each of some days.
func days(t *testing.T, s *Store, n int) (ids []queue.ID) {
	t.Helper()
	for range n {
		id := acceptOne(t, s)
		deliver(t, s, id)
		ids = append(ids, id)
		time.Sleep(day)
		synctest.Wait()
	}
	return ids
}

func linesOf(t *testing.T, s *Store, f queue.LedgerFilter) (lines []string) {
	t.Helper()
	for e, err := range s.Ledger(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprint(e.Event, e.ID))
	}
	return lines
}

func TestLedgerFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{LedgerKeep: 3 * day})
		start := now()
		ids := days(t, s, 3)
		noted, err := s.Verify(t.Context())
		if err != nil || noted.Files != 3 || noted.Lines != 6 || noted.First != 1 || noted.Last != 6 || len(noted.Faults) > 0 || noted.Anchor != strings.Repeat("0", 64) {
			t.Fatalf("%+v, %v", noted, err)
		}
		for _, c := range []struct {
			rule string
			f    queue.LedgerFilter
			want []queue.ID // of acceptances
		}{
			{"all", queue.LedgerFilter{}, ids},
			{"a message", queue.LedgerFilter{ID: ids[1]}, ids[1:2]},
			{"an address in another case", queue.LedgerFilter{Address: "BOB@relay.example"}, ids},
			{"another address", queue.LedgerFilter{Address: "ob@relay.example"}, nil},
			{"a Message-ID", queue.LedgerFilter{MessageID: "<20260301100000.12345@client.example>"}, ids},
			{"since", queue.LedgerFilter{Since: start.Add(2 * day)}, ids[2:]},
			{"until", queue.LedgerFilter{Until: start.Add(2 * day)}, ids[:2]},
		} {
			c.f.Events = []queue.Event{queue.Accepted, queue.Hold}
			var want []string
			for _, id := range c.want {
				want = append(want, "accepted"+string(id))
			}
			if got := linesOf(t, s, c.f); !slices.Equal(got, want) {
				t.Errorf("%s: %s, want %s", c.rule, got, want)
			}
		}
		if got := linesOf(t, s, queue.LedgerFilter{RemoteSession: "session of " + string(ids[2])}); !slices.Equal(got, []string{"attempted" + string(ids[2])}) {
			t.Errorf("by remote session: %s", got)
		}
		ids = append(ids, days(t, s, 7)...)
		chain, err := s.Verify(t.Context())
		if err != nil || chain.Files != 3 || chain.Lines != 6 || chain.Last != 20 || len(chain.Faults) > 0 {
			t.Errorf("after ten days: %+v, %v", chain, err)
		}
		if got := linesOf(t, s, queue.LedgerFilter{}); len(got) != 6 || got[5] != "attempted"+string(ids[9]) {
			t.Errorf("after ten days the ledger has %s", got)
		}
		if account := accountOf(t, s); account != (queue.Account{Accepted: 10, Delivered: 10}) {
			t.Errorf("account %+v", account)
		}
		time.Sleep(100 * day)
		synctest.Wait()
		chain, err = s.Verify(t.Context())
		if err != nil || chain.Lines != 0 || chain.Files > 1 || chain.Anchor != chain.Head || chain.Anchor == noted.Head || len(chain.Faults) > 0 {
			t.Errorf("after a hundred days: %+v, %v", chain, err)
		}
		if account := accountOf(t, s); account != (queue.Account{Accepted: 10, Delivered: 10}) {
			t.Errorf("account %+v", account)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{LedgerKeep: 3 * day})
		days(t, s, 1)
		next, err := s.Verify(t.Context())
		if err != nil || next.Lines != 2 || next.First != 21 || len(next.Faults) > 0 {
			t.Errorf("and then: %+v, %v", next, err)
		}
	})
}

// TestTrimmedChain keeps the end of what was trimmed.
func TestTrimmedChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{LedgerKeep: 2 * day})
		days(t, s, 1)
		noted, err := s.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		days(t, s, 2)
		if chain, err := s.Verify(t.Context()); err != nil || chain.Anchor != noted.Head || chain.First != noted.Last+1 {
			t.Errorf("%+v, %v; want the anchor %s", chain, err, noted.Head)
		}
	})
}

// TestClockStepsBack has ledger files of a later day before those of an earlier one.
func TestClockStepsBack(t *testing.T) {
	dir := t.TempDir()
	life := func(t *testing.T) {
		s := open(t, dir, Options{})
		deliver(t, s, acceptOne(t, s))
		if err := s.FileLedger(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("now", life)
	for range 2 {
		t.Run("in the past", func(t *testing.T) { synctest.Test(t, life) })
	}
	t.Run("now again", life)
	s := open(t, dir, Options{})
	wantSound(t, s, queue.Account{Accepted: 4, Delivered: 4}, 8)
	if names := files(t, dir, "ledger-"); len(names) != 3 {
		t.Errorf("files %s", names)
	}
}

func TestFileLedger(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 1})
	var ids []queue.ID
	for range 3 {
		ids = append(ids, acceptOne(t, s))
	}
	slices.Reverse(ids)
	deliver(t, s, ids...) // the first file has the last line
	for range 2 {
		if err := s.FileLedger(t.Context()); err != nil {
			t.Fatal(err)
		}
		if chain, err := s.Verify(t.Context()); err != nil || chain.Lines != 6 || len(chain.Faults) > 0 {
			t.Errorf("%+v, %v", chain, err)
		}
	}
	wantSound(t, s, queue.Account{Accepted: 3, Delivered: 3}, 6)
	cancelled, cancel := context.WithCancel(t.Context())
	acceptOne(t, s)
	cancel()
	if err := s.FileLedger(cancelled); !errors.Is(err, context.Canceled) || s.Err() != nil {
		t.Errorf("cancelled: %v, the store %v", err, s.Err())
	}
	if _, err := s.Verify(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.FileLedger(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := s.Verify(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestLedgerAmongWriters reads while lines are written and filed: each list
// has every line up to its end, once and in order.
func TestLedgerAmongWriters(t *testing.T) {
	s := open(t, t.TempDir(), Options{GenerationSize: 100 << 10, Quiet: time.Nanosecond})
	const messages = 400
	var writing, reading sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for range messages / 4 {
				id, err := tryAccept(s, benchAcceptance(t), make([]byte, 3000))
				if err != nil {
					t.Error(err)
					return
				}
				claimed, err := s.Claim(context.Background(), []queue.ID{id}, time.Hour)
				if err != nil || len(claimed) != 1 {
					t.Error(claimed, err)
					return
				}
				if err := s.Settle(context.Background(), queue.Settlement{ID: id, Attempt: 1, Results: map[int]queue.Result{0: {Action: queue.Delivered}}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		reading.Go(func() {
			for {
				last := uint64(0)
				ids := map[queue.ID]int{}
				for e, err := range s.Ledger(context.Background(), queue.LedgerFilter{}) {
					if err != nil || e.Seq <= last {
						t.Errorf("line %d after %d, %v", e.Seq, last, err)
						return
					}
					last = e.Seq
					ids[e.ID]++
					if e.Event == queue.Attempted && ids[e.ID] != 2 {
						t.Errorf("line %d has no acceptance before it", e.Seq)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	wantSound(t, s, queue.Account{Accepted: messages, Delivered: messages}, 2*messages)
}

// TestVerifyFinds changes the files in ways that one should not be able to hide.
func TestVerifyFinds(t *testing.T) {
	in := func(number int, act func(*bbolt.Tx) error) func(*testing.T, []string) {
		return func(t *testing.T, paths []string) { edit(t, paths[number], act) }
	}
	lines := func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketLines) }
	for _, c := range []struct {
		rule   string
		change func(t *testing.T, paths []string)
		says   string
	}{
		{"a changed record", in(1, func(tx *bbolt.Tx) error {
			value := bytes.Clone(lines(tx).Get(sequenceKey(4)))
			record := seal(bytes.Replace(value[32+recordHeader:], []byte("attempted"), []byte("delivered"), 1))
			return lines(tx).Put(sequenceKey(4), append(value[:32:32], record...))
		}), "line 4 does not go on from the one before it"},
		{"a damaged record", in(1, func(tx *bbolt.Tx) error {
			value := bytes.Clone(lines(tx).Get(sequenceKey(4)))
			value[100] ^= 1
			return lines(tx).Put(sequenceKey(4), value)
		}), "line 4: record differs from its checksum"},
		{"a line cut off", in(1, func(tx *bbolt.Tx) error { return lines(tx).Put(sequenceKey(4), []byte("short")) }), "line 4: record of 0 bytes"},
		{"a line taken out", in(1, func(tx *bbolt.Tx) error { return lines(tx).Delete(sequenceKey(3)) }), "line 4 does not go on from the one before it"},
		{"a line taken out at the end of a day", in(1, func(tx *bbolt.Tx) error { return lines(tx).Delete(sequenceKey(4)) }), "does not go on from the end of the file before it, line 3"},
		{"a line put in", in(1, func(tx *bbolt.Tx) error {
			return lines(tx).Put(sequenceKey(2), bytes.Clone(lines(tx).Get(sequenceKey(3))))
		}), ""},
		{"another anchor", in(1, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyAnchor, make([]byte, 32)) }), "does not go on from the end of the file before it, line 2"},
		{"no anchor", in(1, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyAnchor, nil) }), "has no anchor"},
		{"a file taken out", func(t *testing.T, paths []string) {
			if err := os.Remove(paths[1]); err != nil {
				t.Fatal(err)
			}
		}, "a file before it is missing"},
		{"a file of another kind", func(t *testing.T, paths []string) {
			if err := os.WriteFile(paths[1], bytes.Repeat([]byte("text"), 10_000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "cannot be read: "},
		{"a newer format", in(1, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, []byte{format + 1}) }), "this version reads formats 1 to 2"},
		{"a missing bucket", in(1, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketCauses) }), "not a ledger file"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir, Options{})
				days(t, s, 3)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				var paths []string
				for _, name := range files(t, dir, "ledger-") {
					paths = append(paths, filepath.Join(dir, name))
				}
				c.change(t, paths)
				s = open(t, dir, Options{})
				chain, err := s.Verify(t.Context())
				if said := strings.Join(chain.Faults, "; "); err != nil || !strings.Contains(said, c.says) || (said == "") != (c.says == "") {
					t.Errorf("%+v, %v; want %q", chain, err, c.says)
				}
				s.ledger.knows([]byte("a cause")) // reads what can be read
				if err := s.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestManyFaultsAreNotAllTold(t *testing.T) {
	v := verifier{}
	for range 100 {
		v.fault(&ledgerFile{path: "x"}, "no")
	}
	if len(v.chain.Faults) != maxFaults {
		t.Errorf("%d faults", len(v.chain.Faults))
	}
}

func TestOpenRefusesLedger(t *testing.T) {
	for _, c := range []struct {
		rule   string
		damage func(t *testing.T, path string)
		says   string
	}{
		{"a newer format", func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, []byte{format + 1}) })
			if err := writeJSON(filepath.Join(filepath.Dir(path), summaryName(1)), summary{Format: format + 1}, (*os.File).Sync); err != nil {
				t.Fatal(err)
			}
		}, "this version reads formats 1 to 2"},
		{"a name that is no ledger file's", func(t *testing.T, path string) {
			if err := os.Rename(path, filepath.Join(filepath.Dir(path), "ledger-000001-2026.db")); err != nil {
				t.Fatal(err)
			}
		}, "not the name of a ledger file"},
		{"a folder", func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			acceptOne(t, s)
			if err := errors.Join(s.FileLedger(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
			c.damage(t, filepath.Join(dir, files(t, dir, "ledger-")[0]))
			for range 2 { // nothing stays locked
				if s, err := Open(dir, Options{}); err == nil || s != nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("error %v does not say %q", err, c.says)
				}
			}
		})
	}
}

// TestDamagedLineIsTold: a list has the error of a line that it would have
// shown, and goes on behind it.
func TestDamagedLineIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	ids := []queue.ID{acceptOne(t, s), acceptOne(t, s)}
	if err := errors.Join(s.FileLedger(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, files(t, dir, "ledger-")[0])
	change := func(value []byte) {
		edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketLines).Put(sequenceKey(1), value) })
	}
	change(append(make([]byte, 32), seal([]byte(`{"id":"`+string(ids[0])+`","at":7}`))...))
	s = open(t, dir, Options{})
	if err := lastError(s.Ledger(t.Context(), queue.LedgerFilter{ID: ids[0]})); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("its own line: %v", err)
	}
	if got := linesOf(t, s, queue.LedgerFilter{ID: ids[1]}); len(got) != 1 {
		t.Errorf("another line: %s", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change([]byte("short"))
	s = open(t, dir, Options{})
	var told, lines int
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{ID: ids[1]}) {
		switch {
		case errors.Is(err, queue.ErrDamaged):
			told++
		case err == nil && e.ID == ids[1]:
			lines++
		default:
			t.Errorf("%+v, %v", e, err)
		}
	}
	if told != 1 || lines != 1 {
		t.Errorf("a line without a hash: %d errors, %d lines", told, lines)
	}
}

// FuzzSieve: what does not pass the sieve does not match.
func FuzzSieve(f *testing.F) {
	f.Add("374kdrw00000", "<a&b@client.example>", "Bob@Relay.example", "s 1", "bOB@relay.example", uint8(7))
	f.Add("", "", "\u017fue@relay.example", "", "SUE@relay.example", uint8(2))
	f.Add("", "\u2028\"\\", "kelvin@x.example", "\xff", "\u212aelvin@x.example", uint8(31))
	f.Fuzz(func(t *testing.T, id, messageID, recipient, session, wanted string, fields uint8) {
		e := queue.Entry{At: time.Unix(int64(fields), 0), Event: queue.Attempted, ID: queue.ID(id), MessageID: messageID,
			Recipients: []string{recipient}, Results: []queue.Result{{RemoteSession: session}}}
		var asRead queue.Entry
		record := encodeEntry(e)
		if err := json.Unmarshal(record[recordHeader:], &asRead); err != nil {
			t.Fatal(err)
		}
		filter := queue.LedgerFilter{}
		for i, set := range []func(){
			func() { filter.ID = queue.ID(id) },
			func() { filter.MessageID = messageID },
			func() { filter.Address = wanted },
			func() { filter.RemoteSession = session },
			func() { filter.Events = []queue.Event{queue.Hold, queue.Attempted} },
			func() { filter.Since = time.Unix(100, 0) },
			func() { filter.Until = time.Unix(200, 0) },
		} {
			if fields&(1<<i) != 0 {
				set()
			}
		}
		if filter.Match(asRead) && !newSieve(filter).mayMatch(record) {
			t.Errorf("%+v matches %s", filter, record)
		}
		if at, ok := timeOf(record); !ok || !at.Equal(e.At) {
			t.Errorf("the time of %s is read as %s, %t", record, at, ok)
		}
	})
}
