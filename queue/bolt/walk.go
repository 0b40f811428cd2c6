package bolt

import (
	"bytes"
)

// walk visits what can be reached from a root page, without bbolt.
type walk struct {
	*ruins
	end  uint64          // the number of the first page that is not in use
	free map[uint64]bool // pages that must not be reached
	seen []uint64        // one bit for each page, against circles and pages in two places

	// visit gets every pair of every bucket, with the name of the bucket of the
	// first level, "" for the root. key and value are valid only within it. An error ends the walk.
	visit func(top string, e element) error
	// broken gets what cannot be read, and decides: an error ends the walk.
	broken func(error) error
	// pages, if not nil, gets the number of every page, and of those that belong to it.
	pages func(id, count uint64)
}

func newWalk(r *ruins, end uint64) *walk {
	end = min(end, uint64(r.size/r.pageSize))
	return &walk{ruins: r, end: end, seen: make([]uint64, end/64+1),
		visit: func(string, element) error { return nil }, broken: func(err error) error { return err }}
}

// tree visits the bucket whose root is the page.
func (w *walk) tree(top string, root uint64) error {
	return w.page(top, root, nil, nil, maxDepth)
}

// page visits a page whose keys are at least low and below high; nil is open.
func (w *walk) page(top string, id uint64, low, high []byte, depth int) error {
	if depth == 0 {
		return w.broken(wrongPage(id, "lies too deep"))
	}
	p, err := w.ruins.page(id, w.end)
	if err == nil {
		err = w.enter(p)
	}
	if err == nil && p.flags == flagFreelist {
		err = wrongPage(id, "is a freelist")
	}
	if err != nil {
		return w.broken(err)
	}
	return w.elements(top, p, low, high, depth)
}

// enter notes that a page has been reached.
func (w *walk) enter(p page) error {
	count := uint64(p.total) / uint64(w.pageSize)
	for id := p.id; id < p.id+count; id++ {
		switch {
		case w.seen[id/64]&(1<<(id%64)) != 0:
			return wrongPage(id, "is in two places")
		case w.free[id]:
			return wrongPage(id, "is in use, and free")
		}
		w.seen[id/64] |= 1 << (id % 64)
	}
	if w.pages != nil {
		w.pages(p.id, count)
	}
	return nil
}

// elements visits the elements of a branch or a leaf, of which every key must
// come after the one before.
func (w *walk) elements(top string, p page, low, high []byte, depth int) error {
	var last []byte
	n := -1
	for e, err := range p.elements() {
		n++
		if err == nil && !inOrderOfKeys(n, last, e.key, low, high) {
			err = wrongPage(p.id, "key %q is out of order", e.key)
		}
		if err != nil {
			if err := w.broken(err); err != nil {
				return err
			}
			continue
		}
		last = e.key
		switch {
		case p.flags == flagBranch:
			err = w.page(top, e.child, e.key, w.next(p, n, high), depth-1)
		case e.bucket:
			err = w.bucket(top, e, depth)
		default:
			err = w.visit(top, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inOrderOfKeys reports whether a key comes after the last, and within the
// bounds. The first element of a branch may have a key below all others of its
// page, so only the others are held to be after it.
func inOrderOfKeys(n int, last, key, low, high []byte) bool {
	if n > 0 && bytes.Compare(last, key) >= 0 {
		return false
	}
	return (low == nil || bytes.Compare(low, key) <= 0) && (high == nil || bytes.Compare(key, high) < 0)
}

// next is the key of the element after the nth of a branch; high if there is none.
func (w *walk) next(p page, n int, high []byte) []byte {
	if n+1 == p.count {
		return high
	}
	e, err := p.element(n + 1)
	if err != nil { // that is told when it is its turn
		return high
	}
	return e.key
}

// bucket visits a bucket within another.
func (w *walk) bucket(top string, e element, depth int) error {
	if err := w.visit(top, e); err != nil {
		return err
	}
	name := top
	if name == "" {
		name = string(e.key)
	}
	p, root, err := e.inside()
	switch {
	case err != nil:
		return w.broken(err)
	case root != 0:
		return w.page(name, root, nil, nil, depth-1)
	case depth == 1:
		return w.broken(wrongPage(0, "bucket %q lies too deep", e.key))
	}
	return w.elements(name, p, nil, nil, depth-1)
}
