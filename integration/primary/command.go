package primary

import (
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	badSyntax    = "501 5.5.4 Invalid arguments"
	badParameter = "501 5.5.4 Unrecognized parameter"
	needHello    = "503 5.5.2 Send hello first"
	needMail     = "503 5.5.2 Need mail command"
	needRcpt     = "503 5.5.2 Need rcpt command"
	badSequence  = "503 5.5.1 Bad sequence of commands"
)

// command answers one line. An error ends the session.
func (c *session) command(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		return c.ehlo(arg)
	case "HELO":
		return c.helo(arg)
	case "STARTTLS":
		return c.starttls(arg)
	case "MAIL":
		return c.mail(arg)
	case "RCPT":
		return c.rcpt(arg)
	case "DATA":
		return c.data(arg)
	case "BDAT":
		return c.bdat(arg)
	}
	return c.other(strings.ToUpper(verb))
}

func (c *session) ehlo(arg string) error {
	if arg == "" || strings.ContainsAny(arg, " \t") {
		return c.fault("501 5.5.4 Invalid domain name")
	}
	if act, err := c.obey(Hello, ""); act != Proceed {
		return err
	}
	c.reset()
	c.hello = arg
	lines := []string{c.greeting(), fmt.Sprintf("SIZE %d", sizeLimit), "PIPELINING", "DSN", "ENHANCEDSTATUSCODES"}
	if !c.encrypted() {
		lines = append(lines, "STARTTLS")
	}
	lines = append(lines, "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8")
	c.lacks = strings.Fields(c.server.current().Lacks)
	lines = slices.DeleteFunc(lines, func(line string) bool {
		keyword, _, _ := strings.Cut(line, " ")
		return slices.Contains(c.lacks, keyword)
	})
	for _, line := range lines[:len(lines)-1] {
		c.reply("250-" + line)
	}
	c.reply("250 " + lines[len(lines)-1])
	return nil
}

func (c *session) helo(arg string) error {
	if arg == "" {
		return c.fault("501 5.5.4 Invalid domain name")
	}
	if act, err := c.obey(Hello, ""); act != Proceed {
		return err
	}
	c.reset()
	c.hello = arg
	c.reply("250 " + c.greeting())
	return nil
}

func (c *session) greeting() string {
	return fmt.Sprintf("%s.mail.protection.outlook.com Hello [%s]", c.front, c.clientIP())
}

func (c *session) encrypted() bool {
	_, ok := c.conn.(*tls.Conn)
	return ok
}

func (c *session) starttls(arg string) error {
	switch {
	case arg != "":
		return c.fault(badSyntax)
	case c.encrypted():
		return c.fault(badSequence)
	case c.hello == "":
		return c.fault(needHello)
	}
	act, err := c.obey(StartTLS, "")
	if act == Proceed || act == BreakTLS || act == WrongName {
		return c.startTLS(act)
	}
	return err
}

func (c *session) mail(arg string) error {
	switch {
	case c.hello == "":
		return c.fault(needHello)
	case c.tx != nil:
		return c.fault(badSequence)
	case c.server.options.RequireTLS && !c.encrypted():
		return c.fault("451 5.7.3 STARTTLS is required to send mail {where}")
	}
	text, params, ok := argument(arg, "FROM:")
	path, err := smtp.ParsePath(text)
	if !ok || err != nil {
		return c.fault("501 5.1.7 Invalid address")
	}
	values, ok := parameters(params, c.known())
	if !ok {
		return c.fault(badParameter)
	}
	body := strings.ToUpper(values["BODY"])
	if !strings.Contains("  7BIT 8BITMIME BINARYMIME ", " "+body+" ") {
		return c.fault("501 5.5.4 Unsupported BODY type")
	}
	size := int64(0)
	if values["SIZE"] != "" {
		if size, err = strconv.ParseInt(values["SIZE"], 10, 64); err != nil || size < 0 {
			return c.fault(badSyntax)
		}
	}
	_, utf8 := values["SMTPUTF8"]
	if !utf8 && !path.ASCII() {
		return c.fault("501 5.1.6 SMTPUTF8 argument required")
	}
	if act, err := c.obey(Mail, ""); act != Proceed {
		return err
	}
	if size > sizeLimit {
		c.reply(tooBig)
		return nil
	}
	c.tx = &transaction{began: time.Now(), mail: path, params: params, utf8: utf8, binary: body == "BINARYMIME"}
	c.reply("250 2.1.0 Sender OK")
	return nil
}

// known are the parameters of MAIL, as parameters wants them.
func (c *session) known() string {
	known := " "
	for _, of := range [][2]string{{"SIZE", "SIZE"}, {"8BITMIME", "BODY"}, {"SMTPUTF8", "SMTPUTF8"}, {"DSN", "RET"}, {"DSN", "ENVID"}} {
		if !slices.Contains(c.lacks, of[0]) {
			known += of[1] + " "
		}
	}
	return known
}

func (c *session) rcpt(arg string) error {
	if c.tx == nil {
		return c.fault(needMail)
	}
	if c.tx.content != nil {
		return c.fault(badSequence)
	}
	text, params, ok := argument(arg, "TO:")
	path, err := smtp.ParsePath(text)
	if !ok || err != nil || path.IsNull() {
		return c.fault("501 5.1.3 Invalid address")
	}
	if _, ok := parameters(params, " NOTIFY ORCPT "); !ok {
		return c.fault(badParameter)
	}
	if !c.tx.utf8 && !path.ASCII() {
		return c.fault("501 5.1.6 SMTPUTF8 argument required")
	}
	if act, err := c.obey(Rcpt, path.String()); act != Proceed {
		return err
	}
	if refusal := c.judge(path); refusal != "" {
		c.replyTo(refusal, path.String())
		return nil
	}
	c.tx.recipients = append(c.tx.recipients, path.String())
	c.tx.rcptParams = append(c.tx.rcptParams, params)
	c.tx.domain = fold(path.Domain)
	c.reply("250 2.1.5 Recipient OK")
	return nil
}

// judge says why the recipient is refused, or "".
func (c *session) judge(p smtp.Path) string {
	switch {
	case p.Domain != "" && !c.server.accepts(p.Domain):
		return "550 5.7.64 TenantAttribution; Relay Access Denied {where}"
	case len(c.tx.recipients) >= maxRecipients:
		return "452 4.5.3 Too many recipients {where}"
	case len(c.tx.recipients) > 0 && c.tx.domain != fold(p.Domain):
		return "452 4.5.3 Too many recipients ATTR46 {where}"
	case !c.server.knows(p):
		return unknownUser
	}
	return ""
}

// ready says what is missing before content, or "".
func (c *session) ready() string {
	switch {
	case c.tx == nil:
		return needMail
	case len(c.tx.recipients) == 0:
		return needRcpt
	}
	return ""
}

func (c *session) data(arg string) error {
	if missing := c.ready(); missing != "" {
		return c.fault(missing)
	}
	switch {
	case arg != "":
		return c.fault(badSyntax)
	case c.tx.content != nil, c.tx.binary: // RFC 3030 2 and 3: no DATA beside BDAT, nor for BINARYMIME
		return c.fault(badSequence)
	}
	if act, err := c.obey(Data, ""); act != Proceed {
		c.reset()
		return err
	}
	c.reply("354 Start mail input; end with <CRLF>.<CRLF>")
	c.tx.content = newContent(c.server.options.Folder, &c.server.memory)
	bare, err := readDots(c.in, c.tx.content)
	if err != nil {
		return err
	}
	if bare && c.tx.content.refusal == "" {
		c.tx.content.refusal = bareLinefeeds
	}
	return c.take()
}

// bdat reads a chunk whatever the answer is: its bytes are never commands (RFC 3030 2).
func (c *session) bdat(arg string) error {
	number, last, _ := strings.Cut(arg, " ")
	size, err := strconv.ParseUint(number, 10, 63)
	if err != nil || last != "" && !strings.EqualFold(last, "LAST") {
		c.fault(badSyntax)
		return errEnd // where the chunk ends is unknown
	}
	missing := c.ready()
	first := missing == "" && c.tx.content == nil
	to := io.Discard
	if missing == "" {
		if first {
			c.tx.content = newContent(c.server.options.Folder, &c.server.memory)
		}
		to = c.tx.content
	}
	if _, err := io.CopyN(to, c.in, int64(size)); err != nil {
		return fmt.Errorf("chunk of %d: %w", size, unexpected(err))
	}
	if missing != "" {
		return c.fault(missing)
	}
	if first || last == "" {
		if act, err := c.obey(Data, ""); act != Proceed {
			c.reset()
			return err
		}
	}
	if last != "" {
		return c.take()
	}
	if refusal := c.tx.content.refusal; refusal != "" {
		c.reset()
		c.reply(refusal)
		return nil
	}
	c.reply(fmt.Sprintf("250 2.6.0 CHUNK received OK, %d octets", size))
	return nil
}

func (c *session) other(verb string) error {
	if act, err := c.obey(Other, ""); act != Proceed {
		return err
	}
	switch verb {
	case "RSET":
		c.reset()
		c.reply("250 2.0.0 Resetting")
	case "NOOP":
		c.reply("250 2.0.0 OK")
	case "VRFY":
		c.reply("252 2.1.5 Cannot VRFY user")
	case "QUIT":
		c.reply("221 2.0.0 Service closing transmission channel")
		return errEnd
	default:
		return c.fault("500 5.3.3 Unrecognized command")
	}
	return nil
}
