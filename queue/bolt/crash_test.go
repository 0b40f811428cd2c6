package bolt

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// copyFiles copies an open store as it is on disk. Nothing may be written meanwhile.
func copyFiles(t queuetest.T, from, to string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(path)), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// crashed opens a copy of the store's files.
func crashed(t *testing.T, s *Store) *Store {
	t.Helper()
	dir := t.TempDir()
	copyFiles(t, s.dir, dir)
	return open(t, dir, s.options)
}

// keys counts the keys of a bucket in all files.
func keys(t *testing.T, s *Store, bucket []byte) (n int) {
	t.Helper()
	for _, g := range row(t, s) {
		if err := g.view(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucket).ForEach(func([]byte, []byte) error { n++; return nil })
		}); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestCrashDuringDraft ends the process when chunks are written but the record is not.
func TestCrashDuringDraft(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	kept := accept(t, s, benchAcceptance(t), []byte("kept"))
	const chunks = 40
	d := draftOf(t, s, make([]byte, chunks*chunkSize+1))
	if r, err := d.Content(); err != nil { // waits for the last chunk
		t.Fatal(err)
	} else if n, err := io.Copy(io.Discard, r); err != nil || n != chunks*chunkSize+1 {
		t.Fatal(n, err)
	}
	if n := keys(t, s, bucketContent); n != chunks+1 {
		t.Fatalf("%d chunks are written, want %d", n, chunks+1)
	}
	again := crashed(t, s)
	if drafts, chunks := keys(t, again, bucketDrafts), keys(t, again, bucketContent); drafts != 0 || chunks != 1 {
		t.Fatalf("%d drafts and %d chunks are left", drafts, chunks)
	}
	if _, err := again.Message(t.Context(), d.ID()); err == nil {
		t.Fatal("a message without a record is there")
	}
	queuetest.Balanced(t, again)
	wantContent(t, again, kept, "kept")
	before := row(t, again)[0].standing().size
	id := accept(t, again, benchAcceptance(t), make([]byte, chunks*chunkSize))
	if id <= d.ID() {
		t.Errorf("ID %s was given again, or comes after %s", id, d.ID())
	}
	if after := row(t, again)[0].standing().size; after-before > chunks*chunkSize/4 {
		t.Errorf("the file grew from %d to %d bytes: the room of the draft was not used again", before, after)
	}
	if err := d.Commit(t.Context(), benchAcceptance(t)); err != nil { // the other store has not crashed
		t.Fatal(err)
	}
	queuetest.Balanced(t, crashed(t, s))
}

// TestManyDraftsOfACrash has more drafts than are looked at at once.
func TestManyDraftsOfACrash(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var drafts []queue.Draft
	for range 2*pageLength + 1 {
		drafts = append(drafts, draftOf(t, s, make([]byte, chunkSize+1)))
	}
	for _, d := range drafts {
		if _, err := d.Content(); err != nil {
			t.Fatal(err)
		}
	}
	if n := keys(t, s, bucketDrafts); n != len(drafts) {
		t.Fatalf("%d drafts, want %d", n, len(drafts))
	}
	again := crashed(t, s)
	if drafts, chunks := keys(t, again, bucketDrafts), keys(t, again, bucketContent); drafts != 0 || chunks != 0 {
		t.Fatalf("%d drafts and %d chunks are left", drafts, chunks)
	}
}

func TestAbortedDraftLeavesNothingInTheFile(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, size := range []int{0, 1, chunkSize, chunkSize + 1, 5 * chunkSize} {
		if err := draftOf(t, s, make([]byte, size)).Abort(); err != nil {
			t.Fatal(err)
		}
		for _, bucket := range buckets() {
			if n := keys(t, s, bucket); n != 0 && &bucket[0] != &bucketMeta[0] && &bucket[0] != &bucketCounters[0] {
				t.Errorf("after %d bytes %d keys are left in %s", size, n, bucket)
			}
		}
	}
}

func draftOf(t *testing.T, s *Store, content []byte) queue.Draft {
	t.Helper()
	d, err := s.Create(t.Context())
	if err == nil {
		_, err = d.Write(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantContent(t *testing.T, s *Store, id queue.ID, want string) {
	t.Helper()
	r, err := s.Content(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := bytes.CutPrefix(got, benchAcceptance(t).Trace); !ok || string(got) != want {
		t.Fatalf("content of %s is %.40q (%d bytes), want %.40q (%d bytes)", id, got, len(got), want, len(want))
	}
}
