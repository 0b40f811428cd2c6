package main

import (
	"fmt"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// screenful is how many messages a terminal shows if nothing else is asked for.
const screenful = 50

func newQueueList(a *app) *cobra.Command {
	s := selection{beginnings: true}
	var request admin.ListRequest
	cmd := &cobra.Command{
		Use:         "list [ID...]",
		Annotations: map[string]string{alsoFormats: "csv id mailq", hasFields: "yes"},
		Aliases:     []string{"ls"},
		Short:       "List the messages that are kept here",
		Long:        "List the messages that are kept here, or those that match.",
		Example: "  mxkeep queue list --older 2h --limit 20\n" +
			"  mxkeep queue list --from '@bulk.example' --not --state held\n" +
			"  mxkeep queue list --reply '451*' -o id | mxkeep queue retry -",
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := a.choose(cmd.Context(), &s, args)
			if err != nil {
				return err
			}
			request.Select = chosen
			if !a.exact() && !cmd.Flags().Changed("limit") && !s.all {
				request.Limit = screenful
			}
			return a.list(cmd, request)
		},
	}
	selectFlags(cmd, &s)
	cmd.Flags().StringVar(&request.Sort, "sort", "", "age, next, expires, size or from (default age)")
	cmd.Flags().BoolVar(&request.Reverse, "reverse", false, "the other way round")
	cmd.Flags().IntVar(&request.Limit, "limit", 0, fmt.Sprintf("at most so many; 0 is all (on a terminal %d)", screenful))
	return cmd
}

func (a *app) list(cmd *cobra.Command, request admin.ListRequest) error {
	out, err := newListing(a, a.messageColumns(), shownColumns)
	if err != nil {
		return err
	}
	out.schema = "mxkeep.queue.list/1"
	out.most = request.Limit
	out.id = func(m admin.Message) string { return m.ID }
	out.mailq = a.mailq
	sum, err := a.client().List(cmd.Context(), request, out.row)
	if err != nil {
		return out.broken(err)
	}
	if err := out.end(sum); err != nil {
		return err
	}
	if !a.exact() {
		a.words("%s", listSummary(sum))
	}
	return nil
}

func listSummary(sum admin.Summary) string {
	unread := ""
	if sum.Damaged > 0 {
		unread = fmt.Sprintf("  %s could not be read: mxkeep db check", messages(sum.Damaged))
	}
	if sum.Matching == 0 {
		return fmt.Sprintf("No message matches (%s are kept here, %s).%s", messages(int(sum.Queued)), size(sum.QueuedBytes), unread)
	}
	words := fmt.Sprintf("%s of %s matching, %s (%s kept here, %s).", admin.Thousands(int64(sum.Shown)),
		admin.Thousands(int64(sum.Matching)), size(sum.MatchingBytes), admin.Thousands(sum.Queued), size(sum.QueuedBytes))
	if sum.Shown < sum.Matching {
		words += "  More: --limit 0"
	}
	return words + unread
}
