package outbound

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// FuzzExtensions: keywords have no case, their order does not matter, and each
// counts only where it is said.
func FuzzExtensions(f *testing.F) {
	f.Add("PIPELINING\nSIZE 1000\n8bitmime\nDSN")
	f.Add("SIZE -5\nsize 99999999999999999999\nREQUIRETLS \nSTARTTLS x")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		e := parseExtensions(append([]string{"primary.example PIPELINING"}, lines...))
		upper, lower, backwards := []string{""}, []string{""}, []string{""}
		says := map[string]bool{}
		sizes := 0
		for i, line := range lines {
			keyword, arg, _ := strings.Cut(line, " ")
			if strings.ContainsFunc(keyword, func(r rune) bool { return r >= utf8.RuneSelf }) {
				return // no keyword; its cases may differ in length
			}
			says[strings.ToUpper(keyword)] = true
			upper, lower = append(upper, strings.ToUpper(keyword)+" "+arg), append(lower, strings.ToLower(keyword)+" "+arg)
			backwards = append(backwards, lines[len(lines)-1-i])
			if strings.EqualFold(keyword, "SIZE") {
				sizes++
			}
		}
		want := extensions{startTLS: says["STARTTLS"], pipelining: says["PIPELINING"], eightBit: says["8BITMIME"], utf8: says["SMTPUTF8"], dsn: says["DSN"],
			requireTLS: says["REQUIRETLS"], size: says["SIZE"], limit: e.limit}
		if e != want || e.limit < 0 || e.limit > 0 && !e.size || parseExtensions(upper) != e || parseExtensions(lower) != e || sizes < 2 && parseExtensions(backwards) != e {
			t.Fatalf("%q: %+v", text, e)
		}
	})
}

// commandLine is MAIL or RCPT with parameters of printable ASCII.
var commandLine = regexp.MustCompile(`^(MAIL FROM|RCPT TO):<.*?>((?: [A-Z0-9]+(?:=[!-<>-~]+)?)*)$`)

// FuzzCommandLines: whatever a client has said, it is one line, and no value in
// it can become another parameter.
func FuzzCommandLines(f *testing.F) {
	f.Add("a@x.example", "b@y.example", "QQ 314", "rfc822;b+x@y.example", "FULL", "NEVER", true)
	f.Add(`"> NOTIFY=NEVER"@x.example`, `"a\"b"@y.example`, "x RET=HDRS", "utf-8;jörg\\{20}@y.example", "HDRS RET=FULL", "DELAY\r\nDATA", false)
	f.Add("", "postmaster", "=", ";;", "", "", true)
	f.Fuzz(func(t *testing.T, from, to, envID, orcpt, ret, notify string, international bool) {
		reverse, err := smtp.ParsePath(from)
		forward, err2 := smtp.ParsePath(to)
		if err != nil || err2 != nil || forward.IsNull() {
			return
		}
		e := extensions{pipelining: true, eightBit: true, utf8: true, dsn: true, size: true, requireTLS: true}
		m := queue.Message{Size: 7, Envelope: queue.Envelope{Params: queue.Params{Body: "8BITMIME", Ret: ret, EnvID: envID, RequireTLS: true}}}
		for line, path := range map[string]smtp.Path{
			e.mailLine(reverse, m, international):                                        reverse,
			e.rcptLine(forward, queue.Recipient{ORcpt: orcpt, Notify: []string{notify}}): forward,
		} {
			behind, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "MAIL FROM:<"), "RCPT TO:<"), path.String()+">")
			if !ok || strings.ContainsFunc(line, unicode.IsControl) || !commandLine.MatchString("RCPT TO:<>"+behind) {
				t.Fatalf("%q", line)
			}
			seen := map[string]bool{}
			for word := range strings.FieldsSeq(behind) {
				keyword, value, _ := strings.Cut(word, "=")
				if seen[keyword] || len(value) > 12*len(envID+orcpt)+20 {
					t.Fatalf("%q", line)
				}
				seen[keyword] = true
			}
		}
	})
}
