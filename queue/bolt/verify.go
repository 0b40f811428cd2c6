package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// maxFaults bounds the faults that are told one by one.
const maxFaults = 10

// Chain is what Verify has found in the ledger files.
type Chain struct {
	Files        int
	Lines        int64
	First, Last  uint64   // sequence numbers; 0 without a line
	Anchor, Head string   // hash before the first line, and of the last one; hexadecimal
	Faults       []string // the first ones, in plain words; none if the chain is whole but for Breaks
	Breaks       []Break  // where files are set aside
	Found        bool     // the head that was asked for is the hash of line FoundAt, or the anchor after it
	FoundAt      uint64
}

// Break is where the chain goes on without a file.
type Break struct {
	File  string // the name that it has now
	After uint64 // the last line before it; 0 if that is not known
	Open  bool   // nobody has brought its lines back or given them up
}

// Verify follows the chain of hashes through all ledger files. It finds lines
// and files that were changed, removed or put in, except at the two ends: who
// has noted a head can look for it later. A file that cannot be read is a fault.
func (s *Store) Verify(ctx context.Context) (Chain, error) { return s.verify(ctx, nil) }

// verify looks for a head as well; nil is none.
func (s *Store) verify(ctx context.Context, head []byte) (Chain, error) {
	if _, err := s.all(); err != nil {
		return Chain{}, err
	}
	files, end := s.ledger.row()
	v := verifier{end: end, head: head, gaps: s.gaps()}
	for _, f := range files {
		if err := v.file(ctx, f); err != nil {
			return Chain{}, err
		}
	}
	for _, g := range v.gaps {
		v.broken(g)
	}
	v.chain.Head = hex.EncodeToString(v.hash)
	return v.chain, nil
}

// verifier walks from line to line.
type verifier struct {
	chain  Chain
	end    uint64
	head   []byte // that is looked for
	gaps   []gap  // after the file before
	number int    // of the file before
	seq    uint64 // of the line before
	hash   []byte // of the line before
}

func (v *verifier) broken(g gap) {
	v.chain.Breaks = append(v.chain.Breaks, Break{g.aside.File, g.after, g.aside.Open()})
}

// pass takes a hash of the chain.
func (v *verifier) pass(seq uint64, hash []byte) {
	v.seq, v.hash = seq, append(v.hash[:0], hash...)
	if !v.chain.Found && bytes.Equal(v.head, hash) {
		v.chain.Found, v.chain.FoundAt = true, seq
	}
}

func (v *verifier) fault(f *ledgerFile, format string, args ...any) {
	if len(v.chain.Faults) < maxFaults {
		v.chain.Faults = append(v.chain.Faults, filepath.Base(f.path)+": "+fmt.Sprintf(format, args...))
	}
}

// file follows the chain through one file. The error is that of the context.
func (v *verifier) file(ctx context.Context, f *ledgerFile) error {
	v.chain.Files++
	if err := f.view(func(tx *bbolt.Tx) error { v.begin(f, tx.Bucket(bucketMeta)); return nil }); err != nil {
		v.fault(f, "cannot be read: %v", err)
	}
	v.number = f.number
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		more = false
		err := f.view(func(tx *bbolt.Tx) error {
			more = v.lines(f, tx.Bucket(bucketLines).Cursor())
			return nil
		})
		if err != nil {
			v.fault(f, "cannot be read: %v", err)
			return nil
		}
	}
	return nil
}

// begin compares the anchor of a file with the end of the one before.
func (v *verifier) begin(f *ledgerFile, meta *bbolt.Bucket) {
	anchor, before, words := meta.Get(keyAnchor), meta.Get(keyBefore), meta.Get(keyBroken)
	missing, told := f.number-v.number-1, 0
	for len(v.gaps) > 0 && v.gaps[0].number < f.number {
		if bytes.Contains(words, []byte(v.gaps[0].aside.File)) {
			told++
		}
		if v.gaps[0].number > v.number {
			missing--
		}
		v.broken(v.gaps[0])
		v.gaps = v.gaps[1:]
	}
	known := f.number - v.number - 1 - missing
	switch {
	case len(anchor) != sha256.Size || len(before) != 8:
		v.fault(f, "has no anchor")
		return
	case v.number == 0:
		v.chain.Anchor = hex.EncodeToString(anchor)
	case missing > 0:
		v.fault(f, "a file before it is missing")
	case known > 0 && told == known && !bytes.Equal(anchor, link(v.hash, before, words)),
		known == 0 && !bytes.Equal(anchor, v.hash),
		(known == 0 || told == known) && sequenceOf(before) != v.seq:
		v.fault(f, "does not go on from the end of the file before it, line %d", v.seq)
	}
	v.pass(sequenceOf(before), anchor)
}

// lines follows the chain through some lines; more is false at the end of the file.
func (v *verifier) lines(f *ledgerFile, c *bbolt.Cursor) (more bool) {
	looked := 0
	for key, value := c.Seek(sequenceKey(v.seq + 1)); key != nil; key, value = c.Next() {
		seq := sequenceOf(key)
		if seq > v.end {
			return false
		}
		if looked++; looked > linesPerView {
			return true
		}
		hash, record := value[:min(len(value), sha256.Size)], value[min(len(value), sha256.Size):]
		if _, err := unseal(record); err != nil {
			v.fault(f, "line %d: %v", seq, err)
		} else if !bytes.Equal(hash, link(v.hash, key, record)) {
			v.fault(f, "line %d does not go on from the one before it", seq)
		}
		if v.chain.First == 0 {
			v.chain.First = seq
		}
		v.chain.Lines++
		v.chain.Last = seq
		v.pass(seq, hash)
	}
	return false
}
