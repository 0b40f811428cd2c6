package arc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestChainOfThree(t *testing.T) {
	z := dns(t)
	content := letter
	for range 3 {
		content = seal(t, content, sealer(t, testEd25519()), z)
	}
	chain := verify(t, content, z)
	wantStatus(t, chain, Pass, "")
	if len(chain.Sets) != 3 || chain.OldestPass != 0 {
		t.Fatalf("%d sets, oldest pass %d", len(chain.Sets), chain.OldestPass)
	}
	want := Set{Instance: 2, Domain: "b.example", Selector: "e", Algorithm: Ed25519,
		Results: "mx2.corp.example; spf=pass smtp.mailfrom=client.example; dkim=none; dmarc=none header.from=client.example"}
	if chain.Sets[1] != want {
		t.Errorf("set is %+v, want %+v", chain.Sets[1], want)
	}
}

// TestOldestPass: who changed the message on its way is behind the first sealer
// whose signature still holds.
func TestOldestPass(t *testing.T) {
	z := dns(t)
	for changed := range 4 { // between which sets
		content := letter
		for i := range 4 {
			if i == changed && i > 0 {
				content = strings.Replace(content, "Subject:", "Subject: [list]", 1)
			}
			content = seal2(t, content, z)
		}
		want := 0
		if changed > 0 {
			want = changed + 1
		}
		chain := verify(t, content, z)
		wantStatus(t, chain, Pass, "")
		if chain.OldestPass != want {
			t.Errorf("changed before set %d: oldest pass is %d, want %d", changed+1, chain.OldestPass, want)
		}
	}
}

// seal2 seals with a chain that is known to hold before the last change, as a
// list does that changes a message and seals it.
func seal2(t *testing.T, content string, z zone) string {
	t.Helper()
	chain := Chain{Status: Pass, highest: strings.Count(content, "ARC-Seal:")}
	if chain.highest == 0 {
		chain.Status = None
	}
	set, err := sealer(t, testEd25519()).Seal(read(t, content), chain, results, now)
	if err != nil {
		t.Fatal(err)
	}
	return string(set) + content
}

// rows of RFC 8617 4 and 5.2, each a set whose signatures are right in front of
// content; nothing may be looked up for a structure that is not sound.
func TestRules(t *testing.T) {
	z := dns(t)
	one := forge(t, letter, forged{instance: 1, cv: "none", form: "relaxed/relaxed"})
	two := forge(t, one, forged{instance: 2, cv: "pass", form: "relaxed/relaxed"})
	drop := func(content, field string) string {
		begin := strings.Index(content, field)
		end := begin + strings.Index(content[begin:], "\r\n") + 2
		for content[end] == ' ' || content[end] == '\t' {
			end += strings.Index(content[end:], "\r\n") + 2
		}
		return content[:begin] + content[end:]
	}
	for _, test := range []struct {
		rule, content string
		want          Status
		why           string
		asked         bool // may look up keys
	}{
		{"no chain", letter, None, "", false},
		{"no header", "\r\nARC-Seal: i=1\r\n", None, "", false},
		{"nothing", "", None, "", false},
		{"one set", one, Pass, "", true},
		{"two sets", two, Pass, "", true},
		{"the order of fields does not count", two[strings.Index(two, "ARC-Message"):strings.Index(two, "ARC-Auth")] + drop(two, "ARC-Message"), Pass, "", true},
		{"fields with names in any case", strings.ReplaceAll(one, "ARC-Seal", "arc-SEAL"), Pass, "", true},
		{"AAR is missing", drop(one, "ARC-Authentication-Results"), Fail, "arc-authentication-results is missing", false},
		{"AMS is missing", drop(one, "ARC-Message-Signature"), Fail, "arc-message-signature is missing", false},
		{"AS is missing", drop(one, "ARC-Seal"), Fail, "arc-seal is missing", false},
		{"AS twice", one[:strings.Index(one, "ARC-Message")] + one, Fail, "twice", false},
		{"AMS twice", one[strings.Index(one, "ARC-Message"):strings.Index(one, "ARC-Auth")] + one, Fail, "twice", false},
		{"AAR twice", one[strings.Index(one, "ARC-Auth"):strings.Index(one, "Received")] + one, Fail, "twice", false},
		{"the first set is 2", forge(t, letter, forged{instance: 2, cv: "pass"}), Fail, "set 1: arc-authentication-results is missing", false},
		{"a gap", forge(t, one, forged{instance: 3, cv: "pass"}), Fail, "set 2", false},
		{"i=0", forge(t, letter, forged{instance: 0, cv: "none"}), Fail, "no instance number", false},
		{"i=51", forge(t, letter, forged{instance: 51, cv: "pass"}), Fail, "more than 50", false},
		{"i=999", forge(t, one, forged{instance: 999, cv: "pass"}), Fail, "more than 50", false},
		{"i=1000", forge(t, letter, forged{instance: 1000, cv: "pass"}), Fail, "no instance number", false},
		{"i= is no number", strings.Replace(one, "ARC-Seal: i=1", "ARC-Seal: i=x", 1), Fail, "no instance number", false},
		{"i= is missing in a seal", strings.Replace(one, "ARC-Seal: i=1;", "ARC-Seal:", 1), Fail, "no instance number", false},
		{"i= is not in front of results", forge(t, letter, forged{instance: 1, cv: "none", results: " mx; i=1"}), Fail, "no instance number", false},
		{"i= with a comment", forge(t, letter, forged{instance: 1, cv: "none", form: "relaxed/relaxed", results: " (a\\)b) i = 1 (c); mx; spf=pass"}), Pass, "", true},
		{"tags are no tags", strings.Replace(one, "ARC-Seal: i=1;", "ARC-Seal: i=1; what?;", 1), Fail, "no list of tags", false},
		{"a tag twice", forge(t, letter, forged{instance: 1, cv: "none", seal: " t=1; t=1;"}), Fail, "twice", false},
		{"seal without d=", strings.Replace(one, " d=b.example", " x=b.example", 1), Fail, "has no d=", false},
		{"signature without bh=", strings.Replace(one, " bh=", " xh=", 1), Fail, "has no bh=", false},
		{"h= in a seal", forge(t, letter, forged{instance: 1, cv: "none", seal: " h=from;"}), Fail, "has h=", false},
		{"cv=pass in the first", forge(t, letter, forged{instance: 1, cv: "pass"}), Fail, "cv=pass, want none", false},
		{"cv= is empty", forge(t, letter, forged{instance: 1, cv: ""}), Fail, "cv=, want none", false},
		{"cv=None", forge(t, letter, forged{instance: 1, cv: "None"}), Fail, "cv=None, want none", false},
		{"cv=none in the second", forge(t, one, forged{instance: 2, cv: "none"}), Fail, "cv=none, want pass", false},
		{"cv=fail in the first", forge(t, letter, forged{instance: 1, cv: "fail"}), Fail, "broken before", false},
		{"cv=fail in the second", forge(t, one, forged{instance: 2, cv: "fail"}), Fail, "broken before", false},
		{"cv=fail, and the rest is in pieces", "ARC-Seal: i=2; cv=fail\r\nARC-Seal: i=2\r\n" + letter, Fail, "broken before", false},
		{"cv=fail below cv=pass", forge(t, forge(t, one, forged{instance: 2, cv: "fail"}), forged{instance: 3, cv: "pass"}), Fail, "set 2: cv=fail", false},
		{"h= has arc-seal", forge(t, letter, forged{instance: 1, cv: "none", names: "from:ARC-Seal", form: "relaxed/relaxed"}), Fail, "h= has arc-seal", false},
		{"h= has other ARC fields", forge(t, one, forged{instance: 2, cv: "pass", names: "from:arc-authentication-results", form: "relaxed/relaxed"}), Pass, "", true},
		{"l= leaves a part unsigned", forge(t, letter, forged{instance: 1, cv: "none", message: " l=1;", form: "relaxed/relaxed"}), Fail, "l=", false},
		{"v= is ignored", forge(t, letter, forged{instance: 1, cv: "none", message: " v=2;", form: "relaxed/relaxed"}), Pass, "", true},
		{"the signature ends now", forge(t, letter, forged{instance: 1, cv: "none", message: fmt.Sprintf(" x=%d;", now.Unix()), form: "relaxed/relaxed"}), Pass, "", true},
		{"the signature has ended", forge(t, letter, forged{instance: 1, cv: "none", message: fmt.Sprintf(" x=%d;", now.Unix()-1), form: "relaxed/relaxed"}), Fail, "has ended", false},
		{"x= is no time", forge(t, letter, forged{instance: 1, cv: "none", message: " x=soon;", form: "relaxed/relaxed"}), Fail, "no time", false},
		{"c=simple", forge(t, letter, forged{instance: 1, cv: "none", form: "simple"}), Pass, "", true},
		{"c=relaxed is relaxed/simple", forge(t, letter, forged{instance: 1, cv: "none", form: "relaxed"}), Pass, "", true},
		{"c=simple/relaxed", forge(t, letter, forged{instance: 1, cv: "none", form: "simple/relaxed"}), Pass, "", true},
		{"no c= is simple/simple", forge(t, letter, forged{instance: 1, cv: "none"}), Pass, "", true},
		{"c= is unknown", forge(t, letter, forged{instance: 1, cv: "none", form: "nofws/relaxed"}), Fail, "c=nofws/relaxed is unknown", false},
		{"a= is not accepted", strings.ReplaceAll(one, "ed25519-sha256", "rsa-sha1"), Fail, "a=rsa-sha1 is not accepted", false},
		{"the key is of another kind", strings.ReplaceAll(one, "ed25519-sha256", "rsa-sha256"), Fail, "the key is not for rsa-sha256", true},
		{"b= is no base64", strings.Replace(one, "\r\n b=", "\r\n b=!", 1), Fail, "b= is no base64", false},
		{"bh= is no base64", strings.Replace(one, " bh=", " bh=!", 1), Fail, "bh= is no base64", false},
		{"no key", strings.ReplaceAll(one, "s=e;", "s=f;"), Fail, "no key at f._domainkey.b.example", true},
		{"selector that no name can have", strings.ReplaceAll(one, "s=e;", "s=e..e;"), Fail, "no key can be at", false},
		{"an address for a domain", strings.ReplaceAll(one, "d=b.example;", "d=[192.0.2.1];"), Fail, "is no name", false},
	} {
		ask := &counted{Resolver: z}
		chain := read(t, test.content).Verify(t.Context(), Options{Resolver: ask, Now: now})
		if chain.Status != test.want || !strings.Contains(chain.Reason, test.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", test.rule, chain.Status, chain.Reason, test.want, test.why)
		}
		if (len(ask.asked) > 0) != test.asked {
			t.Errorf("%s: asked for %v", test.rule, ask.asked)
		}
	}
}

// TestWordsAreOneLine: what a sealer wrote is kept, and must not be more than a line.
func TestWordsAreOneLine(t *testing.T) {
	content := forge(t, letter, forged{instance: 1, cv: "none", seal: " z=1;", results: " i=1; mx; x=\"\x00\x1b\xff\"\r\n " + strings.Repeat("y", 5000)})
	content = strings.Replace(content, "cv=none; z=1; d=b.example; s=e;", "cv=none; d=b.\r\n\texample"+strings.Repeat("x", 300)+"; s=\x07e;", 1)
	set := verify(t, content, dns(t)).Sets[0]
	if len(set.Domain) != maxWord || !strings.HasPrefix(set.Domain, "b.examplex") || set.Selector != "?e" ||
		len(set.Results) != maxResults || !strings.HasPrefix(set.Results, `mx; x="???" yyy`) {
		t.Errorf("set is %+v", set)
	}
}

// TestFiftySets: so many pass, and one more is no chain.
func TestFiftySets(t *testing.T) {
	z := dns(t)
	content := letter
	for range maxSets {
		content = seal2(t, content, z)
	}
	chain := verify(t, content, z)
	wantStatus(t, chain, Pass, "")
	if _, err := sealer(t, testEd25519()).Seal(read(t, content), chain, results, now); !errors.Is(err, ErrUnsealed) {
		t.Errorf("a set 51: %v", err)
	}
	wantStatus(t, verify(t, forge(t, content, forged{instance: 51, cv: "pass"}), z), Fail, "more than 50")
}

// TestNothingMayChange: whatever octet of what is signed changes, the chain fails.
func TestNothingMayChange(t *testing.T) {
	z := dns(t)
	content := seal(t, seal(t, letter, sealer(t, testEd25519()), z), sealer(t, testEd25519()), z)
	if wantStatus(t, verify(t, content, z), Pass, ""); t.Failed() {
		return
	}
	unsigned := strings.Index(content, "X-Other")
	received := strings.Index(content, "Received")
	signature := strings.Index(content, "DKIM-Signature")
	for i := range content {
		c := content[i]
		if i >= received && i < signature || i >= unsigned && i < strings.Index(content, "\r\n\r\n")+2 {
			continue
		}
		if strings.ContainsRune(" \t\r\n", rune(c)) { // relaxed: see TestRelaxed
			continue
		}
		changed := content[:i] + string(c^1) + content[i+1:]
		if strings.EqualFold(changed, content) || c == ':' && content[i+1] == ' ' && i > received {
			continue
		}
		if chain := verify(t, changed, z); chain.Status != Fail {
			t.Errorf("octet %d of %q changed to %q: %s", i, content[max(0, i-20):min(len(content), i+20)], c^1, chain.Status)
		}
	}
	for _, change := range []struct{ rule, from, to string }{
		{"a field is added that is signed", "From:", "From: eve@a.example\r\nFrom:"},
		{"a field is removed", "To: bob@corp.example\r\n", ""},
		{"a word is added to the body", "Hello", "Hello dear"},
		{"a line is added to the body", "\r\n.\r\n", "\r\n.\r\n\r\n"},
		{"a line is removed", "\r\n.\r\n", "\r\n"},
		{"text behind the end", "\xbc\r\n\r\n\r\n", "\xbc\r\n\r\n\r\nx"},
		{"white space is added where there was none", "Hello", "H ello"},
		{"white space is added to a name", "alice@", "al ice@"},
		{"white space at the start of a line is removed", "\r\n  this", "\r\nthis"},
	} {
		changed := strings.Replace(content, change.from, change.to, 1)
		if chain := verify(t, changed, z); changed == content || chain.Status != Fail {
			t.Errorf("%s: %s", change.rule, chain.Status)
		}
	}
}

// TestRelaxed: what relaxed canonicalization lets pass.
func TestRelaxed(t *testing.T) {
	z := dns(t)
	content := seal(t, letter, sealer(t, testEd25519()), z)
	for _, change := range []struct{ rule, from, to string }{
		{"other fields in front", "ARC-Seal", "Received: by x\r\nARC-Seal"},
		{"a field that is not signed", "X-Other: not signed", "X-Other: anything"},
		{"names in another case", "Subject:", "SUBJECT:"},
		{"folds", "a   folded \r\n\tsubject \r\n", "a\r\n\tfolded subject\r\n"},
		{"white space around the colon", "To: bob", "To \t:bob"},
		{"runs of white space in the body", "Hello  Bob", "Hello \t\t Bob"},
		{"white space at the end of a line", "Bob,\r\n", "Bob, \t\r\n"},
		{"white space in an empty line", "Bob,\r\n\r\n", "Bob,\r\n  \r\n"},
		{"empty lines at the end", "\xbc\r\n\r\n\r\n", "\xbc\r\n"},
		{"no line end at the end", "\xbc\r\n\r\n\r\n", "\xbc"},
		{"the seal folded anew", "; cv=none", ";\r\n cv=none"},
	} {
		changed := strings.Replace(content, change.from, change.to, 1)
		if chain := verify(t, changed, z); changed == content || chain.Status != Pass {
			t.Errorf("%s: %s: %s", change.rule, chain.Status, chain.Reason)
		}
	}
}

// TestNotNow: while the DNS fails, nobody knows; a name that is not there is an answer.
func TestNotNow(t *testing.T) {
	content := seal(t, letter, sealer(t, testEd25519()), dns(t))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for rule, err := range map[string]error{"time-out": &net.DNSError{Err: "i/o timeout", IsTimeout: true}, "server failure": &net.DNSError{Err: "server misbehaving", IsTemporary: true},
		"unknown": errors.New("what"), "the context has ended": ended.Err()} {
		chain := verify(t, content, broken{err})
		if wantStatus(t, chain, TempError, "cannot be looked up"); t.Failed() {
			t.Log(rule)
		}
		if _, err := sealer(t, testEd25519()).Seal(read(t, content), chain, results, now); !errors.Is(err, ErrUnsealed) {
			t.Errorf("%s: sealed: %v", rule, err)
		}
	}
	wantStatus(t, verify(t, content, zone{}), Fail, "no key at")
	wantStatus(t, verify(t, content, empty{}), Fail, "no key at")
}

type empty struct{}

func (empty) LookupTXT(context.Context, string) ([]string, error) { return nil, nil }

// TestKeysAreAskedForOnce: and for the older signatures of a chain that fails, never.
func TestKeysAreAskedForOnce(t *testing.T) {
	z := dns(t)
	content := seal(t, letter, sealer(t, testRSA()), z)
	for range 5 {
		content = seal(t, content, sealer(t, testEd25519()), z)
	}
	ask := &counted{Resolver: z}
	wantStatus(t, verify(t, content, ask), Pass, "")
	if len(ask.asked) != 2 {
		t.Errorf("asked for %v", ask.asked)
	}
	ask.asked = nil
	wantStatus(t, verify(t, strings.Replace(content, "Bob", "Eve", 1), ask), Fail, "the body was changed")
	if len(ask.asked) != 0 {
		t.Errorf("asked for %v", ask.asked)
	}
}

// TestTooManyKeys: the search for the oldest signature ends; the chain still passes.
func TestTooManyKeys(t *testing.T) {
	z := zone{}
	content := letter
	for i := range 40 {
		for _, kind := range []string{"m", "s"} {
			z[fmt.Sprintf("%s%d._domainkey.b.example", kind, i)] = testEd25519().Record()
		}
		content = forgeKeys(t, content, i, z)
	}
	ask := &counted{Resolver: z}
	chain := verify(t, content, ask)
	wantStatus(t, chain, Pass, "")
	if len(ask.asked) != maxKeys || chain.OldestPass != 21 {
		t.Errorf("asked %d times, oldest pass %d", len(ask.asked), chain.OldestPass)
	}
}

// forgeKeys seals with one key for the message and another for the seal.
func forgeKeys(t *testing.T, content string, i int, z zone) string {
	t.Helper()
	s := sealer(t, testEd25519())
	m := read(t, content)
	s.selector = fmt.Sprintf("m%d", i)
	own := set{instance: i + 1, results: newPart("ARC-Authentication-Results", fmt.Sprintf(" i=%d; mx", i+1))}
	var err error
	if own.message, err = s.messageField(m, i+1, now); err != nil {
		t.Fatal(err)
	}
	cv := Pass
	if i == 0 {
		cv = None
	}
	draft := fmt.Sprintf(" i=%d; a=%s; cv=%s; d=b.example; s=s%d; b=", i+1, Ed25519, cv, i)
	own.seal = newPart("ARC-Seal", draft)
	before, _ := collect(m.fields, &Chain{})
	if own.seal, err = s.signed("ARC-Seal", draft, sealHash(before, &own)); err != nil {
		t.Fatal(err)
	}
	return string(slices.Concat(own.seal.raw, own.message.raw, own.results.raw)) + content
}

func TestHeaderBeyondMeasure(t *testing.T) {
	field := "X: " + strings.Repeat("x", 1000) + "\r\n"
	for rule, content := range map[string]string{"long": strings.Repeat(field, 200) + letter, "one long line": strings.Repeat("x", maxHeader+1),
		"many fields": strings.Repeat("X: 1\r\n", maxFields) + letter} {
		m := read(t, content)
		chain := m.Verify(t.Context(), Options{Now: now})
		if wantStatus(t, chain, Fail, "header is longer"); t.Failed() {
			t.Log(rule)
		}
		if _, err := sealer(t, testEd25519()).Seal(m, chain, results, now); !errors.Is(err, ErrUnsealed) || !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	wantStatus(t, verify(t, strings.Repeat("X: 1\r\n", maxFields-8)+letter, nil), None, "")
}

// TestSignature: a field of DKIM is checked as one of a set is.
func TestSignature(t *testing.T) {
	z := dns(t)
	s := sealer(t, testEd25519())
	sign := func(content, more string) string {
		m := read(t, content)
		draft := " v=1; a=ed25519-sha256; c=relaxed/relaxed; d=b.example; s=e;" + more + " h=from:arc-seal; bh=" + base64.StdEncoding.EncodeToString(m.relaxed[:]) + "; b="
		own, err := s.signed("DKIM-Signature", draft, messageHash(m.fields, []string{"from"}, newPart("DKIM-Signature", draft), true))
		if err != nil {
			t.Fatal(err)
		}
		return string(own.raw) + content
	}
	good := sign(letter, "")
	for _, test := range []struct {
		rule, content string
		n             int
		want          string
	}{
		{"good", good, 0, ""},
		{"the second", sign(good, " x=1;"), 1, ""},
		{"ended", sign(good, " x=1;"), 0, "has ended"},
		{"changed", strings.Replace(good, "Bob", "Eve", 1), 0, "the body was changed"},
		{"another field was changed", strings.Replace(good, "Alice", "Eve", 1), 0, "what was signed was changed"},
		{"tags are missing", strings.Replace(letter, " bh=AA==;", "", 1), 0, "has no bh="},
		{"none", "From: a\r\n\r\n", 0, "no such signature"},
		{"too few", good, 2, "no such signature"},
		{"no tags", "DKIM-Signature: x\r\n\r\n", 0, "no list of tags"},
		{"header beyond measure", strings.Repeat("X: 1\r\n", maxFields) + good, 0, "header is longer"},
	} {
		err := read(t, test.content).Signature(t.Context(), Options{Resolver: z, Now: now}, test.n)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.rule, err, test.want)
		}
	}
	if err := read(t, good).Signature(t.Context(), Options{Resolver: broken{errors.New("down")}, Now: now}, 0); !errors.Is(err, ErrLater) {
		t.Errorf("no key now: %v", err)
	}
}

// TestLastLineEnd: it is no part of what a signature says of its own field.
func TestLastLineEnd(t *testing.T) {
	for value, want := range map[string]string{" b=x; c=y\r\n": " b=; c=y", " b=x\r\n": " b=", " c=y": " c=y"} {
		if got := string(trimEnd(withoutSignature([]byte(value)))); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestReaderFails(t *testing.T) {
	lost := errors.New("lost")
	for _, whole := range []string{"From: a", letter[:len(letter)-5]} {
		in := io.MultiReader(strings.NewReader(whole), iotest.ErrReader(lost))
		if _, err := Read(in); !errors.Is(err, lost) {
			t.Errorf("behind %d octets: %v", len(whole), err)
		}
	}
	m, err := Read(iotest.OneByteReader(strings.NewReader(seal(t, letter, sealer(t, testRSA()), dns(t)))))
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, m.Verify(t.Context(), Options{Resolver: dns(t), Now: now.Add(time.Hour)}), Pass, "")
}
