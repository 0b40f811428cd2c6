package bolt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/mxkeep/mxkeep/queue"
)

// stretch is where something lies in a file.
type stretch struct{ at, length int64 }

// remains are what is left of one message.
type remains struct {
	record stretch // empty if it was not found
	// reached says that the record was found where the file says its records are;
	// one that was not may be an older version.
	reached  bool
	accepted uint64  // number of the ledger line, 0 if it was not found
	trace    stretch // empty if it was not found, or there is none
	chunks   map[uint32]stretch
	past     past // by the ledger of the file
	later    past // by the ledger of the store
}

// past is what the ledger says became of a message.
type past struct {
	results map[string]queue.Result // the final ones, by recipient
	deleted bool
	purged  bool
}

// add takes a line of the ledger into account.
func (p *past) add(e queue.Entry) {
	switch e.Event {
	case queue.Delete:
		p.deleted = true
	case queue.Undelete:
		p.deleted = false
	case queue.Purged:
		p.purged = true
	}
	for i, r := range e.Results {
		if r.Action.Final() && i < len(e.Recipients) {
			if p.results == nil {
				p.results = map[string]queue.Result{}
			}
			p.results[e.Recipients[i]] = r
		}
	}
}

// apply makes of a message what became of it.
func (p past) apply(m queue.Message) queue.Message {
	m.Envelope.Recipients = slices.Clone(m.Envelope.Recipients)
	for i := range m.Envelope.Recipients {
		r := &m.Envelope.Recipients[i]
		result, final := p.results[r.ForwardPath]
		switch {
		case r.Last.Action.Final():
		case final:
			r.Last, r.Deleted = result, false
		case p.deleted:
			r.Deleted = true
		}
	}
	m.Purged = m.Purged || p.purged
	return m
}

// find is everything that was found in a damaged file.
type find struct {
	*ruins
	messages map[queue.ID]*remains
	lines    map[uint64]stretch // of the ledger, by number

	causes  []pair                  // of a file of the ledger
	filed   map[queue.Digest]uint64 // of such a file, the number of a line by its record
	whole   bool                    // everything could be read
	reached bool                    // what is found now can be reached from the root
}

// search reads a file that was set aside: first what can be reached from its
// root, then every page that looks like one of ours. Records, traces and lines
// have checksums, and content is held against its digest; so what is accepted
// here was once written by us.
func search(path string) (*find, error) {
	r, err := openRuins(path)
	if err != nil {
		return nil, err
	}
	f, err := searchIn(r)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return f, nil
}

func searchIn(r *ruins) (*find, error) {
	f := &find{ruins: r, messages: map[queue.ID]*remains{}, lines: map[uint64]stretch{}}
	h := r.heads()
	f.whole, f.reached = h.valid == 2 && h.newest.end <= uint64(r.size/r.pageSize), true
	if h.valid > 0 {
		w := newWalk(r, h.newest.end)
		w.broken = func(error) error { f.whole = false; return nil }
		w.visit = func(_ string, e element) error { f.take(e); return nil }
		_ = w.tree("", h.newest.root) // nothing ends it
	}
	f.reached = false
	r.everyPage(func(p page) { r.everyElement(p, f.take) })
	return f, f.readPasts()
}

// idSize is the length of an ID.
const idSize = 12

// take keeps what an element is, if it is something of ours. What has been
// found before stays: only records change, and the newest of them counts.
func (f *find) take(e element) {
	switch {
	case len(e.key) == idSize+4 && e.bucket:
		f.takeChunk(e)
	case len(e.key) == idSize && !e.bucket:
		f.takeRecord(e)
	case len(e.key) == 8 && !e.bucket:
		number := binary.BigEndian.Uint64(e.key)
		if _, known := f.lines[number]; known {
			return
		}
		if value, err := f.value(e); err == nil {
			if _, err := decodeEntry(e.key, value); err == nil {
				f.lines[number] = stretch{e.at, e.length}
			} else if f.reached {
				f.whole = false
			}
		}
	}
}

// message is the place of an ID; nil if it is none.
func (f *find) message(key []byte) *remains {
	id, err := queue.ParseID(string(key))
	if err != nil {
		return nil
	}
	if f.messages[id] == nil {
		f.messages[id] = &remains{chunks: map[uint32]stretch{}}
	}
	return f.messages[id]
}

func (f *find) takeChunk(e element) {
	m := f.message(e.key[:idSize])
	if m == nil {
		return
	}
	number := binary.BigEndian.Uint32(e.key[idSize:])
	if _, known := m.chunks[number]; known {
		return
	}
	p, root, err := e.inside()
	if err == nil && root != 0 {
		p, err = f.page(root, uint64(f.size/f.pageSize))
	}
	if err != nil || p.flags != flagLeaf || p.count != 1 {
		return
	}
	if value, err := p.element(0); err == nil && bytes.Equal(value.key, keyBytes) {
		m.chunks[number] = stretch{value.at, value.length}
	}
}

// takeRecord keeps a record or a trace: both have the ID for a key, and only a
// record begins with a brace.
func (f *find) takeRecord(e element) {
	if e.length < recordHeader {
		return // a draft has nothing behind its key
	}
	value, err := f.value(e)
	if err != nil {
		return
	}
	body, err := unseal(value)
	if err != nil {
		if f.reached {
			f.whole = false
		}
		return
	}
	m := f.message(e.key)
	if m == nil {
		return
	}
	record, err := decodeMessage(queue.ID(e.key), value)
	switch {
	case err != nil || body[0] != '{':
		m.trace = stretch{e.at, e.length}
	case m.record.length == 0:
		m.record, m.reached = stretch{e.at, e.length}, f.reached
	case !m.reached:
		if other, err := f.record(queue.ID(e.key)); err == nil && newer(record, other) {
			m.record = stretch{e.at, e.length}
		}
	}
}

// record reads the record of a message.
func (f *find) record(id queue.ID) (queue.Message, error) {
	place := f.messages[id].record
	value, err := f.extent(place.at, place.length)
	if err != nil {
		return queue.Message{}, err
	}
	return decodeMessage(id, value)
}

// newer reports whether a version of a record comes after another. It need not
// be certain: what the ledger says counts, too, and what comes back is held.
func newer(a, b queue.Message) bool {
	if a.Attempts != b.Attempts {
		return a.Attempts > b.Attempts
	}
	finals := func(m queue.Message) (n int) {
		for i := range m.Envelope.Recipients {
			if m.RecipientState(i).Final() {
				n++
			}
		}
		return n
	}
	if finals(a) != finals(b) {
		return finals(a) > finals(b)
	}
	return a.LeasedUntil.IsZero() && !b.LeasedUntil.IsZero() || a.HeldAt.After(b.HeldAt)
}

// line reads a line of the ledger.
func (f *find) line(number uint64) (queue.Entry, error) {
	value, err := f.extent(f.lines[number].at, f.lines[number].length)
	if err != nil {
		return queue.Entry{}, err
	}
	return decodeEntry(sequenceKey(number), value)
}

// readPasts reads what the ledger of the file says about its messages.
func (f *find) readPasts() error {
	for _, number := range sortedKeys(f.lines) {
		e, err := f.line(number)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if e.ID == "" {
			continue
		}
		m := f.message([]byte(e.ID))
		if m == nil {
			continue
		}
		m.past.add(e)
		if _, begins := e.Begins(); begins {
			m.accepted = number
		}
	}
	return nil
}

// readLater reads what the ledger of the store says about the messages.
func (f *find) readLater(lines iter.Seq2[queue.Entry, error]) error {
	for e, err := range lines {
		if err != nil && !errors.Is(err, queue.ErrDamaged) {
			return err
		}
		if err != nil {
			continue
		}
		if m := f.messages[e.ID]; m != nil {
			m.later.add(e)
		}
		f.here(e)
	}
	return nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
