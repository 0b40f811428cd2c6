package dsn

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	maxShown     = 20   // recipients that the text names, and outages
	maxShownText = 1000 // bytes of a reply in the text
	textWidth    = 76
)

// textPart is what people read.
func textPart(n Notice) part {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fill(fmt.Sprintf(format, args...), "")...) }
	say("This is the mail system at %s, which keeps mail for others while they cannot take it.", n.Hostname)
	lines = append(lines, "")
	say("%s", summary(n))
	for _, sentence := range outages(n) {
		lines = append(lines, "")
		say("%s", sentence)
	}
	for k, i := range n.Recipients {
		if k == maxShown {
			lines = append(lines, "")
			say("... and %d more; all are in the report that follows.", len(n.Recipients)-maxShown)
			break
		}
		r := n.Message.Envelope.Recipients[i]
		lines = append(lines, "", "<"+smtp.Printable(r.ForwardPath)+">")
		lines = append(lines, fill(saying(n, r.Last), "    ")...)
	}
	text := strings.Join(lines, "\r\n") + "\r\n"
	if !isASCII(text) {
		return part{kind: "text/plain; charset=utf-8", about: "Notification", encoding: "quoted-printable", body: quotedPrintable([]byte(text))}
	}
	return part{kind: "text/plain; charset=us-ascii", about: "Notification", encoding: "7bit", body: []byte(text)}
}

func summary(n Notice) string {
	when := "Your message, which we took at " + instant(n.Message.AcceptedAt) + ", "
	whom := "the recipient"
	if len(n.Recipients) > 1 {
		whom = "the recipients"
	}
	switch {
	case n.Kind == Delay:
		return when + "could not be delivered yet to " + whom + " below. You need do nothing: it will be tried until " + instant(n.Message.Expires(n.At)) + "."
	case n.Kind == Relayed:
		return when + "was handed to the mail system of " + whom + " below. That one sends no confirmations, so this is the last word you get of it."
	case n.GivenUp:
		return when + "could not be delivered to " + whom + " below. The people who run this system have stopped trying."
	}
	return when + "could not be delivered to " + whom + " below. It will not be tried again."
}

// outages names the times in which the primary took no mail.
func outages(n Notice) (sentences []string) {
	for i, o := range n.Outages {
		if i == maxShown {
			break
		}
		domain := smtp.Printable(n.Message.Domain())
		if o.Until.IsZero() {
			sentences = append(sentences, fmt.Sprintf("The mail system of %s has not been able to take mail since %s. Your message has been kept here for that time.", domain, instant(o.From)))
			continue
		}
		sentences = append(sentences, fmt.Sprintf("The mail system of %s could not take mail from %s to %s. Your message was kept here for that time.", domain, instant(o.From), instant(o.Until)))
	}
	return sentences
}

// saying is what was said about a recipient.
func saying(n Notice, r queue.Result) string {
	text, expired := strings.CutPrefix(r.Reply.Text, queue.LifetimeOver)
	reply := r.Reply
	reply.Text = text
	said := cut(smtp.Printable(reply.String()), maxShownText)
	host := smtp.Printable(r.Host)
	switch {
	case said == "":
		return "It was not tried."
	case reply.Code == 0:
		said = "The last attempt ended so: " + said
	case host == "":
		said = "The reply was: " + said
	default:
		said = host + " said: " + said
	}
	if expired && n.Kind == Failure {
		said = "It has been tried for as long as mail is kept. " + said
	}
	return said
}

// fill breaks text into lines, each behind the indent. A word that is longer
// than a line is broken, too.
func fill(text, indent string) (lines []string) {
	line := indent
	for _, word := range strings.Fields(text) {
		for len(word) > textWidth-len(indent) {
			piece := cut(word, textWidth-len(indent))
			if line != indent {
				lines = append(lines, line)
			}
			lines, line, word = append(lines, indent+piece), indent, word[len(piece):]
		}
		switch {
		case word == "":
		case line == indent:
			line += word
		case len(line)+1+len(word) > textWidth:
			lines, line = append(lines, line), indent+word
		default:
			line += " " + word
		}
	}
	if line != indent {
		lines = append(lines, line)
	}
	return lines
}

// quotedPrintable encodes text (RFC 2045 6.7), line by line.
func quotedPrintable(text []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\r\n")), []byte("\r\n")) {
		width := 0
		for i, c := range line {
			piece := string(c)
			if c != '\t' && (c < ' ' || c > '~' || c == '=') || (c == ' ' || c == '\t') && i == len(line)-1 {
				piece = fmt.Sprintf("=%02X", c)
			}
			if width+len(piece) > textWidth-1 {
				b.WriteString("=\r\n")
				width = 0
			}
			b.WriteString(piece)
			width += len(piece)
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}
