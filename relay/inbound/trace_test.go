package inbound

import (
	"bytes"
	"net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestTrace(t *testing.T) {
	at := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	base := trace{hello: "client.example", host: "mail.far.example", address: netip.MustParseAddr("192.0.2.1"), by: "mx2.example",
		extended: true, id: "06abcdefghjk", rcpt: []string{"a@d.example"}, at: at}
	with := func(change func(*trace)) trace { t := base; change(&t); return t }
	for _, test := range []struct {
		rule string
		of   trace
		want string
	}{
		{"the whole form", with(func(t *trace) { t.tls, t.cipher = "TLS1.3", "TLS_AES_128_GCM_SHA256" }),
			"from client.example (mail.far.example [192.0.2.1])\n\tby mx2.example (mxkeep) with ESMTPS id 06abcdefghjk\n\tfor <a@d.example> tls TLS_AES_128_GCM_SHA256 (TLS1.3);\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"IPv6 and no name", with(func(t *trace) { t.address, t.host = netip.MustParseAddr("2001:db8::1"), "" }),
			"from client.example (unknown [IPv6:2001:db8::1])\n\tby mx2.example (mxkeep) with ESMTP id 06abcdefghjk\n\tfor <a@d.example>;\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"HELO and two recipients", with(func(t *trace) { t.extended, t.rcpt = false, []string{"a@d.example", "b@d.example"} }),
			"from client.example (mail.far.example [192.0.2.1])\n\tby mx2.example (mxkeep) with SMTP id 06abcdefghjk;\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"an address literal as name", with(func(t *trace) { t.hello = "[192.0.2.9]" }),
			"from [192.0.2.9] (mail.far.example [192.0.2.1])\n\tby mx2.example (mxkeep) with ESMTP id 06abcdefghjk\n\tfor <a@d.example>;\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"a name that forges an address", with(func(t *trace) { t.hello, t.host = "a([198.51.100.1])", "[198.51.100.1]" }),
			"from unknown (unknown [192.0.2.1])\n\tby mx2.example (mxkeep) with ESMTP id 06abcdefghjk\n\tfor <a@d.example>;\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"SMTPUTF8", with(func(t *trace) {
			t.utf8, t.tls, t.cipher, t.rcpt = true, "TLS1.2", "0xC02F", []string{"jörg@d.example", "a@d.example"}
		}),
			"from client.example (mail.far.example [192.0.2.1])\n\tby mx2.example (mxkeep) with UTF8SMTPS id 06abcdefghjk\n\ttls 0xC02F (TLS1.2);\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"SMTPUTF8 and one recipient", with(func(t *trace) { t.utf8, t.rcpt = true, []string{"jörg@d.example"} }),
			"from client.example (mail.far.example [192.0.2.1])\n\tby mx2.example (mxkeep) with UTF8SMTP id 06abcdefghjk\n\tfor <jörg@d.example>;\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"SMTPUTF8 in plaintext, quoted", with(func(t *trace) { t.utf8, t.rcpt = true, []string{`"a; b"@d.example`} }),
			"from client.example (mail.far.example [192.0.2.1])\n\tby mx2.example (mxkeep) with UTF8SMTP id 06abcdefghjk;\n\tThu, 22 Jan 2026 19:30:00 +0000"},
		{"no network", with(func(t *trace) { t.address, t.rcpt = netip.Addr{}, []string{"jörg@d.example"} }),
			"from client.example (mail.far.example [0.0.0.0])\n\tby mx2.example (mxkeep) with ESMTP id 06abcdefghjk;\n\tThu, 22 Jan 2026 19:30:00 +0000"},
	} {
		want := "Received: " + strings.ReplaceAll(test.want, "\n", "\r\n") + "\r\n"
		if got := string(test.of.field()); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", test.rule, got, want)
		}
	}
}

// FuzzTrace: whatever a client says, there is one field, and one address in it that is ours.
func FuzzTrace(f *testing.F) {
	f.Add("client.example", "mail.example", "a@d.example", true)
	f.Add("a\r\nX-Injected: y", "[192.0.2.9]", "\"a\r\nb\"@d.example", false)
	f.Add("a([198.51.100.1])", "x;y", "a@d.example>;\r\n", true)
	f.Fuzz(func(t *testing.T, hello, host, rcpt string, utf8 bool) {
		field := trace{hello: hello, host: host, address: netip.MustParseAddr("192.0.2.1"), by: "mx2.example", utf8: utf8,
			id: "06abcdefghjk", rcpt: []string{rcpt}, at: time.Unix(0, 0).UTC()}.field()
		m, err := mail.ReadMessage(bytes.NewReader(append(bytes.Clone(field), "\r\n"...)))
		if err != nil || len(m.Header) != 1 {
			t.Fatalf("%q: %v", field, err)
		}
		text := strings.ReplaceAll(string(field), "\r\n", "")
		if strings.ContainsFunc(strings.ReplaceAll(text, "\t", ""), unicode.IsControl) || strings.Count(text, ";") != 1+strings.Count(rcpt, ";") && strings.Count(text, ";") != 1 {
			t.Fatalf("%q", field)
		}
		first := strings.Index(text, " (")
		if !strings.HasSuffix(text[:strings.Index(text, ")")], " [192.0.2.1]") || strings.ContainsAny(text[len("Received: from "):first], " ()") {
			t.Fatalf("%q", field)
		}
	})
}
