package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// inDoubt opens a file of which the older or the newer meta page is damaged
// after a stop that was not clean, and waits for what the background finds.
func inDoubt(t *testing.T, older bool, change func(*bbolt.Tx) error) *Store {
	t.Helper()
	dir, _ := fileWithPages(t)
	path := filepath.Join(dir, generationName(1))
	if change != nil {
		edit(t, path, change)
	}
	err := errors.Join(os.Remove(filepath.Join(dir, cleanMark)), os.Remove(filepath.Join(dir, summaryName(1))))
	if err != nil {
		t.Fatal(err)
	}
	r, err := openRuins(path)
	if err != nil {
		t.Fatal(err)
	}
	h := r.heads()
	r.Close()
	page := int64(h.newest.tx % 2) // where bbolt writes it
	if older {
		page = 1 - page
	}
	writeAt(t, path, page*r.pageSize+pageHeader, binary.NativeEndian.AppendUint32(nil, 7))
	s := open(t, dir, Options{Check: inProcess})
	s.checking.Wait()
	return s
}

// TestDoubtIsCleared: that the older of two meta pages is damaged loses nothing,
// and the file shows it. Of the newer one the status must tell until a person knows.
func TestDoubtIsCleared(t *testing.T) {
	s := inDoubt(t, true, nil)
	if stats := statsOf(t, s); len(stats.Aside) != 0 || stats.Account.Queued != 12 {
		t.Errorf("%+v", stats)
	}
	asides, err := s.Aside(t.Context())
	if err != nil || len(asides) != 1 || asides[0].Open() || !strings.Contains(asides[0].Reason, "nothing is missing") {
		t.Errorf("%+v, %v", asides, err)
	}
	told := false
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{Events: []queue.Event{queue.Noted}}) {
		told = told || err == nil && e.Actor == "relay" && strings.Contains(e.Reason, "the doubt about gen-000001.db is cleared")
	}
	if !told {
		t.Error("no line about it")
	}
	s = inDoubt(t, false, nil)
	if stats := statsOf(t, s); len(stats.Aside) != 1 || !stats.Aside[0].InUse {
		t.Errorf("the newer one: %+v", stats.Aside)
	}
}

// TestDoubtStays: a file in which something does not fit stays in doubt.
func TestDoubtStays(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*bbolt.Tx) error
	}{
		{"a message is missing", func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketLive).Cursor().First()
			id := string(k)
			c := tx.Bucket(bucketDue).Cursor()
			for k, _ := c.First(); k != nil; k, _ = c.Next() {
				if strings.HasSuffix(string(k), id) {
					if err := tx.Bucket(bucketDue).Delete(k); err != nil {
						return err
					}
					break
				}
			}
			return tx.Bucket(bucketLive).Delete([]byte(id))
		}},
		{"a ledger line is missing", func(tx *bbolt.Tx) error { return tx.Bucket(bucketLedger).Delete(sequenceKey(5)) }},
		{"a record is damaged", func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketLive).Cursor().First()
			return tx.Bucket(bucketLive).Put([]byte(string(k)), []byte("nothing of it"))
		}},
		{"content is damaged", func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketContent).Cursor().First()
			return tx.Bucket(bucketContent).Bucket(k).Put(keyBytes, []byte("other"))
		}},
	} {
		// The counters of the transaction that changes it are those of the one before.
		s := inDoubt(t, true, c.change)
		if stats := statsOf(t, s); len(stats.Aside) != 1 || !stats.Aside[0].InUse {
			t.Errorf("%s: %+v", c.rule, stats.Aside)
		}
	}
}

// TestProvesWhole compares every number that is counted.
func TestProvesWhole(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	acceptOne(t, s)
	g := s.generations[0]
	prove := func() error { return g.view(s.provesWhole) }
	if err := prove(); err != nil {
		t.Fatal(err)
	}
	for i, change := range []func(*counters){
		func(c *counters) { c.Account.Queued++ }, func(c *counters) { c.Account.Held++ }, func(c *counters) { c.Account.Refused++ },
		func(c *counters) { c.Messages[queue.StateHeld]++ }, func(c *counters) { c.Bytes++ }, func(c *counters) { c.Trash.Bytes++ },
	} {
		err := g.do(t.Context(), func(b *batch) error {
			changed := b.now.counters.clone()
			change(&changed)
			return b.bucket(bucketDrafts).Put(fmt.Append(nil, i), encodeCounters(changed))
		})
		if err != nil {
			t.Fatal(err)
		}
		err = g.view(func(tx *bbolt.Tx) error {
			wrong, err := decodeCounters(tx.Bucket(bucketDrafts).Get(fmt.Append(nil, i)))
			if err != nil {
				return err
			}
			return fits(tx, wrong)
		})
		if err == nil {
			t.Errorf("change %d is not seen", i)
		}
	}
}
