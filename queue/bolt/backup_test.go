package bolt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// backUp copies a store and opens the copy.
func backUp(t *testing.T, s *Store) (string, *Snapshot) {
	t.Helper()
	dir := t.TempDir()
	if _, err := s.Backup(t.Context(), dir, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	return dir, snapshotOf(t, dir)
}

func snapshotOf(t *testing.T, dir string) *Snapshot {
	t.Helper()
	n, err := OpenSnapshot(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { letGo(t, n) })
	return n
}

// letGo closes a copy, once more is the same: its files may then be written.
func letGo(t *testing.T, n *Snapshot) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// sound fails the test if something is wrong with a copy.
func sound(t *testing.T, n *Snapshot) queue.Checked {
	t.Helper()
	sum, err := n.Audit(t.Context(), func(f queue.Finding) error { t.Errorf("found %+v", f); return nil })
	if err != nil {
		t.Fatal(err)
	}
	stats, err := n.Stats(t.Context())
	if err != nil || stats.Account.Missing() != 0 {
		t.Errorf("account %+v, %v", stats.Account, err)
	}
	return sum
}

// TestBackupWhileInUse: senders, deliveries and giving back go on while a store
// is copied again and again. What was accepted before a copy began is in it, or
// in its ledger as final.
func TestBackupWhileInUse(t *testing.T) {
	o := restless()
	o.Interrupted = 0
	s := open(t, t.TempDir(), o)
	a := benchAcceptance(t)
	var mu sync.Mutex
	accepted := map[queue.ID]int{}
	var stop atomic.Bool
	more := make(chan struct{}, 1) // a token: there are some more
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for !stop.Load() {
				body := make([]byte, rand.IntN(20<<10))
				id, err := tryAccept(s, a, body)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				accepted[id] = len(body)
				n := len(accepted)
				mu.Unlock()
				if n%30 == 0 {
					select {
					case more <- struct{}{}:
					default:
					}
				}
				if rand.IntN(3) == 0 {
					continue
				}
				claimed, err := s.Claim(context.Background(), []queue.ID{id}, time.Hour)
				if err == nil {
					err = s.Settle(context.Background(), queue.Settlement{ID: id, Attempt: claimed[0].Attempts, Results: map[int]queue.Result{0: {Action: queue.Delivered}}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		<-more
		mu.Lock()
		before := make([]queue.ID, 0, len(accepted))
		for id := range accepted {
			before = append(before, id)
		}
		mu.Unlock()
		_, n := backUp(t, s)
		sound(t, n)
		has(t, n, before)
	}
	stop.Store(true)
	group.Wait()
	t.Logf("%d messages", len(accepted))
}

// has wants each message in the copy, or in its ledger as final.
func has(t *testing.T, n *Snapshot, ids []queue.ID) {
	t.Helper()
	there := map[queue.ID]bool{}
	for m, err := range n.Messages(t.Context(), queue.Filter{States: queue.States()}) {
		if err != nil {
			t.Fatal(err)
		}
		there[m.ID] = true
	}
	for e, err := range n.Ledger(t.Context(), queue.LedgerFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Results) == 1 && e.Results[0].Action.Final() {
			there[e.ID] = true
		}
	}
	for _, id := range ids {
		if !there[id] {
			t.Errorf("%s is missing", id)
		}
	}
}

func TestBackupOfEverything(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 100 << 10})
	var ids []queue.ID
	for range 10 {
		ids = append(ids, accept(t, s, benchAcceptance(t), make([]byte, 30<<10)))
	}
	deliver(t, s, ids[0])
	amend(t, s, ids[1], queue.Hold)
	amend(t, s, ids[2], queue.Delete)
	if err := s.FileLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	copied, n := backUp(t, s)
	if sum := sound(t, n); sum.Messages != 10 || sum.Files != int64(len(row(t, s)))+1 {
		t.Errorf("read %+v", sum)
	}
	want, got := statsOf(t, s), queue.Stats{}
	got, err := n.Stats(t.Context())
	if err != nil || got.Account != want.Account || got.Bytes != want.Bytes {
		t.Errorf("stats %+v, %v; want %+v", got, err, want)
	}
	here, err := s.Verify(t.Context())
	if there, err2 := n.Chain(t.Context()); err != nil || err2 != nil || there.Head != here.Head || there.Lines != here.Lines {
		t.Errorf("chain %+v, %v %v; want %+v", there, err, err2, here)
	}
	files, err := filepath.Glob(filepath.Join(copied, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if about, err := os.Stat(path); err != nil || about.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, about.Mode(), err)
		}
	}
	letGo(t, n)
	again := open(t, copied, Options{Check: inProcess})
	queuetest.Balanced(t, again)
	for _, id := range ids[1:] {
		if m, err := again.Message(t.Context(), id); err != nil || m.State() != messageOf(t, s, id).State() {
			t.Errorf("%s is %s, %v", id, m.State(), err)
		}
		if id != ids[0] {
			wantContent(t, again, id, string(make([]byte, 30<<10)))
		}
	}
}

func messageOf(t *testing.T, s *Store, id queue.ID) queue.Message {
	t.Helper()
	m, err := s.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestBackupOfWhatIsSetAside: a damaged file goes with its description, and can
// be salvaged in the copy.
func TestBackupOfWhatIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	id := acceptOne(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bothMetas(t, filepath.Join(dir, generationName(1)))
	s = open(t, dir, Options{})
	copied, n := backUp(t, s)
	sound(t, n)
	if stats, err := n.Stats(t.Context()); err != nil || stats.Account.SetAside != 1 || len(stats.Aside) != 1 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	letGo(t, n)
	again := open(t, copied, Options{})
	if did, err := again.Salvage(t.Context(), statsOf(t, again).Aside[0].File, "carol", false); err != nil || did.Messages != 1 {
		t.Errorf("salvaged %+v, %v", did, err)
	}
	if m := messageOf(t, again, id); m.State() != queue.StateHeld {
		t.Errorf("it is %s", m.State())
	}
}

// TestBackupEnds: with its context, with the store, and when it cannot write.
func TestBackupEnds(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	acceptOne(t, s)
	nobody := func(int64, int64) {}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Backup(ctx, t.TempDir(), func(int64, int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled meanwhile: %v", err)
	}
	if err := s.holdStill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(ctx, t.TempDir(), nobody); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	s.goOn()
	if _, err := s.BackupSize(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("size: %v", err)
	}
	if _, err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "none"), nobody); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, generationName(1)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), taken, nobody); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file is in the way: %v", err)
	}
	if size, err := s.BackupSize(t.Context()); err != nil || size == 0 {
		t.Errorf("size %d, %v", size, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), t.TempDir(), nobody); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := s.BackupSize(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("size of a closed one: %v", err)
	}
}

// TestSnapshotFindsDamage in a page, in content, in the ledger, and refuses
// what a newer version wrote.
func TestSnapshotFindsDamage(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	id := accept(t, s, benchAcceptance(t), make([]byte, 30<<10))
	if err := s.FileLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	findings := func(dir string) (found []queue.Finding) {
		sum, err := snapshotOf(t, dir).Audit(t.Context(), func(f queue.Finding) error { found = append(found, f); return nil })
		if err != nil || sum.Damaged != int64(len(found)) {
			t.Errorf("%+v, %v", sum, err)
		}
		return found
	}
	dir, _ := backUp(t, s)
	bothMetas(t, filepath.Join(dir, generationName(1)))
	if found := findings(dir); len(found) != 1 || found[0].File != generationName(1) {
		t.Errorf("found %+v", found)
	}
	told := errors.New("told")
	if _, err := snapshotOf(t, dir).Audit(t.Context(), func(queue.Finding) error { return told }); !errors.Is(err, told) {
		t.Errorf("error %v", err)
	}
	if snapshotOf(t, dir).Sound() {
		t.Error("it is said to be sound")
	}
	dir, _ = backUp(t, s)
	ledgers, err := filepath.Glob(filepath.Join(dir, "ledger-*"))
	if err != nil || len(ledgers) != 1 {
		t.Fatal(ledgers, err)
	}
	bothMetas(t, ledgers[0])
	if _, err := OpenSnapshot(t.Context(), dir, nil); !errors.Is(err, ErrDamagedFile) {
		t.Errorf("error %v", err)
	}
	dir, n := backUp(t, s)
	_, content, err := n.content(id)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := io.Copy(io.Discard, content); err != nil || size != 30<<10 {
		t.Errorf("%d bytes, %v", size, err)
	}
	letGo(t, n)
	flipContent(t, dir, id)
	if found := findings(dir); len(found) != 1 || found[0].ID != id {
		t.Errorf("found %+v", found)
	}
}

// flipContent changes content of a message in a store that is closed.
func flipContent(t *testing.T, dir string, id queue.ID) {
	t.Helper()
	s := open(t, dir, Options{})
	g, err := s.home(id)
	if err == nil {
		err = g.do(t.Context(), func(b *batch) error {
			chunk := b.bucket(bucketContent).Bucket(chunkKey(id, 0))
			text := bytes.Clone(chunk.Get(keyBytes))
			text[len(text)/2] ^= 1
			return chunk.Put(keyBytes, text)
		})
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}
