package queue

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	limits := Limits{All: Limit{Messages: 10, Bytes: 1000}, Upstreams: map[string]Limit{"exo": {Messages: 4}, "lab": {Bytes: 300}}}
	for _, c := range []struct {
		rule     string
		l        Limits
		all, one Held
		upstream string
		size     int64
		want     string
	}{
		{"no limit", Limits{}, Held{1 << 40, math.MaxInt64}, Held{1 << 40, math.MaxInt64}, "exo", math.MaxInt64, ""},
		{"empty", limits, Held{}, Held{}, "exo", 1000, ""},
		{"larger than the limit of all", limits, Held{}, Held{}, "exo", 1001, "limit of 1000 bytes in all"},
		{"larger than any number", limits, Held{}, Held{}, "exo", math.MaxInt64, "limit of 1000 bytes in all"},
		{"the last message of all", limits, Held{9, 0}, Held{}, "", 1, ""},
		{"one message too many", limits, Held{10, 0}, Held{}, "", 1, "limit of 10 messages in all"},
		{"more than there may be", limits, Held{11, 2000}, Held{}, "", 0, "limit of 10 messages in all"},
		{"the last byte of all", limits, Held{1, 900}, Held{}, "", 100, ""},
		{"one byte too many", limits, Held{1, 900}, Held{}, "", 101, "limit of 1000 bytes in all"},
		{"an unknown size when there is room", limits, Held{1, 999}, Held{}, "", 0, ""},
		{"an unknown size when there is none", limits, Held{1, 1000}, Held{}, "", 0, "limit of 1000 bytes in all"},
		{"the limit of one", limits, Held{5, 500}, Held{4, 400}, "exo", 1, "limit of 4 messages for exo"},
		{"the other goes on", limits, Held{5, 500}, Held{1, 100}, "lab", 1, ""},
		{"bytes of the other", limits, Held{5, 500}, Held{1, 100}, "lab", 201, "limit of 300 bytes for lab"},
		{"all comes before one", limits, Held{10, 500}, Held{4, 100}, "exo", 1, "in all"},
		{"one without a limit", limits, Held{5, 500}, Held{5, 500}, "new", 1, ""},
	} {
		err := c.l.Room(c.all, c.one, c.upstream, c.size)
		var limit *LimitError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &limit) || !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.rule, err, c.want)
		}
		if errors.Is(err, ErrClosed) {
			t.Errorf("%s: another error, too", c.rule)
		}
	}
}

func TestLimitErrorIsReadable(t *testing.T) {
	for want, e := range map[string]LimitError{
		"the limit of 1000 messages for exo leaves no room": {Upstream: "exo", Most: 1000},
		"the limit of 1024 messages in all leaves no room":  {Most: 1024},
		"the limit of 1000 bytes in all leaves no room":     {Bytes: true, Most: 1000},
		"the limit of 3 KiB in all leaves no room":          {Bytes: true, Most: 3 << 10},
		"the limit of 1025 MiB for exo leaves no room":      {Upstream: "exo", Bytes: true, Most: 1025 << 20},
		"the limit of 2048 GiB in all leaves no room":       {Bytes: true, Most: 2 << 40},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
