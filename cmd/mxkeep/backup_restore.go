package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strconv"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/backup"
	"github.com/spf13/cobra"
)

// restoring is one run of backup restore.
type restoring struct {
	app     *app
	dir     string
	confirm int
	target  backup.Target
}

func newBackupRestore(a *app) *cobra.Command {
	r := &restoring{app: a}
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Bring a backup back to a relay that is stopped, as held",
		Long: "Reads all of the backup first. Where the data folder has no queue, that of the backup takes its place, with its\n" +
			"ledger. Where it has one, each message that is missing comes back, and the ledger that is there goes on: what is\n" +
			"there, or is delivered or deleted by that ledger, does not come twice. A restore that was interrupted may be\n" +
			"begun again.\n\n" +
			"What comes back is held until somebody releases it. With --as-held=false it is delivered at the next start, and\n" +
			"what was delivered after the backup was made is delivered again, if the present ledger does not know it.\n\n" +
			"Run it as the user of the relay, who must own the files. The configuration is not replaced: the text of the\n" +
			"old one is in the backup. Files that it names, such as keys, were not copied.",
		Example: "  mxkeep backup restore /backup/mxkeep/2026-03-12 --dry-run\n" +
			"  mxkeep backup restore /backup/mxkeep/2026-03-12 --confirm=5724\n" +
			"  mxkeep queue list --state held",
		Args: exactly("the folder of the backup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.dir = args[0]
			return backupFailure(r.run(cmd.Context()))
		},
	}
	cmd.Flags().BoolVar(&r.target.AsHeld, "as-held", true, "hold what comes back; =false: deliver")
	cmd.Flags().IntVar(&r.confirm, "confirm", -1, "the number of messages, in a script")
	return cmd
}

func (r *restoring) run(ctx context.Context) (err error) {
	a := r.app
	file := a.configFile()
	if file == "" {
		return usage("no configuration file, which names the data folder: say --config FILE, or set MXKEEP_CONFIG")
	}
	config, err := configs.Load(file)
	if err != nil {
		return err
	}
	held := r.target.AsHeld
	r.target = relay.RestoreTarget(config, a.check, newLog(io.Discard, config.Log))
	r.target.AsHeld, r.target.Actor, r.target.DryRun = held, me(), true
	b, err := backup.Open(ctx, r.dir, a.check, func(f queue.Finding) error {
		a.words("damaged in the backup: %s %s %s", f.File, f.ID, f.What)
		return nil
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	plan, err := b.Restore(ctx, r.target)
	if err != nil || a.flags.dryRun {
		return errors.Join(err, r.answer(err, b, plan))
	}
	if err := r.permit(ctx, b, plan); err != nil {
		return err
	}
	r.target.DryRun = false
	did, err := b.Restore(ctx, r.target)
	if err != nil {
		return err
	}
	if err := r.answer(nil, b, did); err != nil {
		return err
	}
	if did.Unreadable > 0 {
		return failure{"partly_done", fmt.Sprintf("%s of the backup could not be read", messages(int(did.Unreadable)))}
	}
	return nil
}

// me is the user who runs the command, for the ledger.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// permit wants the number of messages.
func (r *restoring) permit(ctx context.Context, b *backup.Backup, plan backup.Restored) error {
	a, n := r.app, int(plan.Messages)
	switch {
	case n == 0 || r.confirm == n:
		return nil
	case r.confirm >= 0:
		return failure{admin.CodeCountChanged, fmt.Sprintf("%s would come back now, not %d; nothing was changed", messages(n), r.confirm)}
	case !a.asks():
		return failure{admin.CodeCountRequired, fmt.Sprintf("restore would bring back %s, and nobody can be asked here", messages(n))}
	}
	r.show(a.errs, b, plan)
	answer, err := a.ask(ctx, "Type the number of messages to restore them: ")
	if err == nil && answer != strconv.Itoa(n) {
		err = failure{"not_confirmed", quote(clean(answer)) + " is not the number of messages"}
	}
	return err
}

// restored is the document of a restore.
type restored struct {
	Schema     string     `json:"schema"`
	DryRun     bool       `json:"dry_run"`
	AsHeld     bool       `json:"as_held"`
	BackupAt   admin.Time `json:"backup_at"`
	Whole      bool       `json:"whole_queue"` // with its ledger: there was none
	State      bool       `json:"state"`       // of the relay: there was none
	Messages   int64      `json:"messages"`
	Recipients int64      `json:"recipients"`
	Bytes      int64      `json:"bytes"`
	Damaged    int64      `json:"damaged"`
	Present    int64      `json:"present"`
	Final      int64      `json:"final"`
	Unreadable int64      `json:"unreadable"`
}

func (r *restoring) answer(failed error, b *backup.Backup, did backup.Restored) error {
	if failed != nil {
		return nil
	}
	document := restored{"mxkeep.backup.restore/1", r.target.DryRun, r.target.AsHeld, admin.Time{Time: b.Manifest.BeganAt}, did.Whole, did.State,
		did.Messages, did.Recipients, did.Bytes, did.Damaged, did.Present, did.Final, did.Unreadable}
	return r.app.document(document, func(w io.Writer) { r.show(w, b, did) })
}

// show says what came back, or would.
func (r *restoring) show(w io.Writer, b *backup.Backup, did backup.Restored) {
	verb, fate := "Restored", "held"
	if r.target.DryRun {
		verb = "Would restore"
	}
	if !r.target.AsHeld {
		fate = "to be delivered"
	}
	fmt.Fprintf(w, "%s %s with %s recipients, %s, %s, from backup of %s.\n", verb, messages(int(did.Messages)), admin.Thousands(did.Recipients),
		size(did.Bytes), fate, r.app.clock(admin.Time{Time: b.Manifest.BeganAt}))
	for _, part := range []struct {
		n     int64
		words string
	}{
		{did.Present, "are here already"},
		{did.Final, "are done with, by the ledger that is here"},
		{did.Damaged, "have content that differs from what was received"},
		{did.Unreadable, "cannot be read"},
	} {
		if part.n > 0 {
			fmt.Fprintf(w, "  %s %s\n", admin.Thousands(part.n), part.words)
		}
	}
	if did.Whole {
		fmt.Fprintln(w, "  there is no queue here: that of the backup takes its place, with its ledger")
	} else {
		fmt.Fprintln(w, "  the ledger that is here goes on; that of the backup stays in the backup")
	}
	switch {
	case r.target.DryRun && r.app.flags.dryRun:
		fmt.Fprintln(w, "Dry run: nothing was restored.")
	case !r.target.AsHeld:
		fmt.Fprintf(w, "Warning: what was delivered after %s, and is not in the ledger here, is delivered again.\n", r.app.clock(admin.Time{Time: b.Manifest.BeganAt}))
	case !r.target.DryRun && did.Messages > 0:
		fmt.Fprintln(w, "Start the relay, look at them, then release them: mxkeep queue list --state held")
	}
}
