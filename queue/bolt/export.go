package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// ExportLedger writes the stretch of the ledger from the first line that
// happened since one time to the last that happened until another, with all
// that lies between; zero is open. What is pending is filed first. After an
// error the export has no end, and nobody takes it for a whole one.
func (s *Store) ExportLedger(ctx context.Context, since, until time.Time, w io.Writer) error {
	if err := s.FileLedger(ctx); err != nil {
		return err
	}
	files, end := s.ledger.row()
	run := &export{store: s, gaps: s.gaps(), since: since, until: until, w: w}
	for _, f := range files {
		if !since.IsZero() && f.day.Add(48*time.Hour).Before(since) { // nothing is filed before it happens
			continue
		}
		if err := run.each(ctx, f, end, run.measure); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := run.file(ctx, f, end); err != nil {
			return err
		}
	}
	if run.out == nil { // no line is wanted
		run.begin()
	}
	return run.out.End()
}

// export is one run of ExportLedger: it measures the stretch, then writes it.
type export struct {
	store        *Store
	gaps         []gap // after the file before
	since, until time.Time
	w            io.Writer
	out          *queue.ExportWriter // nil before the first line
	first, last  uint64              // of the lines that are wanted; 0 if none is
	number       int                 // of the file before
	seq          uint64              // of the line before
	hash         []byte              // of the line before
}

// measure finds the ends of the stretch. A line whose time cannot be read does not count.
func (x *export) measure(seq uint64, value []byte) error {
	at, ok := timeOf(value[min(len(value), sha256.Size):])
	if !ok || at.Before(x.since) || !x.until.IsZero() && !at.Before(x.until) {
		return nil
	}
	if x.first == 0 {
		x.first = seq
	}
	x.last = seq
	return nil
}

// file writes what is wanted of one file.
func (x *export) file(ctx context.Context, f *ledgerFile, end uint64) error {
	missing := ""
	err := f.view(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		anchor, before := meta.Get(keyAnchor), meta.Get(keyBefore)
		if len(anchor) != sha256.Size || len(before) != 8 {
			return fmt.Errorf("%s: %w: it has no anchor", f.path, ErrDamagedFile)
		}
		if !bytes.Equal(x.hash, anchor) && x.number > 0 {
			missing = x.missing(f)
		}
		x.hash, x.seq, x.number = bytes.Clone(anchor), sequenceOf(before), f.number
		return nil
	})
	if err != nil {
		return err
	}
	if missing != "" && x.out != nil {
		if err := x.out.Break(x.seq, queue.Digest(x.hash), missing); err != nil {
			return err
		}
	}
	if err := x.each(ctx, f, end, x.line); err != nil {
		return err
	}
	if f.isGone() {
		return errors.New("the ledger was trimmed while it was exported: ask for a later stretch")
	}
	return nil
}

// missing says why a file does not go on from the one before.
func (x *export) missing(f *ledgerFile) string {
	words := ""
	for _, g := range x.gaps {
		if x.number < g.number && g.number < f.number {
			words += " " + g.aside.File
		}
	}
	if words == "" {
		return "the next file does not go on from here"
	}
	return "set aside:" + words
}

func (x *export) begin() {
	var hash queue.Digest
	copy(hash[:], x.hash)
	x.out = queue.NewExportWriter(x.w, queue.ExportHead{At: now(), Since: x.since, Until: x.until, After: x.seq, Anchor: hash})
}

// line writes one line, if it is wanted.
func (x *export) line(seq uint64, value []byte) error {
	var hash queue.Digest
	copy(hash[:], value)
	if x.first > 0 && x.first <= seq && seq <= x.last {
		if x.out == nil {
			x.begin()
		}
		if err := x.out.Line(seq, hash, value[min(len(value), sha256.Size):]); err != nil {
			return err
		}
	}
	x.seq, x.hash = seq, hash[:]
	return nil
}

// each calls do with every line of a file up to end.
func (x *export) each(ctx context.Context, f *ledgerFile, end uint64, do func(seq uint64, value []byte) error) error {
	for after, more := uint64(0), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var page []pair
		err := f.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketLines).Cursor()
			for k, v := c.Seek(sequenceKey(after + 1)); k != nil && len(page) < pageLength && sequenceOf(k) <= end; k, v = c.Next() {
				page = append(page, pair{bytes.Clone(k), bytes.Clone(v)})
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, p := range page {
			after = sequenceOf(p.key)
			if err := do(after, p.value); err != nil {
				return err
			}
		}
		more = len(page) == pageLength
	}
	return nil
}
