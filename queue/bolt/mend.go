package bolt

import (
	"bytes"

	"github.com/mxkeep/mxkeep/queue"
)

// mend makes a record that cannot be read anew, from the ledger lines in the
// same file, and has the message held. Without the lines the message stays as it
// is, out of the schedule and counted as unreadable.
func (b *batch) mend(id queue.ID, why error) error {
	due, err := b.unschedule(id, nil)
	if err != nil || !due {
		return err // it was told before
	}
	b.generation.store.options.Log.Error("record.damaged", "id", id, "error", why)
	line := queue.Entry{At: now(), Event: queue.Damaged, ID: id, Actor: "relay", Reason: why.Error()}
	m, ok := b.fromLedger(id)
	if !ok {
		b.now.counters.Unreadable++
		line.Reason += "; nothing in the ledger to make it anew from"
		return b.note(line)
	}
	m.Held, m.HeldAt = "its record was damaged and made anew from the ledger: parameters of its envelope are lost", line.At
	line.MessageID, line.Reason = m.MessageID, line.Reason+"; "+m.Held
	for _, name := range shelves() {
		if err := b.bucket(name).Delete([]byte(id)); err != nil {
			return err
		}
	}
	if err := b.bucket(shelf(m)).Put([]byte(id), encodeMessage(m)); err != nil {
		return err
	}
	b.recount()
	return b.note(line)
}

// unschedule takes a message out of the due index, wherever it stands there but
// under the key to keep. It reports whether it was there.
func (b *batch) unschedule(id queue.ID, keep []byte) (was bool, err error) {
	due := b.bucket(bucketDue)
	var keys [][]byte // a cursor that deletes skips
	c := due.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if bytes.HasSuffix(k, []byte(id)) && !bytes.Equal(k, keep) {
			keys = append(keys, bytes.Clone(k))
		}
	}
	for _, k := range keys {
		if err := due.Delete(k); err != nil {
			return true, err
		}
	}
	return len(keys) > 0, nil
}

// reschedule puts a message into its place in the due index that was said to be
// due, and is not. Mostly somebody held it meanwhile, and there is nothing to
// do; but keys have no checksum.
func (b *batch) reschedule(m queue.Message) error {
	if !m.Waits() {
		_, err := b.unschedule(m.ID, nil)
		return err
	}
	was, err := b.unschedule(m.ID, dueKey(m))
	if !was || err != nil {
		return err
	}
	return b.bucket(bucketDue).Put(dueKey(m), encodeSummary(queue.Summarize(m)))
}

// fromLedger makes a message from the lines about it.
func (b *batch) fromLedger(id queue.ID) (m queue.Message, ok bool) {
	var p past
	c := b.bucket(bucketLedger).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if !bytes.Contains(v, []byte(id)) { // it is read only if it must be
			continue
		}
		e, err := decodeEntry(k, v)
		if err != nil || e.ID != id {
			continue
		}
		if _, begins := e.Begins(); begins {
			m, ok = accepted(e), true
		}
		p.add(e)
	}
	return p.apply(m), ok
}

// accepted makes a message from the line of its acceptance or adoption, which
// lacks the parameters of MAIL and RCPT.
func accepted(e queue.Entry) queue.Message {
	at, _ := e.Begins()
	a := queue.Acceptance{At: at, MessageID: e.MessageID, Lifetime: queue.DefaultLifetime,
		Envelope: queue.Envelope{Upstream: e.Upstream, ReversePath: e.ReversePath, Origin: e.Origin}}
	for _, path := range e.Recipients {
		a.Envelope.Recipients = append(a.Envelope.Recipients, queue.Recipient{ForwardPath: path})
	}
	var digest queue.Digest
	if e.Digest != nil {
		digest = *e.Digest
	}
	m, _ := queue.Accept(e.ID, a, e.Size, digest)
	return m
}

// recount counts the messages that are not final anew: what a record that was
// lost had counted as cannot be known. Final recipients were counted when they became so.
func (b *batch) recount() {
	var fresh counters
	c := b.bucket(bucketLive).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if m, err := decodeMessage(queue.ID(k), v); err == nil {
			fresh.count(m, 1)
		}
	}
	is := &b.now.counters
	is.Account.Queued, is.Account.Held, is.Account.Refused = fresh.Account.Queued, fresh.Account.Held, fresh.Account.Refused
	is.Messages, is.Bytes, is.Damaged, is.Upstreams = fresh.Messages, fresh.Bytes, fresh.Damaged, fresh.Upstreams
}
