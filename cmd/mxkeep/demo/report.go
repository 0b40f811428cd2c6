package demo

import (
	"fmt"
	"io"
	"strings"
)

// Report is how a demonstration ended.
type Report struct {
	Schema        string   `json:"schema"`
	Scenario      string   `json:"scenario"`
	Declared      bool     `json:"declared_down"`                 // the relay declared the primary down
	DetectSeconds float64  `json:"detect_seconds"`                // from the beginning of the outage until then
	HeldBefore    int64    `json:"held_before_kill"`              // messages
	HeldAfter     int64    `json:"held_after_kill"`               // messages
	Meanwhile     int64    `json:"delivered_between_held_counts"` // messages that reached the primary, from whomever
	DrainSeconds  float64  `json:"drain_seconds"`                 // from the end of the outage until the queue was empty
	Account       Account  `json:"account"`                       //
	Unmarked      []string `json:"unmarked_duplicates"`           // duplicates of the relay that its ledger does not call possible
	Missing       int64    `json:"missing_in_the_ledger"`         // recipients that the relay's own account is short of
	Faults        []string `json:"faults"`                        // what is not good
	Good          bool     `json:"good"`
}

// SchemaReport names the form of a Report.
const SchemaReport = "mxkeep.demo/1"

// faults lists what is not good about a run of the script, in words.
func (r Report) faults(script Script) []string {
	a := r.Account
	all := []string{}
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	say(a.Sent == 0, "nothing was sent")
	say(a.Sent > 0 && a.ViaRelay == 0, "the relay was given nothing")
	say(len(a.Lost) > 0, "%s lost", are(len(a.Lost)))
	say(len(a.Changed) > 0, "%s changed", are(len(a.Changed)))
	say(len(a.Bounced) > 0, "%s bounced", are(len(a.Bounced)))
	say(len(a.ByRelay()) > 0 && !script.repeats, "%s delivered twice by the relay", are(len(a.ByRelay())))
	say(len(r.Unmarked) > 0, "%s duplicated without a mark in the relay's ledger", are(len(r.Unmarked)))
	say(r.Missing != 0, "the relay's own account is short of %d recipients", r.Missing)
	say(r.HeldAfter+r.Meanwhile < r.HeldBefore, "the relay held %d messages before it was killed, and %d after", r.HeldBefore, r.HeldAfter)
	return all
}

func are(n int) string {
	if n == 1 {
		return "1 message is"
	}
	return fmt.Sprintf("%d messages are", n)
}

// Show writes the account for people.
func (r Report) Show(w io.Writer) {
	a := r.Account
	fmt.Fprintf(w, "\nThe account, from the sender's journal and the primary's record. The relay can\nwrite to neither.\n\n")
	row := func(name string, n int, words string, ids []string) {
		head := fmt.Sprintf("  %-11s%5d", name, n)
		lines := wrap(strings.TrimSpace(words+" "+few(ids)), storyWidth-len(head)-2)
		for _, line := range lines {
			fmt.Fprintln(w, strings.TrimRight(head+"  "+line, " "))
			head = strings.Repeat(" ", len(head))
		}
	}
	row("sent", a.Sent, fmt.Sprintf("answered with 250: %d by the primary, %d by the relay", a.Sent-a.ViaRelay, a.ViaRelay), nil)
	row("delivered", a.Delivered, "", nil)
	row("lost", len(a.Lost), "", a.Lost)
	row("duplicated", len(a.ByRelay()), r.aboutDuplicates(), a.ByRelay())
	if len(a.Repeated) > 0 {
		row("repeated", len(a.Repeated), "by the sender, which never saw the first 250:", a.Repeated)
	}
	changed := ""
	if len(a.Changed) == 0 && a.Delivered > 0 {
		changed = "what arrived is byte for byte what was sent, behind a trace header"
	}
	row("changed", len(a.Changed), changed, a.Changed)
	row("bounced", len(a.Bounced), "", a.Bounced)
	fmt.Fprintln(w)
	if !r.Good {
		for _, line := range wrap("NOT GOOD: "+strings.Join(r.Faults, "; ")+". With --keep DIR all records and logs are kept.", storyWidth) {
			fmt.Fprintln(w, line)
		}
		return
	}
	fmt.Fprintf(w, "Nothing was lost. The queue was empty %.1f s after the outage.\n", r.DrainSeconds)
}

// aboutDuplicates says whose they are.
func (r Report) aboutDuplicates() string {
	switch {
	case len(r.Account.ByRelay()) == 0:
		return ""
	case len(r.Unmarked) > 0:
		return "by the relay:"
	}
	return "by the relay, which never saw the primary's 250; its ledger marks each as a possible duplicate:"
}

// few names the first of the messages.
func few(ids []string) string {
	const most = 3
	if len(ids) > most {
		return strings.Join(ids[:most], " ") + " ..."
	}
	return strings.Join(ids, " ")
}
