package admin

import (
	"github.com/mxkeep/mxkeep/queue"
)

// damage says what is damaged, for the trouble of a status.
func damage(st *Status) (found []string) {
	if words := setAside(st); words != "" {
		found = append(found, words)
	}
	for _, a := range st.Aside {
		switch {
		case a.Ledger && a.InUse:
			found = append(found, "DAMAGED: the last lines of the ledger in "+a.File+" may be missing; no mail is.")
		case a.Ledger:
			found = append(found, "DAMAGED: lines of the ledger are set aside in "+a.File+"; no mail is.")
		case a.InUse:
			found = append(found, "DAMAGED: the last changes of "+a.File+" may be missing.")
		}
	}
	if n := st.Queue.Damaged; n > 0 {
		found = append(found, "DAMAGED: the content of "+count(n, "message")+" differs from what was received.")
	}
	if n := st.Queue.Unreadable; n > 0 {
		found = append(found, "DAMAGED: "+count(n, "message")+" without a record that can be read.")
	}
	return found
}

// setAside says how many recipients are set aside, as well as that is known.
func setAside(st *Status) string {
	files, salvaged, unknown, about := 0, 0, false, ""
	for _, a := range st.Aside {
		if a.InUse || a.Ledger {
			continue
		}
		files++
		switch a.Certainty {
		case queue.Unknown.String():
			unknown = true
		case queue.About.String():
			about = "about "
		}
		if !a.SalvagedAt.IsZero() {
			salvaged++
		}
	}
	switch n := st.Account.SetAside; {
	case n > 0 && unknown:
		return "DAMAGED: at least " + count(n, "recipient") + " set aside."
	case n > 0:
		return "DAMAGED: " + about + count(n, "recipient") + " set aside."
	case unknown:
		return "DAMAGED: an unknown number of recipients set aside."
	case files > 0 && salvaged == files:
		return "DAMAGED: not all of a file could be read; nobody is known to be missing."
	case files > 0:
		return "DAMAGED: a file is set aside, with no recipient who waits."
	}
	return ""
}

// damageTodo lists what a person should do about damage.
func damageTodo(st *Status) (list []Todo) {
	for _, a := range st.Aside {
		giveUp := "mxkeep db accept-loss " + a.File + ` --reason "..."`
		switch {
		case a.InUse:
			list = append(list, Todo{a.File + ": " + a.Why + ". When that is known:", giveUp})
		case a.Gone:
			list = append(list, Todo{a.File + ": " + a.Why + ". Put it back and restart, or give it up.", giveUp})
		case a.Ledger && a.SalvagedAt.IsZero():
			list = append(list, Todo{a.File + ": " + a.Why + ". Bring back the lines that can be read.", "mxkeep db salvage " + a.File})
		case a.SalvagedAt.IsZero():
			list = append(list, Todo{a.File + ": " + a.Why + ". Bring back, as held, what can be read.", "mxkeep db salvage " + a.File})
		default:
			list = append(list, Todo{a.File + ": the rest cannot be read. Keep the file for experts, or give it up.", giveUp})
		}
	}
	if len(list) == 0 && st.Account.SetAside > 0 {
		list = append(list, Todo{"Mail was damaged: see what is set aside.", "mxkeep db stats"})
	}
	if n := st.Queue.Damaged; n > 0 {
		list = append(list, Todo{count(n, "message") + " held as damaged: ask the senders for them again, then delete them here.", "mxkeep queue list --state held"})
	}
	if st.Queue.Unreadable > 0 {
		list = append(list, Todo{"See which messages have no record that can be read, then give each up by its id: mxkeep db accept-loss.", "mxkeep db check"})
	}
	if st.Account.Missing != 0 {
		list = append(list, Todo{"Mail is not accounted for: see what the files hold, and the log.", "mxkeep db stats"})
	}
	return list
}
