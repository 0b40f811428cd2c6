package main

import (
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newQueueDelete(a *app) *cobra.Command {
	cmd, _ := verb{
		name:  "delete",
		short: "Put messages into the trash, without telling their senders",
		long: "Put messages into the trash, without telling their senders. The trash is kept for 72 hours, and\n" +
			"\"queue undelete\" takes out of it again. On a terminal the number of messages has to be typed;\n" +
			"a script says it with --confirm.",
		example: "  mxkeep queue delete --from '@bulk.example' --dry-run\n" +
			"  mxkeep queue delete --from '@bulk.example' --reason \"phish\" --confirm=1284",
		danger: severe,
		done:   "Moved to the trash:",
		reverse: func(chosen admin.Select, ids []string) string {
			return "mxkeep queue undelete " + reversed(chosen, ids, "deleted")
		},
	}.command(a)
	return cmd
}

func newQueueUndelete(a *app) *cobra.Command {
	cmd, _ := verb{
		name:    "undelete",
		short:   "Take messages out of the trash",
		long:    "Take messages out of the trash, as long as their content is there.",
		example: "  mxkeep queue undelete --from billing@supplier.example",
		done:    "Taken out of the trash:",
	}.command(a)
	return cmd
}
