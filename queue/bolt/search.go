package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Ledger lists lines in the order in which they were written: first those that
// are filed, then those that are still in a generation.
func (s *Store) Ledger(ctx context.Context, f queue.LedgerFilter) iter.Seq2[queue.Entry, error] {
	return func(yield func(queue.Entry, error) bool) {
		wanted := newSieve(f)
		ended := false
		each := func(p pair) bool {
			e, err := decodeEntry(p.key, p.value)
			ended = (err != nil || f.Match(e)) && (!yield(e, err) || err != nil)
			return !ended
		}
		for after := uint64(0); !ended; {
			err := s.filedLines(ctx, &after, wanted, each)
			if err == nil && !ended {
				err = s.unfiledLines(ctx, &after, wanted, each)
			}
			if err == nil {
				return
			}
			if !errors.Is(err, errMoved) {
				yield(queue.Entry{}, err)
				return
			}
		}
	}
}

// filedLines calls each for lines of the ledger files, until it returns false.
// All of them were looked at up to the new value of after.
func (s *Store) filedLines(ctx context.Context, after *uint64, wanted sieve, each func(pair) bool) error {
	if _, err := s.all(); err != nil {
		return err
	}
	files, end := s.ledger.row()
	for _, f := range files {
		if f.day.Add(48 * time.Hour).Before(wanted.since) { // nothing is filed before it happens
			continue
		}
		if goOn, err := f.lines(ctx, *after, end, wanted.mayMatch, each); err != nil || !goOn {
			return err
		}
	}
	*after = max(*after, end)
	return nil
}

// unfiledLines does the same with the generations. errMoved: some lines may
// have been filed meanwhile.
func (s *Store) unfiledLines(ctx context.Context, after *uint64, wanted sieve, each func(pair) bool) error {
	for p, err := range s.part(ctx, [][]byte{bucketLedger}, sequenceKey(*after), nil) {
		if err != nil {
			return err
		}
		*after = sequenceOf(p.key)
		if wanted.mayMatch(p.value) && !each(p) {
			return nil
		}
	}
	return nil
}

// sieve tells lines apart without decoding them: that costs ten times as much.
type sieve struct {
	contains [][]byte // all of them
	events   [][]byte // one of them
	folded   []byte   // in lower case
	since    time.Time
}

func newSieve(f queue.LedgerFilter) sieve {
	w := sieve{since: f.Since, folded: bytes.ToLower(quoted(f.Address))}
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
	for _, event := range w.events {
		if bytes.Contains(record, event) {
			return true
		}
	}
	return len(w.events) == 0
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
