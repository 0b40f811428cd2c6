package bolt

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

var update = flag.Bool("update", false, "write testdata/format-N of the present format anew; only while no release has that format")

// contents is what a store of testdata has, as JSON beside it.
type contents struct {
	Account  queue.Account
	Messages []kept
	Lines    []string
}

type kept struct {
	ID      queue.ID
	State   queue.State
	Held    string `json:",omitempty"`
	Content string // SHA-256, with the trace
}

func contentsOf(t *testing.T, s *Store) (c contents) {
	t.Helper()
	c.Account = statsOf(t, s).Account
	for m, err := range s.Messages(t.Context(), queue.Filter{States: queue.States()}) {
		if err != nil {
			t.Fatal(err)
		}
		k := kept{ID: m.ID, State: m.State(), Held: m.Held}
		if !m.Purged {
			r, err := s.Content(t.Context(), m.ID)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			k.Content = queue.Digest(sha256.Sum256(text)).String()
		}
		c.Messages = append(c.Messages, k)
	}
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		c.Lines = append(c.Lines, fmt.Sprintf("%d %s %s %s", e.Seq, e.Event, e.ID, e.Recipients))
	}
	return c
}

func asJSON(t *testing.T, c contents) string {
	t.Helper()
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// sameCounters counts every file anew, and compares.
func sameCounters(t *testing.T, s *Store) {
	t.Helper()
	for _, g := range row(t, s) {
		var want counters
		for p, err := range g.pairs(t.Context(), shelves()) {
			if err != nil {
				t.Fatal(err)
			}
			m, err := decodeMessage(queue.ID(p.key), p.value)
			if err != nil {
				t.Fatal(err)
			}
			want.count(m, 1)
		}
		got := g.standing().counters
		want.Account, want.DoneAt, want.Tx = got.Account, got.DoneAt, got.Tx
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: counters %+v\nwant %+v", g.name(), got, want)
		}
	}
}

// TestFormats opens a store of every format there was: nothing is lost, and it
// can be written to.
func TestFormats(t *testing.T) {
	if *update {
		makeFormat(t, filepath.Join("testdata", fmt.Sprintf("format-%d", format)))
	}
	folders, err := filepath.Glob(filepath.Join("testdata", "format-*"))
	if err != nil || len(folders) < format {
		t.Fatal(folders, err)
	}
	for _, folder := range folders {
		want, err := os.ReadFile(filepath.Join(folder, "contents"))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		copyFiles(t, folder, dir)
		ages := 100 * 365 * 24 * time.Hour // nothing of it goes because it is old
		o := Options{Check: inProcess, Interrupted: -1, GenerationAge: ages, Quiet: ages, LedgerKeep: ages}
		for range 2 {
			s := open(t, dir, o)
			if got := asJSON(t, contentsOf(t, s)); got != string(want) {
				t.Errorf("%s: got %s\nwant %s", folder, got, want)
			}
			if found := findings(t, s); len(found) != 0 {
				t.Errorf("%s: found %q", folder, found)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, o)
		sameCounters(t, s)
		acceptOne(t, s)
		statsOf(t, s)
		sameHoldings(t, s)
	}
}

// makeFormat writes a small store with messages in every state, and a ledger file.
func makeFormat(t *testing.T, folder string) {
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := open(t, dir, Options{GenerationSize: 64 << 10})
	var ids []queue.ID
	for i, size := range []int{0, 40, 2000, chunkSize + 100, 40, 40, 40} {
		a := benchAcceptance(t)
		a.Envelope.Recipients = append(a.Envelope.Recipients[:1:1], queue.Recipient{ForwardPath: "second@relay.example", Notify: []string{"NEVER"}})
		a.MessageID = fmt.Sprintf("<%d@client.example>", i)
		ids = append(ids, accept(t, s, a, text("text", size)))
	}
	deferred, delivered := claimedNow(t, s, ids[4]), claimedNow(t, s, ids[5])
	claimedNow(t, s, ids[6]) // and it is not settled
	at := now()
	deferred.Results = map[int]queue.Result{0: {At: at, Action: queue.Deferred, Reply: queue.Reply{Command: "RCPT", Code: 451, Enhanced: "4.7.1", Text: "later"}},
		1: {At: at, Action: queue.Refused, Reply: queue.Reply{Command: "RCPT", Code: 550, Text: "no"}}}
	deferred.NextAttempt = at.Add(time.Hour)
	delivered.Results = map[int]queue.Result{0: {At: at, Action: queue.Delivered}, 1: {At: at, Action: queue.Delivered}}
	err := errors.Join(s.Settle(t.Context(), deferred), s.FileLedger(t.Context()), s.Settle(t.Context(), delivered),
		s.Amend(t.Context(), queue.Amendment{ID: ids[1], At: at, Event: queue.Hold, Actor: "carol", Reason: "spam"}),
		s.Amend(t.Context(), queue.Amendment{ID: ids[2], At: at, Event: queue.Delete, Actor: "carol", Reason: "spam"}),
		s.Note(t.Context(), queue.Entry{At: at, Event: queue.Passed, Recipients: []string{"x@relay.example"}}))
	text := asJSON(t, contentsOf(t, s))
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	copyFiles(t, dir, folder)
	if err := os.WriteFile(filepath.Join(folder, "contents"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// claimedNow claims a message, and begins its settlement.
func claimedNow(t *testing.T, s *Store, id queue.ID) queue.Settlement {
	t.Helper()
	claimed, err := s.Claim(t.Context(), []queue.ID{id}, time.Hour)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	return queue.Settlement{ID: id, Attempt: 1}
}
