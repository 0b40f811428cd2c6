package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/incident"
	"github.com/mxkeep/mxkeep/relay/incident/report"
	"github.com/spf13/cobra"
)

// The forms of a report.
const (
	formMarkdown = "md"
	formHTML     = "html"
	formJSON     = "json"
	formCSV      = "csv"
	formBundle   = "bundle"
)

// reportRequest is what was asked of "incident report".
type reportRequest struct {
	id, form, audience, file string
	redact                   bool
}

func newIncidentReport(a *app) *cobra.Command {
	var q reportRequest
	cmd := &cobra.Command{
		Use:   "report [ID]",
		Short: "The account of an incident, for management and the provider",
		Long: "The account of an incident, made from what was recorded at the time: of the one that goes on, or else the last one,\n" +
			"if no id is given. csv has what became of each message for each recipient; bundle is a ZIP file with all forms, the\n" +
			"ledger and SHA-256 sums, for mxkeep incident verify. What the files say: mxkeep help reports.",
		Example: "  mxkeep incident report INC-2026-03-12-1 --format html -O report.html\n" +
			"  mxkeep incident report INC-2026-03-12-1 --audience microsoft --redact\n" +
			"  mxkeep incident report last --format bundle -O report.zip",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.id = cmp.Or(firstOf(args), admin.LastIncident)
			if err := a.checkReport(&q); err != nil {
				return err
			}
			return a.writeIncidentReport(cmd.Context(), q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.form, "format", "", "md, html, json, csv or bundle (default md)")
	f.StringVar(&q.audience, "audience", "", "management or microsoft: some parts only")
	f.BoolVar(&q.redact, "redact", false, "pseudonyms in place of addresses")
	f.StringVarP(&q.file, "file", "O", "", "the file to write; it must not exist")
	return cmd
}

// checkReport refuses what does not fit together.
func (a *app) checkReport(q *reportRequest) error {
	if format, _ := a.format(); q.form == "" && (format == formatJSON || format == formatJSONL) {
		q.form = formJSON
	}
	q.form = cmp.Or(q.form, formMarkdown)
	switch {
	case !slices.Contains([]string{formMarkdown, formHTML, formJSON, formCSV, formBundle}, q.form):
		return usage("no form %q of a report (there are md html json csv bundle)", q.form)
	case !slices.Contains([]report.Audience{report.Everybody, report.Management, report.Provider}, report.Audience(q.audience)):
		return usage("no audience %q (there are management microsoft)", q.audience)
	case q.audience != "" && q.form != formMarkdown && q.form != formHTML:
		return usage("--audience chooses parts of md and html; %s has all", q.form)
	case q.form == formBundle && q.file == "":
		return usage("say where to write the bundle: -O FILE")
	}
	return nil
}

// writeIncidentReport writes the report to a file, which gets its name when it is whole, or to the output.
func (a *app) writeIncidentReport(ctx context.Context, q reportRequest) (err error) {
	if q.file == "" {
		out := bufio.NewWriter(a.out)
		if err := a.makeReport(ctx, q, "", out); err != nil {
			return err
		}
		return out.Flush()
	}
	if _, err := os.Lstat(q.file); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = failure{"file_exists", q.file + " exists"}
		}
		return err
	}
	dir := filepath.Dir(q.file)
	file, err := os.CreateTemp(dir, filepath.Base(q.file)+".unfinished-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // it is there under its own name, or of no use
	err = a.makeReport(ctx, q, dir, file)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), q.file); err != nil { // not over a file that came meanwhile
		return err
	}
	a.words("Wrote %s.", q.file)
	return nil
}

// makeReport gathers the evidence, with temporary files in dir, and writes it.
func (a *app) makeReport(ctx context.Context, q reportRequest, dir string, w io.Writer) (err error) {
	o := report.Options{Dir: dir, Version: version}
	if q.redact {
		o.Key = make([]byte, 32)
		_, _ = rand.Read(o.Key) // it never fails
	}
	b, err := report.NewBuilder(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	from, err := a.gather(ctx, q.id, b)
	if err != nil {
		return err
	}
	ledger, err := a.ledgerFile(ctx, from, dir, q.form)
	if err != nil {
		return err
	}
	if ledger.file != nil {
		defer func() { err = errors.Join(err, ledger.file.Close(), os.Remove(ledger.file.Name())) }()
	}
	r, err := b.Finish(ledger.chain)
	if err != nil {
		return err
	}
	return writeReport(w, q, r, b, ledger)
}

func writeReport(w io.Writer, q reportRequest, r report.Report, b *report.Builder, ledger ledgerCopy) error {
	var text []byte
	var err error
	switch q.form {
	case formCSV:
		return b.Messages(w)
	case formBundle:
		var export func(io.Writer) error
		if ledger.file != nil && !r.Redacted {
			export = ledger.copy
		}
		return report.Bundle(w, r, b, export)
	case formHTML:
		text, err = report.HTML(r, report.Audience(q.audience))
	case formJSON:
		text, err = report.JSON(r)
	default:
		text = report.Markdown(r, report.Audience(q.audience))
	}
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// gather takes the evidence, and returns since when mail is of the incident.
func (a *app) gather(ctx context.Context, id string, b *report.Builder) (from time.Time, err error) {
	err = a.client().Evidence(ctx, id, func(p incident.Piece) error {
		if p.Head != nil {
			from = p.Head.Record.Incident.From
		}
		return b.Take(p)
	})
	return from, err
}

// ledgerCopy is an export of the ledger; both are nil if the relay has none.
type ledgerCopy struct {
	chain *report.Chain
	file  *os.File // of a bundle
}

func (l ledgerCopy) copy(w io.Writer) error {
	_, err := l.file.Seek(0, io.SeekStart)
	if err == nil {
		_, err = io.Copy(w, l.file)
	}
	return err
}

// ledgerFile copies the ledger since an instant, and verifies its chain. Only a
// bundle keeps the copy; the table needs neither.
func (a *app) ledgerFile(ctx context.Context, from time.Time, dir, form string) (l ledgerCopy, err error) {
	if form == formCSV {
		return l, nil
	}
	in, out := io.Pipe()
	exported := make(chan error, 1)
	var w io.Writer = out
	if form == formBundle {
		if l.file, err = os.CreateTemp(dir, "mxkeep-ledger-"); err != nil {
			return l, err
		}
		w = io.MultiWriter(l.file, out)
	}
	go func() {
		err := a.client().ExportLedger(ctx, from, time.Time{}, w)
		exported <- errors.Join(err, out.Close())
	}()
	x, wrong := queue.VerifyExport(in, nil)
	_ = in.CloseWithError(wrong) // lets go of a writer that is not done
	err = <-exported
	var refused *admin.Error
	switch {
	case errors.As(err, &refused) && (refused.Code == admin.CodeRefused || refused.Code == admin.CodeNotFound):
		err = nil // a store without ledger files
	case err == nil && wrong == nil && len(x.Faults) == 0:
		l.chain = report.ChainOf(x)
		return l, nil
	case err == nil && wrong == nil:
		err = failure{"damage_found", fmt.Sprintf("the ledger: %s", x.Faults[0])}
	}
	err = errors.Join(err, wrong)
	if l.file != nil {
		err = errors.Join(err, l.file.Close(), os.Remove(l.file.Name()))
		l.file = nil
	}
	return l, err
}
