package arc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Sealer puts a set in front of a message. It may be used by many at once.
type Sealer struct {
	key              *Key
	domain, selector string
	headers          []string
}

// DefaultHeaders are the fields that are signed, where a message has them: those
// of RFC 6376 5.4.1, and the signatures of others.
func DefaultHeaders() []string {
	return []string{"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references",
		"mime-version", "content-type", "content-transfer-encoding", "content-id", "content-description",
		"resent-from", "resent-sender", "resent-to", "resent-cc", "resent-date", "resent-message-id",
		"list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive",
		"dkim-signature"}
}

// NewSealer makes a Sealer. From is signed whether headers has it or not; no
// headers means DefaultHeaders.
func NewSealer(key *Key, domain, selector string, headers []string) (*Sealer, error) {
	if key == nil {
		return nil, errors.New("no key")
	}
	ascii, err := smtp.ASCIIDomain(domain)
	if err != nil || strings.HasPrefix(ascii, "[") {
		return nil, fmt.Errorf("%q is no domain", clip(domain))
	}
	lower := strings.ToLower(selector)
	if name, err := keyName(ascii, lower); err != nil || name != lower+"._domainkey."+ascii {
		return nil, fmt.Errorf("%q is no selector", clip(selector))
	}
	if len(headers) == 0 {
		headers = DefaultHeaders()
	}
	s := &Sealer{key: key, domain: ascii, selector: lower, headers: []string{"from"}}
	for _, name := range headers {
		if err := CheckHeader(name); err != nil {
			return nil, err
		}
		if name = strings.ToLower(name); !slices.Contains(s.headers, name) {
			s.headers = append(s.headers, name)
		}
	}
	return s, nil
}

// CheckHeader reports why a field must not be signed.
func CheckHeader(name string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' || r == ';' }):
		return fmt.Errorf("%q is no name of a header field", clip(name))
	case lower == "authentication-results", lower == "return-path", strings.HasPrefix(lower, "arc-"):
		return fmt.Errorf("%s must not be signed: relays on the way remove it or add to it", clip(name)) // RFC 8617 4.1.2, RFC 6376 5.4
	}
	return nil
}

// ErrUnsealed says that the chain may not be continued: it has ended already, it
// is full, or nobody knows whether it holds.
var ErrUnsealed = errors.New("not sealed")

// Seal returns a set for the message: three fields, to be put in front of it.
// Chain is what Verify found before anything was put in front; results are those
// of our own Authentication-Results: our authserv-id, ";", and so on, which may
// be folded. A chain that fails is sealed for itself alone, so that it ends here
// (RFC 8617 5.1.2). An error that is ErrUnsealed is no failure.
func (s *Sealer) Seal(m *Message, chain Chain, results string, now time.Time) ([]byte, error) {
	if m.continues() {
		return nil, fmt.Errorf("%w: the message begins with white space", ErrUnsealed)
	}
	instance, err := chain.next(m)
	if err != nil {
		return nil, err
	}
	if err := checkResults(results); err != nil {
		return nil, err
	}
	var before []set
	if chain.Status == Pass {
		if before, err = collect(m.fields, &Chain{}); err != nil || len(before) != instance-1 {
			return nil, fmt.Errorf("the chain is not the one of the message: %w", errors.Join(err, ErrUnsealed))
		}
	}
	own := set{instance: instance}
	own.results = newPart("ARC-Authentication-Results", fmt.Sprintf(" i=%d; %s", instance, strings.TrimRight(results, " \t\r\n")))
	if own.message, err = s.messageField(m, instance, now); err != nil {
		return nil, err
	}
	draft := fmt.Sprintf(" i=%d; a=%s; cv=%s; d=%s; s=%s; t=%d;\r\n\tb=", instance, s.key.algorithm, chain.Status, s.domain, s.selector, now.Unix())
	own.seal = newPart("ARC-Seal", draft)
	if own.seal, err = s.signed("ARC-Seal", draft, sealHash(before, &own)); err != nil {
		return nil, err
	}
	return slices.Concat(own.seal.raw, own.message.raw, own.results.raw), nil
}

// next is the instance of the next set.
func (c Chain) next(m *Message) (int, error) {
	switch {
	case m.flaw != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnsealed, m.flaw)
	case c.ended: // RFC 8617 5.1, step 2
		return 0, fmt.Errorf("%w: the chain has ended already", ErrUnsealed)
	case c.Status == TempError:
		return 0, fmt.Errorf("%w: %s", ErrUnsealed, c.Reason)
	case c.highest >= maxSets:
		return 0, fmt.Errorf("%w: the chain has %d sets, which is all that one may have", ErrUnsealed, maxSets)
	}
	return c.highest + 1, nil
}

// messageField signs the message.
func (s *Sealer) messageField(m *Message, instance int, now time.Time) (*part, error) {
	names := s.names(m.fields)
	draft := fmt.Sprintf(" i=%d; a=%s; c=relaxed/relaxed; d=%s; s=%s; t=%d;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=",
		instance, s.key.algorithm, s.domain, s.selector, now.Unix(), fold(names, ":"), base64.StdEncoding.EncodeToString(m.relaxed[:]))
	own := newPart("ARC-Message-Signature", draft)
	return s.signed("ARC-Message-Signature", draft, messageHash(m.fields, names, own, true))
}

// names are the fields to sign: every one that the message has of each name, and
// From once more, so that nobody can add a second author.
func (s *Sealer) names(fields []field) []string {
	count := map[string]int{}
	for _, f := range fields {
		count[f.name]++
	}
	var names []string
	for _, name := range s.headers {
		for range count[name] {
			names = append(names, name)
		}
	}
	return append(names, "from")
}

// signed is a field with its signature at the end.
func (s *Sealer) signed(name, draft string, hash []byte) (*part, error) {
	raw, err := s.key.sign(hash)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	text := base64.StdEncoding.EncodeToString(raw)
	var pieces []string
	for len(text) > 72 {
		pieces, text = append(pieces, text[:72]), text[72:]
	}
	return newPart(name, draft+strings.Join(append(pieces, text), "\r\n\t ")), nil
}

func newPart(name, value string) *part {
	raw := []byte(name + ":" + value + "\r\n")
	return &part{field: field{name: strings.ToLower(name), raw: raw, value: raw[len(name)+1:]}}
}

// fold joins words so that no line is longer than 78 octets, if words are not.
func fold(words []string, between string) string {
	var b strings.Builder
	line := 4
	for i, word := range words {
		if i < len(words)-1 {
			word += between
		}
		if i > 0 && line+len(word) > 76 {
			b.WriteString("\r\n\t ")
			line = 2
		}
		b.WriteString(word)
		line += len(word)
	}
	return b.String()
}

// checkResults refuses what would end the field: a line end without white space
// behind it, and what is no text.
func checkResults(results string) error {
	text := strings.TrimRight(results, " \t\r\n")
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(text)
	if text == "" || strings.ContainsAny(unfolded, "\r\n\x00") {
		return errors.New("the results are no text of a header field")
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if trim(line) == "" { // would end the header for some
			return errors.New("the results have an empty line")
		}
	}
	return nil
}
