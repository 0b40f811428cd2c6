package archive

import (
	"errors"
	"io"

	"github.com/mxkeep/mxkeep/queue"
)

// Partial is the beginning of an archive that was interrupted.
type Partial struct {
	Head  Head
	IDs   []queue.ID // of the messages that are whole
	End   int64      // bytes up to there; 0 if not even the head is whole
	tally tally
}

// block is what everything in a tar is a multiple of.
const block = 512

// ReadPartial reads what a Writer has written until it was interrupted, and
// finds where to go on: behind the last message before which all are whole. An
// error is of r, or wraps ErrArchive if r begins with something else.
func ReadPartial(r io.Reader) (*Partial, error) {
	p := &Partial{tally: newTally()}
	in, err := NewReader(r)
	if errors.Is(err, ErrCutOff) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.Head, p.End = in.Head(), up(in.from.size)
	p.tally = in.tally.clone()
	for {
		e, err := in.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, in)
		}
		if err != nil {
			break // torn, or damaged: what follows is written again
		}
		p.IDs = append(p.IDs, e.ID)
		p.End = up(in.from.size)
		p.tally.add(in.body.lines)
		p.tally.count(e.Size)
	}
	if err := in.from.err; err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p, nil
}

// Writer goes on writing at End.
func (p *Partial) Writer(w io.Writer) *Writer { return newWriter(w, p.tally) }

// up is the end of the block in which something ends.
func up(size int64) int64 { return (size + block - 1) / block * block }
