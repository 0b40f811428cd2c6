package bolt

import (
	"iter"
	"runtime"
	"sync"

	"github.com/mxkeep/mxkeep/queue"
)

// A batch of records is decoded at once, by one goroutine.
const (
	batchRecords = 64
	batchText    = 256 << 10 // bytes of records after which a batch is full as well
)

// inLine decodes records one after the other.
func inLine(pairs iter.Seq2[pair, error]) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		for p, err := range pairs {
			var m queue.Message
			if err == nil {
				m, err = decodeMessage(queue.ID(p.key), p.value)
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// ahead decodes records in order as well, but on all processors, while the
// messages before them are looked at. It is for long listings: most of their
// time is this. What it needs it uses again and again, because the heap of a
// relay that waits is small, and would be collected all the time.
func (s *Store) ahead(pairs iter.Seq2[pair, error]) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		a := &aheadReader{values: &s.values, row: make(chan *records, 2*runtime.GOMAXPROCS(0)), left: make(chan struct{})}
		defer a.group.Wait()
		defer close(a.left)
		a.group.Go(func() { a.read(pairs) })
		for r := range a.row {
			<-r.ready
			for i := range r.pairs {
				if !yield(r.messages[i], r.errs[i]) {
					return
				}
			}
			if r.err != nil && !yield(queue.Message{}, r.err) {
				return
			}
			a.done.Put(r)
		}
	}
}

// aheadReader is one listing.
type aheadReader struct {
	values *values
	row    chan *records // in order; closed at the end
	left   chan struct{} // closed when nobody wants more
	group  sync.WaitGroup
	done   sync.Pool // of *records
	words  sync.Pool // of *words
}

// records is a batch on its way.
type records struct {
	pairs    []pair
	size     int
	err      error // after the last pair
	messages [batchRecords]queue.Message
	errs     [batchRecords]error
	ready    chan struct{} // closed when the pairs are decoded
}

// read puts the pairs into the row, in batches that are being decoded.
func (a *aheadReader) read(pairs iter.Seq2[pair, error]) {
	defer close(a.row)
	next, most := a.batch(), 1 // the first message is not to wait for others
	for p, err := range pairs {
		if next.err = err; err == nil {
			next.pairs, next.size = append(next.pairs, p), next.size+len(p.value)
		}
		if err == nil && len(next.pairs) < most && next.size < batchText {
			continue
		}
		if !a.send(next) {
			return
		}
		next, most = a.batch(), min(most*pageGrowth, batchRecords)
	}
	if len(next.pairs) > 0 {
		a.send(next)
	}
}

func (a *aheadReader) batch() *records {
	r, _ := a.done.Get().(*records)
	if r == nil {
		r = &records{}
	}
	r.pairs, r.size, r.err, r.ready = r.pairs[:0], 0, nil, make(chan struct{})
	return r
}

// send reports whether somebody still wants the batch.
func (a *aheadReader) send(r *records) bool {
	select {
	case a.row <- r:
		a.group.Go(func() { a.decode(r) })
		return true
	case <-a.left:
		return false
	}
}

func (a *aheadReader) decode(r *records) {
	defer close(r.ready)
	w, _ := a.words.Get().(*words)
	if w == nil {
		w = newWords()
	}
	defer a.words.Put(w)
	for i, p := range r.pairs {
		r.messages[i], r.errs[i] = decodeWith(w, queue.ID(p.key), p.value)
		a.values.giveBack(p.value)
	}
}

// values are lent to pairs that a listing decodes soon.
type values struct{ pool sync.Pool }

// Values are at least as long as valueSize, and longer ones than valueMost are not kept.
const (
	valueSize = 2 << 10
	valueMost = 16 << 10
)

// copied is a copy of a value.
func (v *values) copied(value []byte) []byte {
	if free, ok := v.pool.Get().(*[]byte); ok && cap(*free) >= len(value) {
		return append((*free)[:0], value...)
	}
	return append(make([]byte, 0, max(valueSize, len(value))), value...)
}

// giveBack takes a value that nobody reads any more.
func (v *values) giveBack(value []byte) {
	if valueSize <= cap(value) && cap(value) <= valueMost {
		v.pool.Put(&value)
	}
}
