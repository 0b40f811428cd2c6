package dsn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

var noon = time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)

const hello = "Received: by mx2.corp.example\r\nMessage-ID: <1@sender.example>\r\nSubject: hello\r\n\r\nhello\r\n"

// notice is about a message to two recipients, of which the first has failed.
func notice() Notice {
	refused := queue.Result{At: noon, Action: queue.Failed, Scope: queue.ScopeOneRecipient, Host: "mx.corp.example", Address: "192.0.2.25:25",
		Reply: queue.Reply{Command: "RCPT", Code: 550, Enhanced: "5.1.10", Text: "RESOLVER.ADR.RecipientNotFound; Recipient not found\nby SMTP address lookup"}}
	return Notice{Kind: Failure, At: noon.Add(time.Second), ID: "374kdrw00001", Hostname: "mx2.corp.example", Original: []byte(hello), Recipients: []int{0},
		Message: queue.Message{ID: "374kdrw00000", AcceptedAt: noon.Add(-time.Hour), Lifetime: queue.DefaultLifetime, MessageID: "<1@sender.example>",
			Envelope: queue.Envelope{ReversePath: "a@sender.example", Params: queue.Params{EnvID: "QQ314159"}, Origin: queue.Origin{Hello: "mail.sender.example"},
				Recipients: []queue.Recipient{{ForwardPath: "bob@corp.example", ORcpt: "rfc822;Bob@corp.example", Last: refused}, {ForwardPath: "carol@corp.example"}}}}}
}

// report is what a reader of mail finds in a notification.
type report struct {
	header  mail.Header
	text    string
	kinds   []string
	message textproto.MIMEHeader
	each    []textproto.MIMEHeader
	last    []byte // of the part that is returned
}

// read reads a notification as strictly as the standard library does, and
// checks what holds for every one.
func read(c Composed) (r report, err error) {
	for i, line := range strings.Split(strings.TrimSuffix(string(c.Content), "\r\n"), "\r\n") {
		if len(line) > maxLine || strings.ContainsAny(line, "\r\n\x00") || !c.EightBit && !isASCII(line) {
			return r, fmt.Errorf("line %d cannot be sent: %.200q", i, line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(c.Content))
	if err != nil {
		return r, err
	}
	r.header = m.Header
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		return r, fmt.Errorf("%s %v, %w", kind, params, errors.Join(err, errors.New("no report")))
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return r, err
		}
		if err := r.part(p); err != nil {
			return r, err
		}
	}
	if len(r.kinds) < 2 || len(r.kinds) > 3 || r.message == nil || len(r.each) == 0 {
		return r, fmt.Errorf("parts %v, %d recipients", r.kinds, len(r.each))
	}
	return r, nil
}

func (r *report) part(p *multipart.Part) error {
	var in io.Reader = p
	if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		in = quotedprintable.NewReader(p)
	}
	body, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	r.kinds = append(r.kinds, kind)
	switch len(r.kinds) {
	case 1:
		r.text = string(body)
	case 2:
		groups := textproto.NewReader(bufio.NewReader(bytes.NewReader(body)))
		for {
			group, err := groups.ReadMIMEHeader()
			switch {
			case len(group) == 0 && err == io.EOF:
				return nil
			case err != nil && err != io.EOF:
				return err
			case r.message == nil:
				r.message = group
			default:
				r.each = append(r.each, group)
			}
		}
	default:
		r.last = body
	}
	return nil
}

func mustRead(t *testing.T, c Composed) report {
	t.Helper()
	r, err := read(c)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Content)
	}
	return r
}

func wantFields(t *testing.T, got textproto.MIMEHeader, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, got.Get(name), value)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("one too many: %s: %q", name, got.Get(name))
		}
	}
}

func TestFailure(t *testing.T) {
	n := notice()
	n.Outages = []Outage{{noon.Add(-3 * time.Hour), noon.Add(-time.Minute)}}
	c := Compose(n)
	r := mustRead(t, c)
	if c.EightBit || c.UTF8 || c.MessageID != "<374kdrw00001.dsn@mx2.corp.example>" {
		t.Errorf("%v %v %s", c.EightBit, c.UTF8, c.MessageID)
	}
	for name, want := range map[string]string{"From": "Mail Delivery System <MAILER-DAEMON@mx2.corp.example>", "To": "<a@sender.example>",
		"Subject": "Undelivered mail: it is returned to its sender", "Date": "Thu, 12 Mar 2026 12:00:01 +0000", "Message-ID": c.MessageID,
		"In-Reply-To": "<1@sender.example>", "References": "<1@sender.example>", "Auto-Submitted": "auto-replied", "MIME-Version": "1.0",
		"Content-Transfer-Encoding": "7bit"} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	wantFields(t, r.message, map[string]string{"Original-Envelope-Id": "QQ314159", "Reporting-Mta": "dns; mx2.corp.example",
		"Received-From-Mta": "dns; mail.sender.example", "Arrival-Date": "Thu, 12 Mar 2026 11:00:00 +0000"})
	wantFields(t, r.each[0], map[string]string{"Original-Recipient": "rfc822; Bob@corp.example", "Final-Recipient": "rfc822; bob@corp.example",
		"Action": "failed", "Status": "5.1.10", "Remote-Mta": "dns; mx.corp.example", "Last-Attempt-Date": "Thu, 12 Mar 2026 12:00:00 +0000", "Final-Log-Id": "374kdrw00000",
		"Diagnostic-Code": "smtp; 550-5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found 550 5.1.10 by SMTP address lookup"})
	if len(r.each) != 1 || fmt.Sprint(r.kinds) != "[text/plain message/delivery-status text/rfc822-headers]" {
		t.Errorf("%d recipients, %v", len(r.each), r.kinds)
	}
	if want, _, _ := strings.Cut(hello, "\r\n\r\n"); string(r.last) != want+"\r\n" {
		t.Errorf("returned %q", r.last)
	}
	words := strings.Join(strings.Fields(r.text), " ")
	for _, want := range []string{"could not be delivered to the recipient below",
		"The mail system of corp.example could not take mail from 09:00 on 12 March 2026 UTC to 11:59 on 12 March 2026 UTC.",
		"<bob@corp.example> mx.corp.example said: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found / by SMTP address lookup"} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in the text:\n%s", want, r.text)
		}
	}
}

func TestKindsOfNotifications(t *testing.T) {
	last := func(n *Notice) *queue.Result { return &n.Message.Envelope.Recipients[0].Last }
	for name, test := range map[string]struct {
		change               func(*Notice)
		action, status, text string
	}{
		"failure":  {func(*Notice) {}, "failed", "5.1.10", "It will not be tried again."},
		"delay":    {func(n *Notice) { n.Kind = Delay; last(n).Reply = queue.Reply{Code: 452, Enhanced: "4.2.2"} }, "delayed", "4.2.2", "it will be tried until 11:00 on 17 March 2026 UTC."},
		"relayed":  {func(n *Notice) { n.Kind = Relayed; last(n).Reply = queue.Reply{Code: 250, Enhanced: "2.6.0"} }, "relayed", "2.6.0", "this is the last word you get of it."},
		"given up": {func(n *Notice) { n.GivenUp = true; *last(n) = queue.Result{} }, "failed", "5.0.0", "The people who run this system have stopped trying. <bob@corp.example> It was not tried."},
		"expired": {func(n *Notice) {
			last(n).Reply = queue.Reply{Code: 452, Enhanced: "4.2.2", Text: queue.LifetimeOver + "full"}
		},
			"failed", "4.4.7", "It has been tried for as long as mail is kept. mx.corp.example said: 452 4.2.2 full"},
		"the classes disagree": {func(n *Notice) { last(n).Reply.Enhanced = "4.4.4" }, "failed", "5.4.4", "4.4.4"},
		"no enhanced code":     {func(n *Notice) { last(n).Reply.Enhanced = "" }, "failed", "5.0.0", "550 RESOLVER"},
		"no reply":             {func(n *Notice) { last(n).Reply = queue.Reply{Text: "broken off"} }, "failed", "5.0.0", "The last attempt ended so: broken off"},
		"no host":              {func(n *Notice) { last(n).Host = "" }, "failed", "5.1.10", "The reply was: 550"},
		"an outage that lasts": {func(n *Notice) { n.Outages = []Outage{{From: noon}} }, "failed", "5.1.10", "not been able to take mail since 12:00 on 12 March 2026 UTC."},
		"two recipients":       {func(n *Notice) { n.Recipients = []int{0, 1} }, "failed", "5.1.10", "the recipients below"},
	} {
		t.Run(name, func(t *testing.T) {
			n := notice()
			test.change(&n)
			r := mustRead(t, Compose(n))
			if len(r.each) != len(n.Recipients) || r.each[0].Get("Action") != test.action || r.each[0].Get("Status") != test.status {
				t.Errorf("%v", r.each)
			}
			if words := strings.Join(strings.Fields(r.text), " "); !strings.Contains(words, test.text) {
				t.Errorf("no %q in the text:\n%s", test.text, r.text)
			}
			if retry := r.each[0].Get("Will-Retry-Until"); (retry != "") != (n.Kind == Delay) {
				t.Errorf("retry until %q", retry)
			}
		})
	}
}

func TestReturned(t *testing.T) {
	long := strings.Repeat("x", 1200)
	body := "\r\n\r\n" + strings.Repeat(strings.Repeat("b", 70)+"\r\n", 20000)
	for name, test := range map[string]struct {
		change   func(*Notice)
		kind     string // "" is nothing
		eightBit bool
		size     int // at least, of what is returned
	}{
		"the header":              {func(*Notice) {}, "text/rfc822-headers", false, 50},
		"the whole":               {func(n *Notice) { n.Message.Envelope.Params.Ret = "FULL" }, "message/rfc822", false, len(hello)},
		"HDRS":                    {func(n *Notice) { n.Message.Envelope.Params.Ret = "HDRS" }, "text/rfc822-headers", false, 50},
		"the whole of a delay":    {func(n *Notice) { n.Message.Envelope.Params.Ret = "FULL"; n.Kind = Delay }, "text/rfc822-headers", false, 50},
		"8-bit":                   {func(n *Notice) { n.Message.Envelope.Params.Ret = "FULL"; n.Original = []byte(hello + "grün") }, "message/rfc822", true, len(hello)},
		"8-bit header":            {func(n *Notice) { n.Original = []byte("Subject: grün \xff\r\n\r\n") }, "text/rfc822-headers", false, 16},
		"a long line":             {func(n *Notice) { n.Message.Envelope.Params.Ret = "FULL"; n.Original = []byte(hello + long) }, "text/rfc822-headers", false, 50},
		"a long line of a header": {func(n *Notice) { n.Original = []byte("Subject: " + long + "\r\n\r\n") }, "text/rfc822-headers", false, 1200},
		"too long":                {func(n *Notice) { n.Message.Envelope.Params.Ret = "FULL"; n.Original = []byte("A: b" + body) }, "text/rfc822-headers", false, 6},
		"cut":                     {func(n *Notice) { n.Message.Envelope.Params.Ret = "FULL"; n.Cut = true }, "text/rfc822-headers", false, 50},
		"a header without end":    {func(n *Notice) { n.Original = []byte(strings.Repeat("A: b\r\n", 20000)) }, "text/rfc822-headers", false, 60000},
		"one long line":           {func(n *Notice) { n.Original = []byte(long) }, "", false, 0},
		"nothing":                 {func(n *Notice) { n.Original = nil }, "", false, 0},
		"international":           {func(n *Notice) { n.Message.Envelope.Params.SMTPUTF8 = true }, "message/global-headers", true, 50},
		"international whole": {func(n *Notice) { n.Message.Envelope.Params = queue.Params{Ret: "FULL", SMTPUTF8: true} },
			"message/global", true, len(hello)},
	} {
		t.Run(name, func(t *testing.T) {
			n := notice()
			test.change(&n)
			c := Compose(n)
			r := mustRead(t, c)
			kind := ""
			if len(r.kinds) == 3 {
				kind = r.kinds[2]
			}
			if kind != test.kind || c.EightBit != test.eightBit || len(r.last) < test.size {
				t.Errorf("%q, 8-bit %v, %d bytes", kind, c.EightBit, len(r.last))
			}
			if strings.HasPrefix(kind, "message/") && n.Message.Envelope.Params.Ret == "FULL" && !bytes.Equal(r.last, n.Original) {
				t.Errorf("returned %q", r.last)
			}
			if len(c.Content) > MaxOriginal+100<<10 {
				t.Errorf("%d bytes", len(c.Content))
			}
		})
	}
}

func TestInternational(t *testing.T) {
	n := notice()
	n.Message.Envelope.ReversePath, n.Message.Envelope.Params.SMTPUTF8 = "grün@sender.example", true
	n.Message.Envelope.Recipients[0].ForwardPath, n.Message.Envelope.Recipients[0].ORcpt = "blå@corp.example", "utf-8;blå@corp.example"
	n.Message.Envelope.Recipients[0].Last.Reply.Text = "ingen blå"
	c := Compose(n)
	r := mustRead(t, c)
	if !c.UTF8 || !c.EightBit || r.header.Get("To") != "<grün@sender.example>" || r.kinds[1] != "message/global-delivery-status" || r.header.Get("Content-Transfer-Encoding") != "8bit" {
		t.Errorf("%v %q %v", c.UTF8, r.header.Get("To"), r.kinds)
	}
	if e := r.each[0]; e.Get("Final-Recipient") != "utf-8; blå@corp.example" || e.Get("Original-Recipient") != "utf-8; blå@corp.example" || e.Get("Diagnostic-Code") != "smtp; 550 5.1.10 ingen blå" {
		t.Errorf("%v", e)
	}
	n.Message.Envelope.ReversePath, n.Message.Envelope.Params.SMTPUTF8 = "a@sender.example", false // RFC 6533 3: in a report of ASCII
	n.Message.Envelope.Recipients[0].ForwardPath = "bl+å@corp.example"
	r = mustRead(t, Compose(n))
	if e := r.each[0]; e.Get("Final-Recipient") != `utf-8; bl\x{2B}\x{E5}@corp.example` || e.Get("Original-Recipient") != `utf-8; bl\x{E5}@corp.example` || e.Get("Diagnostic-Code") != `smtp; 550 5.1.10 ingen bl\x{E5}` {
		t.Errorf("%v", e)
	}
}

// TestInjection: what others wrote stays where it belongs.
func TestInjection(t *testing.T) {
	const evil = "x\r\nBcc: all@corp.example\r\n\r\n--=_mxkeep_374kdrw00001_0--\r\n\x00\x1b[31m\u202e"
	n := notice()
	n.Message.MessageID, n.Message.Envelope.Params.EnvID, n.Message.Envelope.Origin.Hello = "<"+evil+">", evil, evil
	r0 := &n.Message.Envelope.Recipients[0]
	r0.ORcpt, r0.Last.Reply.Text, r0.Last.Host, r0.Last.Reply.Enhanced = "rfc822;"+evil, evil, evil, evil
	n.Original = []byte("Subject: " + evil + "\r\n\r\n")
	r := mustRead(t, Compose(n))
	if len(r.header) != 9 || r.header.Get("Bcc") != "" || len(r.message) != 3 || len(r.each) != 1 || len(r.each[0]) != 8 {
		t.Errorf("%v\n%v\n%v", r.header, r.message, r.each)
	}
	if strings.Contains(r.text, "\x1b") || strings.Contains(r.text, "\u202e") {
		t.Errorf("text %q", r.text)
	}
	r0.ORcpt = "rfc822\r\nBcc: x;y"
	if e := mustRead(t, Compose(n)).each[0]; len(e) != 7 {
		t.Errorf("%v", e)
	}
}

func TestManyRecipients(t *testing.T) {
	n := notice()
	one := n.Message.Envelope.Recipients[0]
	n.Message.Envelope.Recipients, n.Recipients, n.Outages = nil, nil, nil
	for i := range 100 {
		one.ForwardPath = fmt.Sprintf("r%d@corp.example", i)
		n.Message.Envelope.Recipients, n.Recipients = append(n.Message.Envelope.Recipients, one), append(n.Recipients, i)
		n.Outages = append(n.Outages, Outage{noon, noon.Add(time.Minute)})
	}
	r := mustRead(t, Compose(n))
	if len(r.each) != 100 || strings.Count(r.text, "@corp.example>") != maxShown || !strings.Contains(r.text, "... and 80 more") || strings.Count(r.text, "could not take mail") > maxShown {
		t.Errorf("%d recipients\n%s", len(r.each), r.text)
	}
}

func TestFields(t *testing.T) {
	long, wide := strings.Repeat("y", 2500), strings.Repeat("å", 600)
	for value, want := range map[string]string{
		"":                                 "",
		" a  b ":                           "a  b",
		`"a  b"@x.example`:                 `"a  b"@x.example`,
		long:                               "",
		strings.Repeat("z", 5000):          "",
		strings.Repeat("word ", 9):         strings.TrimSpace(strings.Repeat("word ", 9)),
		wide:                               "",
		"\xff\x7f":                         `\x{FF}\x{7F}`,
		strings.Repeat("abc ", 25) + "end": strings.Repeat("abc ", 25) + "end",
	} {
		for _, utf8 := range []bool{false, true} {
			var b bytes.Buffer
			fields{out: &b, utf8: utf8}.add("X-Field", value)
			for line := range strings.SplitSeq(b.String(), "\r\n") {
				if len(line) > maxLine {
					t.Errorf("a line of %d bytes", len(line))
				}
			}
			m, err := mail.ReadMessage(strings.NewReader(b.String() + "\r\n"))
			if err != nil || len(m.Header) != 1 {
				t.Errorf("%q: %v", b.String(), err)
				continue
			}
			unfolded := strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(b.String(), "\r\n", ""), "X-Field:"))
			if want != "" && unfolded != want {
				t.Errorf("%q is %q", value, unfolded)
			}
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("a@sender.example", "bob@corp.example", "rfc822;bob@corp.example", "550 no", "5.1.1", "mx.example", "env", "<1@x>", hello, uint8(0))
	f.Add("grün@x.example", "b@å.example", "utf-8;å", "a\nb\r\nc", "x", "\r\n", "\x00", "<\r\n>", "A: b\r\n c\r\n\r\n--=_mxkeep_374kdrw00001_0\r\n", uint8(255))
	f.Add("", "\xff", ";", strings.Repeat("y", 3000), "4.4.7", "", strings.Repeat("e ", 900), "", "--=_mxkeep_374kdrw00001_0--", uint8(7))
	f.Fuzz(func(t *testing.T, from, to, orcpt, text, enhanced, host, envid, messageID, original string, flags uint8) {
		n := notice()
		e := &n.Message.Envelope
		if strings.ContainsAny(from, "\r\n") {
			return // no path has such letters
		}
		e.ReversePath, e.Params.EnvID, n.Message.MessageID, n.Original = from, envid, messageID, []byte(original)
		e.Origin.Hello = host
		e.Recipients[0] = queue.Recipient{ForwardPath: to, ORcpt: orcpt, Last: queue.Result{At: noon, Host: host, Reply: queue.Reply{Code: 100 * int(flags%7), Enhanced: enhanced, Text: text}}}
		n.Kind = []Kind{Failure, Delay, Relayed}[flags%3]
		e.Params.SMTPUTF8, n.GivenUp, n.Cut = flags&8 != 0, flags&16 != 0, flags&32 != 0
		if flags&64 != 0 {
			e.Params.Ret = "FULL"
		}
		if flags&128 != 0 {
			n.Recipients = []int{1, 0}
		}
		c := Compose(n)
		r, err := read(c)
		if err != nil {
			t.Fatalf("%v\n%q", err, c.Content)
		}
		if len(r.each) != len(n.Recipients) || len(r.header) > 11 || r.header.Get("Auto-Submitted") != "auto-replied" || len(c.Content) > 10*len(original)+100<<10 {
			t.Errorf("%d recipients, header %v, %d bytes", len(r.each), r.header, len(c.Content))
		}
	})
}
