package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// The formats. formatAuto is a table on a terminal and tab-separated values
// elsewhere; formatWide is a table with all columns, not cut to the screen.
const (
	formatAuto  = "auto"
	formatTable = "table"
	formatWide  = "wide"
	formatTSV   = "tsv"
	formatCSV   = "csv"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatID    = "id"
	formatMailq = "mailq"
)

// format is what was asked for: flag, then environment, then auto.
func (a *app) format() (string, error) {
	format := formatAuto
	if word := a.env("MXKEEP_OUTPUT"); word != "" {
		format = word
	}
	if a.flags.output != "" {
		format = a.flags.output
	}
	if a.flags.json != "" {
		format = formatJSON
	}
	switch format {
	case formatAuto:
		if a.screen.out {
			return formatTable, nil
		}
		return formatTSV, nil
	case formatTable, formatWide, formatTSV, formatCSV, formatJSON, formatJSONL, formatID, formatMailq:
		return format, nil
	}
	return formatAuto, usage("no output format %q (there are auto table wide tsv csv json jsonl id mailq)", format)
}

// exact reports whether text is for a program: full times, nothing cut.
func (a *app) exact() bool {
	format, _ := a.format()
	return format != formatTable && format != formatWide
}

// width is how many columns a line for people may have.
func (a *app) width() int {
	if format, _ := a.format(); format == formatTable {
		return a.screen.width
	}
	return math.MaxInt
}

// document writes one document: as JSON, or as the text that show makes.
func (a *app) document(v any, show func(io.Writer)) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	if format == formatJSON || format == formatJSONL {
		line, err := a.chosen(v)
		if err != nil {
			return err
		}
		_, err = a.out.Write(line)
		return err
	}
	out := bufio.NewWriter(a.out) // start has refused what is no text
	show(out)
	return out.Flush()
}

// Annotations of commands: what they write besides a document, which is text or JSON.
const (
	alsoFormats = "formats" // more formats, with spaces between
	hasFields   = "fields"  // --fields chooses something of the text as well
)

// fits refuses, before anything is done, a format that the command does not have.
func (a *app) fits(also map[string]string) error {
	format, err := a.format()
	switch {
	case err != nil:
		return err
	case slices.Contains([]string{formatCSV, formatID, formatMailq}, format) && !slices.Contains(strings.Fields(also[alsoFormats]), format):
		return usage("this command has no output as %s", format)
	case len(a.flags.fields) > 0 && format != formatJSON && format != formatJSONL && also[hasFields] == "":
		return usage("--fields chooses members of the JSON here: add --json")
	}
	return nil
}

// words writes a line for people; -q leaves it out.
func (a *app) words(format string, args ...any) {
	if !a.flags.quiet {
		fmt.Fprintln(a.errs, clean(fmt.Sprintf(format, args...)))
	}
}

// chosen encodes a document, with the members that --fields names.
func (a *app) chosen(v any) ([]byte, error) {
	if len(a.flags.fields) == 0 {
		return admin.Encode(v)
	}
	whole, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(whole, &members); err != nil {
		return nil, err
	}
	var b strings.Builder
	for i, name := range append([]string{"schema"}, a.flags.fields...) {
		value, ok := members[name]
		if !ok {
			return nil, usage("no field %q", name)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", name, value)
	}
	return admin.Encode(json.RawMessage("{" + b.String() + "}"))
}

// column is one column of a listing.
type column[T any] struct {
	name  string // as in the JSON
	title string
	least int // columns that a terminal gives it at least; 0 is "never cut"
	right bool
	drop  int            // on a narrow screen 1 is left out before 2, and so on; 0 stays
	spare bool           // people see it only if something stands in it
	human func(T) string // for people
	exact func(T) string // for programs, uncut; untrusted text is cleaned by the writer
}

// listing writes rows, one at a time, in the format asked for.
type listing[T any] struct {
	app      *app
	format   string
	columns  []column[T]
	chosen   bool // the columns, by a person
	id       func(T) string
	mailq    func(T) string
	schema   string // of the JSON document around the rows
	csv      *csv.Writer
	out      *bufio.Writer
	rows     int
	most     int        // rows that are to come at most; 0 is not known
	measured [][]string // rows of a table before its widths are known
	widths   []int
}

// batch is how many rows of a table are measured before the first is written.
const batch = 500

// newListing checks format and fields. Without --fields, the first n columns are shown.
func newListing[T any](a *app, columns []column[T], n int) (*listing[T], error) {
	format, err := a.format()
	if err != nil {
		return nil, err
	}
	if format == formatWide {
		n = len(columns)
	}
	l := &listing[T]{app: a, format: format, columns: columns[:n], out: bufio.NewWriter(a.out)}
	l.csv = csv.NewWriter(l.out)
	if fields := a.flags.fields; len(fields) > 0 && format != formatJSON && format != formatJSONL {
		l.columns = nil
		l.chosen = true
		for _, name := range fields {
			i := slices.IndexFunc(columns, func(c column[T]) bool { return c.name == name })
			if i < 0 {
				return nil, usage("no field %q (there are %s)", name, names(columns))
			}
			l.columns = append(l.columns, columns[i])
		}
	}
	return l, nil
}

func names[T any](columns []column[T]) string {
	var words []string
	for _, c := range columns {
		words = append(words, c.name)
	}
	return strings.Join(words, " ")
}

// row writes one row. The first, and a whole screen of a table, is seen at once,
// however long the rest takes.
func (l *listing[T]) row(v T) error {
	l.rows++
	if err := l.write(v); err != nil || l.rows > 1 && l.rows != l.most {
		return err
	}
	l.csv.Flush()
	return errors.Join(l.csv.Error(), l.out.Flush())
}

func (l *listing[T]) write(v T) error {
	switch l.format {
	case formatJSON, formatJSONL:
		return l.object(v)
	case formatTable, formatWide:
		l.measured = append(l.measured, l.cells(func(c column[T]) string { return c.human(v) }))
		if len(l.measured) >= batch || l.rows == l.most {
			return l.flushTable()
		}
		return nil
	case formatCSV:
		if l.rows == 1 {
			if err := l.csv.Write(strings.Fields(names(l.columns))); err != nil {
				return err
			}
		}
		cells := l.cells(func(c column[T]) string { return c.exact(v) })
		for i, cell := range cells { // a spreadsheet must not take it for a formula
			if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				cells[i] = "'" + cell
			}
		}
		return l.csv.Write(cells)
	case formatID:
		return l.line(clean(l.id(v)))
	case formatMailq:
		return l.line(l.mailq(v))
	}
	return l.line(strings.Join(l.cells(func(c column[T]) string { return c.exact(v) }), "\t"))
}

func (l *listing[T]) line(text string) error {
	_, err := l.out.WriteString(text + "\n")
	return err
}

func (l *listing[T]) cells(get func(column[T]) string) []string {
	cells := make([]string, len(l.columns))
	for i, c := range l.columns {
		cells[i] = clean(get(c))
	}
	return cells
}

func (l *listing[T]) object(v T) error {
	text, err := l.app.chosen(v)
	if err != nil {
		return err
	}
	if l.format == formatJSON {
		separator := ",\n"
		if l.rows == 1 {
			separator = l.head()
		}
		text = append([]byte(separator), text[:len(text)-1]...)
	}
	_, err = l.out.Write(text)
	return err
}

func (l *listing[T]) head() string {
	return fmt.Sprintf("{\"schema\":%q,\"rows\":[\n", l.schema)
}

// end writes what is left, and the summary of a JSON document.
func (l *listing[T]) end(summary any) error {
	if l.format == formatJSON {
		tail, err := admin.Encode(summary)
		if err != nil {
			return err
		}
		head := "\n"
		if l.rows == 0 {
			head = l.head()
		}
		if _, err := l.out.WriteString(head + "],\"summary\":" + string(tail[:len(tail)-1]) + "}\n"); err != nil {
			return err
		}
	}
	if err := l.flushTable(); err != nil {
		return err
	}
	l.csv.Flush()
	if err := l.csv.Error(); err != nil {
		return err
	}
	return l.out.Flush()
}

// broken ends a listing that broke off: what came until then is written.
func (l *listing[T]) broken(err error) error {
	_ = l.flushTable() // the first error is the one to report
	l.csv.Flush()
	_ = l.out.Flush()
	return err
}

// flushTable writes the measured rows. The widths of the first batch hold for all.
func (l *listing[T]) flushTable() error {
	if len(l.measured) == 0 {
		return nil
	}
	if l.widths == nil {
		l.measure()
	}
	right := make([]bool, len(l.columns))
	for i, c := range l.columns {
		right[i] = c.right
	}
	for _, cells := range l.measured {
		if err := l.line(align(cells, l.widths, right, l.app.screen.utf8)); err != nil {
			return err
		}
	}
	l.measured = l.measured[:0]
	return nil
}

// measure finds the widths by the first rows, after leaving out columns that
// say nothing, and those for which the screen has no room.
func (l *listing[T]) measure() {
	var titles []string
	for _, c := range l.columns {
		titles = append(titles, c.title)
	}
	l.measured = append([][]string{titles}, l.measured...)
	for i := len(l.columns) - 1; i >= 0 && !l.chosen; i-- {
		if l.columns[i].spare && l.format == formatTable && l.empty(i) {
			l.leaveOut(i)
		}
	}
	for !l.chosen && total(fit(l.measured, l.least(), 0)) > l.app.width() {
		first := -1
		for i, c := range l.columns {
			if c.drop > 0 && (first < 0 || c.drop < l.columns[first].drop) {
				first = i
			}
		}
		if first < 0 {
			break
		}
		l.leaveOut(first)
	}
	l.widths = fit(l.measured, l.least(), l.app.width())
}

// empty reports whether nothing stands in a column but its title.
func (l *listing[T]) empty(column int) bool {
	for _, cells := range l.measured[1:] {
		if cells[column] != "" {
			return false
		}
	}
	return true
}

// leaveOut removes a column from the rows that were measured and those to come.
func (l *listing[T]) leaveOut(column int) {
	l.columns = slices.Delete(slices.Clone(l.columns), column, column+1)
	for i, cells := range l.measured {
		l.measured[i] = slices.Delete(cells, column, column+1)
	}
}

// least is the least width of each column.
func (l *listing[T]) least() (widths []int) {
	for _, c := range l.columns {
		widths = append(widths, c.least)
	}
	return widths
}
