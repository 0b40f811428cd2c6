package outbound

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// extensions is what a primary offers in answer to EHLO.
type extensions struct {
	startTLS, pipelining, eightBit, utf8, dsn, requireTLS bool

	size  bool
	limit int64 // of SIZE in bytes; 0 is none (RFC 1870 4)
}

// parseExtensions reads the lines of a reply to EHLO, the first of which is a
// greeting. Keywords have no case (RFC 5321 4.1.1.1).
func parseExtensions(lines []string) extensions {
	var e extensions
	for _, line := range lines[min(1, len(lines)):] {
		keyword, arg, _ := strings.Cut(line, " ")
		switch strings.ToUpper(keyword) {
		case "STARTTLS":
			e.startTLS = true
		case "PIPELINING":
			e.pipelining = true
		case "8BITMIME":
			e.eightBit = true
		case "SMTPUTF8":
			e.utf8 = true
		case "DSN":
			e.dsn = true
		case "REQUIRETLS":
			e.requireTLS = true
		case "SIZE":
			e.size = true
			if n, err := strconv.ParseInt(strings.TrimSpace(arg), 10, 64); err == nil && n > 0 {
				e.limit = n
			}
		}
	}
	return e
}

// lacks says which promise to the sender could not be kept if the message were
// sent, as the sender may be told. Code is 0 if there is none.
func (e extensions) lacks(m queue.Message, utf8 bool) smtp.Reply {
	switch {
	case utf8 && !e.utf8: // RFC 6531 3.2
		return smtp.NewReply(550, smtp.StatusNeedsSMTPUTF8, "the message needs SMTPUTF8, which the primary does not offer")
	case m.Envelope.Params.Body == "8BITMIME" && !e.eightBit: // RFC 6152 3
		return smtp.NewReply(554, statusNotConverted, "the message needs 8BITMIME, which the primary does not offer")
	case m.Envelope.Params.RequireTLS && !e.requireTLS:
		return smtp.NewReply(550, statusNeedsTLS, "the message needs REQUIRETLS, which the primary does not offer")
	case e.limit > 0 && m.Size > e.limit: // RFC 1870 6.1
		return smtp.NewReply(552, smtp.StatusTooBig, "the message has %d bytes, the primary takes %d", m.Size, e.limit)
	}
	return smtp.Reply{}
}

// Statuses of what a primary lacks.
var (
	statusNotConverted = smtp.EnhancedStatus{5, 6, 3}
	statusNeedsTLS     = smtp.EnhancedStatus{5, 7, 30} // RFC 8689 5
)

// mailLine writes the MAIL command with what the primary offers to understand.
func (e extensions) mailLine(path smtp.Path, m queue.Message, utf8 bool) string {
	p := m.Envelope.Params
	line := "MAIL FROM:<" + path.String() + ">"
	if e.size && m.Size > 0 {
		line += fmt.Sprintf(" SIZE=%d", m.Size)
	}
	if e.eightBit && (p.Body == "8BITMIME" || p.Body == "7BIT") {
		line += " BODY=" + p.Body
	}
	if utf8 {
		line += " SMTPUTF8"
	}
	if p.RequireTLS {
		line += " REQUIRETLS"
	}
	if e.dsn && (p.Ret == "FULL" || p.Ret == "HDRS") {
		line += " RET=" + p.Ret
	}
	if e.dsn && p.EnvID != "" {
		line += " ENVID=" + smtp.EncodeXtext(p.EnvID)
	}
	return line
}

// rcptLine writes the RCPT command.
func (e extensions) rcptLine(path smtp.Path, r queue.Recipient) string {
	line := "RCPT TO:<" + path.String() + ">"
	if !e.dsn {
		return line
	}
	if len(r.Notify) > 0 && !slices.ContainsFunc(r.Notify, notNotify) {
		line += " NOTIFY=" + strings.Join(r.Notify, ",")
	}
	if orcpt := encodeORcpt(r.ORcpt); orcpt != "" {
		line += " ORCPT=" + orcpt
	}
	return line
}

func notNotify(word string) bool {
	return !slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, word)
}

// encodeORcpt writes "type;address" for ORCPT: xtext (RFC 3461 4.2), or
// utf-8-addr-xtext for the type utf-8 (RFC 6533 3). What has no type that can
// be written gives "".
func encodeORcpt(orcpt string) string {
	kind, address, found := strings.Cut(orcpt, ";")
	if !found || kind == "" || strings.ContainsFunc(kind, notTypeLetter) {
		return ""
	}
	if !strings.EqualFold(kind, "utf-8") {
		return kind + ";" + smtp.EncodeXtext(address)
	}
	var b strings.Builder
	for _, r := range address {
		if r > ' ' && r < 0x7f && !strings.ContainsRune(`\+=`, r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
	}
	return kind + ";" + b.String()
}

func notTypeLetter(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
}
