package bolt

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// A record is a version byte, a checksum of the rest, and JSON; a trace has the
// same header before its lines. bbolt does not checksum its pages. What cannot
// be read is ErrDamaged: the format of the file has been checked before.
const (
	recordVersion = 1
	recordHeader  = 5
)

// counters are the part of the account that a generation holds.
type counters struct {
	Account  queue.Account                   `json:"account"`
	Messages [queue.StateDelivered + 1]int64 `json:"messages"`         // by state; final ones are not counted
	Bytes    int64                           `json:"bytes"`            // of messages that are not final
	Trash    pile                            `json:"trash"`            // deleted messages that can be brought back
	Done     int64                           `json:"done"`             // all other messages
	DoneAt   time.Time                       `json:"done_at,omitzero"` // when the first of them was

	Damaged    int64  `json:"damaged,omitempty"`    // messages that are not final whose content is known to be damaged
	Unreadable int64  `json:"unreadable,omitempty"` // messages whose record was found to be damaged
	Tx         uint64 `json:"tx,omitempty"`         // the transaction that wrote them

	// Upstreams has the messages that are not final, by upstream. A copy shares
	// it: clone before counting.
	Upstreams map[string]queue.Held `json:"upstreams,omitempty"`
}

type pile struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// clone is a copy that may count on its own.
func (c counters) clone() counters {
	c.Upstreams = maps.Clone(c.Upstreams)
	return c
}

// left is what still needs the generation: messages that are not final or can be brought back.
func (c *counters) left() (all pile) {
	all = c.Trash
	all.Bytes += c.Bytes
	for _, n := range c.Messages {
		all.Messages += n
	}
	return all
}

// count adds the message (sign 1) or takes it out (sign -1).
func (c *counters) count(m queue.Message, sign int64) {
	for i := range m.Envelope.Recipients {
		c.Account.Add(m.RecipientState(i), sign)
	}
	switch state := m.State(); {
	case !state.Final():
		c.Messages[state] += sign
		c.Bytes += sign * m.Size
		if m.Damaged {
			c.Damaged += sign
		}
		if c.Upstreams == nil {
			c.Upstreams = map[string]queue.Held{}
		}
		addHeld(c.Upstreams, m.Envelope.Upstream, queue.Held{Messages: sign, Bytes: sign * m.Size})
	case inTrash(m):
		c.Trash.Messages += sign
		c.Trash.Bytes += sign * m.Size
	default:
		c.Done += sign
	}
}

func encode(value any) []byte {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // our own types have no value that JSON cannot write
	}
	return seal(body)
}

func decode(raw []byte, into any) error {
	body, err := unseal(raw)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("record: %w: %w", queue.ErrDamaged, err)
	}
	return nil
}

// seal puts the header before a copy of body.
func seal(body []byte) []byte {
	record := make([]byte, recordHeader, recordHeader+len(body))
	record[0] = recordVersion
	binary.BigEndian.PutUint32(record[1:], crc32.ChecksumIEEE(body))
	return append(record, body...)
}

// unseal checks the header and returns what follows.
func unseal(raw []byte) ([]byte, error) {
	switch {
	case len(raw) < recordHeader:
		return nil, fmt.Errorf("record of %d bytes: %w", len(raw), queue.ErrDamaged)
	case raw[0] != recordVersion:
		return nil, fmt.Errorf("record of version %d, this version reads %d: %w", raw[0], recordVersion, queue.ErrDamaged)
	case crc32.ChecksumIEEE(raw[recordHeader:]) != binary.BigEndian.Uint32(raw[1:]):
		return nil, fmt.Errorf("record differs from its checksum: %w", queue.ErrDamaged)
	}
	return raw[recordHeader:], nil
}

// encodeTrace writes a trace also if it is empty: one that is missing is damage.
func encodeTrace(trace []byte) []byte { return seal(trace) }

func decodeTrace(id queue.ID, raw []byte) ([]byte, error) {
	trace, err := unseal(raw)
	if err != nil {
		return nil, fmt.Errorf("trace of %s: %w", id, err)
	}
	return trace, nil
}

func encodeMessage(m queue.Message) []byte { return encode(m) }

func decodeMessage(id queue.ID, raw []byte) (queue.Message, error) {
	return decodeWith(nil, id, raw)
}

// decodeWith is decodeMessage for those who read many.
func decodeWith(w *words, id queue.ID, raw []byte) (m queue.Message, err error) {
	body, err := unseal(raw)
	known := false
	if err == nil {
		m, known = parseMessage(body, w)
	}
	if !known {
		if err := decode(raw, &m); err != nil {
			return queue.Message{}, fmt.Errorf("%s: %w", id, err)
		}
	}
	if m.ID != id { // the key has no checksum
		return queue.Message{}, fmt.Errorf("%s: record of %s: %w", id, m.ID, queue.ErrDamaged)
	}
	return m, nil
}

// encodeEntry writes a ledger line; its sequence number is the key.
func encodeEntry(e queue.Entry) []byte {
	e.Seq = 0
	return encode(e)
}

func decodeEntry(key, raw []byte) (e queue.Entry, err error) {
	e.Seq = binary.BigEndian.Uint64(key)
	if err := decode(raw, &e); err != nil {
		return queue.Entry{}, fmt.Errorf("ledger line %d: %w", e.Seq, err)
	}
	e.Seq = binary.BigEndian.Uint64(key)
	return e, nil
}

func encodeCounters(c counters) []byte { return encode(c) }

func decodeCounters(raw []byte) (c counters, err error) {
	if raw == nil {
		return c, nil
	}
	if err := decode(raw, &c); err != nil {
		return c, fmt.Errorf("counters: %w", err)
	}
	return c, nil
}

func sequenceKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func sequenceOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }

func chunkKey(id queue.ID, number int) []byte {
	return binary.BigEndian.AppendUint32([]byte(id), uint32(number))
}

// duePrefix begins the keys of an upstream.
func duePrefix(upstream string) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(upstream))), upstream...)
}

// dueTime extends the prefix so that keys sort by time.
func dueTime(prefix []byte, at time.Time) []byte {
	key := binary.BigEndian.AppendUint64(prefix, uint64(at.Unix())^1<<63)
	return binary.BigEndian.AppendUint32(key, uint32(at.Nanosecond()))
}

func dueKey(m queue.Message) []byte {
	return append(dueTime(duePrefix(m.Envelope.Upstream), m.NextAttempt), m.ID...)
}

// The value of a due key: what the key does not say, in the order of the struct.
func encodeSummary(s queue.Summary) []byte {
	v := binary.AppendVarint(nil, s.AcceptedAt.Unix())
	v = binary.AppendVarint(v, int64(s.AcceptedAt.Nanosecond()))
	v = binary.AppendVarint(v, int64(s.Recipients))
	v = binary.AppendVarint(v, s.Size)
	v = binary.AppendVarint(v, int64(s.Attempts))
	return append(v, s.Domain...)
}

func decodeSummary(key, value []byte) (queue.Summary, error) {
	const tail = 8 + 4 + 12 // time and ID
	var numbers [5]int64
	for i := range numbers {
		n, size := binary.Varint(value)
		if size <= 0 || len(key) < tail {
			return queue.Summary{}, fmt.Errorf("due entry %q: %w", key, queue.ErrDamaged)
		}
		numbers[i], value = n, value[size:]
	}
	key = key[len(key)-tail:]
	due := time.Unix(int64(binary.BigEndian.Uint64(key)^1<<63), int64(binary.BigEndian.Uint32(key[8:])))
	return queue.Summary{ID: queue.ID(key[12:]), Due: due.UTC(), AcceptedAt: time.Unix(numbers[0], numbers[1]).UTC(),
		Recipients: int(numbers[2]), Size: numbers[3], Attempts: int(numbers[4]), Domain: string(value)}, nil
}
