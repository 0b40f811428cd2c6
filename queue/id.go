package queue

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// ID names a message for ever: 12 lower-case Crockford base32 letters that sort by time.
type ID string

const (
	idLength   = 12
	idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	// 60 bits: milliseconds since 1970 and 16 bits to tell apart what the same millisecond brings.
	idSequenceBits = 16
)

// NextID returns an ID for now that is greater than last, whatever the clock
// says: after a step back, or 65,536 messages in a millisecond, it counts on from last.
func NextID(last ID, now time.Time) ID {
	value := uint64(max(0, now.UnixMilli())) << idSequenceBits
	return formatID(max(value, last.value()+1))
}

// ParseID checks that s is an ID.
func ParseID(s string) (ID, error) {
	if len(s) != idLength {
		return "", fmt.Errorf("message id %q: want %d characters", s, idLength)
	}
	for i := range len(s) {
		if strings.IndexByte(idAlphabet, s[i]) < 0 {
			return "", fmt.Errorf("message id %q: no letter of Crockford base32: %q", s, s[i])
		}
	}
	return ID(s), nil
}

// Time is the millisecond in which the ID was made.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id.value() >> idSequenceBits)) }

func (id ID) value() (v uint64) {
	for i := range len(id) {
		v = v<<5 | uint64(strings.IndexByte(idAlphabet, id[i]))
	}
	return v
}

func formatID(v uint64) ID {
	var letters [idLength]byte
	for i := idLength - 1; i >= 0; i-- {
		letters[i] = idAlphabet[v&31]
		v >>= 5
	}
	return ID(letters[:])
}

// fraction is a number in [0,1) that depends on the ID and n alone.
func (id ID) fraction(n int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d", id, n)
	x := h.Sum64()
	x ^= x >> 33 // FNV leaves the high bits of short inputs alike: mix once more
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}
