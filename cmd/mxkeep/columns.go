package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// shownColumns is how many of messageColumns are shown without --fields.
const shownColumns = 10

// messageColumns are the columns of a listing of messages.
func (a *app) messageColumns() []column[admin.Message] {
	return []column[admin.Message]{
		plain("id", "ID", func(m admin.Message) string { return m.ID }),
		plain("state", "STATE", func(m admin.Message) string { return m.State }),
		{name: "received_at", title: "AGE", drop: 4, exact: func(m admin.Message) string { return m.ReceivedAt.String() },
			human: func(m admin.Message) string { return since(m.ReceivedAt, a.now) }},
		{name: "next_attempt_at", title: "NEXT", human: a.next, exact: exactNext},
		{name: "expires_at", title: "EXPIRES", drop: 2, exact: func(m admin.Message) string { return m.ExpiresAt.String() }, human: a.expires},
		{name: "size_bytes", title: "SIZE", right: true, drop: 3, exact: func(m admin.Message) string { return strconv.FormatInt(m.SizeBytes, 10) },
			human: func(m admin.Message) string { return size(m.SizeBytes) }},
		{name: "attempts", title: "TRY", right: true, drop: 1, human: tries, exact: tries},
		{name: "from", title: "FROM", least: 14, human: from, exact: from},
		{name: "to", title: "TO", least: 14, human: to, exact: recipients},
		{name: "last_reply", title: "LAST REPLY", least: 10, spare: true, human: func(m admin.Message) string { return a.brief(lastReply(m)) }, exact: lastReply},
		plain("message_id", "MESSAGE-ID", func(m admin.Message) string { return m.MessageID }),
		plain("client", "CLIENT", func(m admin.Message) string { return m.Client.IP }),
		plain("upstream", "UPSTREAM", func(m admin.Message) string { return m.Upstream }),
		plain("held_reason", "HELD", func(m admin.Message) string { return m.HeldReason }),
		plain("sha256", "SHA256", func(m admin.Message) string { return m.Digest }),
	}
}

// plain is a column that people and programs read alike.
func plain(name, title string, get func(admin.Message) string) column[admin.Message] {
	return column[admin.Message]{name: name, title: title, human: get, exact: get}
}

// next says for people when the next attempt is.
func (a *app) next(m admin.Message) string {
	switch m.NextReason {
	case "scheduled":
		return "in " + span(m.NextAt.Sub(a.now))
	case "on_recovery":
		return "on recovery"
	case "none":
		return "-"
	}
	return m.NextReason
}

// exactNext is the instant, or the word that stands for it.
func exactNext(m admin.Message) string {
	if m.NextAt.IsZero() {
		return m.NextReason
	}
	return m.NextAt.String()
}

func (a *app) expires(m admin.Message) string {
	switch {
	case m.ExpiresAt.IsZero():
		return "-"
	case m.State == "held":
		return "paused"
	}
	return span(m.ExpiresAt.Sub(a.now))
}

func tries(m admin.Message) string { return strconv.Itoa(m.Attempts) }

func from(m admin.Message) string { return path(m.From) }

// to is the first recipient, and how many more there are.
func to(m admin.Message) string {
	switch n := len(m.Recipients); n {
	case 0:
		return ""
	case 1:
		return m.Recipients[0].Address
	default:
		return fmt.Sprintf("%s (+%d)", m.Recipients[0].Address, n-1)
	}
}

func recipients(m admin.Message) string {
	var all []string
	for _, r := range m.Recipients {
		all = append(all, r.Address)
	}
	return strings.Join(all, ",")
}

// lastReply is why it is held, or else the last reply about a recipient that is
// as the message is, or else about any.
func lastReply(m admin.Message) (reply string) {
	if m.State == "held" {
		return "held: " + m.HeldReason
	}
	for _, r := range m.Recipients {
		switch {
		case r.LastReply == nil:
		case r.State == m.State:
			return replyLine(*r.LastReply)
		case reply == "":
			reply = replyLine(*r.LastReply)
		}
	}
	return reply
}

// mailq is the classic view of a message: a line, the reason, the recipients.
func (a *app) mailq(m admin.Message) string {
	mark := map[string]string{"active": "*", "held": "!"}[m.State]
	lines := []string{fmt.Sprintf("%-14s %9d %s  %s", m.ID+mark, m.SizeBytes, m.ReceivedAt.In(a.zone()).Format("Mon Jan _2 15:04:05"), clean(from(m)))}
	if reply := lastReply(m); reply != "" {
		lines = append(lines, "    ("+clean(reply)+")")
	}
	for _, r := range m.Recipients {
		lines = append(lines, strings.Repeat(" ", 45)+clean(r.Address))
	}
	return strings.Join(lines, "\n") + "\n"
}
