package dsn

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// dateLayout is that of RFC 5322 3.3.
const dateLayout = "Mon, 2 Jan 2006 15:04:05 -0700"

// part is one of the three parts of a report.
type part struct {
	kind     string // of its Content-Type, with parameters
	about    string // Content-Description
	encoding string
	body     []byte // encoded; its last line end belongs to it
}

// Compose writes a notification. It is pure. Lines end in CRLF and have at most
// 998 bytes; no more than MaxOriginal bytes of the message are in it.
func Compose(n Notice) Composed {
	utf8 := wantsUTF8(n)
	original, returned := returnedPart(n, utf8)
	parts := []part{textPart(n), statusPart(n, utf8)}
	if returned {
		parts = append(parts, original)
	}
	c := Composed{UTF8: utf8, MessageID: "<" + n.ID + ".dsn@" + n.Hostname + ">"}
	for _, p := range parts {
		c.EightBit = c.EightBit || p.encoding == "8bit"
	}
	c.EightBit = c.EightBit || utf8
	var b bytes.Buffer
	boundary := boundaryOf(n.ID, parts)
	writeHeader(&b, n, c, boundary)
	b.WriteString("This is a delivery status notification in MIME format (RFC 3464).\r\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\nContent-Description: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", boundary, p.kind, p.about, p.encoding)
		b.Write(p.body)
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	c.Content = b.Bytes()
	return c
}

func writeHeader(b *bytes.Buffer, n Notice, c Composed, boundary string) {
	from := n.From
	if from == "" {
		from = "MAILER-DAEMON@" + n.Hostname
	}
	f := fields{out: b, utf8: c.UTF8}
	f.add("From", "Mail Delivery System <"+from+">")
	f.add("To", "<"+n.Message.Envelope.ReversePath+">")
	f.add("Subject", subject(n.Kind))
	f.add("Date", n.At.UTC().Format(dateLayout))
	f.add("Message-ID", c.MessageID)
	if id := n.Message.MessageID; isMessageID(id) {
		f.add("In-Reply-To", id)
		f.add("References", id)
	}
	f.add("Auto-Submitted", "auto-replied") // RFC 3834 5; it keeps vacation programs silent
	f.add("MIME-Version", "1.0")
	b.WriteString("Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"" + boundary + "\"\r\n")
	encoding := "7bit"
	if c.EightBit {
		encoding = "8bit"
	}
	f.add("Content-Transfer-Encoding", encoding)
	b.WriteString("\r\n")
}

func subject(k Kind) string {
	switch k {
	case Delay:
		return "Delayed mail: it is still being tried"
	case Relayed:
		return "Relayed mail: it was taken by the next system"
	}
	return "Undelivered mail: it is returned to its sender"
}

// wantsUTF8: RFC 6533 is for senders who wrote with SMTPUTF8. Others may not be
// able to receive it.
func wantsUTF8(n Notice) bool {
	return n.Message.Envelope.Params.SMTPUTF8 || !isASCII(n.Message.Envelope.ReversePath)
}

// statusPart is what programs read.
func statusPart(n Notice, utf8 bool) part {
	var b bytes.Buffer
	m := n.Message
	f := fields{out: &b, utf8: utf8}
	if id := m.Envelope.Params.EnvID; id != "" {
		f.add("Original-Envelope-Id", id)
	}
	f.add("Reporting-MTA", "dns; "+n.Hostname)
	if hello, err := smtp.ASCIIDomain(m.Envelope.Origin.Hello); err == nil {
		f.add("Received-From-MTA", "dns; "+hello)
	}
	f.add("Arrival-Date", m.AcceptedAt.UTC().Format(dateLayout))
	for _, i := range n.Recipients {
		b.WriteString("\r\n")
		f.recipient(n, m.Envelope.Recipients[i])
	}
	p := part{kind: "message/delivery-status", about: "Delivery report", encoding: "7bit", body: b.Bytes()}
	if utf8 {
		p.kind, p.encoding = "message/global-delivery-status", "8bit" // RFC 6533 3
	}
	return p
}

// recipient writes the fields about one recipient (RFC 3464 2.3).
func (f fields) recipient(n Notice, r queue.Recipient) {
	if kind, address, found := strings.Cut(r.ORcpt, ";"); found {
		f.address("Original-Recipient", kind, address)
	}
	kind := "rfc822"
	if !isASCII(r.ForwardPath) {
		kind = "utf-8"
	}
	f.address("Final-Recipient", kind, r.ForwardPath)
	reply := r.Last.Reply
	action := map[Kind]string{Failure: "failed", Delay: "delayed", Relayed: "relayed"}[n.Kind]
	f.add("Action", action)
	f.add("Status", statusOf(n.Kind, reply))
	if reply.Code != 0 {
		if r.Last.Host != "" {
			f.add("Remote-MTA", "dns; "+r.Last.Host)
		}
		f.add("Diagnostic-Code", "smtp; "+diagnostic(reply))
	} else if reply.Text != "" {
		f.add("Diagnostic-Code", "x-mxkeep; "+reply.Text)
	}
	if !r.Last.At.IsZero() {
		f.add("Last-Attempt-Date", r.Last.At.UTC().Format(dateLayout))
	}
	f.add("Final-Log-ID", string(n.Message.ID))
	if n.Kind == Delay {
		f.add("Will-Retry-Until", n.Message.Expires(n.At).UTC().Format(dateLayout))
	}
}

// statusOf is the status of the recipient (RFC 3463): the primary's, if its
// class fits what the notification says.
func statusOf(k Kind, r queue.Reply) string {
	class, rest := "5", ".0.0"
	switch k {
	case Delay:
		class = "4"
	case Relayed:
		class = "2"
	}
	if strings.HasPrefix(r.Text, queue.LifetimeOver) && k == Failure {
		return "4.4.7" // delivery time expired
	}
	if status, _, ok := smtp.ParseEnhancedStatus(r.Enhanced); ok {
		rest = fmt.Sprintf(".%d.%d", status[1], status[2])
	}
	return class + rest
}

// diagnostic is the reply, verbatim: one line of it behind the other.
func diagnostic(r queue.Reply) string {
	begin := fmt.Sprint(r.Code)
	text := strings.TrimPrefix(r.Text, queue.LifetimeOver)
	lines := strings.Split(text, "\n")
	var all []string
	for i, line := range lines {
		mark := "-"
		if i == len(lines)-1 {
			mark = " "
		}
		all = append(all, strings.TrimRight(begin+mark+strings.TrimSpace(r.Enhanced+" "+line), " "))
	}
	return strings.Join(all, " ")
}

// boundaryOf is a boundary that is in none of the parts.
func boundaryOf(id string, parts []part) string {
	for n := 0; ; n++ {
		boundary := fmt.Sprintf("=_mxkeep_%s_%d", id, n)
		taken := false
		for _, p := range parts {
			taken = taken || bytes.Contains(p.body, []byte("--"+boundary))
		}
		if !taken {
			return boundary
		}
	}
}

// instant writes a time for people.
func instant(t time.Time) string { return t.UTC().Format("15:04 on 2 January 2006 UTC") }
