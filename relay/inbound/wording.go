package inbound

import "bytes"

// reworded gives a reply of the engine to a command the codes that the RFCs have
// for it. Its texts tell its replies from those of a session, which stay.
func reworded(verb string, reply []byte) []byte {
	for _, r := range [...]struct{ verb, from, to, text string }{
		{"MAIL", "250 2.0.0", "250 2.1.0", " Roger, "},
		{"RCPT", "250 2.0.0", "250 2.1.5", " I'll make sure "},
		// RFC 5321 4.1.4 and RFC 3030 3: a bad sequence is 503
		{"MAIL", "502 5.5.1", "503 5.5.1", " MAIL not allowed during message transfer"},
		{"RCPT", "502 5.5.1", "503 5.5.1", " Missing MAIL FROM command."},
		{"RCPT", "502 5.5.1", "503 5.5.1", " RCPT not allowed during message transfer"},
		{"DATA", "502 5.5.1", "503 5.5.1", " DATA not allowed during message transfer"},
		{"DATA", "502 5.5.1", "503 5.5.1", " Missing RCPT TO command."},
		{"BDAT", "502 5.5.1", "503 5.5.1", " Missing RCPT TO command."},
		// RFC 5321 4.1.1.11: a parameter that is not known, or not supported, is 555
		{"MAIL", "500 5.5.4", "555 5.5.4", " Unknown MAIL FROM argument"},
		{"MAIL", "504 5.5.4", "555 5.5.4", " REQUIRETLS is not implemented"},
		{"MAIL", "504 5.5.4", "555 5.5.4", " BINARYMIME is not implemented"},
		{"MAIL", "500 5.5.4", "501 5.5.4", " Malformed AUTH parameter"}, // RFC 5321 4.2.4: it is no unknown command
		{"RCPT", "500 5.5.4", "555 5.5.4", " Unknown RCPT TO argument"},
		{"RCPT", "504 5.5.4", "555 5.5.4", " RRVS is not implemented"},
		{"RCPT", "504 5.5.4", "555 5.5.4", " DELIVERBY is not implemented"},
		{"RCPT", "504 5.5.4", "555 5.5.4", " MT-PRIORITY is not implemented"},
	} {
		if rest, ok := bytes.CutPrefix(reply, []byte(r.from)); ok && r.verb == verb && bytes.HasPrefix(rest, []byte(r.text)) {
			return append([]byte(r.to), rest...)
		}
	}
	return reply
}
