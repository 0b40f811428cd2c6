package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/queue/archive"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// exportReport is what "queue export" says at its end.
type exportReport struct {
	Schema   string          `json:"schema"`
	File     string          `json:"file"` // "-" is standard output
	Messages int64           `json:"messages"`
	Bytes    int64           `json:"message_bytes"`
	Before   int             `json:"resumed_messages"` // of the messages: they were there when it began
	Failed   int64           `json:"failed"`
	Skipped  []exportSkipped `json:"skipped"` // the first of those that failed
	Left     int64           `json:"left"`    // chosen, and gone before they were read
	Manifest string          `json:"manifest_sha256"`
}

type exportSkipped struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

func newQueueExport(a *app) *cobra.Command {
	s := selection{beginnings: true}
	var file string
	cmd := &cobra.Command{
		Use:   "export [ID...] -O FILE",
		Short: "Write messages into a tar, to keep them or to move them elsewhere",
		Long: "Write the messages that match, or all that are not final, into a tar: for each ID.json, its envelope, and ID.eml, the bytes as " +
			"they were received. The trace fields that we add stand in the envelope. Nothing is changed here, and each access is recorded in the ledger." +
			"\n\nFILE is called FILE.partial until it is whole, and nobody else can read it. If it was interrupted, the same command goes on where it " +
			"stopped. -O - writes to standard output. A message that cannot be read is left out and listed; the exit code is then 3." +
			"\n\nEach message is as it stands when the export comes by, in order of age. What is delivered meanwhile may be in it: to move mail, " +
			"hold it first. See: mxkeep help moving.\n\n",
		Example: "  mxkeep queue export -O queue.tar\n" +
			"  mxkeep queue export --state held -O held.tar\n" +
			"  mxkeep queue export --state held -O - | ssh mx3 mxkeep queue import - -n",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case file == "":
				return usage("name the file: -O FILE, or -O - for standard output")
			case file == "-" && a.screen.out:
				return usage("content is not written to a terminal: give -O a file, or pipe it")
			case file == "-" && a.flags.json != "":
				return usage("--json and -O - exclude each other: both are for standard output")
			}
			chosen, err := a.choose(cmd.Context(), &s, args)
			if err != nil {
				return err
			}
			if a.flags.dryRun {
				return a.dryExport(cmd.Context(), chosen)
			}
			return a.export(cmd.Context(), chosen, file)
		},
	}
	selectFlags(cmd, &s)
	cmd.Flags().StringVarP(&file, "file", "O", "", "the tar; - is standard output")
	return cmd
}

// counted asks how much matches.
func (a *app) counted(ctx context.Context, chosen admin.Select) (admin.Summary, error) {
	return a.client().List(ctx, admin.ListRequest{Select: chosen, Limit: 1}, func(admin.Message) error { return nil })
}

// dryExport says what would be written.
func (a *app) dryExport(ctx context.Context, chosen admin.Select) error {
	sum, err := a.counted(ctx, chosen)
	if err != nil {
		return err
	}
	return a.document(sum, func(w io.Writer) {
		fmt.Fprintf(w, "Dry run, nothing was written. Would be exported: %s, %s.\n", messages(sum.Matching), size(sum.MatchingBytes))
	})
}

// export writes an archive to a file or to standard output.
func (a *app) export(ctx context.Context, chosen admin.Select, name string) error {
	var file *exportFile
	if name != "-" {
		var err error
		if file, err = openExport(name); err != nil {
			return err
		}
		defer file.file.Close()
	}
	run := &exportRun{app: a, report: exportReport{Schema: "mxkeep.queue.export/1", File: name, Skipped: []exportSkipped{}}}
	if err := run.bar(ctx, chosen); err != nil {
		return err
	}
	err := run.copy(ctx, chosen, file)
	run.progress.end()
	if err == nil && file != nil {
		err = file.finish()
	}
	if err != nil {
		if file != nil {
			a.words("%s%s has what is whole so far: the same command goes on.", clean(name), partialEnd)
		}
		return err
	}
	return run.told()
}

// exportRun is one run of an export.
type exportRun struct {
	app      *app
	progress *progress
	report   exportReport
}

// bar makes the bar. How much there will be is only asked if somebody looks.
func (r *exportRun) bar(ctx context.Context, chosen admin.Select) error {
	if !r.app.screen.out {
		r.progress = r.app.progress(0, 0)
		return nil
	}
	sum, err := r.app.counted(ctx, chosen)
	r.progress = r.app.progress(sum.MatchingBytes, int64(sum.Matching))
	return err
}

// copy asks for the archive and writes it, message by message.
func (r *exportRun) copy(ctx context.Context, chosen admin.Select, file *exportFile) error {
	request := admin.ExportRequest{Select: chosen}
	if file != nil {
		for _, id := range file.had.IDs {
			request.Have = append(request.Have, string(id))
		}
		r.report.Before = len(file.had.IDs)
	}
	answer, err := r.app.client().Export(ctx, request)
	if err != nil {
		return err
	}
	defer answer.Close()
	in, err := archive.NewReader(answer)
	if err != nil {
		return notWhole(err)
	}
	var out *archive.Writer
	if file != nil {
		out, err = file.writer(in.Head())
	} else {
		out, err = archive.NewWriter(r.app.out, in.Head())
	}
	if err != nil {
		return err
	}
	if err := r.all(in, out); err != nil {
		return notWhole(err)
	}
	return r.end(in.Manifest(), out)
}

// notWhole is the error of an answer that broke off.
func notWhole(err error) error {
	if errors.Is(err, archive.ErrCutOff) || errors.Is(err, archive.ErrArchive) {
		return errors.Join(admin.ErrCutOff, err)
	}
	return err
}

// all copies every message. A content that broke within the answer is in the
// manifest of the answer, too.
func (r *exportRun) all(in *archive.Reader, out *archive.Writer) error {
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = out.Add(e, watching{in, out, r.progress})
		}
		if err != nil && !errors.Is(err, archive.ErrContent) {
			return err
		}
	}
}

// watching shows how much of a content, and of all before it, has been read.
type watching struct {
	from io.Reader
	out  *archive.Writer
	*progress
}

func (w watching) Read(p []byte) (int, error) {
	n, bytes := w.out.Written()
	w.step(bytes, n)
	return w.from.Read(p)
}

// end writes the manifest: what was left out is the same for all runs, as each
// tries again.
func (r *exportRun) end(from archive.Manifest, out *archive.Writer) error {
	for _, skip := range from.Skipped {
		out.Skip(skip.ID, skip.Why)
		r.report.Skipped = append(r.report.Skipped, exportSkipped{string(skip.ID), skip.Why})
	}
	out.Failed(from.Failed - int64(len(from.Skipped)))
	out.Left(from.Left)
	m, digest, err := out.Close(time.Now())
	r.report.Messages, r.report.Bytes, r.report.Failed, r.report.Left, r.report.Manifest = m.Messages, m.Bytes, m.Failed, m.Left, digest.String()
	return err
}

// told says what was written, and what could not be.
func (r *exportRun) told() error {
	a, report := r.app, r.report
	for _, skip := range report.Skipped {
		a.words("not exported: %s", skip.Why)
	}
	words := r.words()
	if report.File == "-" {
		for _, line := range words {
			a.words("%s", line)
		}
	} else if err := a.document(report, func(w io.Writer) {
		for _, line := range words {
			fmt.Fprintln(w, clean(line))
		}
	}); err != nil {
		return err
	}
	if report.Failed > 0 {
		return failure{"partly_exported", fmt.Sprintf("%s could not be exported", messages(int(report.Failed)))}
	}
	return nil
}

// words is what is said about the whole.
func (r *exportRun) words() (lines []string) {
	report := r.report
	lines = append(lines, fmt.Sprintf("wrote %s: %s, %s", report.File, messages(int(report.Messages)), size(report.Bytes)), "manifest sha256 "+report.Manifest)
	if report.Before > 0 {
		lines = append(lines, admin.Thousands(int64(report.Before))+" of them were there from an export that was interrupted")
	}
	if report.Left > 0 {
		lines = append(lines, messages(int(report.Left))+" left the queue before they were read")
	}
	return lines
}
