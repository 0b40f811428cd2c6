package outbound

import (
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

func path(t *testing.T, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseExtensions(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		want  extensions
	}{
		{"nothing", nil, extensions{}},
		{"the greeting is no keyword", []string{"PIPELINING"}, extensions{}},
		{"all", []string{"relay.example", "SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "8BITMIME", "SMTPUTF8", "REQUIRETLS"},
			extensions{startTLS: true, pipelining: true, eightBit: true, utf8: true, dsn: true, requireTLS: true, size: true, limit: 157286400}},
		{"keywords have no case", []string{"", "Pipelining", "dsn"}, extensions{pipelining: true, dsn: true}},
		{"SIZE without a limit", []string{"", "SIZE"}, extensions{size: true}},
		{"SIZE 0 is no limit", []string{"", "SIZE 0"}, extensions{size: true}},
		{"SIZE that is no number", []string{"", "SIZE big"}, extensions{size: true}},
		{"a word that begins like a keyword", []string{"", "DSNX", "XPIPELINING"}, extensions{}},
	} {
		if got := parseExtensions(test.lines); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestLacks(t *testing.T) {
	full := extensions{utf8: true, eightBit: true, requireTLS: true, size: true, limit: 100}
	for _, test := range []struct {
		name   string
		params queue.Params
		size   int64
		utf8   bool
		offer  extensions
		want   string
	}{
		{"everything is offered", queue.Params{Body: "8BITMIME", RequireTLS: true}, 100, true, full, ""},
		{"nothing is needed", queue.Params{Body: "7BIT"}, 1 << 40, false, extensions{}, ""},
		{"SMTPUTF8", queue.Params{}, 1, true, extensions{}, "SMTPUTF8"},
		{"8BITMIME", queue.Params{Body: "8BITMIME"}, 1, false, extensions{}, "8BITMIME"},
		{"REQUIRETLS", queue.Params{RequireTLS: true}, 1, false, extensions{}, "REQUIRETLS"},
		{"size", queue.Params{}, 101, false, full, "101 bytes"},
	} {
		got := test.offer.lacks(queue.Message{Envelope: queue.Envelope{Params: test.params}, Size: test.size}, test.utf8).Text()
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	if got := (&session{extensions: full}).lacks(queue.Message{Envelope: queue.Envelope{Params: queue.Params{RequireTLS: true}}}, false).Text(); !strings.Contains(got, "not verified") {
		t.Errorf("REQUIRETLS without a verified name: %q", got)
	}
}

func TestMailLine(t *testing.T) {
	all := extensions{size: true, eightBit: true, utf8: true, dsn: true, requireTLS: true}
	rich := queue.Params{Body: "8BITMIME", Ret: "HDRS", EnvID: "a b+c", RequireTLS: true}
	for _, test := range []struct {
		name, path string
		params     queue.Params
		utf8       bool
		offer      extensions
		want       string
	}{
		{"bare", "a@x.example", queue.Params{}, false, extensions{}, "MAIL FROM:<a@x.example>"},
		{"null reverse-path", "", queue.Params{}, false, extensions{}, "MAIL FROM:<>"},
		{"quoted", `"a b"@x.example`, queue.Params{}, false, extensions{}, `MAIL FROM:<"a b"@x.example>`},
		{"everything", "a@x.example", rich, true, all, "MAIL FROM:<a@x.example> SIZE=7 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+20b+2Bc"},
		{"nothing is offered", "a@x.example", queue.Params{Body: "7BIT", Ret: "FULL", EnvID: "e"}, false, extensions{}, "MAIL FROM:<a@x.example>"},
		{"words that are not the protocol's", "a@x.example", queue.Params{Body: "X Y", Ret: "Z\r\n"}, false, all, "MAIL FROM:<a@x.example> SIZE=7"},
		{"an ENVID cannot end the line", "a@x.example", queue.Params{EnvID: "a\r\nRSET"}, false, extensions{dsn: true}, "MAIL FROM:<a@x.example> ENVID=a+0D+0ARSET"},
	} {
		got := test.offer.mailLine(path(t, test.path), queue.Message{Envelope: queue.Envelope{Params: test.params}, Size: 7}, test.utf8)
		if got != test.want {
			t.Errorf("%s: %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestRcptLine(t *testing.T) {
	for _, test := range []struct {
		name      string
		recipient queue.Recipient
		dsn       bool
		want      string
	}{
		{"bare", queue.Recipient{}, true, "RCPT TO:<b@corp.example>"},
		{"everything", queue.Recipient{Notify: []string{"FAILURE", "DELAY"}, ORcpt: "rfc822;b+c@corp.example"}, true,
			"RCPT TO:<b@corp.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2Bc@corp.example"},
		{"no DSN", queue.Recipient{Notify: []string{"NEVER"}, ORcpt: "rfc822;b@corp.example"}, false, "RCPT TO:<b@corp.example>"},
		{"a word that is none of NOTIFY", queue.Recipient{Notify: []string{"FAILURE", "X\r\nRSET"}}, true, "RCPT TO:<b@corp.example>"},
	} {
		if got := (extensions{dsn: test.dsn}).rcptLine(path(t, "b@corp.example"), test.recipient); got != test.want {
			t.Errorf("%s: %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestEncodeORcpt(t *testing.T) {
	for _, test := range []struct{ orcpt, want string }{
		{"", ""},
		{"rfc822", ""},
		{";a@x.example", ""},
		{"rfc 822;a@x.example", ""},
		{"rfc822;a@x.example", "rfc822;a@x.example"},
		{"rfc822;a b=c@x.example", "rfc822;a+20b+3Dc@x.example"},
		{"X-400;/c=de/", "X-400;/c+3Dde/"},
		{"rfc822;a\r\nRSET", "rfc822;a+0D+0ARSET"},
		{"utf-8;ü@x.example", `utf-8;\x{FC}@x.example`},
		{`UTF-8;a\b+c d@x.example`, `UTF-8;a\x{5C}b\x{2B}c\x{20}d@x.example`},
		{"utf-8;a\n", `utf-8;a\x{0A}`},
	} {
		if got := encodeORcpt(test.orcpt); got != test.want {
			t.Errorf("%q: %q, want %q", test.orcpt, got, test.want)
		}
	}
}
