// Package csvfile reads the tables that Windows and the admin centres of
// Exchange Online write: UTF-8 or UTF-16 with a mark in front, a line #TYPE or
// sep= before the header, and commas, semicolons or tabs between the cells.
package csvfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrCutOff says that a file of UTF-16 ends within a letter.
var ErrCutOff = errors.New("the file is UTF-16, and cut off within a letter")

// Text reads UTF-8, without its mark, from UTF-8 or UTF-16. It is for one goroutine.
func Text(r io.Reader) io.Reader {
	in := bufio.NewReader(r)
	mark, _ := in.Peek(3) // an error comes again
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3)
	case bytes.HasPrefix(mark, []byte("\xff\xfe")):
		_, _ = in.Discard(2)
		return &wide{in: in, order: binary.LittleEndian}
	case bytes.HasPrefix(mark, []byte("\xfe\xff")):
		_, _ = in.Discard(2)
		return &wide{in: in, order: binary.BigEndian}
	}
	return in
}

// wide makes UTF-8 of UTF-16.
type wide struct {
	in    *bufio.Reader
	order binary.ByteOrder
	ready []byte
	half  rune // a first surrogate that waits for its second one
	err   error
}

func (w *wide) Read(p []byte) (int, error) {
	for len(w.ready) == 0 && w.err == nil {
		w.fill()
	}
	n := copy(p, w.ready)
	w.ready = w.ready[n:]
	if n == 0 {
		return 0, w.err
	}
	return n, nil
}

// fill decodes some letters.
func (w *wide) fill() {
	var units [2048]byte
	n, err := io.ReadFull(w.in, units[:])
	w.ready = w.ready[:0]
	for i := 0; i+1 < n; i += 2 {
		w.unit(rune(w.order.Uint16(units[i:])))
	}
	switch {
	case err == nil:
		return
	case n%2 != 0:
		err = ErrCutOff
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = io.EOF
	}
	if w.half != 0 {
		w.ready, w.half = utf8.AppendRune(w.ready, utf8.RuneError), 0
	}
	w.err = err
}

func (w *wide) unit(u rune) {
	if w.half != 0 {
		whole := utf16.DecodeRune(w.half, u)
		w.ready, w.half = utf8.AppendRune(w.ready, whole), 0
		if whole != utf8.RuneError {
			return
		}
	}
	if u >= 0xd800 && u < 0xdc00 {
		w.half = u
		return
	}
	w.ready = utf8.AppendRune(w.ready, u) // a second surrogate alone becomes U+FFFD
}

// Reader is a csv.Reader with a comma of its own.
func Reader(r io.Reader, comma rune) *csv.Reader {
	in := csv.NewReader(r)
	in.Comma = comma
	return in
}

// Find finds the header of a table: the first line that is not empty, behind what
// PowerShell and Excel may write before it, if wanted knows its titles. It
// returns the text from there, how many lines were skipped, and what separates
// the cells.
func Find(text []byte, wanted func(titles []string) bool) (body []byte, skipped int, comma rune, ok bool) {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("#TYPE ")) && !bytes.HasPrefix(line, []byte("sep=")) {
			for _, comma := range []rune{',', ';', '\t'} {
				if titles, err := Reader(bytes.NewReader(line), comma).Read(); err == nil && wanted(titles) {
					return text, skipped, comma, true
				}
			}
			return nil, 0, 0, false
		}
		text = rest
		skipped++
	}
	return nil, 0, 0, false
}

// Plain is a title without case, spaces, hyphens and underscores.
func Plain(title string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(title))
}

// Errors of a Table.
var (
	ErrNoTable = errors.New("it has no header of such a table")
	ErrTooLong = errors.New("the row is too long")
)

const (
	maxHead = 64 << 10 // bytes, within which the header ends
	maxRow  = 1 << 20  // bytes of a row, quotes included, besides what is read ahead
)

// Table reads the rows of a table one at a time, in bounded memory.
type Table struct {
	Titles  []string
	rows    *csv.Reader
	limit   *limited
	skipped int
}

// Open finds the header of a table in r. ErrNoTable if wanted does not know its titles.
func Open(r io.Reader, wanted func(titles []string) bool) (*Table, error) {
	in := bufio.NewReaderSize(Text(r), maxHead)
	head, err := in.Peek(maxHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	body, skipped, comma, ok := Find(head, wanted)
	if !ok {
		return nil, ErrNoTable
	}
	_, _ = in.Discard(len(head) - len(body)) // it was peeked at
	t := &Table{limit: &limited{r: in}, skipped: skipped}
	t.rows = Reader(t.limit, comma)
	t.rows.FieldsPerRecord = -1
	if t.Titles, err = t.Row(); err != nil {
		return nil, err
	}
	t.Titles = append([]string(nil), t.Titles...)
	t.rows.ReuseRecord = true
	return t, nil
}

// Row reads the next row, which is good until the next call; io.EOF at the end.
// Cells that are missing at its end are empty. An error names the line, if it is known.
func (t *Table) Row() ([]string, error) {
	t.limit.left = maxRow
	row, err := t.rows.Read()
	var where *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.As(err, &where):
		return nil, fmt.Errorf("line %d: %w", t.skipped+where.Line, where.Err)
	case err != nil:
		return nil, err
	}
	for len(row) < len(t.Titles) {
		row = append(row, "")
	}
	return row, nil
}

// limited fails when one row takes too much.
type limited struct {
	r    io.Reader
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, ErrTooLong
	}
	n, err := l.r.Read(p)
	l.left -= n
	return n, err
}
