package milter

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	milter "github.com/d--j/go-milter"
)

// TestTold: a filter hears the envelope, with the macros that rspamd reads, each
// field as it is, and the body.
func TestTold(t *testing.T) {
	p, h := server(t, nil)
	m := message(letter)
	if v := ask(t, m, filter(t, "one", p, nil)); v.Action != Accept || len(v.Header) > 0 || v.Reason != "" {
		t.Errorf("%+v", v)
	}
	want := `connect client.example tcp4 192.0.2.1 j=mx2.example daemon=mxkeep client=192.0.2.1 client.example
helo helo.example tls=TLSv1.3 TLS_AES_128_GCM_SHA256 128
mail s@far.example i=k3m9x2q7w4te addr=s@far.example host=far.example
rcpt a@d.example addr=a@d.example host=d.example
rcpt b@d.example addr=b@d.example host=d.example
header "Received" "from a\n\tby b"
header "Subject" "x"
header "X-Space" " two "
body "body\r\n"
end i=k3m9x2q7w4te`
	if h.String() != want {
		t.Errorf("heard\n%s", h)
	}
}

// TestToldOfStrangers: nobody's name, no TLS, IPv6, the null reverse-path, no network.
func TestToldOfStrangers(t *testing.T) {
	for client, want := range map[string]string{
		"2001:db8::7": "connect unknown tcp6 2001:db8::7 j=mx2.example daemon=mxkeep client=2001:db8::7 unknown\nhelo helo.example tls=  \nmail  i=k3m9x2q7w4te addr= host=\n",
		"":            "connect unknown unknown  j=mx2.example daemon=mxkeep client= unknown\nhelo",
	} {
		p, h := server(t, nil)
		m := message("Subject: x\r\n\r\n")
		m.Host, m.TLS, m.Cipher, m.ReversePath = "", "", "", ""
		m.Client, _ = netip.ParseAddr(client)
		ask(t, m, filter(t, "one", p, nil))
		if !strings.HasPrefix(h.String(), want) {
			t.Errorf("heard\n%s", h)
		}
	}
}

// TestFieldsAsTheyAre: a filter may ask for the space behind the colon.
func TestFieldsAsTheyAre(t *testing.T) {
	first, _ := server(t, on{"end": do(func(m milter.Modifier) error { return m.AddHeader("X-First", "1\n\tof 2") })})
	p, h := server(t, nil, milter.WithProtocol(milter.OptHeaderLeadingSpace))
	v := ask(t, message(letter), filter(t, "first", first, nil), filter(t, "one", p, nil))
	if string(v.Header) != "X-First: 1\r\n\tof 2\r\n" {
		t.Errorf("%q", v.Header)
	}
	if !strings.Contains(h.String(), "header \"X-First\" \" 1\\n\\tof 2\"\nheader \"Received\" \" from a\\n\\tby b\"\nheader \"Subject\" \"x\"\n") {
		t.Errorf("heard\n%s", h)
	}
}

func code(t testing.TB, code uint16, text string) func(milter.Modifier) (*milter.Response, error) {
	t.Helper()
	r, err := milter.RejectWithCodeAndReason(code, text)
	if err != nil {
		t.Fatal(err)
	}
	return say(r)
}

// TestAnswers: what a filter says, at which stage ever, is what becomes of the message.
func TestAnswers(t *testing.T) {
	held := func(m milter.Modifier) error { return m.Quarantine("Eicar\x1b found") }
	for name, c := range map[string]struct {
		on     on
		action Action
		says   string // the reply, or why it is held
	}{
		"reject":              {on{"end": say(milter.RespReject)}, Reject, "550 5.7.1 the message was refused"},
		"reject at connect":   {on{"connect": say(milter.RespReject)}, Reject, "550 5.7.1 the message was refused"},
		"reject at HELO":      {on{"helo": say(milter.RespReject)}, Reject, "550 5.7.1 the message was refused"},
		"reject a recipient":  {on{"rcpt": say(milter.RespReject)}, Reject, "550 5.7.1 the message was refused"},
		"reject at a field":   {on{"header": say(milter.RespReject)}, Reject, "550 5.7.1 the message was refused"},
		"reject in the body":  {on{"body": say(milter.RespReject)}, Reject, "550 5.7.1 the message was refused"},
		"own reply":           {on{"end": code(t, 554, "5.7.1 Gtube\npattern")}, Reject, "554 5.7.1 Gtube pattern"},
		"own reply, no code":  {on{"end": code(t, 554, "spam")}, Reject, "554 5.7.1 spam"},
		"wrong status":        {on{"end": code(t, 550, "4.7.1 spam")}, Reject, "550 5.7.1 spam"},
		"odd letters":         {on{"end": code(t, 550, "5.7.1 sp\u00e4m\x7f")}, Reject, "550 5.7.1 sp?m?"},
		"long":                {on{"end": code(t, 550, "5.7.1 "+strings.Repeat("x", 600))}, Reject, "550 5.7.1 " + strings.Repeat("x", 400)},
		"only a status":       {on{"end": code(t, 550, "5.7.9 ")}, Reject, "550 5.7.9 the message was refused"},
		"tempfail":            {on{"end": say(milter.RespTempFail)}, Defer, "451 4.7.1 the message is not taken now, try again later"},
		"own tempfail":        {on{"data": code(t, 450, "4.7.1 greylisted")}, Defer, "450 4.7.1 greylisted"},
		"421":                 {on{"headers": code(t, 421, "4.7.0 go away")}, Defer, "451 4.7.0 go away"},
		"accept at once":      {on{"mail": say(milter.RespAccept)}, Accept, ""},
		"accept":              {on{"end": say(milter.RespAccept)}, Accept, ""},
		"discard":             {on{"end": say(milter.RespDiscard)}, Hold, "filter one wants it discarded"},
		"discard early":       {on{"body": say(milter.RespDiscard)}, Hold, "filter one wants it discarded"},
		"quarantine":          {on{"end": do(held)}, Hold, `filter one: Eicar\x1b found`},
		"quarantine, refused": {on{"end": func(m milter.Modifier) (*milter.Response, error) { return milter.RespReject, held(m) }}, Reject, "550 5.7.1 the message was refused"},
		"a long wait":         {on{"end": do(func(m milter.Modifier) error { return m.Progress() }), "body": do(func(m milter.Modifier) error { return m.Progress() })}, Accept, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := server(t, c.on)
			f := filter(t, "one", p, nil)
			v := ask(t, message(letter), f)
			says := v.Reason
			if v.Action > Hold {
				says = v.Reply.Error()
			}
			if v.Action != c.action || says != c.says || v.Failed {
				t.Errorf("%+v", v)
			}
			if s := f.Status(); s.Answers[c.action.String()] != 1 || s.Failed != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestSkips: a filter that needs no more of something is told no more of it.
func TestSkips(t *testing.T) {
	p, h := server(t, on{"rcpt": say(milter.RespSkip), "header": say(milter.RespSkip), "body": say(milter.RespSkip)}, milter.WithProtocol(milter.OptSkip))
	ask(t, message("A: 1\r\nB: 2\r\n\r\n"+strings.Repeat("x", 200<<10)), filter(t, "one", p, nil))
	if got := h.String(); strings.Count(got, "rcpt") != 1 || strings.Count(got, "header") != 1 || strings.Count(got, "body") != 1 || !strings.HasSuffix(got, "end i=k3m9x2q7w4te") {
		t.Errorf("heard\n%s", got)
	}
	p, h = server(t, nil, milter.WithProtocol(milter.OptNoBody|milter.OptNoHeaders|milter.OptNoReplies|milter.OptNoRcptTo))
	ask(t, message(letter), filter(t, "one", p, nil))
	if got := h.String(); strings.Contains(got, "rcpt") || strings.Contains(got, "header") || strings.Contains(got, "body") {
		t.Errorf("heard\n%s", got)
	}
}

// TestShapesOfContent: where a header ends, and what is too long.
func TestShapesOfContent(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	for name, c := range map[string]struct{ content, heard string }{
		"nothing":          {"", `body ""`},
		"no body":          {"A: 1\r\n", `header "A" "1"` + "\n" + `body ""`},
		"no header":        {"\r\nbody", `body "body"`},
		"cut off":          {"A: 1", `header "A" "1"` + "\n" + `body ""`},
		"no field":         {"A: 1\r\nno field\r\n\r\nx", `header "A" "1"` + "\n" + `body "no field\r\n\r\nx"`},
		"no name":          {": x\r\n\r\n", `body ": x\r\n\r\n"`},
		"a name in two":    {"A B: x\r\n", `body "A B: x\r\n"`},
		"space before":     {"A \t: 1\r\n\r\n", `header "A" "1"` + "\n" + `body ""`},
		"a NUL":            {"A: 1\x002\r\n\r\n", `header "A" "1 2"` + "\n" + `body ""`},
		"folded to no end": {"A:\r\n \r\n\t\r\n\r\nx", `header "A" "\n \n\t"` + "\n" + `body "x"`},
		"a long name":      {strings.Repeat("n", 1200) + ": x\r\n", "body of 1205"},
		"a long body":      {"A: 1\r\n\r\n" + long, `header "A" "1"` + "\nbody of 65535\nbody of 6145"},
	} {
		t.Run(name, func(t *testing.T) {
			p, h := server(t, nil)
			ask(t, message(c.content), filter(t, "one", p, nil))
			_, got, _ := strings.Cut(h.String(), "rcpt b@d.example addr=b@d.example host=d.example\n")
			if got != c.heard+"\nend i=k3m9x2q7w4te" {
				t.Errorf("heard %s", got)
			}
		})
	}
	for _, content := range []string{"A: " + long + "\r\nB: 2\r\n\r\n", "A: x\r\n " + long + "\r\nB: 2\r\n\r\n", "A: " + strings.Repeat("x\r\n ", 30<<10) + "\r\nB: 2\r\n\r\n"} {
		p, h := server(t, nil)
		ask(t, message(content), filter(t, "one", p, nil))
		_, got, _ := strings.Cut(h.String(), `header "A" `)
		if field, rest, _ := strings.Cut(got, "\n"); len(field) < maxField-100 || len(field) > maxField*4/3 || !strings.HasPrefix(rest, `header "B" "2"`) {
			t.Errorf("a field of %d, then %.60q", len(field), rest)
		}
	}
}

// TestAdded: fields of filters stand in their order, and cannot be more than fields.
func TestAdded(t *testing.T) {
	for name, c := range map[string]struct{ field, value, want string }{
		"plain":          {"X-Spam", "Yes", "X-Spam: Yes\r\n"},
		"folded":         {"X", "a;\n\tb\r\nc\rd", "X: a;\r\n\tb\r\n\tc\r\n\td\r\n"},
		"forged end":     {"X", "a\r\n\r\nbody", "X: a\r\n\tbody\r\n"},
		"only white":     {"X", " a\n \n\t\n", "X: a\r\n"},
		"empty":          {"X", "", "X: \r\n"},
		"controls":       {"X", "a\x01\x7f\tb ", "X: a  \tb\r\n"},
		"UTF-8":          {"X", "ä\xff", "X: ??\r\n"},
		"a bad name":     {"X Y", "a", ""},
		"no name":        {"", "a", ""},
		"a forged field": {"X:\r\nY", "a", ""},
		"Received":       {"received", "from a by b", ""},
		"a long line":    {"X", strings.Repeat("x", 1000), ""},
		"a long name":    {strings.Repeat("X", 101), "a", ""},
	} {
		f, err := clean(c.field, c.value, false)
		if got := f.name + ": " + f.value + "\r\n"; (err != nil) != (c.want == "") || err == nil && got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if f, _ := clean("X", "ä\xff", true); f.value != "ä?" {
		t.Errorf("%q", f.value)
	}
	first, _ := server(t, on{"end": do(func(m milter.Modifier) error {
		return errors.Join(m.AddHeader("X-A", "1"), m.InsertHeader(0, "X-B", "2"), m.Quarantine("look"))
	})})
	second, h := server(t, on{"end": do(func(m milter.Modifier) error { return m.AddHeader("X-C", "3") })})
	v := ask(t, message(letter), filter(t, "first", first, nil), filter(t, "second", second, nil))
	if string(v.Header) != "X-A: 1\r\nX-B: 2\r\nX-C: 3\r\n" || v.Action != Hold || v.Reason != "filter first: look" {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(h.String(), "header \"X-A\" \"1\"\nheader \"X-B\" \"2\"\nheader \"Received\"") {
		t.Errorf("heard\n%s", h)
	}
}

// TestOrder: the first that refuses decides, and the others are not asked.
func TestOrder(t *testing.T) {
	holds, _ := server(t, on{"end": do(func(m milter.Modifier) error { return m.Quarantine("look") })})
	defers, _ := server(t, on{"end": say(milter.RespTempFail)})
	refuses, h := server(t, on{"end": say(milter.RespReject)})
	if v := ask(t, message(letter), filter(t, "a", holds, nil), filter(t, "b", defers, nil), filter(t, "c", refuses, nil)); v.Action != Defer || v.Filter != "b" {
		t.Errorf("%+v", v)
	}
	if h.String() != "" {
		t.Errorf("heard\n%s", h)
	}
	if v := ask(t, message(letter), filter(t, "c", refuses, nil), filter(t, "b", defers, nil)); v.Action != Reject || v.Filter != "c" {
		t.Errorf("%+v", v)
	}
}

// TestTooMuchAdded: what is more than the bounds is left out, and counted.
func TestTooMuchAdded(t *testing.T) {
	for name, change := range map[string]func(milter.Modifier) error{
		"fields": func(m milter.Modifier) (err error) {
			for range 150 {
				err = errors.Join(err, m.AddHeader("X", "1"))
			}
			return err
		},
		"bytes": func(m milter.Modifier) (err error) {
			for range 60 {
				err = errors.Join(err, m.AddHeader("X", strings.Repeat("x", 900)))
			}
			return err
		},
	} {
		p, _ := server(t, on{"end": do(change)})
		l := &logs{}
		f := filter(t, "one", p, toLog(l))
		if v := ask(t, message(letter), f); v.Action != Accept || len(v.Header) > maxAddedBytes+1000 || strings.Count(string(v.Header), "\r\n") > maxAdded {
			t.Errorf("%s: %d octets", name, len(v.Header))
		}
		if s := f.Status(); s.Ignored != 1 || s.Fields == 0 || !strings.Contains(l.String(), "what=[bad_field]") {
			t.Errorf("%s: %+v\n%s", name, s, l)
		}
	}
}

// TestContentFails: what cannot be read is no failure of the filter.
func TestContentFails(t *testing.T) {
	broken := errors.New("the disk")
	p, _ := server(t, nil)
	for name, content := range map[string]func() (io.ReadCloser, error){
		"open": func() (io.ReadCloser, error) { return nil, broken },
		"read": func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil },
		"body": func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(letter), iotest.ErrReader(broken))), nil
		},
	} {
		m := message("")
		m.Content = content
		f := filter(t, "one", p, nil)
		if v, err := (Chain{f}).Ask(t.Context(), m); !errors.Is(err, broken) || v.Action != Accept {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		if s := f.Status(); s.Failed != 0 || s.Failure != "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestCancelled: who asks may give up, which is no failure of the filter.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, _ := server(t, on{"end": func(milter.Modifier) (*milter.Response, error) { cancel(); return nil, errors.New("gone") }})
	f := filter(t, "one", p, nil)
	if v, err := (Chain{f}).Ask(ctx, message(letter)); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", v, err)
	}
	if s := f.Status(); s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCipherBits(t *testing.T) {
	for suite, want := range map[string]string{"TLS_AES_256_GCM_SHA384": "256", "TLS_CHACHA20_POLY1305_SHA256": "256", "TLS_AES_128_GCM_SHA256": "128", "": ""} {
		if got := cipherBits(suite); got != want {
			t.Errorf("%s: %s", suite, got)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {Name: "a"}, {Name: "a", Address: "b", Network: "udp"}, {Name: "a", Address: "b", Network: "tcp", OnFailure: Reject}} {
		if f, err := New(o); err == nil {
			t.Errorf("%+v", f)
		}
	}
	f, err := New(Options{Name: "a", Address: "h:1", Network: "tcp"})
	if err != nil || f.options.Timeout == 0 || cap(f.places) == 0 || (Chain{f}).Status()[0].Address != "h:1" {
		t.Errorf("%+v, %v", f, err)
	}
}
