package main

import (
	"fmt"
	"io"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newDBStats(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "The files that mail is kept in, and what is set aside",
		Long: "The files that mail is kept in, oldest first: new mail goes to the youngest. Content that has been delivered\n" +
			"goes with its file. Below them is what was set aside, because it was damaged.",
		Example: "  mxkeep db stats\n" +
			"  mxkeep db stats --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := a.client().FileStats(cmd.Context())
			if err != nil {
				return err
			}
			return a.document(report, func(w io.Writer) { a.showFiles(w, report) })
		},
	}
}

// showFiles writes a table of the files, and what was set aside.
func (a *app) showFiles(w io.Writer, report admin.FileReport) {
	rows := [][]string{{"file", "age", "size", "in use", "oldest", "waiting", "held", "refused"}}
	for _, f := range report.Files {
		held, refused := f.ByState["held"], f.ByState["refused"]
		rows = append(rows, []string{clean(f.Name), since(f.CreatedAt, a.now), size(f.Size), size(f.Used), since(f.OldestAt, a.now),
			admin.Thousands(f.Messages - held - refused), admin.Thousands(held), admin.Thousands(refused)})
	}
	a.writeTable(w, rows)
	for _, aside := range report.Aside {
		fmt.Fprintf(w, "\n%s\n", clean(aside.File))
		a.flow(w).labelled("", a.asideWords(aside)...)
	}
}

// asideWords says what is known of a file that was set aside.
func (a *app) asideWords(aside admin.Aside) []string {
	verb, held := "set aside", certain(aside.Recipients, aside.Certainty)+" recipients"
	if aside.Ledger {
		held = "lines of the ledger, no mail"
	}
	if aside.InUse {
		verb, held = "found", "the last changes may be missing"
	}
	words := []string{verb + " " + a.clock(aside.At) + ": " + aside.Why}
	if aside.Open {
		words = append(words, held)
	}
	if !aside.SalvagedAt.IsZero() {
		words = append(words, "salvaged "+a.clock(aside.SalvagedAt))
	}
	if !aside.ClosedAt.IsZero() {
		words = append(words, "given up "+a.clock(aside.ClosedAt)+": "+aside.Reason)
	}
	return words
}

// certain writes a number as well as it is known.
func certain(n int64, certainty string) string {
	switch certainty {
	case "exact":
		return admin.Thousands(n)
	case "about":
		return "about " + admin.Thousands(n)
	}
	return "an unknown number of"
}
