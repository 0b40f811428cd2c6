package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// page is a report in words: the same for every form.
type page struct {
	Title    string
	Lead     []string
	Sections []section
}

type section struct {
	Title  string
	Blocks []block
}

// block is a paragraph, a list, a table, or a chart.
type block struct {
	Text  string
	List  []string
	Head  []string // of a table; nil if it has none
	Rows  [][]string
	Chart string // name; only HTML has charts
}

const (
	maxTimeline = 500 // lines of a page; report.json has all
	maxKinds    = 40  // of replies
)

// pageOf writes a report for an audience. It is pure.
func pageOf(r Report, a Audience) page {
	p := page{Title: "Mail continuity report " + r.Incident.ID}
	p.Lead = append(p.Lead, "Relay: "+or(r.Relay)+" · Primary: "+or(r.Incident.Upstream)+" · Domains: "+or(strings.Join(r.Domains, ", ")),
		fmt.Sprintf("Prepared %s UTC by mxkeep %s from records that were written at the time. All times are UTC.", clock(r.Prepared), or(r.Version)))
	if r.Redacted {
		p.Lead = append(p.Lead, "Addresses and the names of clients and people are replaced by pseudonyms: equal ones stand for equal ones.")
	}
	if a != Provider {
		p.Sections = append(p.Sections, section{"A. Summary for management", summary(r)})
	}
	if a != Management {
		p.Sections = append(p.Sections, section{"B. Timeline", timeline(r)}, section{"C. Evidence for the provider", evidence(r)}, section{"D. Figures for a service-level claim", claim(r)})
	}
	if a == Everybody {
		p.Sections = append(p.Sections, section{"E. What we learned (for people to complete)", []block{{List: []string{"Went well:", "Went badly:", "Luck:", "Actions (owner, date):"}}}},
			section{"Annex", annex(r)})
	}
	return p
}

// lasted is from the first bad reply until the primary was up; false if that is not over.
func lasted(i health.Incident) (until time.Time, over bool) {
	until = cmp.Or(i.UpAt, i.ClosedAt)
	return until, !until.IsZero()
}

func summary(r Report) []block {
	i, m := r.Incident, r.Mail
	until, over := lasted(i)
	words := fmt.Sprintf("On %s an incident was opened by %s: %s.", day(i.Opened), i.Opener, or(line(i.Why)))
	if i.WasDown {
		words = fmt.Sprintf("Since %s UTC the primary mail system does not take mail that our backup relay offers for our domains; it was not up when this was prepared.", clock(i.Began))
		if over {
			words = fmt.Sprintf("From %s to %s UTC, %s, the primary mail system did not take mail that our backup relay offered for our domains.", clock(i.Began), clock(until), span(until.Sub(i.Began)))
		}
	}
	if m.Account.Accepted > 0 {
		words += " Senders of the mail below received a normal acceptance from the relay."
	}
	delivered := counted(m.Account.Delivered, "recipient")
	if m.Account.Delivered > 0 {
		delivered += fmt.Sprintf(", the last at %s; delay median %s, 95 %% under %s, longest %s", clock(m.Last), secondsSpan(m.Delay.Median), secondsSpan(m.Delay.P95), secondsSpan(m.Delay.Worst))
	}
	a := m.Account
	rows := [][]string{
		{"Messages accepted by the relay", fmt.Sprintf("%s (%s) from %s to %s; %s in all", thousands(m.Messages), volume(m.Bytes), counted(m.Domains, "sender domain"), addresses(m.Addresses), counted(a.Accepted, "recipient"))},
		{"Delivered", delivered},
		{"Waiting / held", fmt.Sprintf("%s / %s", thousands(a.Queued), thousands(a.Held))},
		{"Refused by the primary (5xx), kept", thousands(a.Refused)},
		{"Failed, sender told / expired / deleted by a person", fmt.Sprintf("%s / %s / %s", thousands(a.Failed), thousands(a.Expired), thousands(a.Deleted))},
		{"Without an account (lost, or set aside)", fmt.Sprintf("%s, of these in files that were set aside: %s", thousands(a.Remainder), thousands(r.Aside))},
		{"Possibly delivered twice (reply lost)", fmt.Sprintf("%s (unconfirmed in messages.csv)", thousands(m.MaybeTwice))},
		{"Noticed / staff told / acknowledged", noticed(r)},
		{"Handed on while the sender waited", counted(r.Passed, "recipient")},
	}
	blocks := []block{{Text: words}, {Rows: rows}, {Chart: "queue"}, {Chart: "states"}}
	if r.AtClose != nil && r.AtClose.Account.Accepted > a.Accepted {
		blocks = append(blocks, block{Text: fmt.Sprintf("When the incident was closed at %s, %s were accounted for. The lines of some of them are no longer in the ledger; this report counts those that are.", clock(r.AtClose.At), counted(r.AtClose.Account.Accepted, "recipient"))})
	}
	if r.Unread > 0 {
		blocks = append(blocks, block{Text: fmt.Sprintf("%s could not be read: their mail may be missing here.", counted(r.Unread, "damaged record"))})
	}
	return append(blocks, block{Text: "Not covered: mail that senders kept themselves and never offered to us; outgoing mail; access to mailboxes."})
}

func addresses(n int64) string {
	if n == 1 {
		return "1 address"
	}
	return thousands(n) + " addresses"
}

// noticed is how long it took to see it, to tell somebody, and until a person knew.
func noticed(r Report) string {
	i := r.Incident
	told, acked := notRecorded, notRecorded
	for _, m := range r.Timeline {
		if m.What == "notified" {
			told = span(m.At.Sub(i.Opened)) + " later"
			break
		}
	}
	if !i.Acked.At.IsZero() {
		acked = clock(i.Acked.At) + " by " + or(i.Acked.Actor)
	}
	return span(i.Opened.Sub(i.Began)) + " / " + told + " / " + acked
}

func timeline(r Report) []block {
	all := r.Timeline
	b := block{Head: []string{"UTC", "Event", "Who", "Words"}}
	for _, m := range all[:min(len(all), maxTimeline)] {
		b.Rows = append(b.Rows, []string{clock(m.At), line(m.What), line(m.Actor), line(m.Text)})
	}
	blocks := []block{b}
	if len(all) > maxTimeline {
		blocks = append(blocks, block{Text: fmt.Sprintf("%s more are in timeline.csv.", thousands(int64(len(all)-maxTimeline)))})
	}
	if r.NoHistory {
		blocks = append(blocks, block{Text: "The history could not be read in full: changes, or observations, may be missing."})
	}
	return blocks
}

func evidence(r Report) []block {
	var list []string
	for _, o := range r.Probes.Sources {
		words := fmt.Sprintf("%s: %s, %s good, from %s to %s", o.Source, counted(o.Count, "observation"), thousands(o.Good), clock(o.First), clock(o.Last))
		if len(o.Addresses) > 0 {
			words += ", of " + strings.Join(o.Addresses, ", ")
		}
		if len(o.From) > 0 {
			words += ", from our " + strings.Join(o.From, ", ")
		}
		list = append(list, line(words))
	}
	if len(list) == 0 {
		list = []string{"Observations of the primary: " + notRecorded}
	}
	if _, seen := r.Probes.of(health.SourceControl); !seen {
		list = append(list, "A control target that tells our network from theirs: "+notRecorded)
	}
	list = append(list, "Whether the clock of our host was synchronised: "+notRecorded)
	if _, seen := r.Probes.of(health.SourceDNS); !seen {
		list = append(list, "Answers of name servers: "+notRecorded)
	}
	if r.Chain != nil {
		list = append(list, fmt.Sprintf("The ledger lines %d to %d (%s) are a chain of hashes from %s to %s; breaks: %d", r.Chain.First, r.Chain.Last, counted(r.Chain.Lines, "line"), r.Chain.Anchor, r.Chain.Head, len(r.Chain.Missing)))
	} else {
		list = append(list, "A chain of hashes over the ledger: "+notRecorded)
	}
	list = append(list, "For correlation in message trace: messages.csv has Message-ID, time, recipient, and InternalId and Hostname of the acceptance for every recipient.")
	links := notRecorded
	if len(r.Incident.Links) > 0 {
		links = line(strings.Join(r.Incident.Links, ", "))
	}
	list = append(list, "Reference of the provider, entered by a person: "+links)
	replies := block{Head: []string{"Count", "Of", "Command", "Reply", "First", "Last", "Servers", "Their session ids"}}
	for _, one := range r.Replies[:min(len(r.Replies), maxKinds)] {
		replies.Rows = append(replies.Rows, []string{thousands(one.Count), string(one.Source), line(one.Command), reply(one.Code, one.Enhanced, one.Text), clock(one.First), clock(one.Last),
			few(one.Servers), few(one.Sessions)})
	}
	if len(replies.Rows) == 0 {
		replies = block{Text: "Replies: " + notRecorded}
	}
	return []block{{List: list}, {Chart: "replies"}, replies}
}

// few names the first of several.
func few(all []string) string {
	const most = 4
	text := line(strings.Join(all[:min(len(all), most)], ", "))
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return text
}

func claim(r Report) []block {
	i, m := r.Incident, r.Mail
	until, over := lasted(i)
	period := "from " + clock(i.Began) + " UTC, not over when this was prepared"
	whole := notRecorded
	if over {
		minutes := until.Sub(i.Began).Minutes()
		period = fmt.Sprintf("%s to %s UTC = %.2f min", clock(i.Began), clock(until), minutes)
		whole = monthShare(i.Began, until)
	}
	delays := block{Head: []string{"Delay", "Recipients"}}
	under := int64(0)
	for _, d := range m.Delays {
		under += d.Recipients
		name := "any"
		if d.Seconds > 0 {
			name = "up to " + secondsSpan(d.Seconds)
		}
		delays.Rows = append(delays.Rows, []string{name, thousands(under)})
	}
	return []block{{Rows: [][]string{
		{"Period observed", period},
		{"Affected users / locations", notRecorded + ": to be entered by the claimant"},
		{"Recipient addresses that mail waited for", thousands(m.Addresses)},
		{"Messages / recipients accepted while it lasted", thousands(m.Messages) + " / " + thousands(m.Account.Accepted)},
		{"If the whole period counted for every user", whole},
		{"Steps taken", steps(r)},
		{"Claim to reach the provider by", day(deadline(cmp.Or(until, i.Began))) + ", if the agreement says the end of the month after; check your own contract"},
	}}, delays,
		{Text: "What this proves: mail offered by our relay was not accepted, at these times, with these replies."},
		{Text: "What it does not prove: that users could not open mailboxes, or send. Downtime is what your agreement defines."}}
}

// monthShare is the part of the months that the period takes, as availability.
func monthShare(from, until time.Time) string {
	var words []string
	for at := from.UTC(); at.Before(until); at = monthEnd(at) {
		end := monthEnd(at)
		start := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		part := until.Sub(at)
		if until.After(end) {
			part = end.Sub(at)
		}
		words = append(words, fmt.Sprintf("%.2f of %.0f min in %s: %.3f %% available", part.Minutes(), end.Sub(start).Minutes(), at.Format("January 2006"), 100*(1-part.Seconds()/end.Sub(start).Seconds())))
		if len(words) == 12 {
			break
		}
	}
	return strings.Join(words, "; ")
}

// monthEnd is the instant when the month of a time ends.
func monthEnd(at time.Time) time.Time {
	at = at.UTC()
	return time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}

// deadline is the last day of the month after that of a time.
func deadline(at time.Time) time.Time { return monthEnd(monthEnd(at)).AddDate(0, 0, -1) }

// steps are those that the records show.
func steps(r Report) string {
	var words []string
	for _, o := range r.Probes.Sources {
		if o.Source == string(health.SourceProbe) || o.Source == string(health.SourceControl) {
			words = append(words, counted(o.Count, o.Source+" observation"))
		}
	}
	if r.Mail.Account.Accepted > 0 {
		words = append(words, "the relay held mail and delivered it")
	}
	for _, m := range r.Timeline {
		if slices.Contains([]string{"acknowledged", "note", "link", "override"}, m.What) && len(words) < 20 {
			words = append(words, strings.TrimSpace(line(m.What+" "+m.Text)))
		}
	}
	return or(strings.Join(words, "; "))
}

func annex(r Report) []block {
	files := "messages.csv probes.csv replies.csv states.csv timeline.csv report.json report.html report.md ledger.jsonl SHA256SUMS"
	if r.Redacted || r.Chain == nil {
		files = strings.Replace(files, " ledger.jsonl", "", 1)
	}
	return []block{{Text: "In the bundle: " + files + "."}, {Text: "Read from the ledger up to line " + thousands(int64(r.Through)) + "."}}
}
