package main

import (
	"os"
	"strconv"
	"strings"
)

// screen is what we know of the terminal.
type screen struct {
	out   bool // standard output is a terminal
	in    bool // a person can be asked
	width int  // columns
	color bool
	utf8  bool
}

// look finds out about the terminal.
func look(in, out *os.File, env func(string) string) screen {
	s := screen{width: 80}
	width, ok := terminalWidth(out)
	s.out = ok
	if ok && width > 0 {
		s.width = width
	}
	if columns, err := strconv.Atoi(env("COLUMNS")); err == nil && columns >= 20 {
		s.width = columns
	}
	_, s.in = terminalWidth(in)
	s.color = ok && env("TERM") != "dumb" && env("CLICOLOR") != "0"
	if force := env("CLICOLOR_FORCE"); force != "" && force != "0" {
		s.color = true
	}
	if env("NO_COLOR") != "" || env("MXKEEP_NO_COLOR") != "" {
		s.color = false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := env(name); value != "" {
			value = strings.ToLower(value)
			s.utf8 = strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
			break
		}
	}
	return s
}

// paint colours a word on a terminal that has colours. Colour never carries
// the meaning alone.
func (a *app) paint(severity, word string) string {
	code, ok := map[string]string{"ok": "32", "warning": "33", "critical": "31"}[severity]
	if !ok || !a.screen.color || a.flags.noColor {
		return word
	}
	return "\x1b[1;" + code + "m" + word + "\x1b[0m"
}
