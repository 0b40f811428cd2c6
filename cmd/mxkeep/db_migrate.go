package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

const schemaMigration = "mxkeep.db.migration/1"

// migrationDocument is what starting this version would do to files.
type migrationDocument struct {
	Schema  string         `json:"schema"`
	DryRun  bool           `json:"dry_run"`
	Folder  string         `json:"folder"`
	Reads   int            `json:"reads_from"`
	Writes  int            `json:"writes"`
	Files   []migratedFile `json:"files"`
	Copy    int64          `json:"copy_bytes"`
	Free    int64          `json:"disk_free_bytes"` // 0 if nothing is to be done
	Fits    bool           `json:"fits"`
	Seconds float64        `json:"about_seconds"`
}

type migratedFile struct {
	Name    string `json:"name"`
	Format  *int   `json:"format"` // null if it cannot be read
	Size    int64  `json:"size_bytes"`
	Changes bool   `json:"changes"`
	Copied  bool   `json:"copied"`
	Recount bool   `json:"recount"`
}

func newDBMigrate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate [DIR]",
		Short: "With --dry-run: what an upgrade would do to the files",
		Long: "The relay changes files of an older format itself, when it starts, and copies them before: mxkeep help upgrade.\n" +
			"With --dry-run this says what it would do, how long that takes, and how much room it needs, without changing\n" +
			"a byte. DIR is the data folder of a relay that is stopped, or a copy of one; without DIR it is that of the\n" +
			"configuration.",
		Example: "  mxkeep db migrate --dry-run\n" +
			"  mxkeep db migrate --dry-run /backup/mxkeep --json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !a.flags.dryRun {
				return usage("the relay changes its files itself when it starts; to see what it would do, say --dry-run")
			}
			dir, least, err := a.queueFolder(args)
			if err != nil {
				return err
			}
			m, err := bolt.PlanMigration(dir)
			if err != nil {
				return failure{whyNotPlanned(err), err.Error()}
			}
			document := migrationOf(m, least)
			return a.document(document, func(w io.Writer) { a.showMigration(w, document) })
		},
	}
}

// queueFolder finds the folder with the files, from a data folder or as it is,
// and what the disk keeps free from mail; 0 is the default.
func (a *app) queueFolder(args []string) (dir string, least int64, err error) {
	if len(args) > 0 {
		return filesIn(args[0]), 0, nil
	}
	file := a.configFile()
	if file == "" {
		return "", 0, usage("no data folder: name one, say --config FILE, or set MXKEEP_CONFIG")
	}
	config, err := configs.Load(file)
	return filesIn(config.Data), config.Inbound.MinFree, err
}

func filesIn(dir string) string {
	inside := filepath.Join(dir, "queue")
	if about, err := os.Stat(inside); err == nil && about.IsDir() {
		return inside
	}
	return dir
}

// whyNotPlanned is the code of an error of bolt.PlanMigration.
func whyNotPlanned(err error) string {
	switch {
	case errors.Is(err, bolt.ErrInUse):
		return "already_running"
	case errors.Is(err, bolt.ErrNewer):
		return codeNewerFormat
	case errors.Is(err, os.ErrNotExist):
		return admin.CodeNoFile
	}
	return "failed"
}

func migrationOf(m queue.Migration, least int64) migrationDocument {
	d := migrationDocument{Schema: schemaMigration, DryRun: true, Folder: m.Folder, Reads: m.Reads, Writes: m.Writes, Files: []migratedFile{},
		Copy: m.Copy, Free: m.Free, Fits: bolt.Fits(m, bolt.Options{MinFree: uint64(least)}), Seconds: m.About.Seconds()}
	for _, f := range m.Files {
		one := migratedFile{Name: f.Name, Size: f.Size, Changes: f.Changes, Copied: f.Copied, Recount: f.Recount}
		if f.Format > 0 {
			one.Format = &f.Format
		}
		d.Files = append(d.Files, one)
	}
	return d
}

// showMigration writes what would be done to each file, and the sum.
func (a *app) showMigration(w io.Writer, d migrationDocument) {
	rows := [][]string{{"file", "size", "format", "would be"}}
	changes := 0
	for _, f := range d.Files {
		if f.Changes {
			changes++
		}
		rows = append(rows, []string{clean(f.Name), size(f.Size), formatWord(f.Format), migratedWords(f, d.Writes)})
	}
	a.writeTold(w, rows)
	if changes == 0 {
		fmt.Fprintf(w, "Nothing to do: this version reads formats %d to %d. Nothing was changed.\n", d.Reads, d.Writes)
		return
	}
	fmt.Fprintf(w, "Would copy %s, in about %s; less where the file system can share blocks. Nothing was changed.\n", size(d.Copy), span(admin.Duration(d.Seconds)+time.Second))
	if d.Fits {
		fmt.Fprintf(w, "There is room: %s are free. The copy goes by itself after 72 hours.\n", size(d.Free))
		return
	}
	fmt.Fprintf(w, "There is NO room: %s are free, and some must stay so for mail. The relay would not start before there is.\n", size(d.Free))
}

func formatWord(format *int) string {
	if format == nil {
		return "-"
	}
	return fmt.Sprint(*format)
}

// migratedWords says what would be done to one file.
func migratedWords(f migratedFile, writes int) string {
	switch {
	case f.Format == nil && f.Copied:
		return "copied; it is damaged"
	case f.Format == nil:
		return "as it is; it is damaged"
	case f.Recount:
		return fmt.Sprintf("copied, changed to %d, counted", writes)
	case f.Changes:
		return fmt.Sprintf("copied, changed to %d", writes)
	case f.Copied:
		return "copied"
	}
	return "as it is"
}
