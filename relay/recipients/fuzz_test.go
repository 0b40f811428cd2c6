package recipients

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// FuzzForms: the same addresses are read from every form of file.
func FuzzForms(f *testing.F) {
	f.Add("a@corp.example B+x@Corp.example", "Meyer, \"A\"\r\n")
	f.Add("\"a b\"@corp.example jörg@bücher.example a#b@corp.example", "#TYPE x")
	f.Add("a'o@corp.example smtp@corp.example x=y@corp.example", "=1+1")
	f.Fuzz(func(t *testing.T, text, name string) {
		want := map[string]bool{}
		var words []string
		for _, word := range strings.Fields(text) {
			path, err := smtp.ParsePath(word)
			if err != nil || path.Domain == "" || strings.ContainsAny(word, "\",;|+:") { // a cell of several has these between addresses
				continue
			}
			key, err := keyOf(path)
			if err != nil || strings.HasPrefix(word, "#") || strings.HasPrefix(word, "sep=") {
				continue
			}
			want[key] = true
			words = append(words, word)
		}
		if len(words) == 0 {
			return
		}
		list := "# people\r\n" + strings.Join(words, "\r\n")
		forms := map[string]string{"list": list, "UTF-8": "\ufeff" + list, "UTF-16": wide(list, binary.LittleEndian), "UTF-16, big end": wide(list, binary.BigEndian)}
		for _, comma := range []rune{',', ';', '\t'} {
			forms["rows "+string(comma)] = exported(comma, name, words, " ")
		}
		for _, between := range []string{" ", ",", ";", "|", "\r\n"} {
			forms["cell "+between] = exported(',', name, []string{words[0]}, between, words...)
		}
		for form, text := range forms {
			known, err := parse("file", strings.NewReader(text))
			if err != nil || !slices.Equal(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(want))) {
				t.Errorf("%s, %q: %v, %v, want %v", form, text, known, err, want)
			}
		}
	})
}

// exported writes an export: a row for each address, and all of several in the last cell.
func exported(comma rune, name string, words []string, between string, several ...string) string {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = comma
	_ = w.Write([]string{"DisplayName", "PrimarySmtpAddress", "EmailAddresses"}) // a buffer takes everything
	for i, word := range words {
		var typed []string
		for _, s := range several[:len(several)*min(1, len(words)-i)] {
			typed = append(typed, "smtp:"+s)
		}
		_ = w.Write([]string{strings.ReplaceAll(name, "\r", ""), word, strings.Join(append(typed, "X500:/o=x"), between)})
	}
	w.Flush()
	return b.String()
}

// FuzzFile: whatever a file has in it, there are few errors, each is short, and
// none of them harms a terminal; and what is taken is a path.
func FuzzFile(f *testing.F) {
	f.Add([]byte("a@corp.example\x1b[2J\n\xff\xfe"))
	f.Add([]byte("Mail,ProxyAddresses\n\x00@corp.example,System.\x1b\n"))
	f.Add([]byte("\xfe\xff\x00a\x00@\x00\x0d"))
	f.Add([]byte("\xff\xfe\x00\xd8\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		known, err := parse("file", bytes.NewReader(text))
		if err != nil {
			lines := strings.Split(err.Error(), "\n")
			for _, line := range lines {
				if len(line) > 1000 || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q: error %q", text, line)
				}
			}
			if len(lines) > maxWrong+1 {
				t.Errorf("%q: %d lines of errors", text, len(lines))
			}
		}
		for key := range known {
			at := strings.LastIndexByte(key, '@')
			if _, err := smtp.ParsePath(smtp.Path{Local: key[:at], Domain: key[at+1:]}.String()); err != nil {
				t.Errorf("%q: key %q: %v", text, key, err)
			}
		}
	})
}

// FuzzGraphRoundTrip: what Graph writes is what is read.
func FuzzGraphRoundTrip(f *testing.F) {
	f.Add("a@corp.example", "SMTP:A@corp.example", "SIP:a@corp.example", "https://graph.example/v1.0/users?$skiptoken=1")
	f.Add("", "smtp:\"a b\"@corp.example", "smtp:ä@bücher.example", "")
	f.Add("a@corp.example> x", "sMtP:a@corp.example\r\n", "X500:/o=x", "\u2028")
	f.Fuzz(func(t *testing.T, mail, first, second, next string) {
		if strings.ToValidUTF8(mail+first+second+next, "") != mail+first+second+next {
			return // JSON has no such text
		}
		text, err := json.Marshal(map[string]any{"value": []any{map[string]any{"mail": mail, "proxyAddresses": []string{first, second}}, map[string]any{"mail": nil, "id": 5}}, "@odata.nextLink": next})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, word := range []string{first, second, "smtp:" + mail} {
			if len(word) < 5 || strings.ToLower(word[:5]) != "smtp:" {
				continue
			}
			if path, err := smtp.ParsePath(word[5:]); err == nil && path.Domain != "" {
				domain, _ := smtp.ASCIIDomain(path.Domain)
				want = append(want, strings.ToLower(path.Local)+"@"+domain)
			}
		}
		keys, got, err := parsePage(text)
		if err != nil || got != next || !slices.Equal(keys, want) {
			t.Errorf("%s: %q, %q, %v, want %q", text, keys, got, err, want)
		}
	})
}
