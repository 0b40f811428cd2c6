package inbound

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// trace is what a Received field says (RFC 5321 4.4).
type trace struct {
	hello    string // as the client said it
	host     string // by reverse DNS; "" if unknown
	address  netip.Addr
	by       string   // our name
	extended bool     // EHLO
	utf8     bool     // SMTPUTF8
	tls      string   // version; "" is plaintext
	cipher   string   // its name in the registry
	id       queue.ID // "" if there was no room for a draft
	rcpt     []string // forward-paths
	at       time.Time
}

// field writes the Received field. The primary evaluates SPF for the address in
// it, so nothing a client says may pass for another one: names that are no names
// are written as unknown. The recipient is named only if it is the only one, as
// the others may not know of each other.
func (t trace) field() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from %s (%s %s)\r\n", hostWord(t.hello, true), hostWord(t.host, false), addressWord(t.address))
	fmt.Fprintf(&b, "\tby %s (mxkeep) with %s", t.by, t.protocol())
	if t.id != "" {
		fmt.Fprintf(&b, " id %s", t.id)
	}
	clauses := ""
	if len(t.rcpt) == 1 && t.writable(t.rcpt[0]) {
		clauses = " for <" + t.rcpt[0] + ">"
	}
	if t.tls != "" { // RFC 8314 4.3; RFC 5321 4.4 wants such clauses behind the others
		clauses += " tls " + t.cipher + " (" + t.tls + ")"
	}
	if clauses != "" {
		b.WriteString("\r\n\t" + clauses[1:])
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", t.at.Format(time.RFC1123Z))
	return []byte(b.String())
}

// protocol is the word of the registry (RFC 3848, RFC 6531 4.3).
func (t trace) protocol() string {
	switch {
	case t.utf8 && t.tls != "":
		return "UTF8SMTPS"
	case t.utf8:
		return "UTF8SMTP"
	case t.tls != "" && t.extended:
		return "ESMTPS"
	case t.extended:
		return "ESMTP"
	}
	return "SMTP"
}

// writable: a quoted local part could look like the end of the clause, and
// UTF-8 may stand in a header only if the sender said so.
func (t trace) writable(path string) bool {
	p, err := smtp.ParsePath(path)
	return err == nil && !strings.Contains(path, `"`) && (t.utf8 || p.ASCII())
}

// hostWord writes a name, or unknown. An address literal is for clients without a name.
func hostWord(name string, literal bool) string {
	if name == "" { // not found in the DNS, as often: making an error takes long
		return "unknown"
	}
	ascii, err := smtp.ASCIIDomain(name)
	if err != nil || strings.HasPrefix(ascii, "[") && !literal {
		return "unknown"
	}
	return ascii
}

// addressWord writes an address literal (RFC 5321 4.1.3).
func addressWord(a netip.Addr) string {
	switch {
	case a.Is4():
		return "[" + a.String() + "]"
	case a.IsValid():
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
	return "[0.0.0.0]" // no network: a client in the same process
}
