package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/csvfile"
)

// Row is what became of a message for one recipient: a line of messages.csv.
// Times are UTC in whole milliseconds; the zero time is none.
type Row struct {
	ID           queue.ID
	MessageID    string // with brackets; "" if the message had none
	ReceivedAt   time.Time
	ClientIP     string
	SenderDomain string
	Recipient    string
	Size         int64
	Attempts     int
	FirstCode    int // 0 is no reply: FirstText says what happened
	FirstText    string
	DeliveredAt  time.Time
	FinalCode    int
	FinalText    string
	InternalID   string // that Exchange Online named in its reply
	Host         string // of it
	Unconfirmed  bool   // the primary may have taken it twice
	State        string // a word of queue.State, or Unaccounted
	Sender       string // reverse-path
	Digest       string // SHA-256 of the bytes received
	ClientName   string
	ClientHello  string
	ClientTLS    string
	SPF          string
	DKIM         string
	DMARC        string
	NextHop      string
	NextAddress  string
	Session      string // the primary's id of the last dialogue
	EndedAt      time.Time
}

// Unaccounted is the state of a recipient of whom no record says what became of it.
const Unaccounted = "unaccounted"

// cell is a column of messages.csv.
type cell struct {
	name string
	get  func(*Row) string
	set  func(*Row, string) error
}

func textCell(name string, of func(*Row) *string) cell {
	return cell{name, func(r *Row) string { return *of(r) }, func(r *Row, s string) error { *of(r) = s; return nil }}
}

func timeCell(name string, of func(*Row) *time.Time) cell {
	return cell{name, func(r *Row) string { return instant(*of(r)) }, func(r *Row, s string) (err error) {
		*of(r), err = parseInstant(s)
		return err
	}}
}

func codeCell(name string, of func(*Row) *int) cell {
	return cell{name, func(r *Row) string {
		if *of(r) == 0 {
			return ""
		}
		return strconv.Itoa(*of(r))
	}, func(r *Row, s string) (err error) {
		if s != "" {
			*of(r), err = strconv.Atoi(s)
		}
		return err
	}}
}

// rowCells are the columns of messages.csv, in their order.
func rowCells() []cell {
	return []cell{
		{"id", func(r *Row) string { return string(r.ID) }, func(r *Row, s string) error { r.ID = queue.ID(s); return nil }},
		textCell("message_id", func(r *Row) *string { return &r.MessageID }),
		timeCell("received_at", func(r *Row) *time.Time { return &r.ReceivedAt }),
		textCell("client_ip", func(r *Row) *string { return &r.ClientIP }),
		textCell("sender_domain", func(r *Row) *string { return &r.SenderDomain }),
		textCell("recipient", func(r *Row) *string { return &r.Recipient }),
		{"size", func(r *Row) string { return strconv.FormatInt(r.Size, 10) }, func(r *Row, s string) (err error) {
			r.Size, err = strconv.ParseInt(s, 10, 64)
			return err
		}},
		{"attempts", func(r *Row) string { return strconv.Itoa(r.Attempts) }, func(r *Row, s string) (err error) { r.Attempts, err = strconv.Atoi(s); return err }},
		codeCell("first_code", func(r *Row) *int { return &r.FirstCode }),
		textCell("first_text", func(r *Row) *string { return &r.FirstText }),
		timeCell("delivered_at", func(r *Row) *time.Time { return &r.DeliveredAt }),
		{"delay_s", func(r *Row) string { return r.delayText() }, func(r *Row, s string) error {
			if s != r.delayText() {
				return fmt.Errorf("delay_s is %q, and the times say %q", s, r.delayText())
			}
			return nil
		}},
		codeCell("final_code", func(r *Row) *int { return &r.FinalCode }),
		textCell("final_text", func(r *Row) *string { return &r.FinalText }),
		textCell("exo_internal_id", func(r *Row) *string { return &r.InternalID }),
		textCell("exo_host", func(r *Row) *string { return &r.Host }),
		{"unconfirmed", func(r *Row) string { return strconv.FormatBool(r.Unconfirmed) }, func(r *Row, s string) (err error) { r.Unconfirmed, err = strconv.ParseBool(s); return err }},
		textCell("state", func(r *Row) *string { return &r.State }),
		textCell("sender", func(r *Row) *string { return &r.Sender }),
		textCell("sha256", func(r *Row) *string { return &r.Digest }),
		textCell("client_name", func(r *Row) *string { return &r.ClientName }),
		textCell("client_hello", func(r *Row) *string { return &r.ClientHello }),
		textCell("client_tls", func(r *Row) *string { return &r.ClientTLS }),
		textCell("spf", func(r *Row) *string { return &r.SPF }),
		textCell("dkim", func(r *Row) *string { return &r.DKIM }),
		textCell("dmarc", func(r *Row) *string { return &r.DMARC }),
		textCell("next_hop", func(r *Row) *string { return &r.NextHop }),
		textCell("next_address", func(r *Row) *string { return &r.NextAddress }),
		textCell("session", func(r *Row) *string { return &r.Session }),
		timeCell("ended_at", func(r *Row) *time.Time { return &r.EndedAt }),
	}
}

// delayText is the time from our 250 to that of the primary, in seconds; "" if it was not delivered.
func (r *Row) delayText() string {
	if r.DeliveredAt.IsZero() {
		return ""
	}
	return strconv.FormatFloat(r.DeliveredAt.Sub(r.ReceivedAt).Seconds(), 'f', 3, 64)
}

// stamp is how a time is written in a table.
const stamp = "2006-01-02T15:04:05.000Z"

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(stamp)
}

func parseInstant(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(stamp, s)
}

// whole takes from a time what a table does not show of it.
func whole(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// line makes one line of printable UTF-8 of a text from outside.
func line(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\r\n", "\n"), "\n", " | ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return '\ufffd'
		}
		return r
	}, s)
}

// guard keeps a spreadsheet from taking a cell for a formula. unguard undoes it.
func guard(s string) string {
	if s != "" && strings.ContainsRune("=+-@'\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func unguard(s string) string { return strings.TrimPrefix(s, "'") }

// table writes CSV as RFC 4180 has it, with cells guarded.
type table struct{ out *csv.Writer }

func newTable(w io.Writer, titles ...string) (*table, error) {
	t := &table{csv.NewWriter(w)}
	t.out.UseCRLF = true
	return t, t.out.Write(titles)
}

func (t *table) row(cells ...string) error {
	for n, c := range cells {
		cells[n] = guard(line(c))
	}
	return t.out.Write(cells)
}

func (t *table) end() error {
	t.out.Flush()
	return t.out.Error()
}

// rowTable writes rows.
type rowTable struct {
	*table
	cells []cell
}

func newRowTable(w io.Writer) (*rowTable, error) {
	t := &rowTable{cells: rowCells()}
	var titles []string
	for _, c := range t.cells {
		titles = append(titles, c.name)
	}
	var err error
	t.table, err = newTable(w, titles...)
	return t, err
}

func (t *rowTable) write(r Row) error {
	all := make([]string, len(t.cells))
	for n, c := range t.cells {
		all[n] = c.get(&r)
	}
	return t.row(all...)
}

// errRow says that a table is not what a report writes.
var errRow = errors.New("it is not as a report writes it")

// readRows calls each with every row of a messages.csv.
func readRows(r io.Reader, each func(Row) error) error {
	cells := rowCells()
	return readTable(r, cells[0].name, len(cells), func(n int) string { return cells[n].name }, func(texts []string) error {
		var row Row
		for n, c := range cells {
			if err := c.set(&row, texts[n]); err != nil {
				return fmt.Errorf("%w: %s: %w", errRow, c.name, err)
			}
		}
		return each(row)
	})
}

// readTable reads a table that a report has written; the cells are good until each returns.
func readTable(r io.Reader, first string, columns int, title func(int) string, each func([]string) error) error {
	t, err := csvfile.Open(r, func(titles []string) bool { return len(titles) == columns && titles[0] == first })
	if err != nil {
		return err
	}
	for n, name := range t.Titles {
		if name != title(n) {
			return fmt.Errorf("%w: column %q", errRow, name)
		}
	}
	for {
		texts, err := t.Row()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case len(texts) != columns:
			return fmt.Errorf("%w: %d cells in a row", errRow, len(texts))
		}
		for n := range texts {
			texts[n] = unguard(texts[n])
		}
		if err := each(texts); err != nil {
			return err
		}
	}
}
