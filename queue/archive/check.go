package archive

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mxkeep/mxkeep/queue"
)

// maxLifetime bounds every time span of an envelope.
const maxLifetime = 10 * 365 * 24 * time.Hour

// check looks for what no relay would have written. Whether somebody here wants
// the message is not asked.
func (e Envelope) check() error {
	no := func(format string, args ...any) error {
		return &EntryError{e.ID, "its envelope cannot be used: " + fmt.Sprintf(format, args...)}
	}
	m := e.Message
	switch n := len(m.Envelope.Recipients); {
	case n == 0 || n > maxRecipients:
		return no("it has %d recipients", n)
	case m.Size < 0 || m.Size > maxContent:
		return no("a content of %d bytes", m.Size)
	case m.Attempts < 0 || m.Step < 0:
		return no("fewer attempts than none")
	case !isSpan(m.Lifetime) || !isSpan(m.Extended):
		return no("a lifetime of %s, extended by %s", m.Lifetime, m.Extended)
	case !isTrace(e.Trace):
		return no("its trace is not made of header lines")
	case !slices.Contains([]string{"", "7BIT", "8BITMIME"}, m.Envelope.Params.Body):
		return no("BODY=%q", short(m.Envelope.Params.Body))
	case !slices.Contains([]string{"", "FULL", "HDRS"}, m.Envelope.Params.Ret):
		return no("RET=%q", short(m.Envelope.Params.Ret))
	}
	for _, at := range []time.Time{m.AcceptedAt, m.NextAttempt, m.LeasedUntil, m.HeldAt, m.DeletedAt} {
		if !at.IsZero() && (at.Year() < 1970 || at.Year() > 9999) {
			return no("a time in the year %d", at.Year())
		}
	}
	for _, r := range m.Envelope.Recipients {
		if !isNotify(r.Notify) {
			return no("NOTIFY=%q", short(strings.Join(r.Notify, ",")))
		}
	}
	for _, text := range texts(m) {
		if !isText(text) {
			return no("%q is no text of an envelope", short(text))
		}
	}
	return nil
}

// isSpan reports whether a time span is one that a relay can have.
func isSpan(d time.Duration) bool { return d >= 0 && d <= maxLifetime }

// isTrace reports whether the bytes can stand before a content, and add nothing
// but header fields to it.
func isTrace(trace []byte) bool {
	if len(trace) > maxTrace {
		return false
	}
	for text := string(trace); text != ""; {
		line, rest, ended := strings.Cut(text, "\r\n")
		if !ended || line == "" || strings.ContainsAny(line, "\r\n\x00") {
			return false
		}
		if line[0] != ' ' && line[0] != '\t' { // a field begins (RFC 5322 2.2)
			name, _, found := strings.Cut(line, ":")
			if !found || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return false
			}
		} else if len(text) == len(trace) { // folded, and nothing stands before it
			return false
		}
		text = rest
	}
	return true
}

// isNotify reports whether these are the words of RFC 3461 4.1.
func isNotify(words []string) bool {
	if len(words) == 1 && words[0] == "NEVER" {
		return true
	}
	for i, word := range words {
		if !slices.Contains([]string{"SUCCESS", "FAILURE", "DELAY"}, word) || slices.Contains(words[:i], word) {
			return false
		}
	}
	return true
}

// texts lists what may go to a peer, in a command, or what stands for one line.
func texts(m queue.Message) (all []string) {
	e := m.Envelope
	all = append(all, e.Upstream, e.ReversePath, e.Params.EnvID, e.Origin.Address, e.Origin.Host, e.Origin.Hello, e.Origin.TLS, e.Origin.Reason,
		m.MessageID, e.Cause.Kind, string(e.Cause.ID))
	all = append(all, verdicts(e.Origin.Auth)...)
	for _, r := range e.Recipients {
		all = append(all, r.ForwardPath, r.ORcpt, r.Last.Host, r.Last.Address, string(r.Last.Kept))
	}
	return all
}

// verdicts lists the texts of what was found about who wrote a message.
func verdicts(v queue.Verdicts) []string {
	all := []string{v.By, v.MailFrom.Result, v.MailFrom.Domain, v.MailFrom.Reason, v.Hello.Result, v.Hello.Domain, v.Hello.Reason,
		v.ARC.Result, v.ARC.Reason, v.DMARC.Result, v.DMARC.Domain, v.DMARC.Record, v.DMARC.Policy, v.DMARC.Disposition, v.DMARC.Reason}
	all = append(all, v.ARC.Sealers...)
	for _, s := range v.DKIM {
		all = append(all, s.Result, s.Domain, s.Selector, s.Algorithm, s.Identifier, s.Value, s.Reason)
	}
	return all
}

// isText reports whether a text has one line, which UTF-8 can write.
func isText(text string) bool {
	return len(text) <= maxText && utf8.ValidString(text) && !strings.ContainsAny(text, "\r\n\x00")
}
