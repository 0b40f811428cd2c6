package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/maphash"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// parser reads a message as encodeMessage writes it: members in the order of
// the struct, without spaces. It takes a tenth of the time of encoding/json,
// and what a listing of a million messages takes is mostly this. Whatever is
// not exactly so is left to encoding/json: see message.
type parser struct {
	rest  []byte
	begun bool // a member of the object has been read
	bad   bool // it is not as encodeMessage writes it
	words *words
}

// words are strings that were read before. A listing meets most of them again
// and again. It is used by one goroutine.
type words struct {
	seed maphash.Seed
	seen [1 << 10]string
}

func newWords() *words { return &words{seed: maphash.MakeSeed()} }

const longestWord = 256 // a longer text is not kept

// word is the text as a string. A nil *words keeps none.
func (w *words) word(text []byte) string {
	if w == nil || len(text) > longestWord {
		return string(text)
	}
	place := &w.seen[maphash.Bytes(w.seed, text)%uint64(len(w.seen))]
	if *place != string(text) {
		*place = string(text)
	}
	return *place
}

// parseMessage reads a record without its header. ok is false if encoding/json
// has to read it, or to refuse it.
func parseMessage(body []byte, w *words) (m queue.Message, ok bool) {
	p := parser{rest: body, words: w}
	p.message(&m)
	return m, !p.bad && len(p.rest) == 0
}

// isPlain reports whether text is printable ASCII without a backslash. It looks
// at eight bytes at a time.
func isPlain(text []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		x := binary.LittleEndian.Uint64(text)
		y := x ^ '\\'*ones
		if (x|(x-' '*ones)&^x|(y-ones)&^y)&highs != 0 {
			return false
		}
	}
	for _, c := range text {
		if c < ' ' || c >= 0x80 || c == '\\' {
			return false
		}
	}
	return true
}

func (p *parser) message(m *queue.Message) {
	p.open('{')
	p.text("id", (*string)(&m.ID))
	if p.key("envelope") {
		p.envelope(&m.Envelope)
	}
	p.time("accepted_at", &m.AcceptedAt)
	p.time("next_attempt", &m.NextAttempt)
	p.time("leased_until", &m.LeasedUntil)
	p.number("lifetime", (*int64)(&m.Lifetime))
	p.number("extended", (*int64)(&m.Extended))
	p.count("attempts", &m.Attempts)
	p.count("step", &m.Step)
	p.number("size", &m.Size)
	p.text("message_id", &m.MessageID)
	if p.key("digest") {
		n, err := hex.Decode(m.Digest[:], p.quoted(2*len(m.Digest)))
		p.bad = p.bad || err != nil || n != len(m.Digest)
	}
	p.text("held", &m.Held)
	p.time("held_at", &m.HeldAt)
	p.time("deleted_at", &m.DeletedAt)
	p.truth("purged", &m.Purged)
	p.truth("damaged", &m.Damaged)
	p.close('}')
}

func (p *parser) envelope(e *queue.Envelope) {
	p.open('{')
	p.text("upstream", &e.Upstream)
	p.text("reverse_path", &e.ReversePath)
	if p.key("recipients") {
		e.Recipients = make([]queue.Recipient, 0, bytes.Count(p.rest, []byte(`{"forward_path":`)))
		p.open('[')
		for more := true; more && !p.bad; more = p.comma() {
			e.Recipients = append(e.Recipients, queue.Recipient{})
			p.recipient(&e.Recipients[len(e.Recipients)-1])
		}
		p.close(']')
	}
	if p.key("params") {
		p.open('{')
		p.text("body", &e.Params.Body)
		p.truth("smtputf8", &e.Params.SMTPUTF8)
		p.text("ret", &e.Params.Ret)
		p.text("envid", &e.Params.EnvID)
		p.truth("require_tls", &e.Params.RequireTLS)
		p.close('}')
	}
	if p.key("origin") {
		p.open('{')
		p.text("address", &e.Origin.Address)
		p.text("host", &e.Origin.Host)
		p.text("hello", &e.Origin.Hello)
		p.text("tls", &e.Origin.TLS)
		p.text("reason", &e.Origin.Reason)
		if p.key("auth") {
			p.verdicts(&e.Origin.Auth)
		}
		p.close('}')
	}
	if p.key("cause") {
		p.open('{')
		p.text("id", (*string)(&e.Cause.ID))
		p.count("attempt", &e.Cause.Attempt)
		p.text("kind", &e.Cause.Kind)
		p.close('}')
	}
	p.close('}')
}

func (p *parser) recipient(r *queue.Recipient) {
	p.open('{')
	p.text("forward_path", &r.ForwardPath)
	p.text("orcpt", &r.ORcpt)
	if p.key("notify") {
		p.open('[')
		for more := true; more && !p.bad; more = p.comma() {
			r.Notify = append(r.Notify, p.words.word(p.str()))
		}
		p.close(']')
	}
	if p.key("last") {
		p.result(&r.Last)
	}
	p.truth("deleted", &r.Deleted)
	p.close('}')
}

func (p *parser) result(r *queue.Result) {
	p.open('{')
	p.time("at", &r.At)
	if p.key("action") {
		p.bad = r.Action.UnmarshalText(p.str()) != nil || p.bad
	}
	if p.key("scope") {
		p.bad = r.Scope.UnmarshalText(p.str()) != nil || p.bad
	}
	if p.key("reply") {
		p.open('{')
		p.text("command", &r.Reply.Command)
		p.count("code", &r.Reply.Code)
		p.text("enhanced", &r.Reply.Enhanced)
		p.text("text", &r.Reply.Text)
		p.close('}')
	}
	p.text("host", &r.Host)
	p.text("address", &r.Address)
	p.text("remote_session", &r.RemoteSession)
	p.number("took", (*int64)(&r.Took))
	p.truth("maybe_duplicate", &r.MaybeDuplicate)
	p.text("kept", (*string)(&r.Kept))
	p.close('}')
}

func (p *parser) verdicts(v *queue.Verdicts) {
	p.open('{')
	p.text("by", &v.By)
	p.spf("mail_from", &v.MailFrom)
	p.spf("hello", &v.Hello)
	if p.key("dkim") {
		p.open('[')
		for more := true; more && !p.bad; more = p.comma() {
			v.DKIM = append(v.DKIM, queue.Signature{})
			p.signature(&v.DKIM[len(v.DKIM)-1])
		}
		p.close(']')
	}
	p.count("unchecked", &v.Unchecked)
	if p.key("dmarc") {
		p.open('{')
		p.text("result", &v.DMARC.Result)
		p.text("domain", &v.DMARC.Domain)
		p.text("record", &v.DMARC.Record)
		p.text("policy", &v.DMARC.Policy)
		p.count("percent", &v.DMARC.Percent)
		p.text("disposition", &v.DMARC.Disposition)
		p.text("reason", &v.DMARC.Reason)
		p.close('}')
	}
	if p.key("arc") {
		p.arc(&v.ARC)
	}
	p.truth("reverse_path", &v.ReversePath)
	p.truth("author", &v.Author)
	p.truth("unknown", &v.Unknown)
	p.count("claims", &v.Claims)
	p.number("took", (*int64)(&v.Took))
	p.close('}')
}

func (p *parser) arc(a *queue.ARC) {
	p.open('{')
	p.text("result", &a.Result)
	p.count("oldest_pass", &a.OldestPass)
	if p.key("sealers") {
		p.open('[')
		for more := true; more && !p.bad; more = p.comma() {
			a.Sealers = append(a.Sealers, string(p.str()))
		}
		p.close(']')
	}
	p.text("reason", &a.Reason)
	p.truth("sealed", &a.Sealed)
	p.close('}')
}

func (p *parser) spf(name string, s *queue.SPF) {
	if !p.key(name) {
		return
	}
	p.open('{')
	p.text("result", &s.Result)
	p.text("domain", &s.Domain)
	p.text("reason", &s.Reason)
	p.close('}')
}

func (p *parser) signature(s *queue.Signature) {
	p.open('{')
	p.text("result", &s.Result)
	p.text("domain", &s.Domain)
	p.text("selector", &s.Selector)
	p.text("algorithm", &s.Algorithm)
	p.text("identifier", &s.Identifier)
	p.text("value", &s.Value)
	p.text("reason", &s.Reason)
	p.close('}')
}

// take passes over one character.
func (p *parser) take(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) open(c byte) {
	p.bad = !p.take(c) || p.bad
	p.begun = false
}

func (p *parser) close(c byte) {
	p.bad = !p.take(c) || p.bad
	p.begun = true // what it was in has it for a member
}

func (p *parser) comma() bool { return p.take(',') }

// key passes over the name of a member if that is the next one.
func (p *parser) key(name string) bool {
	rest := p.rest
	if p.begun {
		if len(rest) == 0 || rest[0] != ',' {
			return false
		}
		rest = rest[1:]
	}
	n := len(name)
	if len(rest) < n+3 || rest[0] != '"' || string(rest[1:n+1]) != name || rest[n+1] != '"' || rest[n+2] != ':' {
		return false
	}
	p.rest, p.begun = rest[n+3:], true
	return true
}

// str reads a string. What is returned is valid as long as the record.
func (p *parser) str() []byte {
	if !p.take('"') {
		p.bad = true
		return nil
	}
	end := bytes.IndexByte(p.rest, '"')
	if end < 0 || !isPlain(p.rest[:end]) {
		return p.escaped()
	}
	text := p.rest[:end]
	p.rest = p.rest[end+1:]
	return text
}

// escaped reads a string behind its quotation mark that does not stand there as it is.
func (p *parser) escaped() []byte {
	for i := 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case '"':
			text := p.rest[:i]
			quoted := p.rest[:i+1]
			p.rest = p.rest[i+1:]
			if angles := angles(text); isPlain(angles) {
				return angles
			}
			var other string
			err := json.Unmarshal(append([]byte{'"'}, quoted...), &other)
			p.bad = p.bad || err != nil
			return []byte(other)
		}
	}
	p.bad = true
	return nil
}

// angles is the text with the brackets that encoding/json escapes: every
// Message-ID has them.
func angles(text []byte) []byte {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && len(text) >= i+6 {
			switch string(text[i : i+6]) {
			case `\u003c`:
				c, i = '<', i+5
			case `\u003e`:
				c, i = '>', i+5
			}
		}
		plain = append(plain, c)
	}
	return plain
}

// quoted reads a string of that length; nil if it has another.
func (p *parser) quoted(length int) []byte {
	if text := p.str(); len(text) == length {
		return text
	}
	p.bad = true
	return nil
}

func (p *parser) text(name string, into *string) {
	if p.key(name) {
		*into = p.words.word(p.str())
	}
}

func (p *parser) truth(name string, into *bool) {
	if !p.key(name) {
		return
	}
	rest, yes := bytes.CutPrefix(p.rest, []byte("true")) // false is left out
	p.bad = p.bad || !yes
	p.rest, *into = rest, yes
}

func (p *parser) count(name string, into *int) {
	number := int64(*into)
	p.number(name, &number)
	*into = int(number)
}

// mostDigits is how many digits certainly fit into a number.
const mostDigits = 18

func (p *parser) number(name string, into *int64) {
	if !p.key(name) {
		return
	}
	sign := int64(1)
	if p.take('-') {
		sign = -1
	}
	var n int64
	digits := 0
	for len(p.rest) > digits && p.rest[digits] >= '0' && p.rest[digits] <= '9' {
		if digits == mostDigits {
			p.bad = true
			return
		}
		n = 10*n + int64(p.rest[digits]-'0')
		digits++
	}
	// A number that goes on, with a point or an exponent, is not followed by what is to come.
	p.bad = p.bad || digits == 0 || digits > 1 && p.rest[0] == '0'
	p.rest, *into = p.rest[digits:], sign*n
}

func (p *parser) time(name string, into *time.Time) {
	if !p.key(name) {
		return
	}
	text := p.str()
	at, err := time.Parse(time.RFC3339Nano, string(text))
	// time.Parse is not as strict as what encoding/json does.
	p.bad = p.bad || err != nil || text[len(text)-1] != 'Z' || bytes.IndexByte(text, ',') >= 0 || len(text) < len("2006-01-02T15:04:05Z") || text[10] != 'T' || text[13] != ':'
	*into = at
}
