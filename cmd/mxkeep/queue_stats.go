package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// shownRows is how many rows of a shape people see if they do not say.
const shownRows = 20

func newQueueStats(a *app) *cobra.Command {
	s := selection{beginnings: true}
	var request admin.ShapeRequest
	var limit int
	cmd := &cobra.Command{
		Use:         "stats [ID...]",
		Annotations: map[string]string{alsoFormats: "csv", hasFields: "yes"},
		Short:       "The age shape of the queue, and why messages wait",
		Long: "How old what is kept here is, in columns of which each is twice as long as the one before: a steady\n" +
			"arrival grows to the right. Tall old columns beside empty young ones are mail that is stuck.",
		Example: "  mxkeep queue stats\n" +
			"  mxkeep queue stats --by reply --older 2h",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.Select, err = a.choose(cmd.Context(), &s, args); err != nil {
				return err
			}
			shape, err := a.client().Shape(cmd.Context(), request)
			if err != nil {
				return err
			}
			if format, _ := a.format(); format == formatTSV || format == formatCSV {
				return a.listShape(shape)
			}
			return a.document(shape, func(w io.Writer) { a.showShape(w, shape, limit) })
		},
	}
	selectFlags(cmd, &s)
	cmd.Flags().StringVar(&request.By, "by", "", "domain (usual), from, reply, client or state")
	cmd.Flags().IntVar(&limit, "limit", shownRows, "at most so many rows; 0 is all")
	return cmd
}

// listShape writes the rows of a shape for a program, the total first.
func (a *app) listShape(shape admin.Shape) error {
	number := func(name string, get func(admin.Row) int) column[admin.Row] {
		return column[admin.Row]{name: name, exact: func(r admin.Row) string { return strconv.Itoa(get(r)) }}
	}
	columns := []column[admin.Row]{
		{name: "name", exact: func(r admin.Row) string { return r.Name }},
		number("total", func(r admin.Row) int { return r.Total }),
	}
	for i, minutes := range shape.LimitMinutes {
		columns = append(columns, number(fmt.Sprintf("under_%d_minutes", minutes), func(r admin.Row) int { return r.Ages[i] }))
	}
	columns = append(columns, number("older", func(r admin.Row) int { return r.Ages[len(r.Ages)-1] }))
	out, err := newListing(a, columns, len(columns))
	if err != nil {
		return err
	}
	for _, row := range append([]admin.Row{shape.All}, shape.Rows...) {
		if err := out.row(row); err != nil {
			return err
		}
	}
	return out.end(nil)
}

func (a *app) showShape(w io.Writer, shape admin.Shape, limit int) {
	titles := []string{"age in minutes", "total"}
	for i, minutes := range shape.LimitMinutes {
		title := fmt.Sprint(minutes)
		if i == 0 {
			title = "<" + title
		}
		titles = append(titles, title)
	}
	titles = append(titles, fmt.Sprintf("%d+", shape.LimitMinutes[len(shape.LimitMinutes)-1]))
	rows := [][]string{titles, shapeCells(shape.All)}
	for i, row := range shape.Rows {
		if limit > 0 && i == limit {
			break
		}
		rows = append(rows, shapeCells(row))
	}
	a.writeTable(w, rows)
	if more := len(shape.Rows) - limit; limit > 0 && more > 0 {
		fmt.Fprintf(w, "... %d more rows (--limit 0)\n", more)
	}
	if len(shape.Why) > 0 {
		a.showReasons(w, shape.Why, limit)
	}
	if shape.Verdict != "" {
		fmt.Fprintln(w, clean(shape.Verdict))
	}
}

// showReasons says why messages wait.
func (a *app) showReasons(w io.Writer, why []admin.Reason, limit int) {
	fmt.Fprintln(w)
	reasons := [][]string{{"why they wait", "messages"}}
	for i, reason := range why {
		if limit > 0 && i == limit {
			break
		}
		reasons = append(reasons, []string{clean(reason.Text), admin.Thousands(int64(reason.Messages))})
	}
	a.writeTable(w, reasons)
}

func shapeCells(row admin.Row) []string {
	cells := []string{clean(row.Name), admin.Thousands(int64(row.Total))}
	for _, n := range row.Ages {
		cells = append(cells, admin.Thousands(int64(n)))
	}
	return cells
}

// writeTable writes a small table: a name, which gives way on a narrow screen, and numbers.
func (a *app) writeTable(w io.Writer, rows [][]string) {
	columns := len(rows[0])
	least, right := make([]int, columns), slices.Repeat([]bool{true}, columns)
	least[0], right[0] = 12, false
	widths := fit(rows, least, a.width())
	for _, cells := range rows {
		fmt.Fprintln(w, align(cells, widths, right, a.screen.utf8))
	}
}
