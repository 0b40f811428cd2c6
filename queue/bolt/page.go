package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"os"
)

// bbolt trusts its pages: on one that is wrong it panics, reads what is not
// mapped, or does not end. So what may be damaged is read here, with every
// length and number checked, from the layout that bbolt documents:
//
//	page     id 8, flags 2, count 2, overflow 4; overflow more pages belong to it
//	branch   count elements: position 4, key length 4, page 8
//	leaf     count elements: flags 4, position 4, key length 4, value length 4
//	meta     magic 4, version 4, page size 4, flags 4, root 8, sequence 8,
//	         freelist 8, end 8, transaction 8, FNV-1a of what is before 8
//
// A position counts from its element. The value of a bucket is its root page
// and a sequence; root 0 means that a page follows, without a number.
const (
	pageHeader    = 16
	elementHeader = 16
	metaLength    = 64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	elementBucket = 0x01 // flag of a leaf element
	bucketHeader  = 16

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = 1<<64 - 1
)

// maxDepth bounds a tree: with two elements a page it would fill every disk.
const maxDepth = 64

// ruins are the pages of one file.
type ruins struct {
	file     io.ReaderAt
	size     int64 // of the file
	pageSize int64
}

// head is what a meta page says.
type head struct {
	root, freelist uint64
	end            uint64 // the number of the first page beyond what is in use
	tx             uint64
}

// heads are the two meta pages: the newer one counts.
type heads struct {
	newest head
	valid  int // 0, 1 or 2
}

// openRuins opens a file for reading. Nothing of it has been looked at.
func openRuins(path string) (*ruins, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	about, err := file.Stat()
	if err == nil && !about.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &ruins{file: file, size: about.Size(), pageSize: int64(os.Getpagesize())}, nil
}

func (r *ruins) Close() error {
	if closer, ok := r.file.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// heads reads the meta pages. A file that this system did not make may have
// pages of another size; the first meta page that is sound says so.
func (r *ruins) heads() heads {
	if size := r.sizeOfPages(); size > 0 {
		r.pageSize = size
	}
	var h heads
	for id := range int64(2) {
		meta, size := r.head(id * r.pageSize)
		if size == 0 {
			continue
		}
		if h.valid++; h.valid == 1 || meta.tx > h.newest.tx {
			h.newest = meta
		}
	}
	return h
}

// sizeOfPages is 0 if no meta page can be found.
func (r *ruins) sizeOfPages() int64 {
	if _, size := r.head(0); size > 0 {
		return size
	}
	for size := int64(1 << 10); size <= 64<<10; size <<= 1 {
		if _, says := r.head(size); says == size {
			return size
		}
	}
	return 0
}

// head reads the meta page at an offset. The size of pages is 0 if it is not sound.
func (r *ruins) head(at int64) (head, int64) {
	var page [pageHeader + metaLength]byte
	if _, err := r.file.ReadAt(page[:], at); err != nil {
		return head{}, 0
	}
	meta := page[pageHeader:]
	word := func(at int) uint64 { return binary.NativeEndian.Uint64(meta[at:]) }
	short := func(at int) uint32 { return binary.NativeEndian.Uint32(meta[at:]) }
	sum := fnv.New64a()
	sum.Write(meta[:56])
	size := int64(short(8))
	if short(0) != metaMagic || short(4) != metaVersion || word(56) != sum.Sum64() || size < 1<<10 || size > 64<<10 || size&(size-1) != 0 {
		return head{}, 0
	}
	return head{root: word(16), freelist: word(32), end: word(40), tx: word(48)}, size
}

// page is a page that has been read, with those that belong to it.
type page struct {
	id    uint64 // 0 of a bucket that lies in the value of an element
	at    int64  // offset in the file
	flags uint16
	count int
	total int64  // length, with the pages that belong to it
	bytes []byte // of a page with a single element perhaps only the first page
}

// element is one of a page.
type element struct {
	key    []byte
	value  []byte // what has been read of it
	child  uint64 // of a branch
	bucket bool
	at     int64 // where the value is in the file
	length int64 // of the whole value
}

var errPage = errors.New("damaged page")

func wrongPage(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w %d: %s", errPage, id, fmt.Sprintf(format, args...))
}

// page reads a page. end is the number of the first that is not in use.
func (r *ruins) page(id, end uint64) (page, error) {
	if id < 2 || id >= end || id >= uint64(r.size/r.pageSize) {
		return page{}, wrongPage(id, "beyond the end, %d", min(end, uint64(r.size/r.pageSize)))
	}
	at := int64(id) * r.pageSize
	first := make([]byte, r.pageSize)
	if _, err := r.file.ReadAt(first, at); err != nil {
		return page{}, wrongPage(id, "%v", err)
	}
	if says := binary.NativeEndian.Uint64(first); says != id {
		return page{}, wrongPage(id, "says it is %d", says)
	}
	more := uint64(binary.NativeEndian.Uint32(first[12:]))
	if more > min(end, uint64(r.size/r.pageSize))-id-1 {
		return page{}, wrongPage(id, "is followed by %d, beyond the end", more)
	}
	total := (1 + int64(more)) * r.pageSize
	if kind(first) == flagLeaf && count(first) == 1 { // a large value: its bytes are another's business
		return asPage(id, at, total, first)
	}
	whole, err := r.extent(at, total)
	if err != nil {
		return page{}, wrongPage(id, "%v", err)
	}
	return asPage(id, at, total, whole)
}

func kind(page []byte) uint16 { return binary.NativeEndian.Uint16(page[8:]) }
func count(page []byte) int   { return int(binary.NativeEndian.Uint16(page[10:])) }

func asPage(id uint64, at, total int64, bytes []byte) (page, error) {
	if len(bytes) < pageHeader {
		return page{}, wrongPage(id, "has %d bytes", len(bytes))
	}
	p := page{id: id, at: at, total: total, bytes: bytes, flags: kind(bytes), count: count(bytes)}
	switch {
	case p.flags != flagBranch && p.flags != flagLeaf && p.flags != flagFreelist:
		return page{}, wrongPage(id, "is of no kind: %#x", p.flags)
	case p.flags != flagFreelist && len(bytes) < pageHeader+p.count*elementHeader:
		return page{}, wrongPage(id, "has no room for %d elements", p.count)
	}
	return p, nil
}

// element reads the nth element of a branch or a leaf.
func (p page) element(n int) (e element, err error) {
	from := pageHeader + n*elementHeader
	raw := p.bytes[from : from+elementHeader]
	short := func(at int) int64 { return int64(binary.NativeEndian.Uint32(raw[at:])) }
	position, keyLength, valueLength := short(0), short(4), int64(0)
	if p.flags == flagLeaf {
		e.bucket = short(0)&elementBucket != 0
		position, keyLength, valueLength = short(4), short(8), short(12)
	} else {
		e.child = binary.NativeEndian.Uint64(raw[8:])
	}
	begin := int64(from) + position
	rest := int64(len(p.bytes)) - begin - keyLength
	if rest < 0 || begin+keyLength+valueLength > p.total {
		return e, wrongPage(p.id, "element %d lies outside", n)
	}
	e.key = p.bytes[begin : begin+keyLength]
	e.value = p.bytes[begin+keyLength : begin+keyLength+min(rest, valueLength)]
	e.at, e.length = p.at+begin+keyLength, valueLength
	return e, nil
}

// elements reads all elements. Each lies behind the one before, so that all of
// them together, with what is inside of them, are no longer than the page.
func (p page) elements() iter.Seq2[element, error] {
	return func(yield func(element, error) bool) {
		behind := p.at + int64(pageHeader+p.count*elementHeader)
		for n := range p.count {
			e, err := p.element(n)
			if err == nil && e.at-int64(len(e.key)) < behind {
				err = wrongPage(p.id, "element %d lies within another", n)
			}
			if err == nil {
				behind = e.at + e.length
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// inside is the page in the value of a bucket, if it lies there, or the number
// of its root page.
func (e element) inside() (p page, root uint64, err error) {
	if len(e.value) < bucketHeader {
		return page{}, 0, fmt.Errorf("%w: bucket %q of %d bytes", errPage, e.key, len(e.value))
	}
	if root = binary.NativeEndian.Uint64(e.value); root != 0 {
		return page{}, root, nil
	}
	p, err = asPage(0, e.at+bucketHeader, e.length-bucketHeader, e.value[bucketHeader:])
	if err == nil && p.flags != flagLeaf {
		err = fmt.Errorf("%w: bucket %q is no leaf", errPage, e.key)
	}
	return p, 0, err
}

// value reads the whole value of an element.
func (r *ruins) value(e element) ([]byte, error) { return r.extent(e.at, e.length) }

// extent reads a stretch of the file.
func (r *ruins) extent(at, length int64) ([]byte, error) {
	value := make([]byte, length)
	_, err := r.file.ReadAt(value, at)
	return value, err
}

// free reads the list of free pages.
func (r *ruins) free(h head) (map[uint64]bool, error) {
	list := map[uint64]bool{}
	if h.freelist == noFreelist {
		return list, nil
	}
	p, err := r.page(h.freelist, h.end)
	if err != nil {
		return nil, err
	}
	if p.flags != flagFreelist {
		return nil, wrongPage(p.id, "is no freelist")
	}
	ids, count := p.bytes[pageHeader:], uint64(p.count)
	if count == 0xFFFF && len(ids) >= 8 { // the count did not fit
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return nil, wrongPage(p.id, "has no room for %d free pages", count)
	}
	for i := range count {
		id := binary.NativeEndian.Uint64(ids[8*i:])
		if id < 2 || id >= h.end || list[id] {
			return nil, wrongPage(p.id, "page %d cannot be free", id)
		}
		list[id] = true
	}
	return list, nil
}
