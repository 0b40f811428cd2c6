package auth

import (
	"strings"
	"testing"
)

func TestAuthorOf(t *testing.T) {
	for value, want := range map[string]string{
		"a@sender.example":                                 "sender.example",
		" a@sender.example\r\n":                            "sender.example",
		"<a@sender.example>":                               "sender.example",
		"Alice <a@Sender.Example>":                         "sender.example",
		`"Alice, of x@bank.example" <a@sender.example>`:    "sender.example",
		`"A \" <x@bank.example>" <a@sender.example>`:       "sender.example",
		"a@sender.example (Alice <x@bank.example>)":        "sender.example",
		"(a (nested) \\) x@bank.example) a@sender.example": "sender.example",
		"=?utf-8?q?x=40bank.example?= <a@sender.example>":  "sender.example",
		"x@bank.example <a@sender.example>":                "sender.example", // what is shown is not for us
		"Alice\r\n\t<a@\r\n\tsender.example>":              "sender.example",
		`"a@b"@sender.example`:                             "sender.example",
		"a@sender.example.":                                "sender.example",
		"a@bücher.example":                                 "xn--bcher-kva.example",
		"a@sender.example, b@sender.example":               "sender.example",
		"Team: a@sender.example, B <b@sender.example>;":    "sender.example",
		"a@x@sender.example":                               "sender.example",
		"a@sender.example, b@other.example":                "!several",
		"<a@sender.example> <b@other.example>":             "!several",
		"A <a@sender.example>, B <b@other.example>":        "!several",
		"a@sender.example b@other.example":                 "!several",
		"A <a@sender.example>, b@other.example":            "!several",
		"":                                                 "!no address",
		"Alice":                                            "!no address",
		"<>":                                               "!no address",
		"undisclosed-recipients:;":                         "!no address",
		"a@":                                               "!no domain",
		"a@localhost":                                      "!no domain",
		"a@[192.0.2.1]":                                    "!no domain",
		"a@b_..example":                                    "!no domain",
		"a@sender.example, b@[192.0.2.1]":                  "!no domain",
		`"a@sender.example`:                                "!no address",
		"(a@sender.example":                                "!no address",
		"<a@sender.example":                                "sender.example",
		"a@sender.example>":                                "sender.example",
	} {
		got := authorOf(value)
		text := got.domain
		if text == "" {
			text = "!" + got.flaw
		}
		if flaw, bad := strings.CutPrefix(want, "!"); bad && (got.domain != "" || !strings.Contains(got.flaw, flaw) || got.many != (flaw == "several")) || !bad && text != want {
			t.Errorf("%q: %s, want %s", value, text, want)
		}
	}
}

func TestAuthor(t *testing.T) {
	for header, want := range map[string]string{
		"From: a@sender.example\r\n":                           "sender.example",
		"FROM : a@sender.example\r\n":                          "sender.example",
		"To: b@x.example\r\nfrom:a@sender.example\r\n":         "sender.example",
		"From: a@sender.example\r\nFrom: a@sender.example\r\n": "!more than one",
		"From: a@sender.example\r\nfrom : b@other.example\r\n": "!more than one",
		"X-From: a@sender.example\r\n":                         "!no From",
		"From a@sender.example Thu Mar 12 13:00:00 2026\r\n":   "!no From",
		"Subject: x\r\n From: a@sender.example\r\n":            "!no From",
		"": "!no From",
	} {
		h, _ := readHead(strings.NewReader(header + "\r\nFrom: c@body.example\r\n"))
		got := h.author()
		if flaw, bad := strings.CutPrefix(want, "!"); bad && (got.domain != "" || !strings.Contains(got.flaw, flaw)) || !bad && got.domain != want {
			t.Errorf("%q: %+v, want %s", header, got, want)
		}
	}
}

func FuzzAuthor(f *testing.F) {
	f.Add(`"A, B" <a@x.example>, (c) d@y.example`)
	f.Fuzz(func(t *testing.T, value string) {
		a := authorOf(value)
		if (a.domain == "") == (a.flaw == "") || a.domain != "" && hostDomain(a.domain) != a.domain {
			t.Errorf("%q: %+v", value, a)
		}
	})
}
