package main

import (
	"io"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newExplain(a *app) *cobra.Command {
	var request admin.ExplainRequest
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "What would become of a mail that comes now, by which rule, and why",
		Long: "What would become of a mail that comes now, by which rule, and why. Nothing is sent, and nothing is changed: " +
			"a sender that is asked about has not come back.\n\n" +
			"pass: it is handed to the upstream while its sender waits. take: it is kept here. " +
			"defer: the sender is told to come again, or to use the upstream. refuse: the sender gets it back.\n\n" +
			"With --client it also says what that client, its network and all together have used of each limit by now, " +
			"which DNS lists are asked and what they answer, and whether the greylist knows it (mxkeep help clients).\n\n" +
			"The rule is what is stored with messages (mxkeep trace ID), and what counts refusals (mxkeep status --json).",
		Example: "  mxkeep explain --from x@sender.example --to a@corp.example --client 192.0.2.44\n" +
			"  mxkeep explain --from '<>' --to a@corp.example --upstream down",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if request.To == "" {
				return usage("say to whom: --to ADDRESS")
			}
			if request.From == "<>" {
				request.From = ""
			}
			given, err := a.client().Explain(cmd.Context(), request)
			if err != nil {
				return err
			}
			return a.document(given, func(w io.Writer) { a.showExplanation(w, given) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.From, "from", "", "the sender; nothing, or <>, is the null reverse-path")
	f.StringVar(&request.To, "to", "", "the recipient")
	f.StringVar(&request.Client, "client", "", "the IP address of the client")
	f.StringVar(&request.Upstream, "upstream", "", "suppose it is up, degraded, down or recovering")
	return cmd
}

func (a *app) showExplanation(w io.Writer, e admin.Explanation) {
	f := a.flow(w)
	f.block("", 0, e.Action, e.Rule)
	f.labelled("why", e.Why)
	if e.Reply != "" {
		f.labelled("reply", e.Reply)
	}
	for _, fact := range e.Facts {
		f.labelled(fact.Check, fact.Finding)
	}
}
