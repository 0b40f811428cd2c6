package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newHealthHistory(a *app) *cobra.Command {
	var upstream string
	since := daysFlag(7 * 24 * time.Hour)
	cmd := &cobra.Command{
		Use:         "history",
		Annotations: map[string]string{alsoFormats: "csv", hasFields: "yes"},
		Short:       "What changed in what is thought of the upstreams",
		Long:        "What changed in what is thought of the upstreams: their state, overrides, and whether they throttle us or refuse us as configured. The oldest line comes first.",
		Example: "  mxkeep health history --since 7d\n" +
			"  mxkeep health history --upstream exo -o csv",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since <= 0 {
				return usage("--since %s: the time must be above zero", span(time.Duration(since)))
			}
			out, err := newListing(a, a.historyColumns(), len(a.historyColumns()))
			if err != nil {
				return err
			}
			out.schema = "mxkeep.health.history/1"
			if err := a.client().History(cmd.Context(), upstream, a.now.Add(-time.Duration(since)), out.row); err != nil {
				return out.broken(err)
			}
			if err := out.end(map[string]int{"changes": out.rows}); err != nil {
				return err
			}
			if out.rows == 0 && !a.exact() {
				a.words("Nothing has changed in the last %s.", span(time.Duration(since)))
			}
			return nil
		},
	}
	cmd.Flags().Var(&since, "since", "how far back (also 7d)")
	cmd.Flags().StringVar(&upstream, "upstream", "", "of this one only (default: all)")
	return cmd
}

func (a *app) historyColumns() []column[admin.HistoryChange] {
	both := func(name, title string, get func(admin.HistoryChange) string) column[admin.HistoryChange] {
		return column[admin.HistoryChange]{name: name, title: title, human: get, exact: get}
	}
	columns := []column[admin.HistoryChange]{
		{name: "at", title: "AT " + a.zoneName(), human: func(c admin.HistoryChange) string { return a.stamp(c.At) }, exact: func(c admin.HistoryChange) string { return c.At.String() }},
		both("upstream", "UPSTREAM", func(c admin.HistoryChange) string { return c.Upstream }),
		both("kind", "KIND", func(c admin.HistoryChange) string { return c.Kind }),
		{name: "change", title: "CHANGE", human: changeWords, exact: changeWords},
		{name: "why", title: "WHY", least: 20, human: func(c admin.HistoryChange) string { return a.brief(c.Why) }, exact: func(c admin.HistoryChange) string { return c.Why }},
		both("actor", "BY", func(c admin.HistoryChange) string { return c.Actor }),
	}
	columns[1].drop, columns[5].spare = 1, true
	return columns
}

func changeWords(c admin.HistoryChange) string {
	return strings.TrimPrefix(fmt.Sprintf("%s > %s", c.From, c.To), " > ")
}
