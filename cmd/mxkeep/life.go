package main

import (
	"fmt"
	"regexp"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// life is what the ledger lines of a trace say about one message. Lines about
// several make it say nothing.
type life struct {
	id, messageID       string
	accepted, delivered time.Time
	several             bool
}

func (l *life) add(e admin.Entry) {
	switch {
	case e.ID == "":
		return
	case l.id != "" && l.id != e.ID:
		l.several = true
		return
	}
	l.id = e.ID
	if e.MessageID != "" {
		l.messageID = e.MessageID
	}
	if e.Event == "accepted" {
		l.accepted = e.At.Time
	}
	for _, r := range e.Results {
		if r.Outcome == "delivered" {
			l.delivered = e.At.Time
		}
	}
}

// plainMessageID is a Message-ID that can be pasted between single quotes into
// any shell: a sender made it, and a person will paste it.
var plainMessageID = regexp.MustCompile(`^<[A-Za-z0-9.!#%&*+/=?^_{|}~@-]{1,250}>$`)

// words says how long the message took, and how to find it at the primary.
func (l *life) words() (lines []string) {
	if l.several || l.accepted.IsZero() || l.delivered.IsZero() {
		return nil
	}
	lines = append(lines, "Delivered "+span(l.delivered.Sub(l.accepted))+" after it was accepted.")
	if plainMessageID.MatchString(l.messageID) {
		lines = append(lines, fmt.Sprintf("In Exchange Online: Get-MessageTraceV2 -MessageId '%s' -StartDate %s -EndDate %s", l.messageID,
			l.accepted.UTC().Format(time.DateOnly), l.delivered.UTC().AddDate(0, 0, 1).Format(time.DateOnly)))
	}
	return lines
}
