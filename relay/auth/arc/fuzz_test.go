package arc

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"
)

// FuzzVerify: whatever a message is, Verify ends with one of its words, and what
// may be sealed then verifies, or is the end of the chain.
func FuzzVerify(f *testing.F) {
	z := dns(f)
	one := forge(f, letter, forged{instance: 1, cv: "none"})
	for _, content := range []string{"", letter, one, forge(f, one, forged{instance: 2, cv: "pass", form: "relaxed/relaxed"}),
		"ARC-Seal: i=1\r\n\r\n", "ARC-Seal:i=50;cv=fail\r\narc-seal : i=2;;b\r\n \r\n", "arc-authentication-results: (i=1;) i=1\r\n"} {
		f.Add([]byte(content))
	}
	s := sealer(f, testEd25519())
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := Read(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		chain := m.Verify(t.Context(), Options{Resolver: z, Now: now})
		if chain.Status != None && chain.Status != Pass && chain.Status != Fail || (chain.Status == Fail) != (chain.Reason != "") {
			t.Fatalf("chain is %+v", chain)
		}
		set, err := s.Seal(m, chain, results, now)
		if err != nil {
			return
		}
		checkLines(t, set)
		again := verify(t, string(set)+string(content), z)
		if chain.Status == Fail && (again.Status != Fail || !again.ended) {
			t.Errorf("%q: sealed as failed, then %+v", content, again)
		}
		if chain.Status != Fail && again.Status != Pass && m.flaw == nil && len(m.fields) < maxFields-3 && len(content) < maxHeader/2 {
			t.Errorf("%q: sealed, then %+v", content, again)
		}
	})
}

// FuzzTags: a tag list that is read has its values where they were written.
func FuzzTags(f *testing.F) {
	for _, list := range []string{"", ";", "a=1", " a = 1 ; b=2;", "a=1;a=2", "a", "=1", "b=A\r\n B; bh==", "1=a", "c=relaxed/simple; h=from : to"} {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		found, err := parseTags(list)
		without := withoutSignature(list)
		if bytes.Count(without, []byte(";")) != bytes.Count(list, []byte(";")) {
			t.Errorf("%q became %q", list, without)
		}
		if err != nil {
			return
		}
		for name, value := range found {
			if !isTagName(name) || strings.Contains(value, ";") || trim(value) != value || !bytes.Contains(list, []byte(value)) {
				t.Errorf("%q: tag %q is %q", list, name, value)
			}
		}
		if again, err := parseTags(without); err != nil || again["b"] != "" || len(again) != len(found) {
			t.Errorf("%q without its signature is %q", list, without)
		}
		found.form()
		found.list("h")
		found.bytes("b")
	})
}

var (
	runs     = regexp.MustCompile(`[ \t]+`)
	lineEnds = regexp.MustCompile(`(\r\n)+$`)
)

// relaxedWhole is the relaxed body as RFC 6376 3.4.4 tells it, step by step.
func relaxedWhole(body []byte) []byte {
	lines := strings.Split(string(body), "\r\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(runs.ReplaceAllString(line, " "), " ")
	}
	text := lineEnds.ReplaceAllString(strings.Join(lines, "\r\n"), "")
	if text != "" {
		text += "\r\n"
	}
	return []byte(text)
}

// FuzzBody: the forms of a body that comes in pieces are those of the whole.
func FuzzBody(f *testing.F) {
	for _, content := range shapes() {
		_, body, _ := strings.Cut(content, "\r\n\r\n")
		f.Add([]byte(body), 7)
	}
	f.Add([]byte("a\r"), 1)
	f.Add([]byte("a\r\r\n b\n\n \r"), 2)
	f.Fuzz(func(t *testing.T, body []byte, step int) {
		relaxed, simple := newRelaxedBody(), newSimpleBody()
		for rest := body; len(rest) > 0; {
			n := min(max(step, 1), len(rest))
			relaxed.Write(rest[:n])
			simple.Write(rest[:n])
			rest = rest[n:]
		}
		if relaxed.sum() != sha256.Sum256(relaxedWhole(body)) {
			t.Errorf("relaxed form of %q is another", body)
		}
		if simple.sum() != sha256.Sum256(append(lineEnds.ReplaceAll(body, nil), "\r\n"...)) {
			t.Errorf("simple form of %q is another", body)
		}
	})
}

// FuzzField: the relaxed form of a field has no white space that could change on
// the way, and is its own relaxed form.
func FuzzField(f *testing.F) {
	for _, value := range []string{"", " ", " a  b\r\n\tc \r\n", "\r\n \r\n", "a\rb\nc\r\n", " \r\n"} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		form := relaxedField("x", value)
		text := string(form[2:])
		if strings.ContainsAny(text, "\t") || strings.Contains(text, "  ") || strings.HasPrefix(text, " ") || strings.HasSuffix(text, " ") {
			t.Errorf("%q is relaxed to %q", value, form)
		}
		if again := relaxedField("x", form[2:]); !strings.Contains(text, "\r\n") && !bytes.Equal(again, form) {
			t.Errorf("%q is relaxed to %q, and that to %q", value, form, again)
		}
	})
}
