package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newDBExportLedger(a *app) *cobra.Command {
	var since, until, file string
	cmd := &cobra.Command{
		Use:   "export-ledger -O FILE",
		Short: "Write a stretch of the ledger to a file that anybody can verify",
		Long: "Writes a stretch of the ledger, with the hash of each line, from the first line that happened since one time to\n" +
			"the last that happened until another, with all that lies between. What is pending is filed first. The file is\n" +
			"verified before it gets its name. A time is RFC 3339, a date (midnight UTC), or how long ago: 36h, 7d.\n" +
			"How to verify the file without this program: mxkeep help ledger.",
		Example: "  mxkeep db export-ledger -O ledger.jsonl\n" +
			"  mxkeep db export-ledger --since 2026-01-22 --until 2026-01-23 -O day.jsonl\n" +
			"  mxkeep db check day.jsonl",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usage("say where to write it: -O FILE")
			}
			var bounds [2]time.Time
			for i, text := range []string{since, until} {
				var err error
				if bounds[i], err = instantOf(text, a.now); err != nil {
					return err
				}
			}
			x, err := a.exportLedger(cmd.Context(), bounds[0], bounds[1], file)
			if err != nil {
				return err
			}
			return a.document(x, func(w io.Writer) { showExport(w, x) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "from the first line that happened since then")
	f.StringVar(&until, "until", "", "to the last line that happened before then")
	f.StringVarP(&file, "file", "O", "", "the file to write; it must not exist")
	return cmd
}

// instantOf reads a time as an operator writes it; "" is none.
func instantOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	ago, err := queue.ParseDuration(text)
	if err != nil {
		return time.Time{}, usage("%q is no time (write 2026-01-22T19:30:00Z, 2026-01-22, 36h or 7d)", text)
	}
	return now.Add(-ago), nil
}

// exportLedger writes an export beside the file, verifies it, and gives it its name.
func (a *app) exportLedger(ctx context.Context, since, until time.Time, path string) (x checkedExport, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return x, errors.Join(err, fmt.Errorf("%s: %w", path, fs.ErrExist))
	}
	out, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".unfinished-*") // with mode 0600
	if err != nil {
		return x, err
	}
	defer os.Remove(out.Name()) // it is there under its own name, or of no use
	err = a.client().ExportLedger(ctx, since, until, out)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return x, err
	}
	if x, err = a.verifyExport(out.Name(), ""); err != nil {
		return x, err
	}
	x.File = path
	return x, os.Link(out.Name(), path) // not over a file that came meanwhile
}

// checkedExport is what a check of an export has found.
type checkedExport struct {
	Schema  string      `json:"schema"`
	File    string      `json:"file"`
	Since   admin.Time  `json:"since"`
	Until   admin.Time  `json:"until"`
	Lines   int64       `json:"lines"`
	Damaged int         `json:"damaged"`
	Missing []string    `json:"missing"`
	Chain   admin.Chain `json:"ledger_chain"`
}

const schemaExportCheck = "mxkeep.ledger.export.check/1"

// verifyExport reads an export. What is wrong in it is an error.
func (a *app) verifyExport(path, head string) (x checkedExport, err error) {
	wanted, err := hex.DecodeString(head)
	if err != nil || head != "" && len(wanted) != len(queue.Digest{}) {
		return x, usage("%q is no head: 64 hexadecimal digits, as db check prints it", head)
	}
	file, err := os.Open(path)
	if err != nil {
		return x, err
	}
	defer file.Close()
	v, err := queue.VerifyExport(file, wanted)
	if err != nil {
		return x, err
	}
	x = checkedExport{Schema: schemaExportCheck, File: path, Since: admin.Time{Time: v.Head.Since}, Until: admin.Time{Time: v.Head.Until}, Lines: v.Lines,
		Damaged: len(v.Faults), Missing: append([]string{}, v.Missing...),
		Chain: admin.Chain{First: v.First, Last: v.End.Last, Anchor: v.Head.Anchor.String(), Head: v.End.Head.String(), Breaks: int64(len(v.Missing))}}
	if v.Found {
		x.Chain.FoundAt = &v.FoundAt
	}
	if len(v.Faults) > 0 {
		return x, failure{"damage_found", filepath.Base(path) + ": " + strings.Join(v.Faults, "\n")}
	}
	return x, foundHead(head, x.Chain)
}

// checkExport is "db check FILE".
func (a *app) checkExport(path, head string) error {
	x, err := a.verifyExport(path, head)
	if err != nil {
		return err
	}
	return a.document(x, func(w io.Writer) { showExport(w, x) })
}

func showExport(w io.Writer, x checkedExport) {
	fmt.Fprintf(w, "%s is whole: %s.\n%s", clean(x.File), counted(x.Lines, "ledger line"), chainWords(x.Chain))
	for _, missing := range x.Missing {
		fmt.Fprintf(w, "The chain is broken %s\n", clean(missing))
	}
}

// chainWords says what a chain is, for people who note its head.
func chainWords(c admin.Chain) string {
	var b bytes.Buffer
	if c.First > 0 {
		fmt.Fprintf(&b, "lines %d to %d, after %s\n", c.First, c.Last, c.Anchor)
	}
	fmt.Fprintf(&b, "head %s\n", c.Head)
	if c.FoundAt != nil {
		fmt.Fprintf(&b, "The head that you asked for is that of line %d: the chain goes on from it.\n", *c.FoundAt)
	}
	return b.String()
}

// foundHead is an error if a head was asked for that is not in the chain.
func foundHead(head string, c admin.Chain) error {
	if head == "" || c.FoundAt != nil {
		return nil
	}
	return failure{"head_not_found", fmt.Sprintf("%s is no hash of the lines %d to %d, nor the one before them", head, c.First, c.Last)}
}

// counted writes a number with its noun.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return admin.Thousands(n) + " " + noun + "s"
}
