package demo

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	storyWidth = 80  // columns of a line
	storyHead  = 18  // columns before the words of an event
	maxReason  = 150 // characters of a reason, which may quote the primary
	logLines   = 5   // of a log that are shown when something went wrong
)

// tell writes an event with the time since the beginning.
func (s *stage) tell(event, words string) {
	at := time.Since(s.began).Round(time.Second)
	head := fmt.Sprintf("%02d:%02d  %-9s  ", int(at.Minutes()), int(at.Seconds())%60, event)
	for _, line := range wrap(smtp.Printable(words), storyWidth-storyHead) {
		fmt.Fprintln(s.o.Out, head+line)
		head = strings.Repeat(" ", storyHead)
	}
}

// introduce says who plays.
func (s *stage) introduce() {
	addresses := s.primary.Addrs()
	text := fmt.Sprintf("A simulated Exchange Online (%s, %s), a relay (%s) and a sender run on this machine. The sender writes %d messages a second. "+
		"Intervals that are minutes in production are seconds here.", addresses[0], addresses[1], s.address, time.Second/every)
	fmt.Fprintln(s.o.Out, strings.Join(wrap(text, storyWidth), "\n"))
	fmt.Fprintf(s.o.Out, "\nWhile it runs, look at the relay from another terminal:\n  %s --socket %s status\n\n", s.binary, s.socket)
}

// showLogs writes the ends of the children's logs.
func (s *stage) showLogs() {
	for _, name := range []string{"relay.log", "sender.log"} {
		text, err := os.ReadFile(s.path(name))
		if err != nil || len(text) == 0 {
			continue // it was not started, or has nothing to say
		}
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		fmt.Fprintf(s.o.Out, "\nThe end of %s:\n", name)
		for _, line := range lines[max(0, len(lines)-logLines):] {
			fmt.Fprintln(s.o.Out, "  "+smtp.Printable(line))
		}
	}
}

// wrap breaks a text at its spaces into lines of at most so many columns. An
// empty text is one empty line; a word that is longer has a line of its own.
func wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Split(text, " ") {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, strings.TrimRight(line, " "))
			line = word
		}
	}
	return append(lines, strings.TrimRight(line, " "))
}

// cut shortens a reason: what a primary says has no end.
func cut(text string) string {
	if runes := []rune(text); len(runes) > maxReason {
		return strings.TrimRight(string(runes[:maxReason-3]), " ") + "..."
	}
	return text
}
