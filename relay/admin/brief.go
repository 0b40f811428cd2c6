package admin

import "regexp"

var (
	// whereAndWhen is what Exchange Online ends its replies with: server, instant, session.
	whereAndWhen = regexp.MustCompile(`(?i)\s*\[[a-z0-9][a-z0-9.-]{0,254}\s+\d{4}-\d\d-\d\dT[\d:.]{8,18}Z\s+[0-9A-F]{16}\]\s*$`)
	// call is what the network package puts before an error: call and addresses.
	call     = regexp.MustCompile(`\b(?:dial|read|write) (?:tcp|udp)[46]? [^\s>]+(?:->[^\s>]+)?: (?:(?:connect|read|write|connectex): )?`)
	silence  = regexp.MustCompile(`\bi/o timeout$`)
	hangedUp = regexp.MustCompile(`\b(?:unexpected )?EOF$`)
)

// Brief leaves out of a reply, or of an error that stands in its place, what
// differs from one time to the next, so that equal troubles read alike. The
// whole text is in the signal, the ledger and the log.
func Brief(text string) string {
	text = whereAndWhen.ReplaceAllString(text, "")
	text = call.ReplaceAllString(text, "")
	text = silence.ReplaceAllString(text, "no answer in time")
	return hangedUp.ReplaceAllString(text, "it hung up")
}
