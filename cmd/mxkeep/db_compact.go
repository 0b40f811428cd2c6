package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newDBCompact(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Give back now the disk that mail which has left still takes",
		Long: "Gives back the disk that mail which has left still takes. That happens by itself: a file goes as soon as\n" +
			"little of it is needed, or content of delivered mail has been there for an hour. This does it now, for each\n" +
			"file of which at least half is not needed: what is needed moves to a new file. Mail is taken and delivered\n" +
			"meanwhile, and ending the relay at any moment loses nothing.",
		Example: "  mxkeep db compact --dry-run\n" +
			"  mxkeep db compact\n" +
			"  mxkeep db compact --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			did, err := a.client().Compact(cmd.Context(), admin.CompactRequest{DryRun: a.flags.dryRun})
			if err != nil {
				return err
			}
			return a.document(did, func(w io.Writer) { a.showCompaction(w, did) })
		},
	}
}

// compactWords says what an outcome means.
func compactWords(f admin.CompactedFile) string {
	switch f.Outcome {
	case "kept":
		return "little to gain"
	case "freed":
		return "given back"
	case "grew":
		return "has what was needed"
	case "busy":
		return "goes when its writers end"
	case "no_room":
		return "no room to move"
	case "stuck":
		return "damaged: mxkeep db check"
	}
	return clean(f.Outcome) // of a newer relay
}

// writeTold writes a small table: a name, numbers, and what is told of them.
func (a *app) writeTold(w io.Writer, rows [][]string) {
	columns := len(rows[0])
	least, right := make([]int, columns), slices.Repeat([]bool{true}, columns)
	least[0], right[0], least[columns-1], right[columns-1] = 12, false, 12, false
	widths := fit(rows, least, a.width())
	for _, cells := range rows {
		fmt.Fprintln(w, strings.TrimRight(align(cells, widths, right, a.screen.utf8), " "))
	}
}

// showCompaction writes what became of each file, and the sum.
func (a *app) showCompaction(w io.Writer, did admin.Compaction) {
	if did.DryRun {
		fmt.Fprintln(w, "Dry run, nothing was changed. It would be about:")
	}
	rows := [][]string{{"file", "before", "after", "needed", "outcome"}}
	for _, f := range did.Files {
		rows = append(rows, []string{clean(f.Name), size(f.Before), size(f.After), size(f.Needed), compactWords(f)})
	}
	a.writeTold(w, rows)
	switch gain := did.Before - did.After; {
	case gain <= 0:
		fmt.Fprintf(w, "Nothing to gain: the files take %s.\n", size(did.After))
	case did.DryRun:
		fmt.Fprintf(w, "Would give back about %s: %s would become %s.\n", size(gain), size(did.Before), size(did.After))
	default:
		fmt.Fprintf(w, "Given back: %s. The files took %s, and take %s.\n", size(gain), size(did.Before), size(did.After))
	}
}
