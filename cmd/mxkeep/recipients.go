package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newRecipients(a *app) *cobra.Command {
	return group("recipients", "Who is known to exist in the domains, and how that is known",
		newRecipientsList(a), newRecipientsCheck(a), newRecipientsSync(a), newRecipientsImport(a))
}

func newRecipientsList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list [DOMAIN]",
		Short: "The sources: how many addresses, how old, in which state",
		Long:  "Lists the sources of each domain: how many addresses they know, of when that is, and whether they are fresh. What the sources are, and how they are joined: mxkeep help recipients.",
		Example: "  mxkeep recipients list\n" +
			"  mxkeep recipients list corp.example --json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.client().RecipientSources(cmd.Context(), firstOf(args))
			if err != nil {
				return err
			}
			return a.document(all, func(w io.Writer) { a.showSources(w, all) })
		},
	}
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (a *app) showSources(w io.Writer, all admin.RecipientList) {
	if len(all.Sources) == 0 {
		fmt.Fprintln(w, "There is no source: every address is taken to exist.")
		return
	}
	rows := [][]string{{"domain", "source", "state", "addresses", "age", "next", "not known"}}
	for _, s := range all.Sources {
		next, number := "-", admin.Thousands(int64(s.Count))
		if !s.NextAt.IsZero() {
			next = "in " + span(max(0, s.NextAt.Sub(a.now)))
		}
		if s.Source == "call-ahead" {
			number = "-"
		}
		rows = append(rows, []string{clean(s.Domain), clean(s.Source), clean(s.State), number, since(s.At, a.now), next, clean(s.NotKnown)})
	}
	a.writeTable(w, rows)
	for _, s := range all.Sources {
		if s.Wrong != "" {
			fmt.Fprintln(w)
			a.flow(w).block("", 0, s.Domain+" "+s.Source+": "+s.Wrong)
		}
	}
}

func newRecipientsCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "check ADDRESS",
		Short:   "Whether an address is known, by what, and what would be answered",
		Long:    "Says whether an address is known, by which source, how old that is, and what would be answered in each state of its upstream as far as recipients are concerned. The upstream is not asked. Exits with 1 if the address is unknown or not known.",
		Example: "  mxkeep recipients check a.meyer@corp.example",
		Args:    exactly("an address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			check, err := a.client().CheckRecipient(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.document(check, func(w io.Writer) { a.showCheck(w, check) }); err != nil {
				return err
			}
			if check.Verdict != "known" {
				return exitCode(exitFailed)
			}
			return nil
		},
	}
}

func (a *app) showCheck(w io.Writer, check admin.RecipientCheck) {
	f := a.flow(w)
	f.block("", 0, check.Address, check.Verdict)
	f.labelled("why", check.Why)
	if check.Source != "" {
		f.labelled("source", check.Source, since(check.At, a.now)+" old")
	}
	f.labelled("answers", "up: "+answerWords(check.Up), "in doubt: "+answerWords(check.Degraded), "down: "+answerWords(check.Down))
}

// answerWords says what an answer means.
func answerWords(answer string) string {
	switch answer {
	case "451 4.4.3":
		return answer + " (try again later)"
	case "550 5.1.1":
		return answer + " (no such recipient)"
	}
	return answer
}

func newRecipientsSync(a *app) *cobra.Command {
	request := admin.RecipientSyncRequest{}
	cmd := &cobra.Command{
		Use:   "sync [DOMAIN]",
		Short: "Read lists and directories now",
		Long: "Reads the files and directories of a domain now, or of all. A directory that would lose too many addresses is not believed, because it may be the answer that is wrong: --force believes it. " +
			"Exits with 1 if one could not be read or was not believed; what was known before then still holds.",
		Example: "  mxkeep recipients sync\n" +
			"  mxkeep recipients sync corp.example --force",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.flags.dryRun {
				return usage("sync has no dry run: what is not believable is not taken")
			}
			request.Domain = firstOf(args)
			all, err := a.client().SyncRecipients(cmd.Context(), request)
			if err != nil {
				return err
			}
			if err := a.document(all, func(w io.Writer) { a.showSynced(w, all) }); err != nil {
				return err
			}
			return syncFailure(all)
		},
	}
	cmd.Flags().BoolVar(&request.Force, "force", false, "believe whatever is read (noted in the ledger)")
	return cmd
}

func (a *app) showSynced(w io.Writer, all admin.RecipientSyncs) {
	f := a.flow(w)
	for _, s := range all.Synced {
		if s.Error != "" {
			f.block("", 0, s.Domain+": "+s.Error)
			continue
		}
		f.block("", 0, s.Domain+": "+addresses(s.Count), fmt.Sprintf("%d new", s.Added), fmt.Sprintf("%d gone", s.Lost))
	}
	if len(all.Synced) == 0 {
		fmt.Fprintln(w, "There is no file and no directory to read.")
	}
}

// syncFailure is the error of a sync that did not go well everywhere.
func syncFailure(all admin.RecipientSyncs) error {
	var failed error
	for _, s := range all.Synced {
		switch {
		case s.Doubted:
			return failure{"sync_doubted", s.Domain + ": " + s.Error}
		case s.Error != "":
			failed = failure{"sync_failed", s.Domain + ": " + s.Error}
		}
	}
	return failed
}

func newRecipientsImport(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE DOMAIN",
		Short: "Replace the imported list of a domain by a file",
		Long: "Replaces the imported list of a domain by the addresses of a file: one on a line, or the CSV of an export of Exchange Online. Addresses of other domains are left out; a file with a wrong line changes nothing. " +
			"The list is kept with the data, and counts if list is among the sources of the domain.",
		Example: "  mxkeep recipients import recipients.csv corp.example --dry-run\n" +
			"  mxkeep recipients import recipients.csv corp.example",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("give a file and a domain")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			did, err := a.importRecipients(cmd.Context(), admin.RecipientImportRequest{Domain: args[1], Name: filepath.Base(args[0]), Text: text})
			if err != nil {
				return err
			}
			return a.document(did, func(w io.Writer) { a.showImport(w, did) })
		},
	}
}

// importRecipients looks first, and asks if addresses would go.
func (a *app) importRecipients(ctx context.Context, request admin.RecipientImportRequest) (admin.RecipientImport, error) {
	request.DryRun = true
	plan, err := a.client().ImportRecipients(ctx, request)
	if err != nil || a.flags.dryRun {
		return plan, err
	}
	if plan.Lost > 0 && !a.flags.yes {
		words := fmt.Sprintf("%s of %s would no longer be in the imported list", addresses(plan.Lost), clean(plan.Domain))
		if !a.asks() {
			return plan, failure{"confirmation_required", words + ", and nobody can be asked here"}
		}
		if err := a.askYes(ctx, words+". Go on? [y/N] "); err != nil {
			return plan, err
		}
	}
	request.DryRun = false
	return a.client().ImportRecipients(ctx, request)
}

func (a *app) showImport(w io.Writer, did admin.RecipientImport) {
	verb := "Imported"
	if did.DryRun {
		verb = "Dry run, nothing was changed: would import"
	}
	fmt.Fprintf(w, "%s %s of %s: %s new, %s gone.\n", verb, addresses(did.Count), clean(did.Domain), admin.Thousands(int64(did.Added)), admin.Thousands(int64(did.Lost)))
	if did.Elsewhere > 0 {
		fmt.Fprintf(w, "Left out: %s of other domains.\n", addresses(did.Elsewhere))
	}
}

// addresses writes a number of addresses.
func addresses(n int) string {
	if n == 1 {
		return "1 address"
	}
	return admin.Thousands(int64(n)) + " addresses"
}
