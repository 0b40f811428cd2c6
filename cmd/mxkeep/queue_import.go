package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// maxImportLines bounds what the document about an import lists.
const maxImportLines = 10000

// importReport is what "queue import" says at its end.
type importReport struct {
	admin.Import
	Lines []admin.ImportLine `json:"lines"` // about single messages
}

// importRun is one run of an import.
type importRun struct {
	app     *app
	name    string
	request admin.ImportRequest
	held    bool
	confirm int64
}

func newQueueImport(a *app) *cobra.Command {
	run := &importRun{app: a}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take in the messages of an export, as held",
		Long: "Take in the messages that \"queue export\" wrote, here or on another relay; - reads standard input. They keep their ids, recipients and " +
			"results, and are held: nothing is sent before you have looked. A message that is here, or ever was by the ledger, is not taken in again, so the command " +
			"may be repeated, also after it was interrupted." +
			"\n\nEvery content is held against its digest. What is damaged, for a domain that is not configured here, or for an upstream of another " +
			"name, is left out and listed; the exit code is then 3. --dry-run reads everything and changes nothing." +
			"\n\nThe relay that the messages come from still has them: release them on one of the two only.",
		Example: "  mxkeep queue import queue.tar --dry-run\n" +
			"  mxkeep queue import queue.tar --confirm 5724\n" +
			"  mxkeep queue import queue.tar --upstream exo --as-held=false",
		Args: exactly("the file of an export, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error { return run.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	f.BoolVar(&run.held, "as-held", true, "hold it; =false lets it be delivered")
	f.StringVar(&run.request.Upstream, "upstream", "", "the upstream that takes all of it")
	f.Int64Var(&run.confirm, "confirm", -1, "the number of messages, in a script")
	return cmd
}

// run looks first, asks if it has to, and takes in no more than it showed. What
// comes by standard input comes only once.
func (r *importRun) run(ctx context.Context, name string) error {
	r.name, r.request.Source, r.request.Deliver = name, filepath.Base(name), !r.held
	if name == "-" {
		r.request.Source = "standard input"
		return r.runStdin(ctx)
	}
	report, err := r.send(ctx, true)
	if err != nil {
		return err
	}
	if report.DryRun = r.app.flags.dryRun; report.DryRun || report.Messages == 0 {
		return r.told(report)
	}
	if err := r.permit(ctx, report); err != nil {
		return err
	}
	r.request.Count = report.Messages
	if report, err = r.send(ctx, false); err != nil {
		return err
	}
	return r.told(report)
}

func (r *importRun) runStdin(ctx context.Context) error {
	if !r.app.flags.dryRun && r.confirm <= 0 {
		return failure{admin.CodeCountRequired, "what comes by standard input can be read only once, and nobody can be asked about it"}
	}
	r.request.Count = max(0, r.confirm)
	report, err := r.send(ctx, r.app.flags.dryRun)
	if err != nil {
		return err
	}
	return r.told(report)
}

// permit asks, or wants the answer on the command line.
func (r *importRun) permit(ctx context.Context, plan importReport) error {
	n := messages(int(plan.Messages))
	switch {
	case r.confirm == plan.Messages:
		return nil
	case r.confirm >= 0:
		return failure{admin.CodeCountChanged, fmt.Sprintf("%s would be taken in, not %d; nothing was changed", n, r.confirm)}
	case !r.app.asks():
		return failure{admin.CodeCountRequired, fmt.Sprintf("import would take in %s, and nobody can be asked here", n)}
	}
	r.show(r.app.errs, plan)
	answer, err := r.app.ask(ctx, "Type the number of messages to take them in: ")
	if err == nil && answer != strconv.FormatInt(plan.Messages, 10) {
		err = failure{"not_confirmed", quote(clean(answer)) + " is not the number of messages"}
	}
	return err
}

// send sends the archive once.
func (r *importRun) send(ctx context.Context, dry bool) (importReport, error) {
	report := importReport{Lines: []admin.ImportLine{}}
	from, whole := r.app.in, int64(0)
	if r.name != "-" {
		file, err := os.Open(r.name)
		if err != nil {
			return report, err
		}
		defer file.Close()
		from = file
		if found, err := file.Stat(); err == nil {
			whole = found.Size() // a bar without it has no end
		}
	}
	r.request.DryRun = dry
	read := &readSoFar{from: from}
	drawn, stop := r.draw(read, whole)
	sum, err := r.app.client().Import(ctx, r.request, read, func(line admin.ImportLine) error {
		if len(report.Lines) < maxImportLines {
			report.Lines = append(report.Lines, line)
		}
		return nil
	})
	close(stop)
	<-drawn
	report.Import = sum
	return report, err
}

// draw draws the bar until stop is closed; then drawn is closed.
func (r *importRun) draw(read *readSoFar, whole int64) (drawn, stop chan struct{}) {
	drawn, stop = make(chan struct{}), make(chan struct{})
	bar := r.app.progress(whole, 0)
	go func() {
		defer close(drawn)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				bar.step(read.size.Load(), 0)
			case <-stop:
				bar.end()
				return
			}
		}
	}()
	return drawn, stop
}

// readSoFar counts what has been read.
type readSoFar struct {
	from io.Reader
	size atomic.Int64
}

func (r *readSoFar) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.size.Add(int64(n))
	return n, err
}

// told says what was, or would be, taken in.
func (r *importRun) told(report importReport) error {
	if err := r.app.document(report, func(w io.Writer) { r.show(w, report) }); err != nil {
		return err
	}
	left := report.Refused + report.Unusable
	switch {
	case report.Problem != "":
		return failure{"partly_imported", report.Problem + "; what was whole before that is not affected"}
	case left > 0:
		return failure{"partly_imported", fmt.Sprintf("%s could not be taken in", messages(int(left)))}
	}
	return nil
}

// show writes a report for people.
func (r *importRun) show(w io.Writer, report importReport) {
	for _, line := range report.Lines {
		fmt.Fprintf(w, "%s  %-12s  %s\n", clean(line.Outcome), clean(line.ID), clean(line.Why))
	}
	word := "Taken in:"
	if report.DryRun {
		word = "Would be taken in:"
	}
	how := "to be delivered"
	if report.Held {
		how = "held"
	}
	fmt.Fprintf(w, "%s exported by %s at %s\n", clean(r.request.Source), clean(report.Host), report.ExportedAt)
	fmt.Fprintf(w, "%s %s, %s, %s recipients, %s.\n", word, messages(int(report.Messages)), size(report.Bytes), admin.Thousands(report.Recipients), how)
	for _, part := range []struct {
		n     int64
		words string
	}{
		{report.Present, "are here already, or were"},
		{report.Refused, "refused"},
		{report.Unusable, "unusable"},
		{report.Missing, "could not be read when it was exported"},
	} {
		if part.n > 0 {
			fmt.Fprintf(w, "  %s %s\n", admin.Thousands(part.n), part.words)
		}
	}
	if report.Problem != "" {
		fmt.Fprintf(w, "  %s\n", clean(report.Problem))
	}
	switch {
	case r.app.flags.dryRun:
		fmt.Fprintln(w, "Dry run: nothing was changed.")
	case !report.DryRun && report.Held && report.Messages > 0:
		fmt.Fprintln(w, "Look at them, then release them: mxkeep queue list --state held")
	}
}
