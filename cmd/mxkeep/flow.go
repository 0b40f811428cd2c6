package main

import (
	"fmt"
	"io"
	"strings"
)

// flow writes labels with items that flow into as many lines as they need.
type flow struct {
	w     io.Writer
	width int
}

const (
	indent  = 13    // columns before the items of a label
	between = "   " // two items on one line
)

// flow fits the screen; what is not for a terminal is not broken.
func (a *app) flow(w io.Writer) flow { return flow{w, a.width()} }

// labelled writes a label and its items; nothing if there are no items.
func (f flow) labelled(label string, items ...string) {
	if len(items) > 0 {
		f.block(fmt.Sprintf("  %-*s", indent-2, label), indent, items...)
	}
}

// block writes items after a head that takes the given columns, one line under
// the other. Items are cleaned here, for whoever made them; the head is our own.
func (f flow) block(head string, columns int, items ...string) {
	for _, line := range flowLines(f.width-columns, items) {
		fmt.Fprintln(f.w, head+line)
		head = strings.Repeat(" ", columns)
	}
}

// flowLines breaks between items, and within an item only if it alone is too wide.
func flowLines(width int, items []string) []string {
	var lines []string
	for _, item := range items {
		item = clean(item)
		last := len(lines) - 1
		if last >= 0 && cellWidth(lines[last])+len(between)+cellWidth(item) <= width {
			lines[last] += between + item
			continue
		}
		lines = append(lines, breakWords(width, item)...)
	}
	return lines
}

// breakWords breaks a text at its spaces.
func breakWords(width int, text string) []string {
	var lines []string
	for i, word := range strings.Split(text, " ") {
		last := len(lines) - 1
		if i > 0 && cellWidth(lines[last])+1+cellWidth(word) <= width {
			lines[last] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}
