package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mxkeep/mxkeep/relay/incident/report"
	"github.com/spf13/cobra"
)

// verifiedBundle is the document of "incident verify".
type verifiedBundle struct {
	Schema      string        `json:"schema"`
	File        string        `json:"file"`
	Incident    string        `json:"incident"`
	Version     string        `json:"version"`
	Redacted    bool          `json:"redacted"`
	Files       int           `json:"files"`
	Rows        int64         `json:"rows"`
	Fingerprint string        `json:"fingerprint"`
	Ledger      *report.Chain `json:"ledger"`
	Notes       []string      `json:"notes"`
}

func newIncidentVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check the bundle of a report, without a relay",
		Long: "Checks the bundle of a report, without a relay: the sums of all files; the chain of hashes of the ledger; that\n" +
			"messages.csv follows from the ledger, the figures from the tables, and the pages from the figures. The fingerprint\n" +
			"stands for the bundle as a whole: compare it with the one that its maker has noted.",
		Example: "  mxkeep incident verify INC-2026-03-12-1.zip",
		Args:    exactly("a bundle"),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := verifyBundle(args[0])
			if err != nil {
				return err
			}
			return a.document(v, func(w io.Writer) { showVerified(w, v) })
		},
	}
}

func verifyBundle(path string) (v verifiedBundle, err error) {
	file, err := os.Open(path)
	if err != nil {
		return v, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return v, err
	}
	found, err := report.Verify(file, stat.Size(), "", version)
	switch {
	case errors.Is(err, report.ErrBundle):
		return v, failure{"not_a_bundle", filepath.Base(path) + ": " + err.Error()}
	case err != nil:
		return v, err
	case len(found.Faults) > 0:
		return v, failure{"bundle_damaged", filepath.Base(path) + ": " + strings.Join(found.Faults, "\n")}
	}
	return verifiedBundle{Schema: "mxkeep.incident.verified/1", File: path, Incident: found.Incident, Version: found.Version, Redacted: found.Redacted, Files: found.Files,
		Rows: found.Rows, Fingerprint: found.Fingerprint, Ledger: found.Chain, Notes: append([]string{}, found.Notes...)}, nil
}

func showVerified(w io.Writer, v verifiedBundle) {
	fmt.Fprintf(w, "%s is whole: %s of %s, %s.\nfingerprint %s\n", clean(v.File), counted(int64(v.Files), "file"), clean(v.Incident), counted(v.Rows, "row"), v.Fingerprint)
	if v.Ledger != nil {
		fmt.Fprintf(w, "ledger lines %d to %d, head %s\n", v.Ledger.First, v.Ledger.Last, clean(v.Ledger.Head))
		for _, missing := range v.Ledger.Missing {
			fmt.Fprintf(w, "The chain is broken %s\n", clean(missing))
		}
	}
	for _, note := range v.Notes {
		fmt.Fprintf(w, "Note: %s.\n", clean(note))
	}
}
