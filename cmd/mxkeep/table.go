package main

import (
	"strings"
	"unicode"
)

// gap is between two columns.
const gap = "  "

// fit finds the widths of the columns: as wide as their cells, and when that
// is wider than the screen, columns with a least width give way, the widest first.
func fit(rows [][]string, least []int, screen int) []int {
	widths := make([]int, len(least))
	for _, cells := range rows {
		for i, cell := range cells {
			widths[i] = max(widths[i], cellWidth(cell))
		}
	}
	for over := total(widths) - screen; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if least[i] > 0 && w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// total is the width of a line of columns.
func total(widths []int) int {
	sum := (len(widths) - 1) * len(gap)
	for _, w := range widths {
		sum += w
	}
	return sum
}

// align makes a line of cells. Cells that are too wide are cut.
func align(cells []string, widths []int, right []bool, utf8 bool) string {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString(gap)
		}
		cell = cut(cell, widths[i], utf8)
		pad := strings.Repeat(" ", max(0, widths[i]-cellWidth(cell)))
		if right[i] {
			line.WriteString(pad + cell)
		} else {
			line.WriteString(cell + pad)
		}
	}
	return strings.TrimRight(line.String(), " ")
}

// cut shortens a cell to a width, and shows that it did.
func cut(cell string, width int, utf8 bool) string {
	if cellWidth(cell) <= width {
		return cell
	}
	mark := "…"
	if !utf8 {
		mark = "~"
	}
	used := 0
	for i, r := range cell {
		if used += runeWidth(r); used > width-1 {
			return cell[:i] + mark
		}
	}
	return cell
}

func cellWidth(cell string) (width int) {
	for _, r := range cell {
		width += runeWidth(r)
	}
	return width
}

// runeWidth is how many columns a terminal gives a letter: none for a mark
// that joins the letter before, two for East Asian wide letters and pictures.
func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana), r >= 0xff01 && r <= 0xff60, r >= 0x1f300 && r <= 0x1faff:
		return 2
	}
	return 1
}
