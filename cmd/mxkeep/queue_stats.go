package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// shownRows is how many rows of a shape people see if they do not say.
const shownRows = 20

func newQueueStats(a *app) *cobra.Command {
	var s selection
	var request admin.ShapeRequest
	var limit int
	cmd := &cobra.Command{
		Use:   "stats [ID...]",
		Short: "The age shape of the queue, and why messages wait",
		Long: "How old what is kept here is, in columns of which each is twice as long as the one before: a steady\n" +
			"arrival grows to the right. Tall old columns beside empty young ones are mail that is stuck.",
		Example: "  mxkeep queue stats\n" +
			"  mxkeep queue stats --by reply --older 2h",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.Select, err = a.choose(&s, args); err != nil {
				return err
			}
			shape, err := a.client().Shape(cmd.Context(), request)
			if err != nil {
				return err
			}
			return a.document(shape, func(w io.Writer) { a.showShape(w, shape, limit) })
		},
	}
	selectFlags(cmd, &s)
	cmd.Flags().StringVar(&request.By, "by", "", "domain, from, reply, client or state (default domain)")
	cmd.Flags().IntVar(&limit, "limit", shownRows, "at most so many rows; 0 is all")
	return cmd
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
		if limit > 0 && i == limit && !a.exact() {
			break
		}
		rows = append(rows, shapeCells(row))
	}
	a.writeTable(w, rows)
	if more := len(shape.Rows) - limit; limit > 0 && more > 0 && !a.exact() {
		fmt.Fprintf(w, "... %d more rows (--limit 0)\n", more)
	}
	if len(shape.Why) == 0 {
		return
	}
	fmt.Fprintln(w)
	reasons := [][]string{{"why they wait", "messages"}}
	for i, reason := range shape.Why {
		if limit > 0 && i == limit && !a.exact() {
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
	screen := a.screen.width
	if a.exact() {
		least[0] = 0
	}
	widths := fit(rows, least, screen)
	for _, cells := range rows {
		fmt.Fprintln(w, align(cells, widths, right, a.screen.utf8))
	}
}
