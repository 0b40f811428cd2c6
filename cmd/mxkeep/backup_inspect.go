package main

import (
	"fmt"
	"io"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/backup"
	"github.com/spf13/cobra"
)

func newBackupInspect(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect DIR",
		Short: "Read all of a backup, and say what is in it and what is wrong",
		Long: "Reads every file of a backup and holds it against its SHA-256, then its structure, every record, the chain of\n" +
			"the ledger, and the content of every message against its digest. Needs no relay, and changes nothing. Exits\n" +
			"with 1 if anything is wrong, also if it was so in the relay already.",
		Example: "  mxkeep backup inspect /backup/mxkeep/2026-03-12\n" +
			"  mxkeep backup inspect /backup/mxkeep/2026-03-12 --json",
		Args: exactly("the folder of the backup"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd, args[0]) },
	}
}

// inspection is what there is to say about a backup.
type inspection struct {
	Schema   string          `json:"schema"`
	Dir      string          `json:"dir"`
	Sound    bool            `json:"sound"`
	Findings []admin.Finding `json:"findings"`
	Manifest backup.Manifest `json:"manifest"`
}

func (a *app) inspect(cmd *cobra.Command, dir string) error {
	report := inspection{Schema: "mxkeep.backup.inspect/1", Dir: dir, Findings: []admin.Finding{}}
	var err error
	if report.Manifest, err = backup.Read(dir); err != nil {
		return backupFailure(err)
	}
	b, failed := backup.Open(cmd.Context(), dir, a.check, func(f queue.Finding) error {
		report.Findings = append(report.Findings, admin.Finding{Schema: admin.SchemaFinding, File: f.File, ID: string(f.ID), What: f.What})
		return nil
	})
	if failed == nil {
		failed = b.Close()
	}
	report.Sound = failed == nil && len(report.Findings) == 0
	if err := a.document(report, func(w io.Writer) { a.showInspection(w, report) }); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return backupFailure(failed)
	case !report.Sound:
		return failure{"damage_found", things(int64(len(report.Findings))) + " damaged in the backup, and " + things(report.Manifest.Damaged) + " so in the relay"}
	}
	return nil
}

func (a *app) showInspection(w io.Writer, r inspection) {
	m := r.Manifest
	fmt.Fprintf(w, "Backup of %s, by mxkeep %s on %s, in %.1f s, format %d.\n", a.clock(admin.Time{Time: m.BeganAt}), clean(m.Version), clean(m.Host), m.TookSeconds, m.Format)
	f := a.flow(w)
	states := []string{messages(int(m.Held())) + " wait, " + size(m.Bytes)}
	for _, state := range queue.States() {
		if n := m.Messages[state.String()]; n > 0 {
			states = append(states, admin.Thousands(n)+" "+state.String())
		}
	}
	f.labelled("messages", states...)
	c := m.Account
	var recipients []string
	for _, part := range []struct {
		n    int64
		word string
	}{{c.Accepted, "accepted"}, {c.Delivered, "delivered"}, {c.Queued, "queued"}, {c.Held, "held"}, {c.Refused, "refused"}, {c.Failed, "failed"},
		{c.Expired, "expired"}, {c.Deleted, "deleted"}, {c.SetAside, "set aside"}} {
		if part.n > 0 {
			recipients = append(recipients, admin.Thousands(part.n)+" "+part.word)
		}
	}
	f.labelled("recipients", recipients...)
	f.labelled("files", fmt.Sprintf("%d files", len(m.Files)), size(m.Size()))
	if m.Ledger.Files > 0 {
		f.labelled("ledger", admin.Thousands(m.Ledger.Lines)+" lines filed", "head "+m.Ledger.Head)
	}
	for _, found := range r.Findings {
		fmt.Fprintf(w, "  %s %s %s\n", clean(found.File), clean(found.ID), clean(found.What))
	}
	if r.Sound {
		fmt.Fprintln(w, "All is sound: every file, record, ledger line and content is as it was written.")
	}
}
