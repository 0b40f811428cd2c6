package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/fnv"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// knownFor is how long after its last use what the ledger knows stays in memory.
const knownFor = time.Minute

// known is which messages the ledger has lines about. To look each up in 90
// days of ledger would take too long, so all are read at the first question:
// about 40 bytes a message, which are freed when nobody has asked for a while.
type known struct {
	mu     sync.Mutex
	after  uint64                       // lines up to this one have been read
	prints map[[idSize]byte]fingerprint // nil until it is read
	gap    error                        // why lines are missing; nil if none are
	timer  *time.Timer
}

// fingerprint tells apart messages of one ID; 0 if the line that begins the
// life of the message is not there any more.
type fingerprint uint64

func fingerprintOf(acceptedAt time.Time, digest queue.Digest) fingerprint {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(digest[:], uint64(acceptedAt.UnixNano())))
	return fingerprint(max(1, h.Sum64()))
}

// find looks for lines about the ID. other says that they are about another
// message than m: one whose beginning is not known is taken for the same.
func (k *known) find(ctx context.Context, s *Store, id queue.ID, m queue.Message) (found, other bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.read(ctx, s); err != nil {
		return false, false, err
	}
	has, found := k.prints[[idSize]byte([]byte(id))]
	return found, found && has != 0 && has != fingerprintOf(m.AcceptedAt, m.Digest), nil
}

// read reads what has been written since it was last called. Lines whose
// transaction has not ended are read the next time: their messages are in the store.
func (k *known) read(ctx context.Context, s *Store) error {
	if k.prints == nil {
		k.prints, k.after, k.gap = map[[idSize]byte]fingerprint{}, 0, nil
		k.timer = time.AfterFunc(knownFor, k.forget)
	}
	k.timer.Reset(knownFor)
	ready, err := s.readyLines(ctx, 0)
	if err != nil {
		return err
	}
	r := ledgerReader{store: s, after: k.after, end: ready, told: map[int]bool{}}
	r.each = func(p pair) bool { k.add(p); return true }
	r.tell = func(err error) bool { k.gap = err; return true }
	if err := r.run(ctx); err != nil {
		return err
	}
	k.after = max(k.after, ready)
	return nil
}

// add takes a line into account. What is damaged is told by those who list.
func (k *known) add(p pair) {
	body, err := unseal(p.value)
	if err != nil {
		return
	}
	head, id, ok := bytes.Cut(body, []byte(`"id":"`)) // no field before it has such a text
	if !ok || len(id) < idSize {
		return
	}
	key := [idSize]byte(id[:idSize])
	began := k.prints[key]
	if bytes.Contains(head, quoted(string(queue.Accepted))) || bytes.Contains(head, quoted(string(queue.Adopted))) {
		if e, err := decodeEntry(p.key, p.value); err == nil && e.Digest != nil {
			at, _ := e.Begins()
			began = fingerprintOf(at, *e.Digest)
		}
	}
	k.prints[key] = began
}

// missing says why lines are missing, as of the last question; nil if none are.
func (k *known) missing() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gap
}

// forget frees the memory.
func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
	k.prints = nil
}
