package main

import "github.com/spf13/cobra"

func newQueueBounce(a *app) *cobra.Command {
	cmd, _ := verb{
		name:  "bounce",
		short: "Give messages up, and tell their senders",
		long: "Give messages up, and tell their senders with a notification (RFC 3464). Its way out is dsn.via of the\n" +
			"configuration. Who may not be told is left as it is, and the reason is said: the sender may be forged,\n" +
			"does not want to know, or is a notification itself; or the upstream is, or was in the last hours, in\n" +
			"trouble. See mxkeep help notifications. What waits for an attempt is held first. This cannot be undone:\n" +
			"mail leaves. On a terminal the number of messages has to be typed; a script says it with --confirm.",
		example: "  mxkeep queue bounce --state refused --reply '550*' --dry-run\n" +
			"  mxkeep queue bounce 7hq2m8x4kd3w --reason \"left the company\" --confirm=1",
		danger:  severe,
		done:    "Given up, and the senders told:",
		warning: "Their senders are told. This cannot be undone.",
	}.command(a)
	return cmd
}
