package main

import (
	"fmt"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newDBStats(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "The files that mail is kept in, and what is set aside",
		Long: "The files that mail is kept in, oldest first: new mail goes to the youngest. Content that has been delivered\n" +
			"goes with its file: \"reusable\" is what it takes until then. Below them is which store this is, a copy from\n" +
			"before an upgrade if there is one, and what was set aside, because it was damaged.",
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
	rows := [][]string{{"file", "age", "size", "in use", "reusable", "oldest", "waiting", "held", "refused"}}
	for _, f := range report.Files {
		held, refused := f.ByState["held"], f.ByState["refused"]
		rows = append(rows, []string{clean(f.Name), since(f.CreatedAt, a.now), size(f.Size), size(f.Used), size(f.Reusable), since(f.OldestAt, a.now),
			admin.Thousands(f.Messages - held - refused), admin.Thousands(held), admin.Thousands(refused)})
	}
	a.writeTable(w, rows)
	if words := reusableWords(report.Files); words != "" {
		fmt.Fprintln(w)
		a.flow(w).block("", 0, words)
	}
	a.showStore(w, report.Store)
	for _, aside := range report.Aside {
		fmt.Fprintf(w, "\n%s\n", clean(aside.File))
		a.flow(w).labelled("", a.asideWords(aside)...)
	}
}

// worthSaying is how many bytes may be reusable without a word.
const worthSaying = 16 << 20

// reusableWords explains why the files are larger than the mail in them; "" if
// that is not worth a word.
func reusableWords(files []admin.File) string {
	var all, reusable int64
	for _, f := range files {
		all, reusable = all+f.Size, reusable+f.Reusable
	}
	if reusable < max(all/2, worthSaying) {
		return ""
	}
	return fmt.Sprintf("The files take %s, of which %s are for mail that has left: normal after an outage. They are given back by themselves, "+
		"an hour after that at the latest; at once with: mxkeep db compact", size(all), size(reusable))
}

// showStore says which store this is, and what is kept beside it.
func (a *app) showStore(w io.Writer, store *admin.StoreReport) {
	if store == nil {
		return
	}
	fmt.Fprintf(w, "\nstore %s\n", clean(store.ID))
	a.flow(w).labelled("", "begun, or given this id, "+a.clock(store.CreatedAt))
	for _, c := range store.Copies {
		a.flow(w).labelled("copy", a.copyWords(c, a.now)...)
	}
}

// copyWords says what is known of a copy from before an upgrade.
func (a *app) copyWords(c admin.Copy, now time.Time) []string {
	return []string{"the files as they were before the upgrade " + since(c.At, now) + " ago", size(c.Size), c.Path,
		"removed by itself in " + span(max(0, c.Until.Sub(now)))}
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
