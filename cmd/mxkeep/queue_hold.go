package main

import (
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newQueueHold(a *app) *cobra.Command {
	cmd, _ := verb{
		name:  "hold",
		short: "Keep messages out of delivery until they are released",
		long:  "Keep messages out of delivery until they are released. While a message is held it does not expire.",
		example: "  mxkeep queue hold --from '@bulk.example' --reason \"looks like a phish\"\n" +
			"  mxkeep queue hold 7hq2m8x4kd3w",
		done: "Held",
		reverse: func(chosen admin.Select, ids []string) string {
			return "mxkeep queue release " + reversed(chosen, ids, "held")
		},
	}.command(a)
	return cmd
}

func newQueueRelease(a *app) *cobra.Command {
	cmd, _ := verb{
		name:    "release",
		short:   "Give held messages back to delivery",
		long:    "Give held messages back to delivery. Their expiry moves by the time they were held.",
		example: "  mxkeep queue release --state held --from billing@supplier.example",
		done:    "Released",
		reverse: func(_ admin.Select, ids []string) string {
			if len(ids) > fewIDs {
				return "" // no rule chooses what was held
			}
			return "mxkeep queue hold " + strings.Join(ids, " ")
		},
	}.command(a)
	return cmd
}

// fewIDs are written out; many are piped.
const fewIDs = 5

// reversed chooses again what was changed: by id if they are few, or else by
// the same rules in the state that the messages have now.
func reversed(chosen admin.Select, ids []string, state string) string {
	if len(ids) <= fewIDs {
		return strings.Join(ids, " ")
	}
	again := admin.Select{Where: []string{"state=" + state}}
	for _, rule := range chosen.Where {
		if field, _, _ := strings.Cut(strings.TrimPrefix(rule, "!"), "="); field != "state" && field != "id" {
			again.Where = append(again.Where, rule)
		}
	}
	return pasted(again)
}
