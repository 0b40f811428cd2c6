package admin

import (
	"regexp"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
)

var (
	// whereAndWhen is what Exchange Online ends its replies with: server, instant, session.
	whereAndWhen = regexp.MustCompile(`(?i)^\[[a-z0-9][a-z0-9.-]{0,254}\s+\d{4}-\d\d-\d\dT[\d:.]{8,18}Z\s+[0-9A-F]{16}\]\s*$`)
	// call is what the network package puts before an error: call and addresses.
	call     = regexp.MustCompile(`\b(?:dial|read|write) (?:tcp|udp)[46]? [^\s>]+(?:->[^\s>]+)?: (?:(?:connect|read|write|connectex): )?`)
	silence  = regexp.MustCompile(`\bi/o timeout$`)
	hangedUp = regexp.MustCompile(`\b(?:unexpected )?EOF$`)
)

const spaces = "\t\n\f\r " // as \s has them

// Brief leaves out of a reply, or of an error that stands in its place, what
// differs from one time to the next, so that equal troubles read alike. The
// whole text is in the signal, the ledger and the log.
func Brief(text string) string {
	// A look at what most replies lack costs less than an expression.
	if i := strings.LastIndexByte(text, '['); i >= 0 && whereAndWhen.MatchString(text[i:]) {
		text = strings.TrimRight(text[:i], spaces)
	}
	if strings.Contains(text, " tcp") || strings.Contains(text, " udp") {
		text = call.ReplaceAllString(text, "")
	}
	if strings.HasSuffix(text, "i/o timeout") {
		text = silence.ReplaceAllString(text, "no answer in time")
	}
	if strings.HasSuffix(text, "EOF") {
		text = hangedUp.ReplaceAllString(text, "it hung up")
	}
	return text
}

// briefs remembers what Brief made of replies: most messages wait for the same
// few reasons. It is used by one goroutine.
type briefs map[queue.Reply]string

func (b briefs) of(r queue.Reply) string {
	text, known := b[r]
	if !known {
		text = Brief(r.String())
		if len(b) < maxRows {
			b[r] = text
		}
	}
	return text
}
