package auth

import (
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

func TestDKIM(t *testing.T) {
	server := dnstest.New(t)
	publish(t, server, "s1", "sender.example", rsaKey(), "")
	publish(t, server, "ed", "sender.example", edKey(), "")
	publish(t, server, "same", "sender.example", rsaKey(), "t=s; ")
	publish(t, server, "same", "sub.sender.example", rsaKey(), "t=y:s; ")
	publish(t, server, "test", "sender.example", rsaKey(), "t=y; ")
	publish(t, server, "www", "sender.example", rsaKey(), "s=tlsrpt; ")
	publish(t, server, "twice", "sender.example", rsaKey(), "")
	publish(t, server, "twice", "sender.example", rsaKey(), "")
	small, err := rsa.GenerateKey(&seeded{}, 1024)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, server, "small", "sender.example", small, "")
	server.AddTXT("revoked._domainkey.sender.example", "v=DKIM1; p=")
	server.AddTXT("long._domainkey.sender.example", "v=DKIM1; p="+strings.Repeat("A", 3000))
	server.AddTXT("junk._domainkey.sender.example", "v=DKIM1; p=AAAA")
	server.Trouble("down._domainkey.sender.example", dnstest.Fail)
	by := func(selector string, change func(*dkim.SignOptions)) string {
		o := dkim.SignOptions{Domain: "sender.example", Selector: selector}
		if change != nil {
			change(&o)
		}
		return sign(t, plainMessage, o)
	}
	good := by("s1", nil)
	head, _, _ := strings.Cut(plainMessage, "\r\n\r\n")
	bodiless := sign(t, head+"\r\n\r\n", dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	replaced := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in %q", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	for _, c := range []struct{ name, message, result, reason string }{
		{"RSA", good, Pass, ""},
		{"simple", by("s1", func(o *dkim.SignOptions) {
			o.HeaderCanonicalization, o.BodyCanonicalization = dkim.CanonicalizationSimple, dkim.CanonicalizationSimple
		}), Pass, ""},
		{"Ed25519", by("ed", func(o *dkim.SignOptions) { o.Signer = edKey() }), Pass, ""},
		{"1024 bits", by("small", func(o *dkim.SignOptions) { o.Signer = small }), Pass, ""},
		{"body changed", replaced("Hello", "hello"), Fail, "body hash"},
		{"b= in another tag", replaced("v=1;", "v=1; z=From:Bob=20Smith|To:b =c;"), TempError, "cannot be checked"},
		{"header changed", replaced("Subject: hello", "Subject: hallo"), Fail, "signature did not verify"},
		{"no body, no empty line", strings.TrimSuffix(bodiless, "\r\n"), Pass, ""},
		{"no body, nor the end of the header", strings.TrimSuffix(bodiless, "\r\n\r\n"), Pass, ""},
		{"line added to the header", "X: y\r\n" + good, Pass, ""},
		{"another domain", replaced("d=sender.example", "d=victim.example"), PermError, "no key"},
		{"no key", by("gone", nil), PermError, "no key"},
		{"revoked", by("revoked", nil), PermError, "revoked"},
		{"two keys", by("twice", nil), PermError, "multiple"},
		{"long key", by("long", nil), PermError, "too long"},
		{"junk key", by("junk", nil), PermError, "syntax"},
		{"key for another service", by("www", nil), PermError, "service"},
		{"DNS down", by("down", nil), TempError, "unavailable"},
		{"testing", by("test", nil), Pass, ""},
		{"t=s", by("same", nil), Pass, ""},
		{"t=s, same", by("same", func(o *dkim.SignOptions) { o.Identifier = "a@sender.example" }), Pass, ""},
		{"t=s, subdomain", by("same", func(o *dkim.SignOptions) { o.Identifier = "@sub.sender.example" }), PermError, "subdomains"},
		{"subdomain", by("s1", func(o *dkim.SignOptions) { o.Identifier = "@sub.sender.example" }), Pass, ""},
		{"expired", by("s1", func(o *dkim.SignOptions) { o.Expiration = time.Unix(1, 0) }), PermError, "expired"},
		{"l=", replaced("s=s1;", "s=s1; l=0;"), Fail, "body length"},
		{"SHA-1", replaced("a=rsa-sha256", "a=rsa-sha1"), PermError, "too weak"},
		{"no From signed", by("s1", func(o *dkim.SignOptions) { o.HeaderKeys = []string{"From"} }), Pass, ""},
		{"h= without From", replaced("h=From:", "h="), PermError, "From field not signed"},
		{"tags missing", "DKIM-Signature: v=1; d=sender.example\r\n" + plainMessage, PermError, "required tag"},
		{"a tag twice", replaced("s=s1;", "s=s1; s=s1;"), PermError, "duplicate"},
		{"no tags", "DKIM-Signature: hello\r\n" + plainMessage, PermError, "malformed"},
		{"empty", "DKIM-Signature:\r\n" + plainMessage, PermError, "version"},
		{"two From", "From: x@bank.example\r\n" + good, Pass, ""}, // DMARC sees to that
		{"d= that is no domain", replaced("d=sender.example", "d=a b c"), PermError, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verify(t, server, from("alice@sender.example"), c.message)
			if len(v.DKIM) != 1 {
				t.Fatalf("%d signatures", len(v.DKIM))
			}
			if s := v.DKIM[0]; s.Result != c.result || !strings.Contains(s.Reason, c.reason) || (c.reason == "") != (s.Reason == "") && c.name != "d= that is no domain" {
				t.Errorf("%+v, want %s, %s", s, c.result, c.reason)
			}
		})
	}
}

// TestOddDomains: a pass for what is no domain, and lines that the library
// reads in another way, prove nothing.
func TestOddDomains(t *testing.T) {
	server := dnstest.New(t)
	publish(t, server, "s1", "-odd.example", rsaKey(), "")
	v := verify(t, server, from("alice@sender.example"), sign(t, plainMessage, dkim.SignOptions{Domain: "-odd.example", Selector: "s1"}))
	if s := v.DKIM[0]; s.Result != PermError || !strings.Contains(s.Reason, "no domain name") {
		t.Errorf("%+v", s)
	}
	v = verify(t, server, from("alice@sender.example"), "DKIM-Signature: x\r\n\nDKIM-Signature: y\r\n"+plainMessage)
	for _, s := range v.DKIM {
		if s.Result != PermError || !strings.Contains(s.Reason, "cannot be read") {
			t.Errorf("%+v", s)
		}
	}
}

func TestReadSignature(t *testing.T) {
	s, names := readSignature(" v=1; a=rsa-\r\n sha256; d=SENDER.example ; s=s\r\n\t1; i=Joe@sub.sender.example; h=From:To:\r\n Subject; bh=x; b=AbCdEf\r\n GhIjKl")
	want := Signature{Domain: "sender.example", Selector: "s1", Algorithm: "rsa-sha256", Identifier: "Joe@sub.sender.example", Value: "AbCdEfGh"}
	if s != want || names != 3 {
		t.Errorf("%+v, %d names", s, names)
	}
	s, _ = readSignature("d=[192.0.2.1]; s=" + strings.Repeat("\xff", 300) + "; b=ab\xff")
	if s.Domain != "" || len(s.Selector) > maxWord || !strings.HasPrefix(s.Value, "ab") {
		t.Errorf("%+v", s)
	}
}

// FuzzVerify: whatever a message is, there is an answer, and it is not that of
// somebody who did not sign.
func FuzzVerify(f *testing.F) {
	server := dnstest.New(f)
	publish(f, server, "s1", "sender.example", rsaKey(), "")
	publish(f, server, "ed", "sender.example", edKey(), "")
	signed := sign(f, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	f.Add([]byte(sign(f, signed, dkim.SignOptions{Domain: "sender.example", Selector: "ed", Signer: edKey()})))
	f.Add([]byte("DKIM-Signature: v=1; a=ed25519-sha256; c=x/y; d=sender.example; s=ed; h=from:from; bh=; b=;;\r\nFrom: <a@b.example>\r\n"))
	v := verifier(f, server)
	f.Fuzz(func(t *testing.T, message []byte) {
		found := v.Verify(t.Context(), from("alice@sender.example"), strings.NewReader(string(message)))
		if len(found.DKIM) > maxSignatures || found.DMARC.Result == "" || found.MailFrom.Result == "" {
			t.Errorf("%+v", found)
		}
		for _, s := range found.DKIM {
			switch s.Result {
			case Pass:
				if s.Domain != "sender.example" || s.Reason != "" {
					t.Errorf("%+v", s)
				}
			case Fail, PermError, TempError:
			default:
				t.Errorf("%+v", s)
			}
		}
		oneField(t, string(found.Field()))
	})
}
