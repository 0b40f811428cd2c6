// Package spill sorts more than fits into memory.
//
// A Sorter keeps up to Memory bytes of records, and writes what is more to
// temporary files in a folder of its own, which Close removes. Reading needs one
// buffer of 64 KiB for each of at most 128 files, however many records there are.
package spill

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
)

// Memory is how many bytes of records a Sorter keeps before it writes them to a file.
const Memory = 16 << 20

const (
	maxRuns  = 128 // files that are read at a time
	overhead = 96  // bytes of memory for a record besides its own
	buffer   = 64 << 10
)

// Record is what is sorted: by Key, equal keys in the order in which they were added.
type Record struct {
	Key   string
	Value []byte
}

// Sorter sorts records. It is for one goroutine; Close must be called.
type Sorter struct {
	dir    string
	memory int
	held   []Record
	bytes  int
	runs   []*os.File
}

// New makes a Sorter that writes below a folder; "" is the one for temporary files.
func New(dir string) (*Sorter, error) { return NewWithin(dir, Memory) }

// NewWithin makes a Sorter that keeps so many bytes of records.
func NewWithin(dir string, memory int) (*Sorter, error) {
	own, err := os.MkdirTemp(dir, "mxkeep-sort-") // with mode 0700
	if err != nil {
		return nil, err
	}
	return &Sorter{dir: own, memory: memory}, nil
}

// Close removes the files.
func (s *Sorter) Close() error {
	var all []error
	for _, run := range s.runs {
		all = append(all, run.Close())
	}
	s.runs, s.held = nil, nil
	return errors.Join(append(all, os.RemoveAll(s.dir))...)
}

// Add takes a record. The value is copied.
func (s *Sorter) Add(key string, value []byte) error {
	s.held = append(s.held, Record{key, bytes.Clone(value)})
	if s.bytes += len(key) + len(value) + overhead; s.bytes < s.memory {
		return nil
	}
	return s.flush()
}

// flush writes what is held to a file.
func (s *Sorter) flush() error {
	sortHeld(s.held)
	if err := s.write(func(yield func(Record, error) bool) {
		for _, r := range s.held {
			if !yield(r, nil) {
				return
			}
		}
	}); err != nil {
		return err
	}
	s.held, s.bytes = s.held[:0], 0
	clear(s.held[:cap(s.held)])
	if len(s.runs) < maxRuns {
		return nil
	}
	old := s.runs
	s.runs = nil
	err := s.write(merge(old, nil))
	for _, run := range old {
		err = errors.Join(err, run.Close(), os.Remove(run.Name()))
	}
	return err
}

func sortHeld(all []Record) {
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Compare(a.Key, b.Key) })
}

// write makes a file of sorted records.
func (s *Sorter) write(records iter.Seq2[Record, error]) error {
	run, err := os.CreateTemp(s.dir, "run-")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(run, buffer)
	for r, err := range records {
		if err == nil {
			err = writeRecord(out, r)
		}
		if err != nil {
			return errors.Join(err, run.Close())
		}
	}
	s.runs = append(s.runs, run)
	return out.Flush()
}

func writeRecord(out *bufio.Writer, r Record) error {
	head := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(r.Key))), uint64(len(r.Value)))
	_, _ = out.Write(head) // the error stays
	_, _ = out.WriteString(r.Key)
	_, err := out.Write(r.Value)
	return err
}

func readRecord(in *bufio.Reader) (r Record, err error) {
	key, err := binary.ReadUvarint(in)
	if err != nil {
		return r, err // io.EOF is the end
	}
	value, err := binary.ReadUvarint(in)
	text := make([]byte, key+value)
	if err == nil {
		_, err = io.ReadFull(in, text)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return Record{string(text[:key]), text[key:]}, err
}

// Sorted yields all records in their order. It may be called again, and records
// added afterwards; an error ends it.
func (s *Sorter) Sorted() iter.Seq2[Record, error] {
	sortHeld(s.held)
	return merge(s.runs, s.held)
}

// source is where the next record of a run comes from.
type source struct {
	next   Record
	in     *bufio.Reader // nil for what is held
	held   []Record
	number int
}

// advance reads the next record; false at the end.
func (s *source) advance() (bool, error) {
	if s.in == nil {
		if len(s.held) == 0 {
			return false, nil
		}
		s.next, s.held = s.held[0], s.held[1:]
		return true, nil
	}
	var err error
	if s.next, err = readRecord(s.in); errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// sources is a heap, with the least record on top.
type sources []*source

func (s sources) Len() int      { return len(s) }
func (s sources) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s sources) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(s[i].next.Key, s[j].next.Key), cmp.Compare(s[i].number, s[j].number)) < 0
}
func (s *sources) Push(x any) { *s = append(*s, x.(*source)) }
func (s *sources) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

func merge(runs []*os.File, held []Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var all sources
		for n := range len(runs) + 1 {
			one := &source{number: n, held: held}
			if n < len(runs) {
				if _, err := runs[n].Seek(0, io.SeekStart); err != nil {
					yield(Record{}, err)
					return
				}
				one.in = bufio.NewReaderSize(runs[n], buffer)
			}
			more, err := one.advance()
			if err != nil {
				yield(Record{}, err)
				return
			}
			if more {
				all = append(all, one)
			}
		}
		heap.Init(&all)
		for len(all) > 0 {
			least := all[0]
			if !yield(least.next, nil) {
				return
			}
			more, err := least.advance()
			switch {
			case err != nil:
				yield(Record{}, err)
				return
			case more:
				heap.Fix(&all, 0)
			default:
				heap.Pop(&all)
			}
		}
	}
}

// Groups yields the values of each key together, in the order of keys. At most
// as many values as most are given at once; more of the same key come as a further group.
func (s *Sorter) Groups(most int) iter.Seq2[[]Record, error] {
	return func(yield func([]Record, error) bool) {
		var group []Record
		for r, err := range s.Sorted() {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(group) > 0 && (group[0].Key != r.Key || len(group) >= most) {
				if !yield(group, nil) {
					return
				}
				group = group[:0]
			}
			group = append(group, r)
		}
		if len(group) > 0 {
			yield(group, nil)
		}
	}
}

// Distinct counts different keys.
func (s *Sorter) Distinct() (n int64, err error) {
	last, any := "", false
	for r, err := range s.Sorted() {
		if err != nil {
			return n, err
		}
		if !any || r.Key != last {
			n++
		}
		last, any = r.Key, true
	}
	return n, nil
}
