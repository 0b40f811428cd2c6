package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
)

// The version of the layout of files, buckets and keys. What changed:
//
//	1  the first
//	2  counters are complete: by upstream, with trash and what is done with;
//	   the store has an identity, in store.json and in each generation
//
// Every format from oldestFormat on is read. Generations of an older one are
// changed when the store is opened, see migrate; ledger files, which are a
// chain, and descriptions of what is set aside stay as they are.
const (
	format       = 2
	oldestFormat = 1
)

// ErrNewer says that a newer version has written a file: it is left alone.
var ErrNewer = errors.New("written by a newer version")

// Formats are the oldest format that is read, and the one that is written.
func Formats() (reads, writes int) { return oldestFormat, format }

// reads reports whether a file of that format can be read.
func reads(n int) bool { return n >= oldestFormat && n <= format }

// formatOf is the format that a file says it has; 0 is none.
func formatOf(meta *bbolt.Bucket) int {
	if f := meta.Get(keyFormat); len(f) == 1 {
		return int(f[0])
	}
	return 0
}

// newerFormat refuses what a newer version has written, and says how to go on.
func newerFormat(path string, has int) error {
	dir := filepath.Dir(path)
	words := fmt.Sprintf("it has format %d; this version reads formats %d to %d", has, oldestFormat, format)
	if by := writerOf(dir); by != "" {
		words += "; mxkeep " + by + " has written it"
	}
	words += ". Start that version, or a newer one"
	for n := has; n > format; n-- {
		if copies, err := filepath.Glob(filepath.Join(dir, beforeFolder(n)+"*")); err == nil {
			for _, c := range copies {
				if !strings.HasSuffix(c, unfinishedSuffix) {
					words += ". To go back to the files from before: mxkeep help upgrade, and " + c
				}
			}
		}
	}
	return fmt.Errorf("%s: %w: %s", path, ErrNewer, words)
}

// checkFormat is nil for a format that can be read.
func checkFormat(path string, meta *bbolt.Bucket) error {
	switch f := formatOf(meta); {
	case f > format:
		return newerFormat(path, f)
	case !reads(f):
		return fmt.Errorf("its format is %v, not %d to %d", meta.Get(keyFormat), oldestFormat, format)
	}
	return nil
}

// glimpse is what can be seen of a file without bbolt, which nothing changes.
type glimpse struct {
	format   int    // 0 if it cannot be found
	store    string // the store that the file was made, or changed, by; "" if it does not say
	tx       uint64
	size     int64
	counters []byte // as they are in the file
}

// peek looks at a file that nobody writes to. What is damaged has no format;
// the error is that of the file system.
func peek(path string) (g glimpse, err error) {
	r, err := openRuins(path)
	if err != nil {
		return g, err
	}
	defer r.Close()
	h := r.heads()
	g.size = r.size
	if h.valid == 0 {
		return g, nil
	}
	g.tx = h.newest.tx
	value, err := r.lookup(h.newest, bucketMeta, keyFormat)
	if err != nil || len(value) != 1 {
		return g, nil
	}
	g.format = int(value[0])
	if value, err = r.lookup(h.newest, bucketMeta, keyStore); err == nil {
		g.store = string(value)
	}
	if value, err = r.lookup(h.newest, bucketCounters, keyAccount); err == nil {
		g.counters = value
	}
	return g, nil
}

// lookup finds the value of a key in a bucket of the first level; nil if there is none.
func (r *ruins) lookup(h head, bucket, key []byte) ([]byte, error) {
	p, err := r.page(h.root, h.end)
	if err != nil {
		return nil, err
	}
	e, err := r.search(p, h.end, bucket)
	if err != nil || !e.bucket {
		return nil, err
	}
	inner, root, err := e.inside()
	if err == nil && root != 0 {
		inner, err = r.page(root, h.end)
	}
	if err != nil {
		return nil, err
	}
	e, err = r.search(inner, h.end, key)
	if err != nil || e.key == nil || e.bucket {
		return nil, err
	}
	return r.value(e)
}

// search finds the element of a key below a page; without one its key is nil.
func (r *ruins) search(p page, end uint64, key []byte) (element, error) {
	for range maxDepth {
		var child uint64
		for e, err := range p.elements() {
			switch {
			case err != nil:
				return element{}, err
			case p.flags == flagLeaf && bytes.Equal(e.key, key):
				return e, nil
			case p.flags == flagBranch && (child == 0 || bytes.Compare(e.key, key) <= 0):
				child = e.child
			}
		}
		if child == 0 {
			return element{}, nil
		}
		var err error
		if p, err = r.page(child, end); err != nil {
			return element{}, err
		}
	}
	return element{}, wrongPage(p.id, "lies too deep")
}
