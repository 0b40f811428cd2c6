package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newHealthProbe(a *app) *cobra.Command {
	var request admin.ProbeRequest
	var verbose bool
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Have one dialogue with the upstream now, up to RCPT",
		Long:  "Have one dialogue with each address of the upstream now: up to RCPT, no message is sent. Exits with 1 unless all went well.",
		Example: "  mxkeep health probe\n" +
			"  mxkeep health probe -v --rcpt canary@corp.example",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := a.client().Probe(cmd.Context(), request)
			if err != nil {
				return err
			}
			if err := a.document(report, func(w io.Writer) { a.showProbe(w, report, verbose) }); err != nil {
				return err
			}
			if !report.OK {
				return failure{"probe_failed", "the probe of " + clean(report.Upstream) + " did not go well"}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.Recipient, "rcpt", "", "the recipient to ask for (default: the configured one)")
	f.StringVar(&request.Upstream, "upstream", "", "which, if there are several")
	f.BoolVarP(&verbose, "verbose", "v", false, "the dialogue with its times, and the other looks")
	return cmd
}

func (a *app) showProbe(w io.Writer, report admin.ProbeReport, verbose bool) {
	if verbose {
		showDialogues(w, report)
	}
	f := a.flow(w)
	for _, s := range report.Signals {
		f.block("", 0, s.Address, s.Class, a.signalWords(s))
	}
	if len(report.Signals) == 0 {
		fmt.Fprintln(w, "no address to probe")
	}
	if verbose {
		a.showTopics(f, report.Topics)
	}
}

// showDialogues writes one dialogue under the other: those of several
// addresses are held at the same time, and each line begins with its address.
func showDialogues(w io.Writer, report admin.ProbeReport) {
	of := map[string][]string{}
	for _, s := range report.Signals {
		of[s.Address] = nil
	}
	for _, line := range report.Dialogue {
		address, text, _ := strings.Cut(line.Text, " ")
		if _, known := of[address]; !known {
			address, text = "", line.Text
		}
		of[address] = append(of[address], fmt.Sprintf("%8s  %s\n", took(line.AfterSeconds), clean(text)))
	}
	for _, address := range slices.Sorted(maps.Keys(of)) {
		if address != "" && len(of[address]) > 0 {
			fmt.Fprintf(w, "%s\n", clean(address))
		}
		fmt.Fprint(w, strings.Join(of[address], ""))
	}
}
