package admin

import (
	"cmp"
	"fmt"
	"time"
)

const theLog = "journalctl -u mxkeep"

// todo lists what only a person can do, the most urgent first.
func todo(st *Status) (list []Todo) {
	if st.Inbound.Refusing != "" {
		list = append(list, Todo{"New mail cannot be stored; deliveries go on. Make room on the disk of the store, raise the limits of the queue, or see the log.", theLog})
	}
	if deaf(st) {
		list = append(list, Todo{"Senders cannot reach us, and keep their mail: see the log.", theLog})
	}
	if st.Queue == nil {
		return append(list, Todo{"The store cannot be read: see the log. A restart checks the files.", theLog})
	}
	list = append(list, damageTodo(st)...)
	if fills(st) && !full(st) {
		cure := "raise it, or make room"
		if st.Queue.RoomOf == theDisk {
			cure = "make room"
		}
		list = append(list, Todo{fmt.Sprintf("At this rate %s is full in about %s: %s. After that senders get a temporary reply and keep their mail.",
			st.Queue.RoomOf, count(int64(Duration(*st.Queue.RoomSeconds)/time.Hour)+1, "hour"), cure), ""})
	}
	list = append(list, windowTodo(st)...)
	list = append(list, recordsTodo(st)...)
	list = append(list, certificateTodo(st)...)
	list = append(list, filterTodo(st)...)
	list = append(list, staleRecipients(st)...)
	for _, name := range st.Stranded {
		list = append(list, Todo{fmt.Sprintf("Mail waits for %s, which the configuration no longer has among its upstreams: nobody delivers it. Write %s there again, and restart.", name, name), ""})
	}
	for _, u := range st.Upstreams {
		list = append(list, todoAbout(st, u)...)
	}
	if n := st.Queue.ByState["refused"]; n > 0 {
		list = append(list, Todo{fmt.Sprintf("%s refused for good, and kept here: read why, then retry, bounce or delete.", count(n, "message")), "mxkeep queue list --state refused"})
	}
	if n := st.Queue.ByState["held"]; n > 0 {
		list = append(list, Todo{fmt.Sprintf("%s held for a person to decide: release or delete.", count(n, "message")), "mxkeep queue list --state held"})
	}
	return list
}

// certificateLasts is how long a certificate should at least be valid. An
// authority is asked long before, so less means that something is wrong.
const certificateLasts = 14 * 24 * time.Hour

// certificateTodo is what a person can do about the certificate, if it ends soon.
func certificateTodo(st *Status) []Todo {
	c := st.Inbound.Certificate
	if c == nil || c.Until.Sub(st.At.Time) >= certificateLasts {
		return nil
	}
	when := "ends on " + c.Until.UTC().Format("2 Jan 2006")
	if c.Until.Before(st.At.Time) {
		when = "has ended"
	}
	switch {
	case c.Source == "files":
		return []Todo{{"The certificate that senders see " + when + ": put a new one, with its key, in the place of the files. Mail is taken all the same.", ""}}
	case c.Source == "acme" && c.Failure != "" && c.Until.IsZero():
		return []Todo{{"The certificate authority has issued nothing yet, so senders see a self-signed certificate: " + c.Failure, theLog}}
	case c.Source == "acme" && c.Failure != "":
		return []Todo{{"The certificate that senders see " + when + ", and the certificate authority does not renew it: " + c.Failure, theLog}}
	}
	return nil
}

// todoAbout lists what a person can do about one upstream.
func todoAbout(st *Status, u UpstreamStatus) (list []Todo) {
	which := ""
	if len(st.Upstreams) > 1 {
		which = " --upstream " + u.Name
	}
	if u.full() {
		list = append(list, Todo{"New mail for " + u.Name + " cannot be stored; deliveries go on, and other mail is taken. Raise queue.max_messages or queue.max_bytes of " + u.Name + ", or delete what nobody needs.", "mxkeep queue stats"})
	}
	switch {
	case u.Network != nil:
		list = append(list, Todo{"Neither " + u.Name + " nor a target outside is reached: look at our line, firewall and resolver. Its mail waits here.", ""})
	case u.ourselves():
		list = append(list, Todo{u.Name + " leads back to this relay, by a name or an address that is ours. Write the hosts of the primary in upstreams, or mend the DNS of the name; then look again. Its mail waits here.",
			"mxkeep health probe" + which})
	case u.refuses():
		list = append(list, Todo{u.Name + " refuses us. What to set there:", "mxkeep help exchange-online"},
			Todo{"When it is set, see whether we are accepted:", "mxkeep health probe" + which})
		if st.Queue.ByState["refused"] > 0 {
			list = append(list, Todo{"Then give what was refused back to delivery:", "mxkeep queue retry --state refused"})
		}
	}
	if c := u.Misconfigured; c != nil && c.Scope != "" {
		list = append(list, Todo{u.Name + " refuses some of its mail, " + c.Scope + ": " + cmp.Or(c.Fix, "look at what it says") + ".", "mxkeep health show" + which})
	}
	if s := u.Spike; s != nil {
		list = append(list, Todo{fmt.Sprintf("%s refuses %d of %s that exist, as unknown. It is not believed: what it refuses so is kept here, and tried again. Tell its people.", u.Name, s.Refused, count(int64(s.Known), "recipient")),
			"mxkeep queue list --state refused"})
	}
	if o := u.Override; o != nil && o.Window == "" {
		list = append(list, Todo{fmt.Sprintf("%s counts as %s until %s. To end that now:", u.Name, o.State, instant(o.Until, st.At)),
			"mxkeep health override auto" + which + ` --reason "..."`})
	}
	return list
}
