package configs

import (
	"strconv"
	"strings"
	"time"
)

// parseDuration reads 90s, 5m, 1h30m, 5d or 1d12h: the units of
// time.ParseDuration, and days, which come first.
func parseDuration(s string) (time.Duration, bool) {
	days := 0
	if count, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(count, 10, 16) // 65535 days are no overflow
		if err != nil {
			return 0, false
		}
		if days, s = int(n), rest; s == "" {
			s = "0s"
		}
	}
	rest, err := time.ParseDuration(s)
	if err != nil || s[0] == '+' || s[0] == '-' || !strings.ContainsAny(s, "smh") {
		return 0, false
	}
	sum := time.Duration(days)*day + rest
	return sum, sum >= rest
}

// showDuration writes a duration as the file would have it.
func showDuration(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

var sizeUnits = [...]struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseSize reads a whole number with one of the units B, KiB, MiB, GiB and TiB.
func parseSize(s string) (int64, bool) {
	for _, unit := range sizeUnits {
		count, found := strings.CutSuffix(s, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(count, " "), 10, 63)
		if err != nil || n > (1<<63-1)/uint64(unit.bytes) {
			return 0, false
		}
		return int64(n) * unit.bytes, true
	}
	return 0, false
}

// showSize writes a size as the file would have it.
func showSize(n int64) string {
	for _, unit := range sizeUnits {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
