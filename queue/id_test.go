package queue

import (
	"strings"
	"testing"
	"time"
)

func TestNextID(t *testing.T) {
	start := time.UnixMilli(1_772_000_000_000)
	for _, c := range []struct {
		rule string
		last ID
		now  time.Time
		want ID
	}{
		{"the first", "", start, "374kdrw00000"},
		{"the same millisecond counts on", "374kdrw00000", start, "374kdrw00001"},
		{"digits and letters carry", "374kdrw0000z", start, "374kdrw00010"},
		{"a step back counts on", "374kdrw00000", start.Add(-time.Hour), "374kdrw00001"},
		{"before 1970", "", time.UnixMilli(-5), "000000000001"},
		{"time goes on", "374kdrw00005", start.Add(time.Millisecond), "374kdrw02000"},
		{"a full millisecond runs into the next", "374kdrw01zzz", start, "374kdrw02000"},
	} {
		if got := NextID(c.last, c.now); got != c.want {
			t.Errorf("%s: NextID(%q) = %q, want %q", c.rule, c.last, got, c.want)
		}
	}
	if at := NextID("", start).Time(); !at.Equal(start) {
		t.Errorf("time %s, want %s", at, start)
	}
}

func TestIDsSortByTimeAndParse(t *testing.T) {
	var last ID
	now := time.UnixMilli(1_772_000_000_000)
	for i := range 200_000 { // more than a millisecond has room for
		if i%90_000 == 89_999 {
			now = now.Add(-time.Second)
		}
		id := NextID(last, now)
		if id <= last {
			t.Fatalf("%q does not come after %q", id, last)
		}
		last = id
	}
	if parsed, err := ParseID(string(last)); err != nil || parsed != last {
		t.Fatalf("%q: %q, %v", last, parsed, err)
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, text := range []string{"", "1jj7z548000", "1jj7z54800000", "1JJ7Z5480000", "374kdrw0000i", "374kdrw0000l", "374kdrw0000o", "374kdrw0000u", "1jj7z548 000", "1jj7z54800é"} {
		if id, err := ParseID(text); err == nil || id != "" || !strings.Contains(err.Error(), "message id") {
			t.Errorf("ParseID(%q) = %q, %v", text, id, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("374kdrw00000")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		if string(id) != text || formatID(id.value()) != id {
			t.Fatalf("%q is %q", text, id)
		}
	})
}
