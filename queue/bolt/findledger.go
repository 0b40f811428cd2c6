package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"regexp"

	"github.com/mxkeep/mxkeep/queue"
)

// causeForm is what causeKey writes.
var causeForm = regexp.MustCompile(`^[0-9a-z]{12}/[0-9]+/`)

// searchLedger reads a ledger file that was set aside as search does a
// generation. Every line has a checksum behind its hash.
func searchLedger(path string) (*find, error) {
	r, err := openRuins(path)
	if err != nil {
		return nil, err
	}
	return searchFiled(r), nil
}

func searchFiled(r *ruins) *find {
	f := &find{ruins: r, messages: map[queue.ID]*remains{}, lines: map[uint64]stretch{}, filed: map[queue.Digest]uint64{}}
	h := r.heads()
	f.whole, f.reached = h.valid == 2 && h.newest.end <= uint64(r.size/r.pageSize), true
	if h.valid > 0 {
		w := newWalk(r, h.newest.end)
		w.broken = func(error) error { f.whole = false; return nil }
		w.visit = func(_ string, e element) error { f.takeFiled(e); return nil }
		_ = w.tree("", h.newest.root) // nothing ends it
	}
	f.reached = false
	r.everyPage(func(p page) { r.everyElement(p, f.takeFiled) })
	return f
}

// takeFiled keeps what an element of a ledger file is.
func (f *find) takeFiled(e element) {
	switch {
	case e.bucket:
	case len(e.key) == 8:
		number := binary.BigEndian.Uint64(e.key)
		if _, known := f.lines[number]; known {
			return
		}
		value, err := f.value(e)
		if err == nil && len(value) > sha256.Size {
			if _, err = decodeEntry(e.key, value[sha256.Size:]); err == nil {
				sum := queue.Digest(sha256.Sum256(value[sha256.Size:]))
				if _, known := f.filed[sum]; !known { // its number may be damaged: that has no checksum
					f.filed[sum] = number
					f.lines[number] = stretch{e.at + sha256.Size, e.length - sha256.Size}
				}
				return
			}
		}
		if f.reached {
			f.whole = false
		}
	case causeForm.Match(e.key) && len(e.value) == idSize:
		f.causes = append(f.causes, pair{bytes.Clone(e.key), bytes.Clone(e.value)})
	}
}

// bringCauses writes the causes of notifications that a ledger file held; once
// more is the same.
func (r *salvage) bringCauses(ctx context.Context) error {
	if r.result.DryRun || len(r.causes) == 0 {
		return nil
	}
	g, err := r.store.youngest()
	if err != nil {
		return err
	}
	defer g.done()
	return g.do(ctx, func(b *batch) error {
		for _, p := range r.causes {
			if err := b.bucket(bucketCauses).Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// here takes out a line that is in the store.
func (f *find) here(e queue.Entry) {
	if f.filed == nil {
		return
	}
	delete(f.lines, e.Seq)
	if number, known := f.filed[queue.Digest(sha256.Sum256(encodeEntry(e)))]; known {
		delete(f.lines, number)
	}
}
