package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// notRecorded stands where the records have nothing.
const notRecorded = "not recorded"

// thousands writes a number with commas.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// span writes a duration in at most two units.
func span(d time.Duration) string {
	seconds := int64(d.Round(time.Second) / time.Second)
	if seconds < 0 {
		seconds = 0
	}
	unit := func(big int64, bigName string, small int64, smallName string) string {
		whole := fmt.Sprintf("%d %s", seconds/big, bigName)
		if rest := seconds % big / small; rest > 0 {
			return fmt.Sprintf("%s %d %s", whole, rest, smallName)
		}
		return whole
	}
	switch {
	case seconds < 60:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 3600:
		return unit(60, "min", 1, "s")
	case seconds < 86400:
		return unit(3600, "h", 60, "min")
	}
	return unit(86400, "d", 3600, "h")
}

func secondsSpan(n int64) string { return span(time.Duration(n) * time.Second) }

// volume writes bytes.
func volume(n int64) string {
	value := float64(n)
	for _, unit := range []string{"bytes", "KiB", "MiB", "GiB"} {
		if value < 1024 || unit == "GiB" {
			if unit == "bytes" {
				return fmt.Sprintf("%d bytes", n)
			}
			return fmt.Sprintf("%.1f %s", value, unit)
		}
		value /= 1024
	}
	return ""
}

// day and clock write a time for people, in UTC.
func day(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

func clock(t time.Time) string {
	if t.IsZero() {
		return notRecorded
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// or is a text, or that it was not recorded.
func or(s string) string {
	if s == "" {
		return notRecorded
	}
	return s
}

// reply writes a reply in one line.
func reply(code int, enhanced, text string) string {
	words := []string{}
	if code != 0 {
		words = append(words, strconv.Itoa(code))
	}
	return line(strings.TrimSpace(strings.Join(append(words, enhanced, text), " ")))
}
