package bolt

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// Files lists the files in use, oldest first.
func (s *Store) Files(ctx context.Context) (files []queue.File, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := s.all()
	if err != nil {
		return nil, err
	}
	for i, g := range all {
		now := g.standing()
		f := queue.File{Name: g.name(), CreatedAt: g.created, Used: now.size, Reusable: now.reusable(), Youngest: i == len(all)-1, Account: now.counters.Account,
			Messages: map[queue.State]int64{}, Bytes: now.counters.Bytes, Damaged: now.counters.Damaged, Unreadable: now.counters.Unreadable}
		for state, n := range now.counters.Messages {
			if n != 0 {
				f.Messages[queue.State(state)] = n
			}
		}
		f.Size, err = diskUsed(filepath.Join(s.dir, g.name()))
		if errors.Is(err, os.ErrNotExist) { // it went meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		first, err := g.firstLive()
		if err != nil {
			return nil, err
		}
		if f.Oldest, err = s.acceptedAt(ctx, first); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Audit reads everything: the structure of every file, every record, every
// ledger line with the chain of the ledger files, and the content of every
// message, which is held against its digest. found gets what is wrong; an error
// of it ends the run. Nothing is changed, but a file whose structure is damaged
// is set aside: one of the ledger at once if it is not the newest, and every
// other at the next start. head, if not "", is a head that was noted before, in
// hexadecimal: it is looked for in the chain.
func (s *Store) Audit(ctx context.Context, head string, found func(queue.Finding) error) (queue.Checked, error) {
	wanted, err := hex.DecodeString(head)
	if err != nil {
		return queue.Checked{}, fmt.Errorf("head %q: %w", head, err)
	}
	run := &audit{store: s, found: found}
	all, err := s.all()
	if err != nil {
		return run.sum, err
	}
	for _, g := range all {
		run.sum.Files++
		err := run.file(ctx, g)
		if errors.Is(err, errMoved) {
			continue // the file has gone meanwhile
		}
		if err != nil {
			return run.sum, err
		}
	}
	return run.sum, run.ledger(ctx, wanted)
}

// ledger follows the chain of the ledger files.
func (v *audit) ledger(ctx context.Context, head []byte) error {
	chain, err := v.store.verify(ctx, head)
	if err != nil {
		return err
	}
	v.sum.Files += int64(chain.Files)
	v.sum.Lines += chain.Lines
	v.sum.Chain = queue.Chain{First: chain.First, Last: chain.Last, Anchor: chain.Anchor, Head: chain.Head,
		Breaks: int64(len(chain.Breaks)), Found: chain.Found, FoundAt: chain.FoundAt}
	var wrong []queue.Finding
	for _, fault := range chain.Faults {
		file, what, _ := strings.Cut(fault, ": ")
		wrong = append(wrong, queue.Finding{File: file, What: what})
	}
	for _, b := range chain.Breaks {
		if b.Open {
			wrong = append(wrong, queue.Finding{File: b.File, What: fmt.Sprintf("the chain of the ledger is broken after line %d: this file is set aside", b.After)})
		}
	}
	for _, f := range wrong {
		v.sum.Damaged++
		if err := v.found(f); err != nil {
			return err
		}
	}
	return nil
}

// audit is one run of Audit.
type audit struct {
	store *Store
	found func(queue.Finding) error
	sum   queue.Checked
}

func (v *audit) tell(g *generation, id queue.ID, what error) error {
	v.sum.Damaged++
	return v.found(queue.Finding{File: g.name(), ID: id, What: what.Error()})
}

func (v *audit) file(ctx context.Context, g *generation) error {
	err := g.checkInUse(ctx)
	if errors.Is(err, ErrDamagedFile) {
		g.remember(err) // the rest of it cannot be looked at
		return v.tell(g, "", err)
	}
	if err != nil {
		return err
	}
	for p, err := range g.pairs(ctx, [][]byte{bucketLedger}) {
		if err != nil {
			return err
		}
		v.sum.Lines++
		if _, err := decodeEntry(p.key, p.value); err != nil {
			if err := v.tell(g, "", err); err != nil {
				return err
			}
		}
	}
	for p, err := range g.pairs(ctx, shelves()) {
		if err != nil {
			return err
		}
		if err := v.message(ctx, g, queue.ID(p.key), p.value); err != nil {
			return err
		}
	}
	return nil
}

// message reads one message with its content.
func (v *audit) message(ctx context.Context, g *generation, id queue.ID, record []byte) error {
	v.sum.Messages++
	m, err := decodeMessage(id, record)
	if err != nil {
		return v.tell(g, id, err)
	}
	if missing, err := g.unscheduled(m); missing || err != nil {
		if err != nil {
			return err
		}
		if err := v.tell(g, id, errUnscheduled); err != nil {
			return err
		}
	}
	if m.Purged {
		return nil
	}
	content, err := g.content(id)
	if err == nil {
		var n int64
		n, err = io.Copy(io.Discard, withContext{ctx, content})
		v.sum.Bytes += n
	}
	switch {
	case errors.Is(err, queue.ErrNotFound): // it was purged meanwhile
		return nil
	case errors.Is(err, queue.ErrDamaged):
		if here, again := g.has(id); here || again != nil { // or it has moved meanwhile
			return errors.Join(again, v.tell(g, id, err))
		}
		return nil
	}
	return err
}

// errUnscheduled says what is wrong, and what to do.
var errUnscheduled = errors.New("it is not in the schedule: queue retry puts it there")

// unscheduled reports whether a message waits that the schedule does not know.
func (g *generation) unscheduled(m queue.Message) (missing bool, err error) {
	if !m.Waits() {
		return false, nil
	}
	err = g.view(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketDue).Get(dueKey(m)) != nil {
			return nil
		}
		_, raw := findRecord(tx, m.ID) // unless it has changed meanwhile
		is, err := decodeMessage(m.ID, raw)
		missing = err == nil && is.Waits() && tx.Bucket(bucketDue).Get(dueKey(is)) == nil
		return nil
	})
	return missing, err
}

// withContext ends a reader with its context.
type withContext struct {
	ctx context.Context
	io.Reader
}

func (r withContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
