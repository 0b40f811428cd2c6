package report

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// redactor puts pseudonyms in the place of addresses, by a keyed hash: equal
// ones become equal, and without the key nobody finds out which they were. The
// nil redactor changes nothing. Names and addresses of the primary's servers
// stay: they are the evidence.
type redactor struct{ key []byte }

func (r *redactor) hash(kind, text string) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(kind + "\x00" + strings.ToLower(text)))
	return hex.EncodeToString(mac.Sum(nil)[:6])
}

// address makes u123@d456.invalid of an address; the null reverse-path stays.
func (r *redactor) address(path string) string {
	if r == nil || path == "" {
		return path
	}
	at := strings.LastIndexByte(path, '@')
	if at < 0 {
		return "u" + r.hash("local", path)
	}
	return "u" + r.hash("local", path) + "@" + r.domain(path[at+1:])
}

func (r *redactor) domain(name string) string { return r.name("d", name) }

// name makes a name below .invalid.
func (r *redactor) name(kind, name string) string {
	if r == nil || name == "" {
		return name
	}
	return kind + r.hash(kind, name) + ".invalid"
}

// person makes a pseudonym of whoever did something, unless it was the relay.
func (r *redactor) person(name string) string {
	if r == nil || name == "" || name == health.ByRelay {
		return name
	}
	return "p" + r.hash("person", name)
}

// ip makes a pseudonym of the address of a client.
func (r *redactor) ip(text string) string {
	if r == nil || text == "" {
		return text
	}
	return "ip" + r.hash("ip", text)
}

var (
	addressInText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"@[^\s<>,;:()\[\]"]+|[^\s<>,;:()\[\]"|]+@[^\s<>,;:()\[\]"|]+`)
	ipInText      = regexp.MustCompile(`\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|\b[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}`)
)

// text replaces addresses of mail, and of the network, within a text.
func (r *redactor) text(s string) string {
	if r == nil {
		return s
	}
	s = addressInText.ReplaceAllStringFunc(s, r.address)
	return ipInText.ReplaceAllStringFunc(s, func(found string) string {
		if _, err := netip.ParseAddr(found); err != nil { // a time, or a version
			return found
		}
		return r.ip(found)
	})
}

func (r *redactor) row(one Row) Row {
	if r == nil {
		return one
	}
	one.MessageID, one.Recipient, one.Sender, one.SenderDomain = r.messageID(one.MessageID), r.address(one.Recipient), r.address(one.Sender), r.domain(one.SenderDomain)
	one.ClientIP, one.ClientName, one.ClientHello = r.ip(one.ClientIP), r.name("h", one.ClientName), r.name("h", one.ClientHello)
	one.FirstText, one.FinalText = r.text(one.FirstText), r.text(one.FinalText)
	var signed []string
	for _, s := range strings.Split(one.DKIM, "; ") {
		result, domain, _ := strings.Cut(s, " ")
		signed = append(signed, strings.TrimSpace(result+" "+r.domain(domain)))
	}
	one.DKIM = strings.Join(signed, "; ")
	return one
}

// messageID keeps the brackets.
func (r *redactor) messageID(id string) string {
	if id == "" {
		return ""
	}
	return "<" + r.address(strings.Trim(id, "<>")) + ">"
}

func (r *redactor) signal(s health.Signal) health.Signal {
	s.Reply, s.Domain, s.SourceIP = r.text(s.Reply), r.domain(s.Domain), r.ip(s.SourceIP)
	switch s.Source {
	case health.SourceSender:
		s.Address = r.ip(s.Address)
	case health.SourceVantage: // another relay of ours
		s.Host = r.name("h", s.Host)
	}
	return s
}

func (r *redactor) moments(all []health.Moment) []health.Moment {
	all = slices.Clone(all)
	for n := range all {
		all[n].Actor, all[n].Text = r.person(all[n].Actor), r.text(all[n].Text)
	}
	return all
}

func (r *redactor) change(c health.Change) health.Change {
	c.Actor, c.Why = r.person(c.Actor), r.text(c.Why)
	return c
}

func (r *redactor) replies(all []incident.Replies) []incident.Replies {
	all = slices.Clone(all)
	for n := range all {
		all[n].Text = r.text(all[n].Text)
	}
	return all
}

func (r *redactor) incident(i health.Incident) health.Incident {
	i.Opener, i.Why, i.Acked.Actor, i.Acked.Text = r.person(i.Opener), r.text(i.Why), r.person(i.Acked.Actor), r.text(i.Acked.Text)
	i.Unsettled = r.text(i.Unsettled)
	return i
}
