package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestRowsAreSeenBeforeTheRest: the first row at once, and a screenful of a
// table as soon as it is complete.
func TestRowsAreSeenBeforeTheRest(t *testing.T) {
	columns := []column[int]{{name: "n", title: "N", human: func(n int) string { return fmt.Sprint(n) }, exact: func(n int) string { return fmt.Sprint(n) }}}
	for _, test := range []struct {
		format string
		most   int
		seen   []string // after each row
	}{
		{formatTSV, 0, []string{"1\n", "1\n"}},
		{formatCSV, 0, []string{"n\n1\n", "n\n1\n"}},
		{formatJSONL, 0, []string{"1\n", "1\n"}},
		{formatID, 0, []string{"1\n", "1\n"}},
		{formatTable, 0, []string{"", ""}},
		{formatTable, 2, []string{"", "N\n1\n2\n"}},
		{formatWide, 1, []string{"N\n1\n", "N\n1\n"}},
	} {
		var out bytes.Buffer
		a := &app{out: &out, env: func(string) string { return "" }, screen: screen{width: 80}}
		a.flags.output = test.format
		l, err := newListing(a, columns, 1)
		if err != nil {
			t.Fatal(err)
		}
		l.most, l.id = test.most, func(n int) string { return fmt.Sprint(n) }
		for i, want := range test.seen {
			if err := l.row(i + 1); err != nil || out.String() != want {
				t.Errorf("%s, at most %d: after row %d %q is seen, not %q; %v", test.format, test.most, i+1, out.String(), want, err)
			}
		}
		if err := l.end(nil); err != nil || !strings.HasSuffix(out.String(), "2\n") {
			t.Errorf("%s: %q, %v", test.format, out.String(), err)
		}
	}
}

type fullPipe struct{}

func (fullPipe) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

func TestFirstRowThatNobodyReads(t *testing.T) {
	columns := []column[int]{{name: "n", exact: func(n int) string { return fmt.Sprint(n) }}}
	for _, format := range []string{formatTSV, formatCSV} {
		a := &app{out: fullPipe{}, env: func(string) string { return "" }}
		a.flags.output = format
		l, err := newListing(a, columns, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.row(1); err == nil {
			t.Errorf("%s: the row was written", format)
		}
	}
}
