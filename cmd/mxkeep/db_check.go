package main

import (
	"fmt"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newDBCheck(a *app) *cobra.Command {
	var head string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read everything that is kept here, and list what is damaged",
		Long: "Reads the structure of every file, every record, all content, which is held against its digest, and every\n" +
			"ledger line with the chain of hashes, while the relay goes on. Changes nothing, but a file whose structure is\n" +
			"damaged is set aside, at the latest by the next start. Prints the head of the chain: note it elsewhere, and\n" +
			"--head tells later whether the ledger still goes on from it. With FILE, an export of the ledger is verified,\n" +
			"and no relay is needed. Exits with 1 if anything is damaged, or the head is not found.",
		Example: "  mxkeep db check\n" +
			"  mxkeep db check --head 5f2c...\n" +
			"  mxkeep db check ledger.jsonl",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.checkExport(args[0], head)
			}
			return a.dbCheck(cmd, head)
		},
	}
	cmd.Flags().StringVar(&head, "head", "", "look for a head, noted earlier, in the chain")
	return cmd
}

func (a *app) dbCheck(cmd *cobra.Command, head string) error {
	both := func(name, title string, least int, get func(admin.Finding) string) column[admin.Finding] {
		return column[admin.Finding]{name: name, title: title, least: least, human: get, exact: get}
	}
	columns := []column[admin.Finding]{
		both("file", "FILE", 0, func(f admin.Finding) string { return f.File }),
		both("id", "ID", 0, func(f admin.Finding) string { return f.ID }),
		both("what", "DAMAGE", 20, func(f admin.Finding) string { return f.What }),
	}
	out, err := newListing(a, columns, len(columns))
	if err != nil {
		return err
	}
	out.schema, out.id = "mxkeep.db.check/1", func(f admin.Finding) string { return f.ID }
	sum, err := a.client().Check(cmd.Context(), admin.CheckRequest{Head: head}, out.row)
	if err != nil {
		return out.broken(err)
	}
	if err := out.end(sum); err != nil {
		return err
	}
	if sum.Damaged > 0 {
		return failure{"damage_found", fmt.Sprintf("%s damaged in %s", things(sum.Damaged), checkedWords(sum))}
	}
	if !a.exact() {
		a.words("All is sound: %s.", checkedWords(sum))
		a.words("ledger: %s", strings.TrimSuffix(chainWords(sum.Chain), "\n"))
		if sum.Chain.Breaks > 0 {
			a.words("The chain is broken where %s set aside, and given up or brought back.", filesAre(sum.Chain.Breaks))
		}
	}
	return foundHead(head, sum.Chain)
}

func things(n int64) string {
	if n == 1 {
		return "1 thing is"
	}
	return admin.Thousands(n) + " things are"
}

func filesAre(n int64) string {
	if n == 1 {
		return "1 file was"
	}
	return admin.Thousands(n) + " files were"
}

// checkedWords says what a check has read.
func checkedWords(sum admin.Checked) string {
	return fmt.Sprintf("%s files, %s, %s of content, %s ledger lines", admin.Thousands(sum.Files), messages(int(sum.Messages)),
		size(sum.Bytes), admin.Thousands(sum.Lines))
}
