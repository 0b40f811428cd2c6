package primary

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// transaction is what MAIL begins and the end of content, RSET or EHLO ends.
type transaction struct {
	began      time.Time
	mail       smtp.Path
	params     string
	utf8       bool
	binary     bool
	recipients []string
	rcptParams []string
	domain     string   // of all its recipients
	content    *content // from DATA or the first BDAT on
}

// reset forgets the transaction.
func (c *session) reset() {
	if c.tx != nil && c.tx.content != nil {
		c.tx.content.discard()
	}
	c.tx = nil
}

// argument divides "FROM:<path> params". RFC 5321 3.3: no space behind the colon.
func argument(arg, keyword string) (path, params string, ok bool) {
	if len(arg) <= len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) || arg[len(keyword)] != '<' {
		return "", "", false
	}
	rest := arg[len(keyword)+1:]
	quoted := false
	for i := 0; i < len(rest); i++ {
		switch {
		case quoted && rest[i] == '\\':
			i++
		case rest[i] == '"':
			quoted = !quoted
		case !quoted && rest[i] == '>':
			params, spaced := strings.CutPrefix(rest[i+1:], " ")
			return rest[:i], params, spaced || params == ""
		}
	}
	return "", "", false
}

// parameters reads KEYWORD or KEYWORD=value, each of which must be one of known.
func parameters(params, known string) (values map[string]string, ok bool) {
	values = map[string]string{}
	for _, param := range strings.Fields(params) {
		keyword, value, _ := strings.Cut(param, "=")
		keyword = strings.ToUpper(keyword)
		if !strings.Contains(known, " "+keyword+" ") {
			return nil, false
		}
		values[keyword] = value
	}
	return values, true
}

// take records the message and says 250, all under one scenario.
func (c *session) take() error {
	defer c.reset()
	for {
		p := c.server.current()
		if act, err := c.follow(p, Content, ""); act != Proceed {
			return err
		}
		if c.tx.content.refusal != "" {
			c.reply(c.tx.content.refusal)
			return nil
		}
		if done, err := c.record(p); done {
			return err
		}
	}
}

// record reports false, and does nothing, if the scenario has changed. It ends
// the session if the connection was cut.
func (c *session) record(p *play) (done bool, err error) {
	c.server.turn.RLock()
	defer c.server.turn.RUnlock()
	if !c.server.tracks(c.raw) { // cut: nobody would see the 250
		return true, errEnd
	}
	if c.server.current() != p {
		return false, nil
	}
	rule, _ := p.follow(Taken, c.address)
	d := c.delivery()
	d.Unanswered = rule.Act == Cut
	d, err = c.server.record.add(d, c.tx.content)
	if err != nil {
		c.server.options.Log.Error("record.failed", "session", c.id, "error", err)
		c.reply(ioError)
		return true, nil
	}
	if d.Unanswered {
		c.raw.Close()
		return true, errEnd
	}
	took := max(time.Since(c.tx.began).Seconds(), 0.001)
	c.reply(fmt.Sprintf("250 2.6.0 %s [InternalId=%d, Hostname=%s.namprd00.prod.outlook.com] %d bytes in %.3f, %.3f KB/sec Queued mail for delivery",
		smtp.Printable(d.MessageID), d.InternalID, c.front, d.Size, took, float64(d.Size)/1024/took))
	return true, c.out.Flush()
}

func (c *session) delivery() Delivery {
	d := Delivery{
		At:              time.Now().UTC(),
		Address:         c.raw.LocalAddr().String(),
		Client:          c.raw.RemoteAddr().String(),
		Session:         c.id,
		Hello:           c.hello,
		ReversePath:     c.tx.mail.String(),
		Params:          c.tx.params,
		Recipients:      c.tx.recipients,
		RecipientParams: c.tx.rcptParams,
		MessageID:       c.tx.content.messageID(),
		Size:            c.tx.content.size,
		SHA256:          c.tx.content.digest(),
	}
	if conn, ok := c.conn.(*tls.Conn); ok {
		state := conn.ConnectionState()
		d.TLS = tls.VersionName(state.Version)
		if len(state.PeerCertificates) > 0 {
			d.ClientCertificate = state.PeerCertificates[0].Subject.String()
		}
	}
	if d.MessageID == "" { // the host gives one to what has none
		d.MessageID = fmt.Sprintf("<%s@%s.namprd00.prod.outlook.com>", newSessionID(), c.front)
	}
	return d
}
