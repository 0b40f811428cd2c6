package primary

import (
	"crypto/x509"
	"testing"
)

func TestAuthority(t *testing.T) {
	shared, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Authority: shared, Hostname: "mx.corp.example"})
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CertPEM()) || !pool.Equal(shared.Pool()) || !pool.Equal(s.CAPool()) {
		t.Error("the certificate in the file is not the one in the pool")
	}
	made, err := shared.Certificate("relay.corp.example", "mx2.corp.example")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(made.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"relay.corp.example", "mx2.corp.example"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			o := x509.VerifyOptions{Roots: pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := leaf.Verify(o); err != nil {
				t.Errorf("%s, usage %d: %v", name, usage, err)
			}
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "other.example"}); err == nil {
		t.Error("good for any name")
	}
	if _, err := shared.Certificate(); err == nil {
		t.Error("a certificate without a name")
	}
}
