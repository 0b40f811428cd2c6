//go:build linux

package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
)

// diskJournal is what the clients of a relay know: what they sent, and what
// the relay said it has. It is not on the disk that fails.
type diskJournal struct {
	mu       sync.Mutex
	sent     map[queue.Digest]diskMail
	promised map[queue.ID]diskMail
	held     map[queue.ID]bool // that an operator was told are held
	killed   bool              // the relay is going to be, and need not reply any more
}

func newDiskJournal() *diskJournal {
	return &diskJournal{sent: map[queue.Digest]diskMail{}, promised: map[queue.ID]diskMail{}, held: map[queue.ID]bool{}}
}

// sending notes that a message may come in from now on.
func (j *diskJournal) sending(m diskMail) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sent[sha256.Sum256([]byte(m.content))] = m
}

// told notes what the relay says to a message. A reply that is permanent is an
// error, as is a 250 without an ID, and no reply to the content.
func (j *diskJournal) told(m diskMail, reply diskReply) error {
	if id := reply.id(); id != "" {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.promised[queue.ID(id)] = m
		return nil
	}
	if reply.code/100 != 4 && (reply.code != 0 || reply.last && !j.killed) {
		return fmt.Errorf("the relay says %d %q, to the content: %t", reply.code, reply.text, reply.last)
	}
	return nil
}

// owed lists the contents that the primary must get, or have got.
func (j *diskJournal) owed() (contents []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range j.promised {
		if m.recipient == diskKnown {
			contents = append(contents, m.content)
		}
	}
	return contents
}

// deliver waits until the primary has all that was promised, or ctx ends.
func (j *diskJournal) deliver(ctx context.Context, upstream *primary.Server) error {
	for owed := j.owed(); ; {
		received := upstream.Received()
		got := contents(received)
		missing := 0
		for _, content := range owed {
			if got[content] == 0 {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		if _, err := upstream.Await(ctx, len(received)+missing); err != nil {
			return fmt.Errorf("%d of %d messages have not been delivered: %w", missing, len(owed), err)
		}
	}
}

// contents counts what the primary got, by the content that a client sent:
// what stands before it is ours.
func contents(got []primary.Delivery) map[string]int {
	counts := map[string]int{}
	for _, d := range got {
		counts[string(d.Content[max(0, bytes.Index(d.Content, []byte(diskFirst))):])]++
	}
	return counts
}

// check compares the journal with the store in a folder, which nobody has
// open, and with what the primary got: all that was promised is there, whole,
// and nothing else than what was sent.
func (j *diskJournal) check(data string, got []primary.Delivery) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil { // bbolt panics on pages that are wrong
			err = fmt.Errorf("the store cannot be read: %v", r)
		}
	}()
	store, err := bolt.Open(filepath.Join(data, "queue"), bolt.Options{Interrupted: -1, MinFree: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	ctx := context.Background()
	stats, err := store.Stats(ctx)
	if err != nil {
		return err
	}
	delivered := contents(got)
	if a := stats.Account; a.Missing() != 0 || a.SetAside != 0 {
		return fmt.Errorf("the account is %+v, %d are missing", a, a.Missing())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for id, m := range j.promised {
		if err := j.checkOne(ctx, store, id, m, delivered[m.content]); err != nil {
			errs = append(errs, fmt.Errorf("%s, which was promised: %w", id, err))
		}
	}
	return errors.Join(append(errs, j.checkNothingElse(ctx, store, got))...)
}

// checkOne looks for a message that was promised. The primary got it n times.
func (j *diskJournal) checkOne(ctx context.Context, store queue.Store, id queue.ID, m diskMail, n int) error {
	kept, err := store.Message(ctx, id)
	if errors.Is(err, queue.ErrNotFound) && n > 0 { // it may have gone since, but not from the ledger
		return deliveredBefore(ctx, store, id)
	}
	if err != nil {
		return err
	}
	if kept.Digest != sha256.Sum256([]byte(m.content)) || len(kept.Envelope.Recipients) != 1 || kept.Envelope.Recipients[0].ForwardPath != m.recipient {
		return fmt.Errorf("it is another: %+v", kept)
	}
	if j.held[id] && kept.Held == "" {
		return errors.New("it is held no more")
	}
	switch {
	case n > 2:
		return fmt.Errorf("delivered %d times", n)
	case kept.State() == queue.StateDelivered && n == 0:
		return errors.New("the primary never got it")
	case kept.State() == queue.StateDelivered: // its content may have gone
		return nil
	}
	r, err := store.Content(ctx, id)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(r)
	if err == nil && !strings.HasSuffix(string(text), m.content) {
		err = errors.New("its content is another")
	}
	return err
}

// deliveredBefore looks into the ledger for the delivery of a message.
func deliveredBefore(ctx context.Context, store queue.Store, id queue.ID) error {
	for e, err := range store.Ledger(ctx, queue.LedgerFilter{ID: id}) {
		if err != nil {
			return err
		}
		if e.Event == queue.Attempted && len(e.Results) == 1 && e.Results[0].Action == queue.Delivered {
			return nil
		}
	}
	return errors.New("it is gone, and no delivery is in the ledger")
}

// checkNothingElse looks for what was not sent so.
func (j *diskJournal) checkNothingElse(ctx context.Context, store queue.Store, got []primary.Delivery) error {
	for m, err := range store.Messages(ctx, queue.Filter{States: queue.States()}) {
		if err != nil {
			return err
		}
		if _, ok := j.sent[m.Digest]; !ok {
			return fmt.Errorf("%s was not sent like that", m.ID)
		}
	}
	for _, d := range got {
		for content := range contents([]primary.Delivery{d}) {
			m, ok := j.sent[sha256.Sum256([]byte(content))]
			if !ok || len(d.Recipients) != 1 || d.Recipients[0] != m.recipient {
				return fmt.Errorf("the primary got what was not sent like that, for %s: %.300q", d.Recipients, d.Content)
			}
		}
	}
	return nil
}

// diskFirst is how every content begins.
const diskFirst = "From: alice@client.example\r\nTo: "

// within is a context for something that has to happen while the relay runs.
func (r *diskRelay) within() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), diskLimit)
	go func() {
		select {
		case <-r.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// The recipients: the primary knows one of them. What is for the other stays.
const (
	diskKnown   = "bob@corp.example"
	diskUnknown = "later@corp.example"
)
