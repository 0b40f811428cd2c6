package queue

import "fmt"

// Held counts messages that are not final, and the bytes of their content.
type Held struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// Add counts more; a negative count takes away.
func (h *Held) Add(more Held) {
	h.Messages += more.Messages
	h.Bytes += more.Bytes
}

// Limit bounds what is held. A field that is zero bounds nothing.
type Limit struct {
	Messages int64
	Bytes    int64
}

// Limits bound what is held in all, and of each upstream by its name.
type Limits struct {
	All       Limit
	Upstreams map[string]Limit
}

// LimitError says which limit leaves no room for a message. It is an ErrFull:
// what is held has to leave first.
type LimitError struct {
	Upstream string // "" is the limit of all
	Bytes    bool   // Most are bytes, not messages
	Most     int64
}

func (e *LimitError) Error() string {
	most, unit, whose := e.Most, "messages", "in all"
	if e.Bytes {
		most, unit = inUnits(e.Most)
	}
	if e.Upstream != "" {
		whose = "for " + e.Upstream
	}
	return fmt.Sprintf("the limit of %d %s %s leaves no room", most, unit, whose)
}

// inUnits writes bytes in the largest unit that leaves no rest.
func inUnits(bytes int64) (int64, string) {
	units := []string{"bytes", "KiB", "MiB", "GiB"}
	for len(units) > 1 && bytes%1024 == 0 {
		bytes, units = bytes/1024, units[1:]
	}
	return bytes, units[0]
}

// Is makes errors.Is(err, ErrFull) hold.
func (e *LimitError) Is(target error) bool { return target == ErrFull }

// Room reports whether one more message of that size for the upstream would be
// within the limits, where all is what is held in all and one what is held of
// the upstream. The error is a *LimitError. Without an upstream only the limit of all counts.
func (l Limits) Room(all, one Held, upstream string, size int64) error {
	if err := l.All.room(all, size, ""); err != nil || upstream == "" {
		return err
	}
	return l.Upstreams[upstream].room(one, size, upstream)
}

func (l Limit) room(held Held, size int64, upstream string) error {
	switch {
	case l.Messages > 0 && held.Messages >= l.Messages:
		return &LimitError{Upstream: upstream, Most: l.Messages}
	case l.Bytes > 0 && held.Bytes > l.Bytes-max(size, 1): // an unknown size is something, too
		return &LimitError{Upstream: upstream, Bytes: true, Most: l.Bytes}
	}
	return nil
}
