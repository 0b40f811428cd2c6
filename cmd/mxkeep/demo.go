package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/mxkeep/mxkeep/cmd/mxkeep/demo"
	"github.com/spf13/cobra"
)

func newDemo(a *app) *cobra.Command {
	var name, keep, sender string
	var list bool
	o := demo.Options{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show an outage on this machine, with an account of every message",
		Long: "Runs a simulated Exchange Online, a relay and a sender on loopback, brings an outage, kills the relay,\n" +
			"ends the outage, and then joins two records that the relay cannot write: what the sender was answered\n" +
			"with 250, and what the primary took. Exits with 1 if anything was lost, changed, bounced, or sent twice\n" +
			"without being marked. Needs no root, no network and no configuration.",
		Example: "  mxkeep demo\n" +
			"  mxkeep demo --list\n" +
			"  mxkeep demo --scenario lost-ack --keep ./lost-ack\n" +
			"  mxkeep demo --forget     see that the account notices a missing message",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case sender != "":
				var order demo.SenderOptions
				if err := json.Unmarshal([]byte(sender), &order); err != nil {
					return usage("--sender: %v", err)
				}
				return demo.RunSender(cmd.Context(), order, a.in, a.out)
			case list:
				return a.document(scenarios{"mxkeep.demo.scenarios/1", demo.Scripts()}, a.showScenarios)
			}
			var err error
			if o.Script, err = demo.Find(name); err != nil {
				return usage("--scenario: %v", err)
			}
			// Who closes the terminal ends it as well.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
			defer stop()
			return a.demo(ctx, o, keep)
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "scenario", "", "what to show, of those in --list")
	f.BoolVar(&list, "list", false, "list the scenarios")
	f.StringVar(&keep, "keep", "", "keep all data in this folder, empty or new")
	f.BoolVar(&o.Forget, "forget", false, "hide one message: the account must notice")
	f.StringVar(&sender, "sender", "", "be the sender")
	_ = f.MarkHidden("sender") // the flag exists
	return cmd
}

// scenarios is what there is to show.
type scenarios struct {
	Schema    string        `json:"schema"`
	Scenarios []demo.Script `json:"scenarios"`
}

func (a *app) showScenarios(w io.Writer) {
	const columns = 13 // of names
	for _, script := range demo.Scripts() {
		a.flow(w).block(fmt.Sprintf("%-*s", columns, script.Name), columns, "the primary "+script.About)
	}
}

// demo shows one script. The story goes to standard error if the output is for a program.
func (a *app) demo(ctx context.Context, o demo.Options, keep string) error {
	folder, remove, err := demoFolder(keep)
	if err != nil {
		return err
	}
	defer remove()
	o.Folder, o.Out = folder, a.out
	if format, _ := a.format(); format == formatJSON || format == formatJSONL {
		o.Out = a.errs
	}
	report, err := demo.Run(ctx, o)
	switch {
	case err == nil:
	case ctx.Err() != nil: // somebody wanted it to end
		return fmt.Errorf("demo: %w", err)
	default:
		return failure{"demo_failed", err.Error()}
	}
	if err := a.document(report, func(w io.Writer) { report.Show(w) }); err != nil {
		return err
	}
	if keep != "" {
		a.words("All data is in %s.", folder)
	}
	if !report.Good {
		return exitCode(exitFailed)
	}
	return nil
}

// demoFolder makes the folder for the data, and says how to be rid of it.
func demoFolder(keep string) (folder string, remove func(), err error) {
	if keep == "" {
		folder, err = os.MkdirTemp("", "mxkeep-demo-")
		return folder, func() { os.RemoveAll(folder) }, err
	}
	if found, err := os.ReadDir(keep); err == nil && len(found) > 0 {
		return "", nil, usage("--keep %s: the folder is not empty", keep)
	}
	return keep, func() {}, os.MkdirAll(keep, 0o700)
}
