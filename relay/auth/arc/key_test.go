package arc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
)

func TestParseKeyRecord(t *testing.T) {
	rsaRecord, edRecord := testRSA().Record(), testEd25519().Record()
	_, rsaData, _ := strings.Cut(rsaRecord, "p=")
	_, edData, _ := strings.Cut(edRecord, "p=")
	public := testRSA().signer.Public().(*rsa.PublicKey)
	pkcs1 := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(public))
	for _, test := range []struct{ rule, record, want, err string }{
		{"RSA", rsaRecord, RSA, ""},
		{"RSA without v= and k=", "p=" + rsaData, RSA, ""},
		{"RSA as PKCS #1", "v=DKIM1; p=" + pkcs1, RSA, ""},
		{"white space in the key", "v=DKIM1; p=" + rsaData[:20] + " \t" + rsaData[20:], RSA, ""},
		{"Ed25519", edRecord, Ed25519, ""},
		{"for SHA-256 among others", edRecord + "; h=sha1 : sha256", Ed25519, ""},
		{"for mail", edRecord + "; s=email", Ed25519, ""},
		{"for everything", edRecord + "; s=*", Ed25519, ""},
		{"flags and notes", edRecord + "; t=y:s; n=a=b", Ed25519, ""},
		{"for SHA-1 only", edRecord + "; h=sha1", "", "not for SHA-256"},
		{"for something else", edRecord + "; s=tlsrpt", "", "not for mail"},
		{"another version", "v=DKIM2; p=" + rsaData, "", "no key of DKIM"},
		{"version not in front", "p=" + rsaData + "; v=DKIM1", "", "no key of DKIM"},
		{"revoked", "v=DKIM1; p=", "", "was revoked"},
		{"no key", "v=DKIM1", "", "has no key"},
		{"no base64", "v=DKIM1; p=!", "", "has no key"},
		{"not a key", "v=DKIM1; p=AAAA", "", "no RSA key"},
		{"SPF", "v=spf1 -all", "", "no key of DKIM"},
		{"text", "hello", "", "record is wrong"},
		{"unknown kind", "v=DKIM1; k=dsa; p=" + edData, "", "nobody knows"},
		{"Ed25519 that is too short", "v=DKIM1; k=ed25519; p=AAAA", "", "nobody knows"},
		{"RSA of 512 bits", small, "", "has 512 bits"},
	} {
		key := parseKey(test.record)
		switch {
		case test.err == "" && (key.err != nil || key.algorithm != test.want):
			t.Errorf("%s: %s, %v", test.rule, key.algorithm, key.err)
		case test.err != "" && (key.err == nil || !strings.Contains(key.err.Error(), test.err)):
			t.Errorf("%s: %v, want %q", test.rule, key.err, test.err)
		}
		if test.err != "" && key.verify(make([]byte, 32), make([]byte, 64)) {
			t.Errorf("%s: verifies", test.rule)
		}
	}
	curve := ecKey(t)
	der, err := x509.MarshalPKIXPublicKey(curve.Public())
	if err != nil {
		t.Fatal(err)
	}
	if key := parseKey("p=" + base64.StdEncoding.EncodeToString(der)); key.err == nil {
		t.Error("a key of a curve is an RSA key")
	}
}

// small is the record of a key of 512 bits, as nobody makes one any more.
const small = "v=DKIM1; k=rsa; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL3XISLKcvt18KJ/gA0aIPN53qJe4L5PJg9HzAJi9xkPRmUhHdQzo6fNrbrjLMODyPKMoVjvAcQdgnDEWNoFIsECAwEAAQ=="

const smallKey = `-----BEGIN PRIVATE KEY-----
MIIBVAIBADANBgkqhkiG9w0BAQEFAASCAT4wggE6AgEAAkEAptMf/GcCaXDYqhgS
uuggb1Vr1nqqfT/A3T7VUCZPOSDOMreqWgHLNATJ2gW+ggYV/xdvPnuC8cDbM1aR
TtENXQIDAQABAkAdC1DcTsratKzkIEDSjatn9sVJmB2qpLjdTB0zURgl58oyj0/z
cKGOoC7d79zG69C7VjMg3NhwCVwDCUzuiO15AiEA2RwGGK+n9+QSB8bcPZP6Q42r
/G4roDsTq54LCUBat4cCIQDEtTIeUz1PCyn2ks8ojrkKD0MB7zrmmQUivZs5+zcE
+wIgQlXFpxVEhQEyYR3pfQcRmEJZIi+nNLXYNL99L75x+VECIHy9Bo4ybONuCetB
x7pJX0/gw7Y7VVeb26TfJctL4eT3AiEAvC5GhUCQWIzpnlhUspoVxQ8r92s3RU/H
+wg0QckVqno=
-----END PRIVATE KEY-----`

// keyed has several records at every name.
type keyed []string

func (k keyed) LookupTXT(context.Context, string) ([]string, error) { return k, nil }

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseKeyFile(t *testing.T) {
	block := func(kind string, der []byte, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: der})
	}
	private := testRSA().signer.(*rsa.PrivateKey)
	curve, err := x509.MarshalPKCS8PrivateKey(ecKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		rule string
		text []byte
		want string
	}{
		{"PKCS #1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil), ""},
		{"text in front", append([]byte("a key\n"), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil)...), ""},
		{"pass phrase", block("RSA PRIVATE KEY", []byte("x"), map[string]string{"DEK-Info": "AES-256-CBC,00"}), "pass phrase"},
		{"pass phrase of PKCS #8", block("ENCRYPTED PRIVATE KEY", nil, nil), "no key that can sign"},
		{"a certificate", block("CERTIFICATE", nil, nil), "no key that can sign"},
		{"broken PKCS #1", block("RSA PRIVATE KEY", []byte("x"), nil), "cannot be read"},
		{"broken PKCS #8", block("PRIVATE KEY", []byte("x"), nil), "cannot be read"},
		{"a curve", block("PRIVATE KEY", curve, nil), "neither RSA nor Ed25519"},
		{"RSA of 512 bits", []byte(smallKey), "has 512 bits"},
		{"no PEM", []byte("hello"), "no key in PEM"},
	} {
		key, err := ParseKey(test.text)
		if test.want == "" && (err != nil || key.Algorithm() != RSA) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.rule, err, test.want)
		}
	}
}

// TestSeveralKeys: of several records at a name, one that fits is enough.
func TestSeveralKeys(t *testing.T) {
	content := seal(t, letter, sealer(t, testEd25519()), dns(t))
	good, other := testEd25519().Record(), testRSA().Record()
	for _, test := range []struct {
		records keyed
		want    Status
	}{
		{keyed{"v=spf1 -all", good}, Pass},
		{keyed{other, good}, Pass},
		{keyed{good, other}, Pass},
		{keyed{other, "v=DKIM1; p="}, Fail},
		{keyed{mustKey(Ed25519, 0).Record(), good}, Fail}, // two of a kind: the first counts
	} {
		if chain := read(t, content).Verify(t.Context(), Options{Resolver: test.records, Now: now}); chain.Status != test.want {
			t.Errorf("%q: %s (%s)", test.records, chain.Status, chain.Reason)
		}
	}
}
