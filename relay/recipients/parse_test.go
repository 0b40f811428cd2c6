package recipients

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/relay/csvfile"
	"unicode/utf16"
)

// wide is a text in UTF-16, as Windows writes it.
func wide(text string, order binary.ByteOrder) string {
	var b bytes.Buffer
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		_ = binary.Write(&b, order, unit) // a buffer takes everything
	}
	return b.String()
}

// exports are forms in which exports of recipients come; all have a@, a.alias@ and b+x@.
var exports = map[string]string{
	"PowerShell, joined by spaces": "\"DisplayName\",\"PrimarySmtpAddress\",\"EmailAddresses\"\r\n" +
		"\"Meyer, Anna\",\"a@corp.example\",\"SMTP:A@corp.example smtp:a.alias@corp.example SIP:a@corp.example X500:/o=Exchange Labs/ou=Group (FYDIBOHF23SPDLT)/cn=a SPO:SPO_1@SPO_2\"\r\n" +
		"\"B\",\"b+x@corp.example\",\"SMTP:b+x@corp.example\"\r\n",
	"PowerShell 5 with the type": "#TYPE Selected.Microsoft.Exchange.Data\r\n\"PrimarySmtpAddress\",\"EmailAddresses\"\r\n" +
		"\"a@corp.example\",\"smtp:a.alias@corp.example,SMTP:a@corp.example\"\r\n\"b+x@corp.example\",\"\"\r\n",
	"admin centre, joined by plus signs": "User principal name,Display name,Proxy addresses\n" +
		"a@corp.example,Anna,SMTP:a@corp.example+smtp:a.alias@corp.example+SIP:x@corp.example\nb@corp.example,B,smtp:b+x@corp.example\n",
	"Excel with semicolons": "sep=;\r\nDisplay name;Email address;Email addresses\r\n" +
		"\"Anna \"\"A\"\"; Meyer\";a@corp.example;\"smtp:a.alias@corp.example;SMTP:a@corp.example\"\r\nB;b+x@corp.example;\r\n",
	"tabs":                "Mail\tProxyAddresses\nA@CORP.EXAMPLE\tsmtp:a.alias@corp.example|smtp:b+x@corp.example\n",
	"a line for each":     "\"PrimaryAddress\",\"Address\",\"RecipientType\"\n\"a@corp.example\",\"SMTP:a@corp.example\",\"UserMailbox\"\n\"a@corp.example\",\"smtp:a.alias@corp.example\",\"UserMailbox\"\n\"b\",\"b+x@corp.example\",\"MailContact\"\n",
	"UTF-16":              wide("PrimarySmtpAddress,EmailAddresses\r\na@corp.example,smtp:a.alias@corp.example\r\nb+x@corp.example,\r\n", binary.LittleEndian),
	"UTF-16, big end":     wide("a@corp.example\r\na.alias@corp.example\r\nb+x@corp.example\r\n", binary.BigEndian),
	"UTF-8 with its mark": "\ufeffPrimarySmtpAddress,EmailAddresses\r\na@corp.example,\"smtp:a.alias@corp.example\nsmtp:b+x@corp.example\"\r\n",
	"without prefixes":    "SMTP Addresses\na@corp.example;a.alias@corp.example;b+x@corp.example\n",
}

func TestExports(t *testing.T) {
	for name, text := range exports {
		known, err := parse("export.csv", strings.NewReader(text))
		got := strings.Join(slices.Sorted(maps.Keys(known)), " ")
		if err != nil || got != "a.alias@corp.example a@corp.example b+x@corp.example" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestWrongExports(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a list that was not joined": {"PrimarySmtpAddress,EmailAddresses\na@corp.example,System.Collections.ArrayList\n", "export.csv:2: \"System.Collections.ArrayList\" is the name of a type: join"},
		"a type of Exchange":         {"EmailAddresses\nMicrosoft.Exchange.Data.ProxyAddressCollection\n", "is the name of a type"},
		"a cell too few":             {"PrimarySmtpAddress,EmailAddresses\na@corp.example\n", "export.csv:2: wrong number of fields"},
		"a quote that does not end":  {"sep=,\nPrimarySmtpAddress,EmailAddresses\na@corp.example,\"smtp:b\n", "export.csv:"},
		"no address":                 {"PrimarySmtpAddress,EmailAddresses\na@corp.example,smtp:nobody\n", "export.csv:2: "},
		"no row":                     {"PrimarySmtpAddress,EmailAddresses\n", "there is no address in it"},
		"no column of addresses":     {"Name,Department\nAnna,Sales\n", "export.csv:1: "},
		"a name in a column":         {"PrimarySmtpAddress\nAnna\n", "export.csv:2: "},
		"only what PowerShell puts":  {"#TYPE x\n", "there is no address in it"},
	} {
		if _, err := parse("export.csv", strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := parse("list", strings.NewReader(strings.Repeat("#\n", maxFile/2+1))); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := parse("list", broken{}); err == nil {
		t.Error("no error of the reader")
	}
	for _, begin := range []string{"", "Mail\n"} {
		g := &gathering{name: "list", most: 2, known: map[string]struct{}{}}
		text := []byte(begin + "a@corp.example\nb@corp.example\nc@corp.example\nd@corp.example\n")
		if body, skipped, comma, ok := csvfile.Find(text, known); ok {
			g.csv(body, skipped, comma)
		} else {
			g.lines(text)
		}
		if len(g.wrong) != 1 || len(g.known) != 3 || !strings.Contains(g.wrong[0].Error(), "there are more than 2 addresses") {
			t.Errorf("%d addresses: %v", len(g.known), g.wrong)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, bytes.ErrTooLarge }

func TestKeys(t *testing.T) {
	for _, test := range []struct{ key, delimiter, want string }{
		{"a@corp.example", "+", "a@corp.example"},
		{"a+x@corp.example", "+", "a+x@corp.example a@corp.example"},
		{"a+x+y@corp.example", "+", "a+x+y@corp.example a+x@corp.example a@corp.example"},
		{"a+@corp.example", "+", "a+@corp.example a@corp.example"},
		{"+x@corp.example", "+", "+x@corp.example"},
		{"a+x@corp.example", "", "a+x@corp.example"},
		{"a-x@corp.example", "-", "a-x@corp.example a@corp.example"},
		{"a@b+c@corp.example", "+", "a@b+c@corp.example a@b@corp.example"},
	} {
		if got := strings.Join(keysOf(test.key, test.delimiter), " "); got != test.want {
			t.Errorf("%s, %q: %s, want %s", test.key, test.delimiter, got, test.want)
		}
	}
}

func FuzzExport(f *testing.F) {
	for _, text := range exports {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		known, err := parse("export.csv", bytes.NewReader(text))
		if err == nil && len(known) == 0 {
			t.Error("an export without an address was accepted")
		}
		for key := range known {
			if strings.ToLower(key) != key && !strings.ContainsFunc(key, func(r rune) bool { return r > 127 }) || strings.ContainsAny(key, "\r\n\x00") {
				t.Errorf("key %q", key)
			}
		}
	})
}

func FuzzGraphPage(f *testing.F) {
	f.Add([]byte(`{"value":[{"mail":"a@corp.example","proxyAddresses":["SMTP:a@corp.example","SIP:a@corp.example"]}],"@odata.nextLink":"https://graph.microsoft.com/v1.0/users?$skiptoken=1"}`))
	f.Add([]byte(`{"value":[]}`))
	f.Add([]byte(`{"error":{"code":"x"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, _, err := parsePage(text)
		for _, key := range keys {
			if err != nil || !strings.Contains(key, "@") || strings.ContainsAny(key, "\r\n\x00") {
				t.Errorf("key %q, %v", key, err)
			}
		}
	})
}
