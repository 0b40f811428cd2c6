package inbound

import (
	"strings"
	"testing"
)

func TestCheckParameters(t *testing.T) {
	for _, test := range []struct{ rule, behind, want string }{
		{"none", "", ""},
		{"spaces", "  ", ""},
		{"some", " SIZE=5 body=8BITMIME SMTPUTF8", ""},
		{"unknown is the engine's affair", " X-A=b", ""},
		{"no space", "SIZE=5", "501 5.5.4"},
		{"no keyword", " =5", "501 5.5.4"},
		{"a keyword begins with a letter or digit", " -A=5", "501 5.5.4"},
		{"bad keyword", " A_B=5", "501 5.5.4"},
		{"no value behind =", " RET=", "501 5.5.4"},
		{"= in a value", " ENVID=a=b", "501 5.5.4"},
		{"twice", " RET=FULL ret=HDRS", "501 5.5.4"},
		{"a value of SMTPUTF8", " SMTPUTF8=1", "501 5.5.4"},
		{"SIZE without a value", " SIZE", "501 5.5.4"},
		{"SIZE of 0", " SIZE=0", ""},
		{"SIZE with zeros", " SIZE=00000000000000000005", ""},
		{"SIZE of 21 digits", " SIZE=000000000000000000005", "501 5.5.4"},
		{"SIZE of 20 digits", " SIZE=99999999999999999999", "552 5.3.4"},
		{"SIZE of 5 GiB", " SIZE=5368709120", "552 5.3.4"},
		{"SIZE with a sign", " SIZE=+5", "501 5.5.4"},
	} {
		got := ""
		if no := checkParameters(test.behind); no != nil {
			got = no.reply.Error()
		}
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", test.rule, got, test.want)
		}
	}
}

func TestReworded(t *testing.T) {
	for _, test := range []struct{ verb, reply, want string }{
		{"MAIL", "250 2.0.0 Roger, accepting mail from <>\r\n", "250 2.1.0 Roger, accepting mail from <>\r\n"},
		{"DATA", "502 5.5.1 Missing RCPT TO command.\r\n", "503 5.5.1 Missing RCPT TO command.\r\n"},
		{"RCPT", "502 5.5.1 as a primary said it\r\n", "502 5.5.1 as a primary said it\r\n"},
		{"NOOP", "250 2.0.0 Roger, \r\n", "250 2.0.0 Roger, \r\n"},
	} {
		if got := string(reworded(test.verb, []byte(test.reply))); got != test.want {
			t.Errorf("%s %q: %q, want %q", test.verb, test.reply, got, test.want)
		}
	}
}

func TestPostmasterDomain(t *testing.T) {
	domains := map[string]string{"b.example": "exo", "a.b.example": "exo", "c.example": "other"}
	for host, want := range map[string]string{
		"mx.b.example": "b.example", "MX.A.B.example": "a.b.example", "b.example": "b.example",
		"mx.xb.example": "a.b.example", "mx.elsewhere.example": "a.b.example",
	} {
		if got := postmasterDomain(host, domains); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func FuzzParameters(f *testing.F) {
	for _, seed := range []string{"", " SIZE=5 BODY=7BIT", " SMTPUTF8=1", " RET=FULL RET=HDRS", " ORCPT=rfc822;a+40d NOTIFY=NEVER", "x", " SIZE=99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, behind string) {
		no := checkParameters(behind)
		if no != nil && (no.reply.Positive() || no.reason == "" || strings.ContainsAny(no.reply.Text(), "\r\n")) {
			t.Fatalf("%q: %+v", behind, no)
		}
		if words := len(strings.Fields(behind)); no == nil && strings.Count(behind, "=") > words {
			t.Fatalf("%q is taken", behind)
		}
	})
}
