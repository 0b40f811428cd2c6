package arc

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 12, 13, 4, 10, 0, time.UTC)

// zone answers for the DNS; a name that it does not have is not there.
type zone map[string]string

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if record, ok := z[name]; ok {
		return []string{record}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// counted counts the questions.
type counted struct {
	Resolver
	asked []string
}

func (c *counted) LookupTXT(ctx context.Context, name string) ([]string, error) {
	c.asked = append(c.asked, name)
	return c.Resolver.LookupTXT(ctx, name)
}

// broken cannot answer.
type broken struct{ err error }

func (b broken) LookupTXT(context.Context, string) ([]string, error) { return nil, b.err }

// Keys are made once: RSA takes its time.
var (
	testRSA     = sync.OnceValue(func() *Key { return mustKey(RSA, 2048) })
	testEd25519 = sync.OnceValue(func() *Key { return mustKey(Ed25519, 0) })
)

func mustKey(algorithm string, bits int) *Key {
	key, err := NewKey(algorithm, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// dns has the keys of the sealers of these tests.
func dns(t testing.TB) zone {
	return zone{"r._domainkey.a.example": testRSA().Record(), "e._domainkey.b.example": testEd25519().Record()}
}

func sealer(t testing.TB, key *Key, headers ...string) *Sealer {
	t.Helper()
	domain, selector := "a.example", "r"
	if key.Algorithm() == Ed25519 {
		domain, selector = "b.example", "e"
	}
	s, err := NewSealer(key, domain, selector, headers)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const results = "mx2.corp.example;\r\n\tspf=pass smtp.mailfrom=client.example;\r\n\tdkim=none;\r\n\tdmarc=none header.from=client.example"

const letter = "Received: from client.example ([192.0.2.9])\r\n\tby mx.client.example; Thu, 12 Mar 2026 13:04:00 +0000\r\n" +
	"DKIM-Signature: v=1; a=rsa-sha256; d=client.example; s=x; h=from; bh=AA==; b=AA==\r\n" +
	"From: Alice <alice@client.example>\r\nTo: bob@corp.example\r\nSubject: a   folded \r\n\tsubject \r\n" +
	"Date: Thu, 12 Mar 2026 13:04:00 +0000\r\nMessage-ID: <1@client.example>\r\nX-Other: not signed\r\n" +
	"\r\n" +
	"Hello  Bob,\r\n\r\n  this is \t text \r\n.\r\n\xc3\xbc\r\n\r\n\r\n"

func read(t testing.TB, content string) *Message {
	t.Helper()
	m, err := Read(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func verify(t testing.TB, content string, r Resolver) Chain {
	t.Helper()
	return read(t, content).Verify(t.Context(), Options{Resolver: r, Now: now})
}

// seal puts a set in front, as the relay does.
func seal(t testing.TB, content string, s *Sealer, r Resolver) string {
	t.Helper()
	m := read(t, content)
	set, err := s.Seal(m, m.Verify(t.Context(), Options{Resolver: r, Now: now}), results, now)
	if err != nil {
		t.Fatal(err)
	}
	checkLines(t, set)
	return string(set) + content
}

// checkLines: a set is whole lines, none of which may be too long or end a header.
func checkLines(t testing.TB, set []byte) {
	t.Helper()
	if !bytes.HasSuffix(set, crlf) {
		t.Errorf("set does not end its line: %q", set)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(set), "\r\n"), "\r\n") {
		if trim(line) == "" || len(line) > 100 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("bad line in a set: %q", line)
		}
	}
}

func wantStatus(t testing.TB, chain Chain, want Status, why string) {
	t.Helper()
	if chain.Status != want || !strings.Contains(chain.Reason, why) {
		t.Errorf("chain is %s (%s), want %s (%s)", chain.Status, chain.Reason, want, why)
	}
}
