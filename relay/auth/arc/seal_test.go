package arc

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSealCoversTraceLines: what stands in front when the message is sealed is
// signed, if it is asked for.
func TestSealCoversTraceLines(t *testing.T) {
	z := dns(t)
	trace := "Received: from client.example\r\n\tby mx2.corp.example with ESMTP id 0123456789ab;\r\n\tThu, 12 Mar 2026 13:04:10 +0000\r\n"
	s := sealer(t, testEd25519(), "Received")
	m := read(t, letter)
	set, err := s.Seal(m.Behind([]byte(trace)), m.Verify(t.Context(), Options{Resolver: z, Now: now}), results, now)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(set), "h=from:received:received:from;") {
		t.Errorf("h= is not as expected: %s", set)
	}
	leaves := string(set) + trace + letter
	wantStatus(t, verify(t, leaves, z), Pass, "")
	wantStatus(t, verify(t, "Received: by next\r\n"+leaves, z), Pass, "")
	wantStatus(t, verify(t, strings.Replace(leaves, "0123456789ab", "0123456789ac", 1), z), Fail, "was changed")
	wantStatus(t, verify(t, string(set)+letter, z), Fail, "was changed")
}

// TestSealText: the fields of a set, word for word.
func TestSealText(t *testing.T) {
	content := seal(t, "From: a@a.example\r\nDKIM-Signature: 1\r\nDKIM-Signature: 2\r\n\r\nx\r\n", sealer(t, testEd25519()), dns(t))
	for _, line := range []string{
		fmt.Sprintf("ARC-Seal: i=1; a=ed25519-sha256; cv=none; d=b.example; s=e; t=%d;\r\n\tb=", now.Unix()),
		fmt.Sprintf("ARC-Message-Signature: i=1; a=ed25519-sha256; c=relaxed/relaxed; d=b.example; s=e; t=%d;\r\n\th=from:dkim-signature:dkim-signature:from;\r\n\tbh=", now.Unix()),
		"ARC-Authentication-Results: i=1; mx2.corp.example;\r\n\tspf=pass smtp.mailfrom=client.example;\r\n",
	} {
		if !strings.Contains(content, line) {
			t.Errorf("%q is not in %s", line, content)
		}
	}
}

// TestChainThatFails: it gets one last set, which says so; then there is no more to seal.
func TestChainThatFails(t *testing.T) {
	z := dns(t)
	s := sealer(t, testEd25519())
	broken := strings.Replace(seal(t, letter, s, z), "Bob", "Eve", 1)
	last := seal(t, broken, s, z)
	if !strings.HasPrefix(last, "ARC-Seal: i=2; a=ed25519-sha256; cv=fail;") {
		t.Fatalf("sealed as %s", last)
	}
	chain := verify(t, last, z)
	wantStatus(t, chain, Fail, "set 2 says that the chain was broken before")
	if set, err := s.Seal(read(t, last), chain, results, now); !errors.Is(err, ErrUnsealed) {
		t.Errorf("sealed again: %s %v", set, err)
	}
	// What has no instance number at all is the first set of a chain that has failed.
	if got := seal(t, "ARC-Seal: x\r\n"+letter, s, z); !strings.HasPrefix(got, "ARC-Seal: i=1; a=ed25519-sha256; cv=fail;") {
		t.Errorf("sealed as %s", got)
	}
}

// TestFirstLineContinues: a first line that begins with white space belongs to
// the trace lines in front of it, and not to a seal.
func TestFirstLineContinues(t *testing.T) {
	z, s := dns(t), sealer(t, testEd25519(), "received")
	const trace, odd = "Received: by mx2.corp.example\r\n", " odd\r\nFrom: a@a.example\r\n\r\nx\r\n"
	m := read(t, odd)
	if set, err := s.Seal(m, Chain{Status: None}, results, now); !errors.Is(err, ErrUnsealed) {
		t.Errorf("sealed: %s %v", set, err)
	}
	set, err := s.Seal(m.Behind([]byte(trace)), Chain{Status: None}, results, now)
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, verify(t, string(set)+trace+odd, z), Pass, "")
	wantStatus(t, verify(t, string(set)+trace+strings.Replace(odd, "odd", "even", 1), z), Fail, "")
	if m.Behind(nil).continues() != true {
		t.Error("nothing in front changes the first line")
	}
}

func TestSealRefuses(t *testing.T) {
	s := sealer(t, testEd25519())
	m := read(t, letter)
	for _, bad := range []string{"", " \r\n", "mx; spf=pass\r\nFrom: eve", "mx; a\nb", "mx; a\rb", "mx; a\x00b", "mx;\r\n \r\n\tspf=pass"} {
		if set, err := s.Seal(m, Chain{Status: None}, bad, now); err == nil {
			t.Errorf("results %q: %s %v", bad, set, err)
		}
	}
	// A chain of another message.
	for _, content := range []string{letter, "ARC-Seal: i=1\r\n" + letter} {
		if _, err := s.Seal(read(t, content), Chain{Status: Pass, highest: 2}, results, now); !errors.Is(err, ErrUnsealed) {
			t.Errorf("another chain: %v", err)
		}
	}
}

func TestNewSealer(t *testing.T) {
	key := testEd25519()
	for _, test := range []struct {
		rule, domain, selector string
		key                    *Key
		headers                []string
		want                   string
	}{
		{"all is right", "B.Example", "E", key, []string{"To", "to", "FROM"}, ""},
		{"U-labels", "b\u00fccher.example", "s1.t", key, nil, ""},
		{"no key", "b.example", "e", nil, nil, "no key"},
		{"no domain", "", "e", key, nil, "is no domain"},
		{"an address", "[192.0.2.1]", "e", key, nil, "is no domain"},
		{"no selector", "b.example", "", key, nil, "is no selector"},
		{"selector with a space", "b.example", "a b", key, nil, "is no selector"},
		{"selector with a semicolon", "b.example", "a;b", key, nil, "is no selector"},
		{"empty name", "b.example", "e", key, []string{""}, "is no name"},
		{"name with a colon", "b.example", "e", key, []string{"a:b"}, "is no name"},
		{"name with a line end", "b.example", "e", key, []string{"a\r\nb"}, "is no name"},
		{"name that is removed on the way", "b.example", "e", key, []string{"Authentication-Results"}, "must not be signed"},
		{"name of ours", "b.example", "e", key, []string{"ARC-Seal"}, "must not be signed"},
		{"name that is added at the end", "b.example", "e", key, []string{"Return-Path"}, "must not be signed"},
	} {
		s, err := NewSealer(test.key, test.domain, test.selector, test.headers)
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", test.rule, err, test.want)
		case err == nil && (s.domain != strings.ToLower(s.domain) || s.headers[0] != "from" || len(test.headers) > 0 && len(s.headers) != 2):
			t.Errorf("%s: %+v", test.rule, s)
		}
	}
	for _, name := range DefaultHeaders() {
		if err := CheckHeader(name); err != nil {
			t.Error(err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	folder := t.TempDir()
	file := func(name string, text []byte, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, text, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, key := range []*Key{testRSA(), testEd25519()} {
		text := key.PEM()
		again, err := ReadKey(file(key.Algorithm(), text, 0o600))
		if err != nil || again.Algorithm() != key.Algorithm() || again.Record() != key.Record() {
			t.Errorf("%s read again: %v", key.Algorithm(), err)
		}
		for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
			if _, err := ReadKey(file("open", text, mode)); err == nil || !strings.Contains(err.Error(), "others may read or write") {
				t.Errorf("mode %o: %v", mode, err)
			}
		}
	}
	if _, err := ReadKey(filepath.Join(folder, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := ReadKey(folder); err == nil {
		t.Error("a folder is a key")
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(folder); err == nil {
		t.Error("a closed folder is a key")
	}
	if _, err := ReadKey(file("empty", nil, 0o600)); err == nil || !strings.Contains(err.Error(), "no key in PEM") {
		t.Errorf("empty file: %v", err)
	}
}

// failsLater signs so many times.
type failsLater struct {
	crypto.Signer
	works int
}

func (f *failsLater) Sign(r io.Reader, hash []byte, o crypto.SignerOpts) ([]byte, error) {
	if f.works--; f.works < 0 {
		return nil, errors.New("no")
	}
	return f.Signer.Sign(r, hash, o)
}

func TestKeyThatFails(t *testing.T) {
	m := read(t, letter)
	for works := range 2 { // signatures before it fails
		key := &Key{&failsLater{Signer: testEd25519().signer, works: works}, Ed25519}
		if set, err := sealer(t, key).Seal(m, Chain{Status: None}, results, now); err == nil || errors.Is(err, ErrUnsealed) || set != nil {
			t.Errorf("%d: %q %v", works, set, err)
		}
	}
}

// TestLongList: every field that is signed by default, several times, folded
// into lines of a good length.
func TestLongList(t *testing.T) {
	content := ""
	for _, name := range DefaultHeaders() {
		content += strings.Repeat(name+": x\r\n", 3)
	}
	z := dns(t)
	sealed := seal(t, content+"\r\nx\r\n", sealer(t, testRSA()), z)
	wantStatus(t, verify(t, sealed, z), Pass, "")
	if got := dkimpy(t, job{Verify: base64.StdEncoding.EncodeToString([]byte(sealed)), Zone: z})[0]; got.CV != "pass" {
		t.Errorf("dkimpy says %+v", got)
	}
}

func TestNewKey(t *testing.T) {
	for _, bits := range []int{0, 512, 1023, 4097} {
		if _, err := NewKey(RSA, bits); err == nil {
			t.Errorf("RSA with %d bits", bits)
		}
	}
	if _, err := NewKey("dsa", 2048); err == nil {
		t.Error("a key of DSA")
	}
	if got := testEd25519().Record(); !strings.HasPrefix(got, "v=DKIM1; k=ed25519; p=") {
		t.Errorf("record is %s", got)
	}
	if got := testRSA().Record(); !strings.HasPrefix(got, "v=DKIM1; k=rsa; p=MIIBI") {
		t.Errorf("record is %s", got)
	}
}

func TestDefaultHeadersAreOneEach(t *testing.T) {
	names := DefaultHeaders()
	slices.Sort(names)
	if len(slices.Compact(names)) != len(DefaultHeaders()) {
		t.Error("a name is there twice")
	}
}
