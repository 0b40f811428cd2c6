package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Ledger lists lines in the order in which they were written: first those that
// are filed, then those that are still in a generation. It ends with the last
// line that had a number when it began: of what comes later it would have gaps.
func (s *Store) Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error] {
	return func(yield func(queue.Entry, error) bool) {
		r := ledgerReader{store: s, end: s.seq.Load(), wanted: newSieve(f), told: map[int]bool{}}
		r.each = func(p pair) bool {
			e, err := decodeEntry(p.key, p.value)
			if err == nil && !f.Match(e) {
				return true
			}
			r.left = !yield(e, err) || err != nil && !errors.Is(err, queue.ErrDamaged)
			return !r.left
		}
		r.tell = func(err error) bool {
			r.left = !yield(queue.Entry{}, err)
			return !r.left
		}
		if err := r.run(ctx); err != nil {
			yield(queue.Entry{}, err)
		}
	}
}

// ledgerReader reads ledger lines once and in order, wherever they are.
type ledgerReader struct {
	store  *Store
	after  uint64 // all up to this one have been read
	end    uint64
	wanted sieve
	each   func(pair) bool
	tell   func(error) bool // of lines that are missing
	told   map[int]bool     // which files they were in
	left   bool             // each or tell wants no more
}

// run reads all there is.
func (r *ledgerReader) run(ctx context.Context) error {
	for {
		layout := r.store.layout.Load() // before it is seen what is filed: a generation may go right after
		err := r.filed(ctx)
		if err == nil && !r.left {
			err = r.unfiled(ctx, layout)
		}
		if !errors.Is(err, errMoved) { // what was in a generation is filed by now
			return err
		}
	}
}

// filed reads what is in ledger files. What is set aside, or cannot be read, is
// told in its place.
func (r *ledgerReader) filed(ctx context.Context) error {
	if _, err := r.store.all(); err != nil {
		return err
	}
	files, end := r.store.ledger.row()
	end = min(end, r.end)
	gaps := r.store.gaps()
	for _, f := range files {
		for len(gaps) > 0 && gaps[0].number < f.number {
			if !r.gap(gaps[0]) {
				return nil
			}
			gaps = gaps[1:]
		}
		if r.tooOld(f) {
			continue
		}
		goOn, err := f.lines(ctx, r.after, end, r.wanted.mayMatch, r.each)
		if errors.Is(err, ErrDamagedFile) && r.store.Err() == nil {
			r.told[f.number] = true
			goOn, err = r.tell(fmt.Errorf("the ledger filed on %s: %w: %w", f.day.Format(time.DateOnly), queue.ErrDamaged, err)), nil
		}
		if err != nil || !goOn {
			return err
		}
	}
	for _, g := range gaps {
		if !r.gap(g) {
			return nil
		}
	}
	r.after = max(r.after, end)
	return nil
}

// tooOld reports whether all lines of a file are before those that are wanted:
// nothing is filed before it happens.
func (r *ledgerReader) tooOld(f *ledgerFile) bool {
	return f.day.Add(48 * time.Hour).Before(r.wanted.since)
}

// gap tells that a file is set aside, once, as long as something of it is missing.
func (r *ledgerReader) gap(g gap) bool {
	if r.told[g.number] || !g.aside.Open() || r.tooOld(g.ledgerFile) {
		return true
	}
	r.told[g.number] = true
	return r.tell(g.missing())
}

// unfiled reads what is in generations. errMoved: some of it may be filed meanwhile.
func (r *ledgerReader) unfiled(ctx context.Context, layout uint64) error {
	for p, err := range r.store.part(ctx, layout, [][]byte{bucketLedger}, sequenceKey(r.after), sequenceKey(r.end+1)) {
		if err != nil {
			return err
		}
		r.after = sequenceOf(p.key)
		if r.wanted.mayMatch(p.value) && !r.each(p) {
			return nil
		}
	}
	return nil
}

// sieve tells lines apart without decoding them: that costs ten times as much.
type sieve struct {
	contains     [][]byte // all of them
	events       [][]byte // one of them
	folded       []byte   // in lower case
	since, until time.Time
}

func newSieve(f queue.LedgerFilter) sieve {
	w := sieve{since: f.Since, until: f.Until, folded: bytes.ToLower(quoted(f.Address))}
	for _, text := range []string{string(f.ID), f.MessageID, f.RemoteSession} {
		if text != "" {
			w.contains = append(w.contains, quoted(text))
		}
	}
	for _, event := range f.Events {
		w.events = append(w.events, quoted(string(event)))
	}
	return w
}

// quoted is the text as it stands in JSON, without the quotation marks.
func quoted(text string) []byte {
	body, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string can be written
	}
	return body[1 : len(body)-1]
}

// mayMatch reports whether the record could be one that the filter matches. If
// not, it is not.
func (w sieve) mayMatch(record []byte) bool {
	for _, text := range w.contains {
		if !bytes.Contains(record, text) {
			return false
		}
	}
	if len(w.folded) > 0 && !containsFolded(record, w.folded) {
		return false
	}
	if !w.since.IsZero() || !w.until.IsZero() {
		if at, ok := timeOf(record); ok && (at.Before(w.since) || !w.until.IsZero() && !at.Before(w.until)) {
			return false
		}
	}
	for _, event := range w.events {
		if bytes.Contains(record, event) {
			return true
		}
	}
	return len(w.events) == 0
}

// lineStart is how encodeEntry begins, before the time.
const lineStart = `{"seq":0,"at":"`

// timeOf reads the time of a line that is written as encodeEntry does.
func timeOf(record []byte) (at time.Time, ok bool) {
	rest, ok := bytes.CutPrefix(record[min(len(record), recordHeader):], []byte(lineStart))
	text, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return at, err == nil
}

// containsFolded reports whether text is in record in any case. It is true as well
// where letters beyond ASCII stand: some of them are equal to ASCII letters in another case.
func containsFolded(record, text []byte) bool {
	first, upper := text[0], bytes.ToUpper(text[:1])[0]
	if first >= 0x80 {
		return true
	}
	for i, c := range record {
		if c >= 0x80 && i >= recordHeader {
			return true
		}
		if (c == first || c == upper) && len(record)-i >= len(text) && bytes.EqualFold(record[i:i+len(text)], text) {
			return true
		}
	}
	return false
}
