package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// clean makes a string safe for a terminal and a table: whatever came from
// mail or from a remote server goes through here, or through admin.Encode.
func clean(s string) string { return smtp.Printable(s) }

// quote puts a word between quotes for a message.
func quote(word string) string { return `"` + word + `"` }

// span writes a duration in at most two units: 12s, 7m, 2h07m, 4d21h.
func span(d time.Duration) string {
	if d < 0 {
		return "-" + span(-d)
	}
	seconds := int64(d / time.Second)
	minutes, hours, days := seconds/60, seconds/3600, seconds/86400
	switch {
	case minutes == 0:
		return fmt.Sprintf("%ds", seconds)
	case hours == 0:
		return fmt.Sprintf("%dm", minutes)
	case days == 0:
		return fmt.Sprintf("%dh%02dm", hours, minutes%60)
	}
	return fmt.Sprintf("%dd%dh", days, hours%24)
}

// since is the span from t to now; "-" if there is no t.
func since(t admin.Time, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t.Time))
}

// size writes bytes in the unit that keeps two or three digits.
func size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes), 0
	for value >= 1024 && unit < 5 {
		value /= 1024
		unit++
	}
	digits := 0
	if value < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + " " + []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit]
}

// messages writes a number of messages.
func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return admin.Thousands(int64(n)) + " messages"
}

// path writes a reverse-path or forward-path; the null reverse-path is <>.
func path(address string) string {
	if address == "" {
		return "<>"
	}
	return address
}

// replyLine writes a reply in one line, as queue.Reply.String does.
func replyLine(r admin.Reply) string {
	var words []string
	if r.Code != 0 {
		words = append(words, strconv.Itoa(r.Code))
	}
	for _, word := range []string{r.Enhanced, strings.ReplaceAll(r.Text, "\n", " / ")} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// clock writes an instant for people; the day only if it is not today's.
func (a *app) clock(t admin.Time) string {
	if t.IsZero() {
		return "-"
	}
	if a.exact() {
		return t.String()
	}
	at, today := t.In(a.zone()), a.now.In(a.zone())
	layout := "15:04:05"
	if at.Format(time.DateOnly) != today.Format(time.DateOnly) {
		layout = "2 Jan 15:04:05"
	}
	return at.Format(layout + " MST")
}

// stamp writes the instant of a ledger line.
func (a *app) stamp(t admin.Time) string {
	if a.exact() {
		return t.String()
	}
	return t.In(a.zone()).Format("2 Jan 15:04:05.000")
}

// shell quotes a word so that it can be pasted into a shell.
func shell(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%_-+=:,./", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
