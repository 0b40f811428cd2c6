package auth

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

const ourID = "mx2.corp.example"

// verifier asks a server that lives in the test.
func verifier(t testing.TB, server *dnstest.Server) *Verifier {
	t.Helper()
	v, err := New(Options{ID: ourID, Resolver: server.Resolver(t)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// seeded reads bytes that are the same in each run.
type seeded struct {
	state [32]byte
}

func (s *seeded) Read(p []byte) (int, error) {
	for i := range p {
		if i%32 == 0 {
			s.state = sha256.Sum256(s.state[:])
		}
		p[i] = s.state[i%32]
	}
	return len(p), nil
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(&seeded{}, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

var edKey = sync.OnceValue(func() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(&seeded{})
	if err != nil {
		panic(err)
	}
	return key
})

// publish puts a key into the DNS.
func publish(t testing.TB, server *dnstest.Server, selector, domain string, key crypto.Signer, flags string) {
	t.Helper()
	kind, public := "ed25519", []byte(nil)
	switch k := key.Public().(type) {
	case ed25519.PublicKey:
		public = k
	default:
		var err error
		kind = "rsa"
		if public, err = x509.MarshalPKIXPublicKey(k); err != nil {
			t.Fatal(err)
		}
	}
	server.AddTXT(selector+"._domainkey."+domain, "v=DKIM1; k="+kind+"; "+flags+"p="+base64.StdEncoding.EncodeToString(public))
}

// sign signs a message.
func sign(t testing.TB, message string, o dkim.SignOptions) string {
	t.Helper()
	if o.Signer == nil {
		o.Signer = rsaKey()
	}
	if o.HeaderCanonicalization == "" {
		o.HeaderCanonicalization, o.BodyCanonicalization = dkim.CanonicalizationRelaxed, dkim.CanonicalizationRelaxed
	}
	var signed bytes.Buffer
	if err := dkim.Sign(&signed, strings.NewReader(message), &o); err != nil {
		t.Fatal(err)
	}
	return signed.String()
}

// lines joins lines with CRLF.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }

var plainMessage = lines("From: Alice <alice@sender.example>", "To: bob@corp.example", "Subject: hello", "", "Hello Bob,", "it is me.")

var client4, client6 = netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")

// from is mail from the usual client.
func from(reversePath string) Identity {
	return Identity{Client: client4, Hello: "mail.sender.example", ReversePath: reversePath}
}

func verify(t testing.TB, server *dnstest.Server, id Identity, message string) Verdicts {
	t.Helper()
	return verifier(t, server).Verify(t.Context(), id, strings.NewReader(message))
}

// pieces reads a text a few bytes at a time.
type pieces struct {
	from io.Reader
	size int
}

func (p pieces) Read(b []byte) (int, error) { return p.from.Read(b[:min(len(b), p.size)]) }
