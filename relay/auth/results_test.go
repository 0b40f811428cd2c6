package auth

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/emersion/go-msgauth/authres"
)

func TestResults(t *testing.T) {
	long := strings.Repeat("a", 200) + ".example"
	for _, c := range []struct {
		name string
		v    Verdicts
		want string
	}{
		{"all", Verdicts{MailFrom: SPF{Pass, "sender.example", "matched ip"}, Hello: SPF{None, "mail.sender.example", ""},
			DKIM:  []Signature{{Result: Pass, Domain: "sender.example", Selector: "s1", Algorithm: "rsa-sha256", Identifier: "@news.sender.example", Value: "aB+/12=="}},
			DMARC: DMARC{Result: Pass, Domain: "sender.example", Policy: PolicyReject}},
			"mx2.corp.example;\r\n\tspf=pass smtp.mailfrom=sender.example;\r\n" +
				"\tdkim=pass header.d=sender.example header.i=@news.sender.example\r\n\t  header.s=s1 header.a=rsa-sha256 header.b=\"aB+/12==\";\r\n" +
				"\tdmarc=pass (p=reject) header.from=sender.example"},
		{"null reverse-path", Verdicts{Hello: SPF{Fail, "mail.sender.example", "matched all"}, DMARC: DMARC{Result: None, Domain: "sender.example"}},
			"mx2.corp.example;\r\n\tspf=fail smtp.helo=mail.sender.example;\r\n\tdkim=none;\r\n\tdmarc=none header.from=sender.example"},
		{"nothing known", Verdicts{MailFrom: SPF{Result: None}, Hello: SPF{Result: None}, DMARC: DMARC{Result: PermError, Reason: "no From"}},
			"mx2.corp.example;\r\n\tspf=none;\r\n\tdkim=none;\r\n\tdmarc=permerror"},
		{"reasons", Verdicts{MailFrom: SPF{TempError, "sender.example", "lookup \"x\"\r\nBcc: y\\é"}, DKIM: []Signature{{Result: Fail, Reason: strings.Repeat("r", 300)}}},
			"mx2.corp.example;\r\n\tspf=temperror reason=\"lookup \\\"x\\\"??Bcc: y\\\\?\"\r\n\t  smtp.mailfrom=sender.example;\r\n" +
				"\tdkim=fail\r\n\t  reason=\"" + strings.Repeat("r", 100) + "\""},
		{"long", Verdicts{MailFrom: SPF{Pass, long, ""}, Hello: SPF{Pass, "h.example", ""}},
			"mx2.corp.example;\r\n\tspf=pass\r\n\t  smtp.mailfrom=" + long + ";\r\n\tspf=pass smtp.helo=h.example;\r\n\tdkim=none"},
		{"identifiers", Verdicts{DKIM: []Signature{{Result: Pass, Identifier: "a.b@x.example"}, {Result: Pass, Identifier: "a b@x.example"}, {Result: Pass, Identifier: "x"}, {Result: Pass, Identifier: "@"}}},
			"mx2.corp.example;\r\n\tdkim=pass header.i=a.b@x.example;\r\n\tdkim=pass header.i=\"a b@x.example\";\r\n\tdkim=pass header.i=x;\r\n\tdkim=pass header.i=\"@\""},
	} {
		c.v.By = ourID
		if got := c.v.Results(); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, got, c.want)
		}
		if got := string(c.v.Field()); got != "Authentication-Results: "+c.want+"\r\n" {
			t.Errorf("%s: field %q", c.name, got)
		}
	}
	if got := (Verdicts{By: ourID}).Results("arc=pass header.oldest-pass=0"); got != "mx2.corp.example;\r\n\tdkim=none;\r\n\tarc=pass header.oldest-pass=0" {
		t.Errorf("with another method: %q", got)
	}
}

func TestReceivedSPF(t *testing.T) {
	v := Verdicts{By: ourID, MailFrom: SPF{Pass, "sender.example", ""}, Hello: SPF{Fail, "mail.sender.example", ""}}
	id := Identity{client6, "[192.0.2.1]", `"a\b"@sender.example`}
	want := "Received-SPF: pass (mx2.corp.example)\r\n\tidentity=mailfrom;\r\n\tclient-ip=\"2001:db8::25\";\r\n\thelo=\"[192.0.2.1]\";\r\n" +
		"\tenvelope-from=\"\\\"a\\\\b\\\"@sender.example\";\r\n\treceiver=mx2.corp.example\r\n"
	if got := string(v.ReceivedSPF(id)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	v.MailFrom = SPF{}
	want = "Received-SPF: fail (mx2.corp.example)\r\n\tidentity=helo;\r\n\thelo=mail.sender.example;\r\n\treceiver=mx2.corp.example\r\n"
	if got := string(v.ReceivedSPF(Identity{Hello: "mail.sender.example"})); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzFields: whatever a client, a message or the DNS says, our fields are one
// field each, of printable ASCII, with lines that are not too long.
func FuzzFields(f *testing.F) {
	f.Add("pass", "a.example\r\nBcc: x", "reason \"\\", "s 1", "a\x00b", "@\u202e", "\"\r\n\r\nbody", "<a>;\r\n x")
	f.Fuzz(func(t *testing.T, result, domain, reason, selector, algorithm, identifier, value, hello string) {
		if len(domain)+len(selector)+len(algorithm)+len(identifier)+len(value) > 250 || !isWord(result) || len(result) > 20 {
			return // they are bounded, and results are ours
		}
		v := Verdicts{By: ourID, MailFrom: SPF{TempError, domain, reason}, Hello: SPF{result, domain, reason},
			DKIM:  []Signature{{result, domain, selector, algorithm, identifier, value, reason}},
			DMARC: DMARC{Result: result, Domain: domain, Policy: PolicyReject, Reason: reason}}
		id := Identity{netip.MustParseAddr("2001:db8::1"), hello, selector + "@" + domain}
		for _, field := range []string{string(v.Field()), string(v.ReceivedSPF(id))} {
			oneField(t, field)
		}
		_, text, _ := strings.Cut(string(v.Field()), ": ")
		by, results, err := authres.Parse(text)
		if err != nil || by != ourID || len(results) != 4 {
			if !strings.ContainsAny(text, `"`) { // the library does not read quoted-strings
				t.Errorf("%q is read as %q, %d results, %v", text, by, len(results), err)
			}
		}
	})
}

func oneField(t *testing.T, field string) {
	t.Helper()
	body, ok := strings.CutSuffix(field, "\r\n")
	if !ok || !utf8.ValidString(field) {
		t.Fatalf("no line end: %q", field)
	}
	for i, line := range strings.Split(body, "\r\n") {
		if i > 0 && (!strings.HasPrefix(line, "\t") || strings.TrimSpace(line) == "") || i == 0 && !strings.Contains(line, ": ") {
			t.Errorf("line %q of %q", line, field)
		}
		if len(line) > 998 || strings.ContainsFunc(line, func(c rune) bool { return c != '\t' && (c < ' ' || c > '~') }) {
			t.Errorf("line %q", line)
		}
	}
}
