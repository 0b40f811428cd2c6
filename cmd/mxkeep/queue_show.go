package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// shownLines is how much of the ledger of one message is asked for.
const shownLines = 1000

// shown is a message with its ledger lines.
type shown struct {
	admin.Message
	Ledger []admin.Entry `json:"ledger"`
}

func newQueueShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "One message: recipients, every attempt, what happens next",
		Long:    "One message: envelope, recipients, every attempt, what happens next. The beginning of the id is enough if no other begins so.",
		Example: "  mxkeep queue show 7hq2m8x4kd3w",
		Args:    exactly("the id of a message"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			m, err := client.Message(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s := shown{Message: m, Ledger: []admin.Entry{}}
			err = client.Trace(cmd.Context(), m.ID, shownLines, func(e admin.Entry) error {
				s.Ledger = append(s.Ledger, e)
				return nil
			}, func(admin.Message) error { return nil })
			var gap *admin.Gap
			if err != nil && !errors.As(err, &gap) {
				return err
			}
			return errors.Join(a.document(s, func(w io.Writer) { a.showMessage(w, s) }), incomplete(gap))
		},
	}
}

func (a *app) showMessage(w io.Writer, s shown) {
	m, f := s.Message, a.flow(w)
	head := []string{m.State, size(m.SizeBytes), fmt.Sprintf("received %s (%s ago)", a.clock(m.ReceivedAt), since(m.ReceivedAt, a.now))}
	switch {
	case m.State == "held":
		head = append(head, "does not expire while it is held")
	case !m.ExpiresAt.IsZero():
		head = append(head, "expires "+a.clock(m.ExpiresAt))
	}
	f.block(clean(m.ID)+"   ", cellWidth(clean(m.ID))+len(between), head...)
	f.labelled("from", from(m), "via "+client(m.Client))
	f.labelled("message", m.MessageID, "upstream "+m.Upstream, "accepted because "+strings.ReplaceAll(m.Client.Reason, "_", " "))
	f.labelled("auth", authWords(m.Auth)...)
	for _, r := range m.Recipients {
		items := []string{r.Address, r.State}
		if r.LastReply != nil {
			items = append(items, a.brief(replyLine(*r.LastReply)))
			if words := admin.KeptWords(r.LastReply.Kept); words != "" && r.State == "refused" {
				items = append(items, "its sender is not told: "+words)
			}
		}
		f.labelled("to", items...)
	}
	if m.HeldReason != "" {
		f.labelled("held", m.HeldReason, "since "+a.clock(m.HeldAt))
	}
	fmt.Fprintf(w, "\n  history (%s)\n", a.zoneName())
	for _, e := range s.Ledger {
		a.showEntry(f, e)
	}
	fmt.Fprintln(w)
	f.labelled("next", a.whatNext(m))
	f.labelled("do", whatToDo(m)...)
}

// client says who gave us a message.
func client(o admin.Origin) string {
	if o.IP == "" { // a notification
		return "this relay"
	}
	words := o.IP
	if name := o.Host; name != "" {
		words += " (" + name + ")"
	} else if o.Hello != "" {
		words += " (says " + o.Hello + ")"
	}
	if o.TLS == "" {
		return words + ", plaintext"
	}
	return words + ", " + o.TLS
}

// showEntry writes a line of the ledger, and one for each different outcome it records.
func (a *app) showEntry(f flow, e admin.Entry) {
	at := fmt.Sprintf("   %s  ", a.stamp(e.At))
	items := []string{entryWords(e)}
	seen := map[string]bool{}
	for _, r := range e.Results {
		r.Text = a.brief(r.Text)
		words := resultWords(r)
		if !seen[words] {
			seen[words] = true
			items = append(items, words)
		}
	}
	f.block(at, cellWidth(at), items...)
}

// entryWords says what a ledger line is about.
func entryWords(e admin.Entry) string {
	words := e.Event
	if e.Attempt > 0 {
		words += fmt.Sprintf(" (attempt %d)", e.Attempt)
	}
	if e.Event == "accepted" {
		words += " from " + client(e.Client)
	}
	if e.Actor != "" {
		words += " by " + e.Actor
	}
	if e.Reason != "" {
		words += ": " + e.Reason
	}
	return clean(words)
}

// resultWords says how an attempt ended.
func resultWords(r admin.Reply) string {
	words := []string{r.Outcome}
	if r.Command != "" {
		words = append(words, "at "+r.Command)
	}
	words = append(words, replyLine(r))
	if r.Address != "" {
		words = append(words, "("+r.Address+", "+took(r.TookSeconds)+")")
	}
	if r.MaybeDuplicate {
		words = append(words, "- may have arrived all the same")
	}
	return clean(strings.Join(words, " "))
}

// whatNext says in a sentence what will happen to a message.
func (a *app) whatNext(m admin.Message) string {
	switch m.NextReason {
	case "scheduled":
		return "attempt at " + a.clock(m.NextAt)
	case "now":
		return "attempt as soon as its turn comes"
	case "active":
		return "an attempt is running"
	case "on_recovery":
		return "attempt when " + clean(m.Upstream) + " is back, oldest first"
	case "paused":
		return "attempt when the delivery to " + clean(m.Upstream) + " is resumed"
	case "held":
		return "nothing until a person releases it; until then it does not expire"
	case "refused":
		if slices.ContainsFunc(m.Recipients, func(r admin.Recipient) bool {
			return r.State == "refused" && r.LastReply != nil && queue.KeptFor(r.LastReply.Kept).Again()
		}) {
			return "it is tried again by itself when " + clean(m.Upstream) + " is believed"
		}
		return "nothing until a person decides; it goes to the trash at " + a.clock(m.KeptUntil)
	}
	if m.State == "deleted" && !m.Purged {
		return "in the trash until " + a.clock(m.KeptUntil) + ", then the content is removed"
	}
	return "nothing: every recipient has an outcome"
}

// whatToDo are the commands that apply to a message as it stands.
func whatToDo(m admin.Message) []string {
	command := func(words string) string { return "mxkeep queue " + fmt.Sprintf(words, m.ID) }
	switch {
	case m.State == "held":
		return []string{command("release %s"), command(`delete %s --reason "..."`)}
	case m.State == "refused":
		return []string{command("retry %s"), command(`bounce %s --reason "..."`), command(`delete %s --reason "..."`)}
	case m.State == "deleted" && !m.Purged:
		return []string{command("undelete %s")}
	case m.NextReason == "none":
		return nil
	}
	return []string{command("retry %s"), command("hold %s"), command(`delete %s --reason "..."`)}
}
