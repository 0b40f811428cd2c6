package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// tracedLines is how many ledger lines a trace shows if nothing else is said.
const tracedLines = 200

func newTrace(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:         "trace QUERY",
		Annotations: map[string]string{alsoFormats: "csv id", hasFields: "yes"},
		Short:       "The life of a message: by id, Message-ID, address or Received",
		Long:        "The life of a message, from the ledger: by our id, its Message-ID, an address, or the Received field that we wrote.",
		Example: "  mxkeep trace 7hq2m8x4kd3w\n" +
			"  mxkeep trace '<20260312.1@supplier.example>'\n" +
			"  mxkeep trace a.meyer@corp.example --limit 50",
		Args: exactly("one id, Message-ID, address or Received line"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.trace(cmd, args[0], limit) },
	}
	cmd.Flags().IntVar(&limit, "limit", tracedLines, "at most so many of the newest lines")
	return cmd
}

func (a *app) trace(cmd *cobra.Command, query string, limit int) error {
	out, err := newListing(a, a.entryColumns(), shownEntryColumns)
	if err != nil {
		return err
	}
	out.schema = "mxkeep.trace/1"
	out.id = func(e admin.Entry) string { return e.ID }
	known := []admin.Message{}
	var seen life
	var story []admin.Entry // for a person, who may be told about one message only
	line := func(e admin.Entry) error {
		seen.add(e)
		if out.format == formatTable && len(a.flags.fields) == 0 {
			story = append(story, e)
			return nil
		}
		return out.row(e)
	}
	err = a.client().Trace(cmd.Context(), query, limit, line, func(m admin.Message) error {
		known = append(known, m)
		return nil
	})
	var gap *admin.Gap
	if errors.As(err, &gap) {
		err = nil
	}
	if err == nil && !seen.several && len(story) > 0 {
		return errors.Join(a.tell(story, known, seen), incomplete(gap))
	}
	for _, e := range story {
		if failed := out.row(e); failed != nil {
			return failed
		}
	}
	if err != nil {
		return out.broken(err)
	}
	if err := out.end(map[string]any{"messages": known}); err != nil {
		return err
	}
	if gap != nil {
		return incomplete(gap)
	}
	if out.rows == 0 {
		return failure{"nothing_matched", "the ledger has no line about " + quote(clean(query))}
	}
	if !a.exact() {
		a.comment(known, seen)
	}
	return nil
}

// incomplete is the error of a ledger that could not be read in full; nil is none.
func incomplete(gap *admin.Gap) error {
	if gap == nil {
		return nil
	}
	return failure{"ledger_incomplete", gap.Error()}
}

// tell writes the life of one message: nothing is cut, for it is evidence.
func (a *app) tell(story []admin.Entry, known []admin.Message, seen life) error {
	text := bufio.NewWriter(a.out)
	f := a.flow(text)
	first := story[0]
	f.block("", 0, first.ID, size(first.SizeBytes), first.MessageID)
	f.labelled("from", path(first.From))
	f.labelled("to", first.Recipients...)
	f.labelled("auth", authWords(first.Auth)...)
	fmt.Fprintf(text, "\n  history (%s)\n", a.zoneName())
	for _, e := range story {
		a.showEntry(f, e)
	}
	fmt.Fprintln(text)
	if err := text.Flush(); err != nil {
		return err
	}
	a.comment(known, seen)
	return nil
}

// fewMessages are commented one by one.
const fewMessages = 5

// comment says how messages stand now, and how long one took.
func (a *app) comment(known []admin.Message, seen life) {
	for i, m := range known {
		switch {
		case i == fewMessages:
			a.words("... %d more messages", len(known)-fewMessages)
			return
		case m.NextReason == "none" && m.State != "deleted":
			a.words("%s is %s.", m.ID, m.State)
		default:
			a.words("%s is %s: %s", m.ID, m.State, a.whatNext(m))
		}
	}
	for _, words := range seen.words() {
		a.words("%s", words)
	}
}

// shownEntryColumns is how many of entryColumns are shown without --fields.
const shownEntryColumns = 6

// entryColumns are the columns of a listing of ledger lines.
func (a *app) entryColumns() []column[admin.Entry] {
	both := func(name, title string, least int, get func(admin.Entry) string) column[admin.Entry] {
		return column[admin.Entry]{name: name, title: title, least: least, human: get, exact: get}
	}
	columns := []column[admin.Entry]{
		{name: "at", title: "AT " + a.zoneName(), human: func(e admin.Entry) string { return a.stamp(e.At) }, exact: func(e admin.Entry) string { return e.At.String() }},
		both("id", "ID", 0, func(e admin.Entry) string { return e.ID }),
		both("event", "EVENT", 0, func(e admin.Entry) string { return e.Event }),
		{name: "what", title: "WHAT", least: 24, human: func(e admin.Entry) string { return a.brief(what(e)) }, exact: what},
		both("recipients", "RECIPIENTS", 12, func(e admin.Entry) string { return strings.Join(e.Recipients, ",") }),
		both("from", "FROM", 12, func(e admin.Entry) string {
			if e.Event == "accepted" || e.Event == "adopted" {
				return path(e.From)
			}
			return e.From
		}),
		both("message_id", "MESSAGE-ID", 0, func(e admin.Entry) string { return e.MessageID }),
		both("actor", "ACTOR", 0, func(e admin.Entry) string { return e.Actor }),
		both("attempt", "TRY", 0, func(e admin.Entry) string { return fmt.Sprint(e.Attempt) }),
	}
	for i, c := range columns {
		columns[i].drop = map[string]int{"from": 1, "recipients": 2}[c.name]
		columns[i].spare = c.name == "from"
	}
	return columns
}

// what says in one line what a ledger line records: each different outcome
// once, but of what was adopted where it came from.
func what(e admin.Entry) string {
	var words []string
	seen := map[string]bool{}
	for _, r := range e.Results {
		if e.Event == "adopted" {
			break // the outcomes are those of attempts elsewhere
		}
		if outcome := resultWords(r); !seen[outcome] {
			seen[outcome] = true
			words = append(words, outcome)
		}
	}
	if len(words) == 0 {
		words = append(words, strings.TrimPrefix(strings.TrimPrefix(entryWords(e), e.Event), " "))
	}
	return strings.Join(words, "; ")
}
