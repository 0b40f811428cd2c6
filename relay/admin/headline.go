package admin

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// headline is the first line of every view: what is wrong with our own duty
// comes first, then how the upstreams are, then what is kept here.
func headline(st *Status) string {
	words := append([]string{}, st.Trouble...)
	if deaf(st) {
		words = append(words, "Mail is not accepted: "+st.NotReady+".")
	}
	switch st.State {
	case PausedBy:
		words = append(words, pauses(st)...)
		if takesNothing(st) {
			words = append(words, upstreamWords(st)...)
		}
	case Holding, Draining, Standby:
		words = append(words, upstreamWords(st)...)
	}
	return strings.Join(append(words, storedWords(st)...), " ")
}

// standings are the words for upstreams, the worst first.
var standings = []struct{ standing, one, many string }{
	{"down", "is not taking mail.", "are not taking mail."},
	{"circular", "leads back to this relay: mail would go in circles.", "lead back to this relay: mail would go in circles."},
	{"refuses", "refuses us, as we or it are configured: that does not mend itself.", "refuse us, as we or they are configured: that does not mend itself."},
	{"cut off", "cannot be reached, and nothing else outside either: our own network is broken.", "cannot be reached, and nothing else outside either: our own network is broken."},
	{"recovering", "is coming back: trial messages go first.", "are coming back: trial messages go first."},
	{"degraded", "is in doubt: new mail is stored here and tried at once.", "are in doubt: new mail is stored here and tried at once."},
	{"throttles", "takes mail, but limits how fast.", "take mail, but limit how fast."},
	{"up", "is taking mail.", "are taking mail."},
}

// upstreamWords says how the upstreams are. If some take nothing, the others are not news.
func upstreamWords(st *Status) (words []string) {
	names := map[string][]string{}
	for _, u := range st.Upstreams {
		if u.Override != nil {
			words = append(words, forced(u, st.At))
			continue
		}
		standing := u.standing()
		if standing == "refuses" && u.ourselves() {
			standing = "circular"
		}
		names[standing] = append(names[standing], u.Name)
	}
	for _, w := range standings {
		switch alike := names[w.standing]; {
		case len(alike) == 0, takesNothing(st) && !slices.Contains([]string{"down", "circular", "refuses", "cut off"}, w.standing):
		case len(alike) == 1:
			words = append(words, alike[0]+" "+w.one)
		default:
			words = append(words, list(alike)+" "+w.many)
		}
	}
	return words
}

// forced says what an override does, and what would hold without it.
func forced(u UpstreamStatus, now Time) string {
	words := fmt.Sprintf("%s counts as %s %s", u.Name, u.Override.State, until(u.Override.Until, u.Override.Actor, u.Override.Reason, now))
	if o := u.Override; o.Window != "" {
		words = fmt.Sprintf("Mail for %s is held as planned, %s", u.Name, until(o.Until, o.Actor, o.Reason, now))
	}
	if o := u.Override; o.Until.IsZero() {
		words = fmt.Sprintf("Mail for %s is held as planned, until window %s is removed (%s: %s).", u.Name, o.Window, o.Actor, o.Reason)
	}
	if u.Override.State != u.ObservedState {
		return strings.TrimSuffix(words, ".") + ", but what is observed is: " + u.ObservedState + "."
	}
	return words
}

func pauses(st *Status) (words []string) {
	if p := st.Inbound.Paused; p != nil {
		words = append(words, "Accepting mail is paused "+until(p.Until, p.Actor, p.Reason, st.At))
	}
	for _, u := range st.Upstreams {
		if p := u.Paused; p != nil {
			words = append(words, "Delivery to "+u.Name+" is paused "+until(p.Until, p.Actor, p.Reason, st.At))
		}
	}
	return words
}

// until says when a decision ends, whose it is, and why.
func until(end Time, actor, reason string, now Time) string {
	return fmt.Sprintf("until %s (%s: %s).", instant(end, now), actor, reason)
}

// instant writes a time to come, with the day if it is not near.
func instant(t, now Time) string {
	layout := "15:04 UTC"
	if t.Sub(now.Time) > 12*time.Hour {
		layout = "2 Jan 15:04 UTC"
	}
	return t.UTC().Format(layout)
}

func storedWords(st *Status) []string {
	if st.Queue == nil {
		return nil
	}
	stored := "The queue is empty."
	if st.Queue.Messages > 0 {
		stored = count(st.Queue.Messages, "message") + " are stored here."
		if st.Queue.Messages == 1 {
			stored = "1 message is stored here."
		}
	}
	switch {
	case !st.NothingLost && st.Queue.Messages == 0: // it would sound like good news
		return nil
	case st.NothingLost && st.Queue.Messages > 0:
		stored = "Nothing is lost: " + stored
	}
	return []string{stored}
}

// whatNext says what happens by itself with the mail that waits; "" is nothing.
func whatNext(st *Status) string {
	if st.Queue == nil || moving(st) == 0 {
		return ""
	}
	var words []string
	for _, u := range st.Upstreams {
		if next := opens(u, st.At); next != "" {
			words = append(words, next)
		}
	}
	if len(words) == 0 {
		words = append(words, draining(st))
	}
	return strings.Join(words, "; ")
}

// opens says when mail goes to an upstream again; "" if it goes now.
func opens(u UpstreamStatus, now Time) string {
	var when []string
	if u.Paused != nil {
		when = append(when, "the pause ends at "+instant(u.Paused.Until, now))
	}
	paused := len(when)
	switch u.standing() {
	case "forced-down":
		if o := u.Override; o.Window != "" {
			how := "ends at " + instant(o.Until, now)
			if o.Until.IsZero() {
				how = "is removed"
			}
			when = append(when, "window "+o.Window+" "+how+" and "+u.Name+" is up")
			break
		}
		when = append(when, "the override ends at "+instant(u.Override.Until, now)+" and "+u.Name+" is up")
	case "down":
		when = append(when, u.Name+" is back")
	case "refuses":
		how := " accepts us"
		if u.ourselves() {
			how = " leads to the primary"
		}
		when = append(when, u.Name+how)
	case "cut off":
		when = append(when, "our network works again")
	}
	switch len(when) {
	case 0:
		return ""
	case paused:
		return "automatic when " + when[0] + ": all, oldest first"
	}
	return "automatic when " + strings.Join(when, " and ") + ": trial messages first, then all, oldest first"
}

// draining says when the queue will be empty, if that can be known.
func draining(st *Status) string {
	out := st.Queue.OutPerMinute
	if out == nil || *out <= 0 {
		return "automatic: what is due goes out, oldest first"
	}
	minutes := math.Ceil(float64(st.Account.Queued) / *out)
	return fmt.Sprintf("automatic, oldest first: about %s to empty at this rate", count(int64(minutes), "minute"))
}

// list joins names: "a", "a and b", "a, b and c".
func list(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// count writes a number with its noun: "1 message", "5,724 messages".
func count(n int64, noun string) string {
	if n == 1 || n == -1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return Thousands(n) + " " + noun + "s"
}

// Thousands writes a number with a comma after every three digits.
func Thousands(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
