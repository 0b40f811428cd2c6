package arc

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// forged is a set that a sealer of ours would not write, with signatures that are right.
type forged struct {
	instance      int
	cv            string
	form          string // c=; "" leaves it away
	names         string // h=
	message, seal string // further tags, each with its semicolon
	results       string // instead of i=N; and so on
}

// forge puts the set in front of content.
func forge(t testing.TB, content string, f forged) string {
	t.Helper()
	if f.names == "" {
		f.names = "from:to:subject"
	}
	m := read(t, content)
	body := m.relaxed
	form := f.form
	if form == "" {
		form = "simple/simple"
	} else {
		f.form = " c=" + f.form + ";"
	}
	if !strings.HasSuffix(form, "/relaxed") {
		simple := newSimpleBody()
		if _, text, ok := strings.Cut(content, "\r\n\r\n"); ok {
			simple.Write([]byte(text))
		}
		body = simple.sum()
	}
	own := set{instance: f.instance}
	if f.results == "" {
		f.results = fmt.Sprintf(" i=%d; %s", f.instance, results)
	}
	own.results = newPart("ARC-Authentication-Results", f.results)
	draft := fmt.Sprintf(" i=%d; a=ed25519-sha256;%s%s d=b.example; s=e; h=%s; bh=%s;\r\n b=", f.instance, f.form, f.message, f.names,
		base64.StdEncoding.EncodeToString(body[:]))
	own.message = newPart("ARC-Message-Signature", draft)
	s := sealer(t, testEd25519())
	var err error
	own.message, err = s.signed("ARC-Message-Signature", draft, messageHash(m.fields, strings.Split(f.names, ":"), own.message, strings.HasPrefix(form, "relaxed")))
	if err != nil {
		t.Fatal(err)
	}
	draft = fmt.Sprintf(" i=%d; a=ed25519-sha256; cv=%s;%s d=b.example; s=e; b=", f.instance, f.cv, f.seal)
	own.seal = newPart("ARC-Seal", draft)
	before, _, _ := gather(m.fields, &Chain{})
	if own.seal, err = s.signed("ARC-Seal", draft, sealHash(whole(before[:min(max(f.instance, 1), maxSets)-1]), &own)); err != nil {
		t.Fatal(err)
	}
	return string(own.seal.raw) + string(own.message.raw) + string(own.results.raw) + content
}

// whole is the sets that have all their fields.
func whole(sets []set) (all []set) {
	for _, s := range sets {
		if s.results != nil && s.message != nil && s.seal != nil {
			all = append(all, s)
		}
	}
	return all
}
