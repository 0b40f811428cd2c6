package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

func newIncident(a *app) *cobra.Command {
	return group("incident", "Outages of the primary, and what became of the mail",
		newIncidentList(a), newIncidentShow(a), newIncidentOpen(a), newIncidentNote(a), newIncidentLink(a), newIncidentAck(a), newIncidentClose(a),
		newIncidentReport(a), newIncidentVerify(a), newIncidentReconcile(a))
}

func newIncidentList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:         "list",
		Annotations: map[string]string{alsoFormats: "csv id", hasFields: "yes"},
		Short:       "List the incidents, the newest first",
		Long:        "List the incidents, the newest first. HELD, DELIVERED and REFUSED count recipients; what the words mean: mxkeep help incidents.",
		Example: "  mxkeep incident list\n" +
			"  mxkeep incident list -o csv --fields id,began_at,lasted_seconds,delivered",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := newListing(a, a.incidentColumns(), shownIncidentColumns)
			if err != nil {
				return err
			}
			out.schema = "mxkeep.incident.list/1"
			out.id = func(i admin.Incident) string { return i.ID }
			if err := a.client().Incidents(cmd.Context(), out.row); err != nil {
				return out.broken(err)
			}
			if err := out.end(map[string]int{"incidents": out.rows}); err != nil {
				return err
			}
			if out.rows == 0 && !a.exact() {
				a.words("There has been no incident.")
			}
			return nil
		},
	}
}

// shownIncidentColumns is how many of incidentColumns are shown without --fields.
const shownIncidentColumns = 9

func (a *app) incidentColumns() []column[admin.Incident] {
	number := func(name, title string, get func(admin.Incident) int64) column[admin.Incident] {
		return column[admin.Incident]{name: name, title: title, right: true,
			human: func(i admin.Incident) string { return admin.Thousands(get(i)) },
			exact: func(i admin.Incident) string { return fmt.Sprint(get(i)) }}
	}
	both := func(name, title string, get func(admin.Incident) string) column[admin.Incident] {
		return column[admin.Incident]{name: name, title: title, human: get, exact: get}
	}
	lasts := func(name, title string, get func(admin.Incident) float64) column[admin.Incident] {
		return column[admin.Incident]{name: name, title: title, human: func(i admin.Incident) string { return lastsWords(get(i)) },
			exact: func(i admin.Incident) string { return fmt.Sprint(get(i)) }}
	}
	columns := []column[admin.Incident]{
		both("id", "ID", func(i admin.Incident) string { return i.ID }),
		both("state", "STATE", func(i admin.Incident) string { return i.State }),
		{name: "began_at", title: "BEGAN " + a.zoneName(), human: func(i admin.Incident) string { return i.BeganAt.In(a.zone()).Format("2 Jan 15:04") }, exact: func(i admin.Incident) string { return i.BeganAt.String() }},
		lasts("lasted_seconds", "LASTED", func(i admin.Incident) float64 { return i.Lasted }),
		number("accepted", "HELD", func(i admin.Incident) int64 { return i.Figures.Account.Accepted }),
		number("delivered", "DELIVERED", func(i admin.Incident) int64 { return i.Figures.Account.Delivered }),
		number("refused", "REFUSED", func(i admin.Incident) int64 { return i.Figures.Account.Refused + i.Figures.Account.Failed }),
		lasts("delay_worst_seconds", "WORST DELAY", func(i admin.Incident) float64 { return i.Figures.DelayWorst }),
		{name: "links", title: "LINK", least: 8, human: func(i admin.Incident) string { return cmp.Or(strings.Join(i.Links, ","), "-") }, exact: func(i admin.Incident) string { return strings.Join(i.Links, ",") }},
		both("upstream", "UPSTREAM", func(i admin.Incident) string { return i.Upstream }),
		{name: "closed_at", title: "CLOSED", human: func(i admin.Incident) string { return a.clock(i.ClosedAt) }, exact: func(i admin.Incident) string { return i.ClosedAt.String() }},
		both("acknowledged_by", "ACK", func(i admin.Incident) string { return i.AckedBy }),
		number("waiting_recipients", "WAITING", func(i admin.Incident) int64 { return i.Waiting }),
		both("why", "WHY", func(i admin.Incident) string { return i.Why }),
	}
	drops := map[string]int{"links": 1, "refused": 2, "delay_worst_seconds": 3, "lasted_seconds": 4}
	for n, c := range columns {
		columns[n].drop = drops[c.name]
	}
	return columns
}

// lastsWords is a time, if there is one.
func lastsWords(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return span(admin.Duration(seconds))
}

func newIncidentShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show [ID]",
		Short: "The timeline of an incident, and its numbers",
		Long:  "The timeline of an incident, and its numbers: of the one that goes on, or else the last one, if no id is given.",
		Example: "  mxkeep incident show\n" +
			"  mxkeep incident show INC-2026-03-12-1 --json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.client().Incident(cmd.Context(), cmp.Or(firstOf(args), admin.LastIncident))
			if err != nil {
				return err
			}
			return a.document(i, func(w io.Writer) { a.showIncident(w, i) })
		},
	}
}

// showIncident writes an incident with its account, its replies and its timeline.
func (a *app) showIncident(w io.Writer, i admin.Incident) {
	f := a.flow(w)
	f.block("", 0, i.ID, strings.ToUpper(i.State), i.Upstream)
	if i.Unsettled != "" {
		f.labelled("UNSETTLED", i.Unsettled)
	}
	f.labelled("began", a.clock(i.BeganAt), "opened "+a.clock(i.OpenedAt)+" by "+i.OpenedBy, "lasted "+span(admin.Duration(i.Lasted)))
	f.labelled("why", a.brief(i.Why))
	if !i.AckedAt.IsZero() {
		f.labelled("ack", i.AckedBy+" "+a.clock(i.AckedAt))
	}
	f.labelled("links", i.Links...)
	a.showIncidentFigures(f, i)
	for n, r := range i.Figures.Replies[:min(len(i.Figures.Replies), shownReplies)] {
		label := ""
		if n == 0 {
			label = "replies"
		}
		f.labelled(label, admin.Thousands(r.Count)+" to "+r.Source, strings.TrimSpace(r.Command+" "+a.brief(replyLine(admin.Reply{Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}))),
			a.clock(r.FirstAt)+" to "+a.clock(r.LastAt), strings.Join(r.Servers[:min(len(r.Servers), shownServers)], ", "))
	}
	fmt.Fprintf(w, "\n  timeline (%s)\n", a.zoneName())
	for _, m := range i.Timeline {
		f.block("  "+a.stamp(m.At)+"  ", cellWidth(a.stamp(m.At))+4, a.momentWords(m))
	}
}

const (
	shownReplies = 10
	shownServers = 3
)

// momentWords says what happened, who did it unless it was the relay, and more.
func (a *app) momentWords(m admin.Moment) string {
	words := m.What
	if m.Actor != "" && m.Actor != "relay" {
		words += " by " + m.Actor
	}
	if m.Text != "" {
		words += ": " + a.brief(m.Text)
	}
	return words
}

func (a *app) showIncidentFigures(f flow, i admin.Incident) {
	n, c := i.Figures, i.Figures.Account
	f.labelled("mail", messages(int(n.Messages)), size(n.Bytes), fmt.Sprintf("from %s domains", admin.Thousands(n.Domains)), addresses(int(n.Addresses)))
	words := []string{admin.Thousands(c.Accepted) + " recipients accepted ="}
	for _, part := range []struct {
		word string
		n    int64
	}{{"delivered", c.Delivered}, {"queued", c.Queued}, {"held", c.Held}, {"refused (kept)", c.Refused}, {"failed (told)", c.Failed}, {"expired (told)", c.Expired}, {"deleted", c.Deleted}, {"set aside", c.SetAside}} {
		if part.n > 0 || part.word == "delivered" {
			words = append(words, admin.Thousands(part.n)+" "+part.word)
		}
	}
	f.labelled("account", append(words, "remainder "+admin.Thousands(c.Remainder))...)
	if c.Passed > 0 {
		f.labelled("", admin.Thousands(c.Passed)+" recipients passed on while the sender waited")
	}
	if n.MaybeTwice > 0 {
		f.labelled("", admin.Thousands(n.MaybeTwice)+" may have got it twice: the reply was lost")
	}
	if c.Delivered > 0 {
		f.labelled("delay", "median "+delaySpan(n.DelayMedian), "95% under "+delaySpan(n.DelayP95), "99% under "+delaySpan(n.DelayP99), "longest "+delaySpan(n.DelayWorst))
	}
	if n.Unread > 0 {
		f.labelled("", admin.Thousands(n.Unread)+" damaged records are left out: mxkeep db check")
	}
	if n.NoHistory {
		f.labelled("", "the history could not be read: replies to probes, or changes, may be missing here")
	}
}

func delaySpan(seconds float64) string { return span(admin.Duration(seconds).Round(time.Second)) }

// incidentWordsOf says how an incident stands that is not closed.
func (a *app) incidentWordsOf(i admin.IncidentStatus, now time.Time) []string {
	words := []string{i.ID + " " + i.State, "of " + i.Upstream, "began " + since(i.BeganAt, now) + " ago"}
	if i.AckedAt.IsZero() {
		return append(words, "nobody has acknowledged it")
	}
	return append(words, "ack "+i.AckedBy+" "+a.clock(i.AckedAt))
}
