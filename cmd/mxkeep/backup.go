package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/backup"
	"github.com/spf13/cobra"
)

func newBackup(a *app) *cobra.Command {
	return group("backup", "Copy all that is kept here while it serves, and bring it back",
		newBackupCreate(a), newBackupInspect(a), newBackupRestore(a), newBackupList(a))
}

func newBackupCreate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "create DIR",
		Short: "Make a backup in a new folder, while the relay serves",
		Long: "The relay copies the queue, the ledger, its state and the text of its configuration to a new folder, reads the\n" +
			"copy back, and then gives it its name: what is interrupted is never taken for a backup. Every message that was\n" +
			"accepted before the copy began is in it, or in its ledger as delivered.\n\n" +
			"It has mail in it: the folder has mode 0700, the files 0600. Keys, certificates and other files that the\n" +
			"configuration names are not copied. The relay writes it: the folder must be one that its user may write to,\n" +
			"outside the data folder. While it is copied the queue gives back no disk.",
		Example: "  mxkeep backup create /backup/mxkeep/2026-03-12",
		Args:    exactly("the folder to make"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if a.flags.dryRun {
				return usage("backup create has no --dry-run")
			}
			progress, clear := a.backupProgress()
			made, err := a.client().MakeBackup(cmd.Context(), dir, progress)
			clear()
			if err != nil {
				return err
			}
			if err := a.document(made, func(w io.Writer) { a.showMade(w, made) }); err != nil {
				return err
			}
			if made.Damaged > 0 {
				return failure{"damage_found", "the backup is made, but " + things(made.Damaged) + " damaged in the relay itself: mxkeep db check"}
			}
			return nil
		},
	}
}

// backupProgress shows on a terminal how far a backup is, and clears the line at the end.
func (a *app) backupProgress() (show func(admin.BackupProgress), clear func()) {
	if !a.screen.out || a.flags.quiet || a.exact() {
		return func(admin.BackupProgress) {}, func() {}
	}
	shown := false
	show = func(p admin.BackupProgress) {
		shown = true
		fmt.Fprintf(a.errs, "\r%-40s", fmt.Sprintf("copied %s of %s", size(p.Done), size(p.Of)))
	}
	return show, func() {
		if shown {
			fmt.Fprintf(a.errs, "\r%-40s\r", "")
		}
	}
}

func (a *app) showMade(w io.Writer, made admin.Backup) {
	fmt.Fprintf(w, "copied queue (%s, %s), state, configuration in %.1f s while serving; verified; mode 0600\n",
		messages(int(made.Messages)), size(made.Size), made.Seconds)
	fmt.Fprintf(w, "restore on a stopped relay:  mxkeep backup restore %s\n", shell(clean(made.Dir)))
	fmt.Fprintf(w, "note: what was accepted after %s is not in it, nor are keys and certificates\n", a.clock(made.BeganAt))
}

func newBackupList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list [DIR]",
		Short: "The last backups that were made, or those in a folder",
		Long: "The last backups that this relay has made, the newest first, as it remembers them: they may have been moved or\n" +
			"removed since. With a folder, the backups that are in it; that needs no relay.",
		Example: "  mxkeep backup list\n" +
			"  mxkeep backup list /backup/mxkeep",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.backups(cmd, args)
			if err != nil {
				return err
			}
			return a.document(list, func(w io.Writer) { a.showBackups(w, list) })
		},
	}
}

func (a *app) backups(cmd *cobra.Command, args []string) (admin.BackupList, error) {
	if len(args) == 0 {
		return a.client().Backups(cmd.Context())
	}
	list := admin.BackupList{Schema: admin.SchemaBackupList, Backups: []admin.Backup{}}
	found, err := backup.List(args[0])
	if err != nil {
		return list, err
	}
	for _, f := range found {
		if f.Err != nil {
			a.words("%s: %v", f.Dir, f.Err)
			continue
		}
		list.Backups = append(list.Backups, describeBackup(f.Dir, f.Manifest))
	}
	return list, nil
}

func describeBackup(dir string, m backup.Manifest) admin.Backup {
	return admin.Backup{Schema: admin.SchemaBackup, Dir: dir, BeganAt: admin.Time{Time: m.BeganAt}, MadeAt: admin.Time{Time: m.MadeAt}, Seconds: m.TookSeconds,
		Files: len(m.Files), Size: m.Size(), Messages: m.Held(), Bytes: m.Bytes, Damaged: m.Damaged}
}

func (a *app) showBackups(w io.Writer, list admin.BackupList) {
	if len(list.Backups) == 0 {
		fmt.Fprintln(w, "No backup is known. To make one: mxkeep backup create DIR")
		return
	}
	rows := [][]string{{"folder", "made", "age", "size", "messages"}}
	for _, b := range list.Backups {
		rows = append(rows, []string{clean(b.Dir), b.MadeAt.In(a.zone()).Format(time.DateTime), since(b.MadeAt, a.now), size(b.Size), admin.Thousands(b.Messages)})
	}
	a.writeTable(w, rows)
}

// backupFailure gives an error about a backup its code.
func backupFailure(err error) error {
	for _, known := range []struct {
		is   error
		code string
	}{
		{backup.ErrNone, "not_a_backup"},
		{backup.ErrNewer, "backup_newer"},
		{backup.ErrUnsound, "backup_damaged"},
		{backup.ErrRunning, "relay_running"},
	} {
		if errors.Is(err, known.is) {
			return failure{known.code, strings.ReplaceAll(err.Error(), "\n", ": ")}
		}
	}
	return err
}
