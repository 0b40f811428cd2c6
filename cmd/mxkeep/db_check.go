package main

import (
	"fmt"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newDBCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read everything that is kept here, and list what is damaged",
		Long: "Reads the structure of every file, every record and ledger line, and all content, which is held against its\n" +
			"digest, while the relay goes on. Changes nothing. A file whose structure is damaged is set aside at the next\n" +
			"start. Exits with 1 if anything is damaged.",
		Example: "  mxkeep db check\n" +
			"  mxkeep db check --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.dbCheck(cmd) },
	}
}

func (a *app) dbCheck(cmd *cobra.Command) error {
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
	sum, err := a.client().Check(cmd.Context(), out.row)
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
	}
	return nil
}

func things(n int64) string {
	if n == 1 {
		return "1 thing is"
	}
	return admin.Thousands(n) + " things are"
}

// checkedWords says what a check has read.
func checkedWords(sum admin.Checked) string {
	return fmt.Sprintf("%s files, %s, %s of content, %s ledger lines", admin.Thousands(sum.Files), messages(int(sum.Messages)),
		size(sum.Bytes), admin.Thousands(sum.Lines))
}
