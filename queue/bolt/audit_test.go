package bolt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

func TestFiles(t *testing.T) {
	dir, ids := twoFiles(t)
	s := open(t, dir, Options{})
	files, err := s.Files(t.Context())
	if err != nil || len(files) != 2 {
		t.Fatalf("%+v, %v", files, err)
	}
	old, young := files[0], files[1]
	if old.Name != generationName(1) || old.Youngest || old.Messages[queue.StateQueued] != 1 || old.Messages[queue.StateHeld] != 1 || len(old.Messages) != 2 ||
		old.Account.Accepted != 3 || old.Bytes != 8 || old.Size == 0 || old.Used == 0 || old.CreatedAt.IsZero() || old.Oldest.IsZero() {
		t.Errorf("the old one: %+v", old)
	}
	if young.Name != generationName(2) || !young.Youngest || young.Messages[queue.StateQueued] != 1 || young.Oldest.Before(old.Oldest) {
		t.Errorf("the young one: %+v, with %s", young, ids[3])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ctx  context.Context
		want error
	}{{ctx, context.Canceled}, {t.Context(), queue.ErrClosed}} {
		if _, err := s.Files(c.ctx); !errors.Is(err, c.want) {
			t.Errorf("files: %v", err)
		}
	}
	if _, err := s.Audit(t.Context(), "", nil); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("audit: %v", err)
	}
}

// TestAuditFindsEachKind damages one thing of each kind in a file in use.
func TestAuditFindsEachKind(t *testing.T) {
	put := func(bucket, key, value []byte) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) {
			if err := s.generations[0].db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, value) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	var id queue.ID
	for _, c := range []struct {
		rule   string
		damage func(*testing.T, *Store)
		says   string
		file   string
	}{
		{"nothing", func(*testing.T, *Store) {}, "", ""},
		{"a line", func(t *testing.T, s *Store) { put(bucketLedger, sequenceKey(1), []byte("line"))(t, s) }, "ledger line 1: record of 4 bytes", generationName(1)},
		{"a record", func(t *testing.T, s *Store) { put(bucketLive, []byte(id), []byte("record"))(t, s) }, "record of version 114", generationName(1)},
		{"content", func(t *testing.T, s *Store) {
			if err := s.generations[0].db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket(bucketContent).Bucket(chunkKey(id, 0)).Put(keyBytes, []byte("other"))
			}); err != nil {
				t.Fatal(err)
			}
		}, "differs from its digest", generationName(1)},
		{"a trace", func(t *testing.T, s *Store) { put(bucketTraces, []byte(id), []byte("trace"))(t, s) }, "trace of ", generationName(1)},
		{"the schedule", func(t *testing.T, s *Store) {
			m, err := s.Message(t.Context(), id)
			if err == nil {
				err = s.generations[0].db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketDue).Delete(dueKey(m)) })
			}
			if err != nil {
				t.Fatal(err)
			}
		}, errUnscheduled.Error(), generationName(1)},
		{"the chain of the ledger", func(t *testing.T, s *Store) {
			if err := s.FileLedger(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.ledger.files[0].db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket(bucketLines).Put(sequenceKey(1), append(make([]byte, 32), encodeEntry(queue.Entry{})...))
			}); err != nil {
				t.Fatal(err)
			}
		}, "does not go on from the one before it", "ledger-"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			id = acceptOne(t, s)
			c.damage(t, s)
			var found []queue.Finding
			sum, err := s.Audit(t.Context(), "", func(f queue.Finding) error { found = append(found, f); return nil })
			if err != nil || sum.Damaged != int64(len(found)) || sum.Files == 0 || sum.Messages != 1 {
				t.Fatalf("%+v, %v", sum, err)
			}
			if c.says == "" {
				if len(found) > 0 || sum.Bytes == 0 {
					t.Errorf("found %+v, %+v", found, sum)
				}
				return
			}
			if len(found) == 0 || !strings.Contains(found[0].What, c.says) || !strings.HasPrefix(found[0].File, c.file) {
				t.Fatalf("found %+v", found)
			}
			enough := errors.New("enough")
			if _, err := s.Audit(t.Context(), "", func(queue.Finding) error { return enough }); !errors.Is(err, enough) {
				t.Errorf("an error of the caller: %v", err)
			}
			if _, err := s.Audit(&patience{t.Context(), 1}, "", func(queue.Finding) error { return nil }); err == nil {
				t.Error("it goes on when the context has ended")
			}
		})
	}
}

// TestAuditRemembers: a file whose structure is damaged is set aside at the next start.
func TestAuditRemembers(t *testing.T) {
	dir, ids := fileWithPages(t)
	path := filepath.Join(dir, generationName(1))
	traces, size := pageOf(t, path, hasTraces)
	s := open(t, dir, Options{})
	writeAt(t, path, int64(traces)*size+8, []byte{flagFreelist})
	if found := findings(t, s); len(found) != 1 || !strings.Contains(found[0], "is a freelist") {
		t.Errorf("found %q", found)
	}
	if s.Err() != nil {
		t.Errorf("the store has failed: %v", s.Err())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{}) // a suspect is read also without Check
	stats := statsOf(t, again)
	if len(stats.Aside) != 1 || stats.Account.SetAside != int64(len(ids)) {
		t.Fatalf("stats %+v", stats)
	}
	did, err := again.Salvage(t.Context(), stats.Aside[0].File, "carol", false)
	if err != nil || did.Messages != int64(len(ids)) || did.Rest != 0 {
		t.Errorf("did %+v, %v", did, err)
	}
	if _, err := again.AcceptLoss(t.Context(), stats.Aside[0].File, "carol", "x", false); !errors.Is(err, queue.ErrState) {
		t.Errorf("a loss of nothing: %v", err)
	}
	for what, err := range map[string]error{
		"salvage": func() error { _, err := again.Salvage(&patience{t.Context(), 0}, "x", "carol", false); return err }(),
		"loss": func() error {
			_, err := again.AcceptLoss(&patience{t.Context(), 0}, "x", "carol", "x", false)
			return err
		}(),
		"aside": func() error { _, err := again.Aside(&patience{t.Context(), 0}); return err }(),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, stats.Aside[0].File)); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Salvage(t.Context(), stats.Aside[0].File, "carol", false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("salvage of a file that is gone: %v", err)
	}
}
