package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// statusOptions is how the status is asked for.
type statusOptions struct {
	exitCode bool
	format   string        // text, nagios, prometheus
	watch    time.Duration // ask again after so long; 0 is once
	wait     string        // ask until the relay is in this state; "" is once
}

func newStatus(a *app) *cobra.Command {
	o := statusOptions{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Is anything lost, is it us or them, must I act, when is it over",
		Example: "  mxkeep status\n" +
			"  mxkeep status --json --fields state,headline,queue\n" +
			"  mxkeep status --exit-code     # 0 fine, 1 warning, 2 critical, 3 unknown\n" +
			"  mxkeep status --format nagios\n" +
			"  mxkeep status --wait standby --timeout 1h",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return a.status(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.exitCode, "exit-code", false, "exit with 0 fine, 1 warning, 2 critical, 3 unknown")
	f.StringVar(&o.format, "format", "text", "text, nagios or prometheus")
	f.DurationVar(&o.watch, "watch", 0, "show it again and again, every 2s or so long")
	f.Lookup("watch").NoOptDefVal = "2s"
	f.StringVar(&o.wait, "wait", "", "wait until the relay is in this state")
	return cmd
}

func (o statusOptions) check() error {
	states := []string{"", admin.Standby, admin.Holding, admin.Draining, admin.PausedBy, admin.Refusing}
	switch {
	case o.format != "text" && o.format != "nagios" && o.format != "prometheus":
		return usage("no status format %q (there are text nagios prometheus)", o.format)
	case !slices.Contains(states, o.wait):
		return usage("no state %q of the relay (there are%s)", o.wait, strings.Join(states, " "))
	case o.watch < 0:
		return usage("--watch %v: the time must be above zero", o.watch)
	case o.watch > 0 && (o.wait != "" || o.exitCode || o.format != "text"):
		return usage("--watch goes with none of --wait, --exit-code and --format")
	}
	return nil
}

// status asks, and shows what was asked for.
func (a *app) status(ctx context.Context, o statusOptions) error {
	if o.watch > 0 {
		return a.watch(ctx, o.watch)
	}
	st, err := a.await(ctx, o.wait)
	if err == nil {
		err = a.writeStatus(st, o.format)
	}
	switch {
	case o.format == "nagios" && err != nil:
		fmt.Fprintf(a.out, "MXKEEP UNKNOWN - %s\n", clean(err.Error()))
		return exitCode(severityCode(""))
	case !o.exitCode && o.format != "nagios" || a.codeOf(err) == "usage":
		return err
	case err != nil:
		a.report(err)
		return exitCode(severityCode(""))
	}
	return exitCode(severityCode(st.Severity))
}

func (a *app) writeStatus(st admin.Status, format string) error {
	switch format {
	case "nagios":
		_, err := io.WriteString(a.out, nagios(st))
		return err
	case "prometheus":
		_, err := io.WriteString(a.out, prometheus(st))
		return err
	}
	return a.document(st, func(w io.Writer) { a.showStatus(w, st) })
}

// severityCode is the exit code of --exit-code: what is not known is 3.
func severityCode(severity string) int {
	code, ok := map[string]int{admin.SeverityOK: 0, admin.SeverityWarning: 1, admin.SeverityCritical: 2}[severity]
	if !ok {
		return 3
	}
	return code
}

// showStatus writes the five answers.
func (a *app) showStatus(w io.Writer, st admin.Status) {
	f := a.flow(w)
	mark := "●"
	if !a.screen.utf8 {
		mark = "*"
	}
	word := mark + " " + strings.ToUpper(clean(st.State))
	f.block(a.paint(st.Severity, word)+"  ", cellWidth(word)+2, st.Headline)
	fmt.Fprintln(w)
	for _, u := range st.Upstreams {
		a.showUpstream(f, st, u)
	}
	a.showWindowsToCome(f, st.Windows)
	f.labelled("queue", a.queueWords(st)...)
	for _, i := range st.Incidents {
		f.labelled("incident", a.incidentWordsOf(i, st.At.Time)...)
	}
	f.labelled("inbound", inboundWords(st)...)
	f.labelled("", certificateWords(st)...)
	for _, filter := range st.Inbound.Filters {
		f.labelled("filter", filterWords(filter, st.At.Time)...)
	}
	f.labelled("recipients", recipientWords(st)...)
	if st.Store != nil {
		for _, c := range st.Store.Copies {
			f.labelled("copy", a.copyWords(c, st.At.Time)...)
		}
	}
	if st.WhatNext != "" {
		f.labelled("next", st.WhatNext)
	}
	fmt.Fprintln(w)
	if len(st.Todo) == 0 {
		fmt.Fprintln(w, "  Nothing to do now.")
	}
	for _, todo := range st.Todo {
		f.labelled("to do", todo.Text)
		if todo.Command != "" {
			f.labelled("", todo.Command)
		}
	}
}

// showUpstream says how a primary is, since when, why, and when it is looked at next.
func (a *app) showUpstream(f flow, st admin.Status, u admin.UpstreamStatus) {
	now := st.At.Time
	f.labelled("upstream", u.Name, strings.Join(u.Hosts, " "))
	state := strings.ToUpper(u.State)
	if u.Override != nil {
		f.labelled("", state+" "+a.forcedWords(u.Override), "observed: "+u.ObservedState)
	} else if u.Since.IsZero() {
		f.labelled("", state)
	} else {
		f.labelled("", fmt.Sprintf("%s for %s (since %s)", state, since(u.Since, now), a.clock(u.Since)))
	}
	if u.Fault != "" {
		f.labelled("", u.Fault)
	}
	if last := u.LastSignal; last != nil {
		f.labelled("", fmt.Sprintf("last %s %s ago: %s", last.Source, since(last.At, now), a.signalWords(*last)))
	} else {
		f.labelled("", unseen(st, u))
	}
	var more []string
	if !u.NextProbeAt.IsZero() {
		more = append(more, "next probe in "+span(max(0, u.NextProbeAt.Sub(now))))
	}
	if u.InFlight > 0 {
		more = append(more, fmt.Sprintf("%d of at most %d deliveries running", u.InFlight, u.Window))
	}
	f.labelled("", more...)
	for _, c := range []struct {
		word      string
		condition *admin.Condition
	}{{"throttled", u.Throttled}, {"refused us", u.Misconfigured}} {
		if c.condition != nil && (u.LastSignal == nil || u.LastSignal.Reply != c.condition.Reply) { // it stands there already
			f.labelled("", fmt.Sprintf("%s, last %s ago: %s", c.word, since(c.condition.Last, now), a.brief(c.condition.Reply)))
		}
	}
	if u.Paused != nil {
		f.labelled("", fmt.Sprintf("PAUSED until %s (%s: %s)", a.clock(u.Paused.Until), u.Paused.Actor, u.Paused.Reason))
	}
	f.labelled("", shareWords(st, u)...)
}

// forcedWords say until when a decision counts, whose it is, and why.
func (a *app) forcedWords(o *admin.Override) string {
	words := "until " + a.clock(o.Until)
	if o.Until.IsZero() {
		words = "until the window is removed"
	}
	if o.Window != "" {
		words = "by window " + o.Window + " " + words
	}
	return words + " by " + o.Actor + ": " + o.Reason
}

// showWindowsToCome writes the windows that have not begun.
func (a *app) showWindowsToCome(f flow, all []admin.Window) {
	label := "windows"
	for _, w := range all {
		if w.State == admin.WindowPlanned {
			f.labelled(label, w.ID, w.Upstream+" from "+a.clock(w.From)+" to "+a.clock(w.To), w.Reason)
			label = ""
		}
	}
}

// unseen says what a state rests on that nothing was observed for.
func unseen(st admin.Status, u admin.UpstreamStatus) string {
	if u.Since.IsZero() || !u.Since.Before(st.StartedAt.Time) {
		return "nothing is known yet: the first look is under way"
	}
	return "as it was before the start: the first look is under way"
}

func (a *app) queueWords(st admin.Status) []string {
	q, now := st.Queue, st.At.Time
	if q == nil {
		return []string{"unknown"}
	}
	stored := storedWords(q.Messages, q.MaxMessages, q.Bytes, q.MaxBytes)
	words := stored[:1:1]
	for _, state := range []string{"active", "deferred", "queued", "held", "refused"} {
		switch n := q.ByState[state]; {
		case n > 0 && n == q.Messages && n > 1:
			words = append(words, "all "+state)
		case n > 0:
			words = append(words, fmt.Sprintf("%s %s", admin.Thousands(n), state))
		}
	}
	words = append(words, stored[1], size(q.DiskFree)+" free")
	if !q.OldestAt.IsZero() {
		words = append(words, "oldest "+since(q.OldestAt, now))
	}
	if waiting := q.ByState["queued"] + q.ByState["active"] + q.ByState["deferred"]; waiting > 0 && !q.OldestExpiresAt.IsZero() {
		words = append(words, "the oldest expires in "+span(q.OldestExpiresAt.Sub(now)))
	}
	if q.InPerMinute != nil && *q.InPerMinute > 0 {
		words = append(words, fmt.Sprintf("+%.3g/min", *q.InPerMinute))
	}
	if q.OutPerMinute != nil && *q.OutPerMinute > 0 {
		words = append(words, fmt.Sprintf("-%.3g/min", *q.OutPerMinute))
	}
	if q.RoomSeconds != nil && *q.RoomSeconds < (365*24*time.Hour).Seconds() {
		words = append(words, fullWords(*q.RoomSeconds)+" ("+q.RoomOf+")")
	}
	return words
}

// storedWords says what is stored, and of how much if that is limited.
func storedWords(n, most, bytes, mostBytes int64) []string {
	words := []string{messages(int(n)), size(bytes)}
	if most > 0 {
		words[0] += " of at most " + admin.Thousands(most)
	}
	if mostBytes > 0 {
		words[1] += " of at most " + size(mostBytes)
	}
	return words
}

// shareWords says what is stored for an upstream, unless the queue says as much.
func shareWords(st admin.Status, u admin.UpstreamStatus) []string {
	h := u.Held
	if h == nil || h.MaxMessages == 0 && h.MaxBytes == 0 && (len(st.Upstreams) == 1 || h.Messages == 0) {
		return nil
	}
	words := storedWords(h.Messages, h.MaxMessages, h.Bytes, h.MaxBytes)
	words[0] += " stored"
	switch {
	case h.Full != "":
		words = append(words, "FULL: "+h.Full)
	case h.RoomSeconds != nil:
		words = append(words, fullWords(*h.RoomSeconds))
	}
	return words
}

func fullWords(seconds float64) string {
	if seconds == 0 {
		return "full"
	}
	return "full in about " + span(admin.Duration(seconds)) + " at this rate"
}

func inboundWords(st admin.Status) []string {
	i := st.Inbound
	words := []string{fmt.Sprintf("%d open sessions", i.Sessions),
		messages(int(i.Accepted)) + " accepted since the start, " + since(st.StartedAt, st.At.Time) + " ago"}
	for _, reason := range slices.Sorted(maps.Keys(i.Refused)) {
		if n := i.Refused[reason]; n > 0 {
			words = append(words, refusedWords(reason, n))
		}
	}
	if i.ListsFailed > 0 {
		words = append(words, admin.Thousands(i.ListsFailed)+" questions to DNS lists without an answer")
	}
	return words
}

// certificateWords says what senders are shown, and until when it is valid.
func certificateWords(st admin.Status) []string {
	c := st.Inbound.Certificate
	if c == nil {
		return nil
	}
	words := map[string]string{"files": "certificate from files", "acme": "certificate of an authority", "self-signed": "self-signed certificate"}[c.Source]
	switch left := c.Until.Sub(st.At.Time); {
	case c.Until.IsZero():
		return []string{words + ": none yet, a self-signed one serves"}
	case left < 0:
		return []string{fmt.Sprintf("%s, which ended on %s", words, c.Until.UTC().Format(time.DateOnly))}
	default:
		return []string{fmt.Sprintf("%s, valid until %s (%s)", words, c.Until.UTC().Format(time.DateOnly), span(left))}
	}
}

// recipientWords says what is known about who exists, and how old that is.
func recipientWords(st admin.Status) (words []string) {
	for _, r := range st.Recipients {
		what := r.Source + " of " + r.Domain + ": "
		switch {
		case r.Source == "call-ahead":
			words = append(words, what+admin.Thousands(r.Asked)+" questions since the start")
		case r.At.IsZero():
			words = append(words, what+"nothing yet")
		default:
			words = append(words, what+addresses(r.Count)+", "+since(r.At, st.At.Time)+" old")
		}
		if r.State == "stale" || r.State == "failing" {
			words[len(words)-1] += ", " + strings.ToUpper(r.State)
		}
	}
	return words
}

// refusedWords says how often something was refused, and why.
func refusedWords(reason string, n int64) string {
	switch reason {
	case "primary_up": // that is what a standby is for
		return admin.Thousands(n) + " told to use the primary"
	case "tarpit": // each was refused for another reason, too
		return admin.Thousands(n) + " refusals made to wait"
	}
	return fmt.Sprintf("%s refused: %s", admin.Thousands(n), strings.ReplaceAll(reason, "_", " "))
}
