package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/incident/reconcile"
	"github.com/mxkeep/mxkeep/relay/incident/report"
	"github.com/spf13/cobra"
)

func newIncidentReconcile(a *app) *cobra.Command {
	var traces, only []string
	cmd := &cobra.Command{
		Use:         "reconcile [ID] --trace FILE [--trace FILE]",
		Annotations: map[string]string{alsoFormats: "csv id", hasFields: "yes"},
		Short:       "Compare an incident with Exchange Online's message trace",
		Long: "Compares what was delivered with exports of Exchange Online's message trace: summary, enhanced summary and extended\n" +
			"report, and what Get-MessageTraceV2 | Export-Csv writes. Lists what became of each message for each recipient, the\n" +
			"most urgent first: missing, failed, quarantined, filtered, duplicate, pending, not_relayed, delivered. With a\n" +
			"missing one the exit code is 3. How it is done: mxkeep help reports.",
		Example: "  mxkeep incident reconcile INC-2026-03-12-1 --trace enhanced.csv\n" +
			"  mxkeep incident reconcile last --trace 1.csv --trace 2.csv --only missing",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(traces) == 0 {
				return usage("name the exports: --trace FILE")
			}
			for _, word := range only {
				if !slices.Contains(reconcile.Verdicts(), reconcile.Verdict(word)) {
					return usage("no verdict %q (there are %s)", word, verdictWords())
				}
			}
			id := admin.LastIncident
			if len(args) > 0 {
				id = args[0]
			}
			return a.reconcile(cmd.Context(), id, traces, only)
		},
	}
	cmd.Flags().StringArrayVar(&traces, "trace", nil, "an export of the message trace; repeatable")
	cmd.Flags().StringSliceVar(&only, "only", nil, "list only these verdicts")
	return cmd
}

func verdictWords() string {
	var words []string
	for _, v := range reconcile.Verdicts() {
		words = append(words, string(v))
	}
	return strings.Join(words, " ")
}

// reconcileSummary is the end of the listing.
type reconcileSummary struct {
	Verdicts map[reconcile.Verdict]int64 `json:"verdicts"`
	Rows     int64                       `json:"trace_rows"`
	Others   int64                       `json:"trace_others"`
}

func (a *app) reconcile(ctx context.Context, id string, traces, only []string) (err error) {
	out, err := newListing(a, a.reconcileColumns(), shownReconcileColumns)
	if err != nil {
		return err
	}
	out.schema = "mxkeep.incident.reconciled/1"
	out.id = func(r reconciled) string { return string(r.ID) }
	r, err := reconcile.New("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, path := range traces { // before the relay has to work
		if err := readTraceFile(r, path); err != nil {
			return err
		}
	}
	if err := a.oursOf(ctx, id, r); err != nil {
		return err
	}
	for one, err := range r.Results() {
		if err != nil {
			return out.broken(err)
		}
		if len(only) > 0 && !slices.Contains(only, string(one.Verdict)) {
			continue
		}
		if err := out.row(reconciled{"mxkeep.incident.reconciled.row/1", one, admin.Time{Time: one.DeliveredAt}, admin.Time{Time: one.TraceAt}}); err != nil {
			return err
		}
	}
	sum := r.Summary()
	if err := out.end(reconcileSummary(sum)); err != nil {
		return err
	}
	var words []string
	for _, v := range reconcile.Verdicts() {
		words = append(words, fmt.Sprintf("%s %s", admin.Thousands(sum.Verdicts[v]), v))
	}
	a.words("%s; %s of the trace, %s of other mail.", strings.Join(words, ", "), counted(sum.Rows, "row"), admin.Thousands(sum.Others))
	if n := sum.Verdicts[reconcile.Missing]; n > 0 {
		return failure{"not_reconciled", counted(n, "recipient") + " missing in the trace, although the primary took the mail"}
	}
	return nil
}

func readTraceFile(r *reconcile.Reconciler, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	err = r.Trace(file)
	if errors.Is(err, reconcile.ErrTrace) || errors.Is(err, reconcile.ErrRow) {
		return failure{"bad_trace", filepath.Base(path) + ": " + err.Error()}
	}
	return err
}

// oursOf takes what the relay knows.
func (a *app) oursOf(ctx context.Context, id string, r *reconcile.Reconciler) (err error) {
	b, err := report.NewBuilder(report.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if _, err := a.gather(ctx, id, b); err != nil {
		return err
	}
	if _, err := b.Finish(nil); err != nil {
		return err
	}
	return b.Rows(r.Ours)
}

// reconciled is a row of the listing.
type reconciled struct {
	Schema string `json:"schema"`
	reconcile.Result
	DeliveredAt admin.Time `json:"delivered_at"`
	TraceAt     admin.Time `json:"trace_at"`
}

// shownReconcileColumns is how many of reconcileColumns are shown without --fields.
const shownReconcileColumns = 7

func (a *app) reconcileColumns() []column[reconciled] {
	both := func(name, title string, least, drop int, get func(reconciled) string) column[reconciled] {
		return column[reconciled]{name: name, title: title, least: least, drop: drop, human: get, exact: get}
	}
	at := func(name, title string, drop int, get func(reconciled) admin.Time) column[reconciled] {
		return column[reconciled]{name: name, title: title, drop: drop, human: func(r reconciled) string {
			if get(r).IsZero() {
				return "-"
			}
			return get(r).In(a.zone()).Format(time.DateTime)
		}, exact: func(r reconciled) string { return get(r).String() }}
	}
	return []column[reconciled]{
		both("verdict", "VERDICT", 0, 0, func(r reconciled) string { return string(r.Verdict) }),
		both("id", "ID", 0, 0, func(r reconciled) string { return string(r.ID) }),
		both("recipient", "RECIPIENT", 12, 0, func(r reconciled) string { return r.Recipient }),
		both("state", "STATE", 0, 1, func(r reconciled) string { return r.State }),
		at("delivered_at", "DELIVERED", 4, func(r reconciled) admin.Time { return r.DeliveredAt }),
		both("trace_status", "TRACE", 8, 3, func(r reconciled) string { return r.Status }),
		both("session", "SESSION", 8, 2, func(r reconciled) string { return r.Session }),
		both("message_id", "MESSAGE-ID", 12, 1, func(r reconciled) string { return r.MessageID }),
		both("sender", "SENDER", 12, 1, func(r reconciled) string { return r.Sender }),
		at("trace_at", "TRACE TIME", 1, func(r reconciled) admin.Time { return r.TraceAt }),
		both("network_message_id", "NETWORK ID", 8, 1, func(r reconciled) string { return r.NetworkID }),
		both("trace_client_ip", "TRACE CLIENT", 0, 1, func(r reconciled) string { return r.ClientIP }),
		both("exo_internal_id", "INTERNAL ID", 0, 1, func(r reconciled) string { return r.InternalID }),
		both("exo_host", "HOST", 8, 1, func(r reconciled) string { return r.Host }),
		both("joined_by", "JOINED BY", 0, 1, func(r reconciled) string { return r.How }),
	}
}
