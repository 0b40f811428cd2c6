package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// pagesOf is a file made of pages of 4096 bytes.
type pagesOf [][]byte

func (p pagesOf) ruins() *ruins {
	file := bytes.Join(p, nil)
	return &ruins{file: bytes.NewReader(file), size: int64(len(file)), pageSize: 4096}
}

// leaf and branch make pages with elements of a key and a value, or a key and a
// page.
func leaf(id uint64, pairs ...string) []byte { return makePage(id, flagLeaf, pairs, nil) }
func branch(id uint64, keys []string, children ...uint64) []byte {
	return makePage(id, flagBranch, keys, children)
}

func makePage(id uint64, flags uint16, words []string, children []uint64) []byte {
	page := make([]byte, 4096)
	binary.NativeEndian.PutUint64(page, id)
	binary.NativeEndian.PutUint16(page[8:], flags)
	count, step := len(words), 1
	if flags == flagLeaf {
		count, step = len(words)/2, 2
	}
	binary.NativeEndian.PutUint16(page[10:], uint16(count))
	at := pageHeader + count*elementHeader
	for n := range count {
		from := pageHeader + n*elementHeader
		raw := page[from:]
		short := func(place int, value int) { binary.NativeEndian.PutUint32(raw[place:], uint32(value)) }
		key := words[n*step]
		if flags == flagLeaf {
			short(4, at-from)
			short(8, len(key))
			short(12, len(words[n*step+1]))
			at += copy(page[at:], key+words[n*step+1])
			continue
		}
		short(0, at-from)
		short(4, len(key))
		binary.NativeEndian.PutUint64(raw[8:], children[n])
		at += copy(page[at:], key)
	}
	return page
}

// TestWalk reads trees that are as they should be, and others.
func TestWalk(t *testing.T) {
	none := make([]byte, 4096)
	bucket := func(page []byte) []byte { page[pageHeader] = elementBucket; return page }
	for _, c := range []struct {
		rule  string
		pages pagesOf // from page 2 on; 2 is the root
		free  []uint64
		says  string
		seen  string // keys
	}{
		{"a leaf", pagesOf{leaf(2, "a", "1", "b", "2")}, nil, "", "ab"},
		{"an empty leaf", pagesOf{leaf(2)}, nil, "", ""},
		{"a branch", pagesOf{branch(2, []string{"a", "c"}, 3, 4), leaf(3, "a", "", "b", ""), leaf(4, "c", "")}, nil, "", "abc"},
		{"a circle", pagesOf{branch(2, []string{"a", "c"}, 3, 2), leaf(3, "a", "")}, nil, "page 2: is in two places", "a"},
		{"a page in two places", pagesOf{branch(2, []string{"a", "b"}, 3, 3), leaf(3, "a", "")}, nil, "page 3: is in two places", "a"},
		{"a page that is free", pagesOf{branch(2, []string{"a"}, 3), leaf(3, "a", "")}, []uint64{3}, "page 3: is in use, and free", ""},
		{"a page beyond the end", pagesOf{branch(2, []string{"a"}, 9)}, nil, "page 9: beyond the end, 3", ""},
		{"a meta page", pagesOf{branch(2, []string{"a"}, 1)}, nil, "page 1: beyond the end", ""},
		{"keys out of order", pagesOf{leaf(2, "b", "", "a", "")}, nil, `key "a" is out of order`, "b"},
		{"the same key twice", pagesOf{leaf(2, "a", "", "a", "")}, nil, `key "a" is out of order`, "a"},
		{"a key below its branch", pagesOf{branch(2, []string{"b"}, 3), leaf(3, "a", "")}, nil, `key "a" is out of order`, ""},
		{"a key beyond its branch", pagesOf{branch(2, []string{"a", "b"}, 3, 4), leaf(3, "a", "", "c", ""), leaf(4, "b", "")}, nil, `key "c" is out of order`, "a"},
		{"a bucket with a root", pagesOf{bucket(leaf(2, "x", "\x03\x00\x00\x00\x00\x00\x00\x00--------")), leaf(3, "a", "")}, nil, "", "xa"},
		{"a bucket within", pagesOf{bucket(leaf(2, "x", string(make([]byte, 16))+string(leaf(0, "a", "1")[:40])))}, nil, "", "xa"},
		{"a bucket without a page", pagesOf{bucket(leaf(2, "x", string(make([]byte, 20))))}, nil, "has 4 bytes", "x"},
		{"a bucket of a few bytes", pagesOf{bucket(leaf(2, "x", "few"))}, nil, `bucket "x" of 3 bytes`, "x"},
		{"a bucket within that is a branch", pagesOf{bucket(leaf(2, "x", string(make([]byte, 16))+string(branch(0, nil)[:40])))}, nil, `bucket "x" is no leaf`, "x"},
		{"a bucket within that points out", pagesOf{bucket(leaf(2, "x", string(make([]byte, 16))+string(leaf(0, "a", strings.Repeat("1", 99))[:40])))}, nil, "lies outside", "x"},
		{"a bucket that is its own root", pagesOf{bucket(leaf(2, "x", "\x02\x00\x00\x00\x00\x00\x00\x00--------"))}, nil, "is in two places", "x"},
	} {
		r := append(pagesOf{none, none}, c.pages...).ruins()
		w := newWalk(r, 1<<40)
		w.free = map[uint64]bool{}
		for _, id := range c.free {
			w.free[id] = true
		}
		seen := ""
		w.visit = func(_ string, e element) error { seen += string(e.key); return nil }
		err := w.tree("", 2)
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, errPage) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.rule, err)
		}
		if seen != c.seen {
			t.Errorf("%s: seen %q", c.rule, seen)
		}
		enough := errors.New("enough")
		w = newWalk(r, 1<<40)
		w.visit = func(string, element) error { return enough }
		if err := w.tree("", 2); c.seen != "" && !errors.Is(err, enough) {
			t.Errorf("%s: an error of the caller: %v", c.rule, err)
		}
		w = newWalk(r, 1<<40)
		w.broken = func(error) error { return nil }
		if err := w.tree("", 2); err != nil {
			t.Errorf("%s: it does not go on: %v", c.rule, err)
		}
	}
}

// TestWalkTooDeep: a tree without end has one.
func TestWalkTooDeep(t *testing.T) {
	pages := pagesOf{make([]byte, 4096), make([]byte, 4096)}
	for id := uint64(2); id < 2+2*maxDepth; id++ {
		pages = append(pages, branch(id, []string{"a"}, id+1))
	}
	if err := newWalk(pages.ruins(), 1<<40).tree("", 2); err == nil || !strings.Contains(err.Error(), "lies too deep") {
		t.Error(err)
	}
}

func TestFreeList(t *testing.T) {
	list := func(count uint16, ids ...uint64) []byte {
		page := makePage(2, flagFreelist, nil, nil)
		binary.NativeEndian.PutUint16(page[10:], count)
		for i, id := range ids {
			binary.NativeEndian.PutUint64(page[pageHeader+8*i:], id)
		}
		return page
	}
	for _, c := range []struct {
		rule string
		page []byte
		want int
		says string
	}{
		{"none", list(0), 0, ""},
		{"two", list(2, 5, 7), 2, ""},
		{"a count that did not fit", list(0xFFFF, 2, 5, 7), 2, ""},
		{"a meta page", list(1, 1), 0, "page 1 cannot be free"},
		{"a page beyond the end", list(1, 99), 0, "page 99 cannot be free"},
		{"a page twice", list(2, 5, 5), 0, "page 5 cannot be free"},
		{"more than there is room for", list(600), 0, "has no room for 600 free pages"},
		{"a count without end", list(0xFFFF, 1<<62), 0, "has no room"},
		{"another kind of page", leaf(2), 0, "is no freelist"},
		{"another page", leaf(3), 0, "says it is 3"},
	} {
		r := pagesOf{make([]byte, 4096), make([]byte, 4096), c.page}.ruins()
		got, err := r.free(head{freelist: 2, end: 10})
		if len(got) != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", c.rule, got, err)
		}
	}
	r := pagesOf{}.ruins()
	if got, err := r.free(head{freelist: noFreelist}); len(got) != 0 || err != nil {
		t.Errorf("a file without a list: %v, %v", got, err)
	}
	if sum, err := r.freeSum(head{freelist: noFreelist}); sum != 0 || err != nil {
		t.Errorf("its sum: %d, %v", sum, err)
	}
}

// TestElementsDoNotOverlap: what lies within each other would be read again and again.
func TestElementsDoNotOverlap(t *testing.T) {
	page := leaf(2, "a", "1", "b", "2")
	binary.NativeEndian.PutUint32(page[pageHeader+elementHeader+4:], elementHeader) // the second begins where the first does
	p, err := asPage(2, 0, 4096, page)
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, err := range p.elements() {
		errs = append(errs, err)
	}
	if len(errs) != 2 || errs[0] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "lies within another") {
		t.Errorf("%v", errs)
	}
	for range p.elements() {
		break // and nothing happens
	}
}

// TestNewerRecord: of two versions that cannot be reached, the later one counts.
func TestNewerRecord(t *testing.T) {
	at := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	m := queue.Message{Attempts: 1, Envelope: queue.Envelope{Recipients: []queue.Recipient{{ForwardPath: "a@b.example"}}}}
	tried, done, leased, held := m, m, m, m
	tried.Attempts = 2
	done.Envelope.Recipients = []queue.Recipient{{ForwardPath: "a@b.example", Last: queue.Result{Action: queue.Delivered}}}
	leased.LeasedUntil = at
	held.HeldAt = at
	for _, c := range []struct {
		rule string
		a, b queue.Message
	}{
		{"more attempts", tried, m}, {"more that is final", done, m}, {"no lease any more", m, leased}, {"held later", held, m},
	} {
		if !newer(c.a, c.b) || newer(c.b, c.a) {
			t.Errorf("%s: %t, and the other way round %t", c.rule, newer(c.a, c.b), newer(c.b, c.a))
		}
	}
}
