package graph

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/mxkeep/mxkeep/relay/graph/graphtest"
)

const tenantID, clientID = "11112222-aaaa-3333-bbbb-444455556666", "00001111-aaaa-2222-bbbb-3333cccc4444"

const users = "https://graph.example/v1.0/users?$select=mail,proxyAddresses"

func tenant() *graphtest.Tenant {
	return &graphtest.Tenant{ID: tenantID, Client: clientID, Secret: "hush~1"}
}

// secretFile is a file of the client secret.
func secretFile(t testing.TB, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// overTLS serves the tenant, and gives options for its two domains.
func overTLS(t testing.TB, server http.Handler) (App, *http.Client) {
	t.Helper()
	s := httptest.NewTLSServer(server)
	t.Cleanup(s.Close)
	return App{Tenant: tenantID, Client: clientID, Secret: secretFile(t, "hush~1"), Login: s.URL, Address: s.URL}, s.Client()
}

// direct gives requests to a handler without a network, for bubbles.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// inProcess is a tenant without a network.
func inProcess(t testing.TB, server http.Handler) (App, *http.Client) {
	return App{Tenant: tenantID, Client: clientID, Secret: secretFile(t, "hush~1"), Login: "https://login.example", Address: "https://graph.example"}, &http.Client{Transport: direct{server}}
}

func TestClient(t *testing.T) {
	server := tenant()
	g, client := inProcess(t, server)
	one := &Client{App: g, HTTP: client, token: "expired"}
	if _, err := one.Get(t.Context(), users); err != nil {
		t.Errorf("a token that has expired: %v", err)
	}
	one.Login = "https://%zz"
	if one.token = ""; one.authenticate(t.Context()) == nil {
		t.Error("a login that is no URL")
	}
	server.Before(func(r *http.Request) (int, http.Header, string) { return 200, nil, strings.Repeat(" ", maxPage+1) })
	if _, err := one.Get(t.Context(), users); err == nil {
		t.Error("no token, and no error")
	}
	one.Login = g.Login
	client.Transport = direct{nil}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := one.authenticate(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	client.Transport = direct{server}
	one.token = "x"
	if _, err := one.Get(ctx, users); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://graph.example/", nil) // it is a good one
	if _, err := one.do(request); err == nil || !strings.Contains(err.Error(), "larger than 32 MiB") {
		t.Errorf("a large answer: %v", err)
	}
}

// certify makes a certificate and its key, as files.
func certify(t testing.TB, key any, public any) (certificate *x509.Certificate, certificateFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certificateFile, keyFile = filepath.Join(folder, "crt"), filepath.Join(folder, "key")
	for path, block := range map[string]*pem.Block{certificateFile: {Type: "CERTIFICATE", Bytes: raw}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err = x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, certificateFile, keyFile
}

// A key that nobody should use, and its certificate.
const smallKey = `-----BEGIN PRIVATE KEY-----
MIIBVAIBADANBgkqhkiG9w0BAQEFAASCAT4wggE6AgEAAkEAx2HW34ogkQuLoe69
xXZJN3A+y+nJjYvM4muD5Zqz7HWRsO+FyAn0kTWmeIoNcIDUVcX4HGu6v78Ur+yg
0s2EGQIDAQABAkAOM43WhkQjkKr1ccfalL5KUJhoddKBXn/NcNMIO6itIuJnzTBI
+yINa+rnDIZs6X7ux8z+sT4OKFeBnjyZfDgxAiEA8a0Y893LrY7RSSqcBZt3Av9P
MUx8YgO65KdNgSwzWMcCIQDTMwYq6dYhr81sRykttCNFzk6lHM9HN9Od1Bj4LiAc
HwIhAKXlN5q3JohF4B4EdMNYm5JgJUFnCn7RpqosugQwjjKjAiBbUz4AgnsAuBd5
EdBhnfp+rfZd+XY8EozkO5nMf42M+wIgXCSc2cNlNjWj/4m0t0dpbDyh4JarEGek
X9a47413uzA=
-----END PRIVATE KEY-----
`
const smallCertificate = `-----BEGIN CERTIFICATE-----
MIIBcTCCARugAwIBAgIUVgfAqamjrAh6az53QrBn4ZimHJQwDQYJKoZIhvcNAQEL
BQAwDDEKMAgGA1UEAwwBeDAgFw0yNjExMjUyMjI1NDZaGA8yMTI2MTEwMTIyMjU0
NlowDDEKMAgGA1UEAwwBeDBcMA0GCSqGSIb3DQEBAQUAA0sAMEgCQQDHYdbfiiCR
C4uh7r3Fdkk3cD7L6cmNi8zia4PlmrPsdZGw74XICfSRNaZ4ig1wgNRVxfgca7q/
vxSv7KDSzYQZAgMBAAGjUzBRMB0GA1UdDgQWBBSS0OBCzC1dvhVLDlD1TfVpj/65
CDAfBgNVHSMEGDAWgBSS0OBCzC1dvhVLDlD1TfVpj/65CDAPBgNVHRMBAf8EBTAD
AQH/MA0GCSqGSIb3DQEBCwUAA0EAVKBa97LNFnma++eKH1MKB+9Jojuyh2zQEHOa
7T0qGmmZ0VQpM8ZTwVBCY42xuwd8M4PV/V2pxyV6sOq3gfCh2A==
-----END CERTIFICATE-----
`

func TestCertificateOfTheApplication(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	certificate, certificateFile, keyFile := certify(t, key, &key.PublicKey)
	server := tenant()
	server.Certificate = certificate
	g, client := overTLS(t, server)
	g.Secret, g.Certificate, g.Key = "", certificateFile, keyFile
	one := &Client{App: g, HTTP: client}
	if _, err := one.Get(t.Context(), g.Address+"/v1.0/users?$select=mail,proxyAddresses"); err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, one.Certificate, one.Key = certify(t, other, &other.PublicKey)
	if err := one.authenticate(t.Context()); err == nil || !strings.Contains(err.Error(), "is not registered") {
		t.Errorf("another certificate: %v", err)
	}
	folder := t.TempDir()
	one.Certificate, one.Key = filepath.Join(folder, "crt"), filepath.Join(folder, "key")
	for path, text := range map[string]string{one.Certificate: smallCertificate, one.Key: smallKey} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.authenticate(t.Context()); err == nil || !strings.Contains(err.Error(), "512-bit") {
		t.Errorf("a key that is too small: %v", err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, one.Certificate, one.Key = certify(t, curve, &curve.PublicKey)
	if err := one.authenticate(t.Context()); err == nil || !strings.Contains(err.Error(), "is not RSA") {
		t.Errorf("a key on a curve: %v", err)
	}
	if one.Certificate = keyFile; one.authenticate(t.Context()) == nil {
		t.Error("no certificate")
	}
	if err := os.Chmod(one.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := one.authenticate(t.Context()); err == nil || !strings.Contains(err.Error(), "others may read") {
		t.Errorf("an open key: %v", err)
	}
	if one.Key += ".gone"; !errors.Is(one.authenticate(t.Context()), os.ErrNotExist) {
		t.Error("no key")
	}
}

func TestSecretOfTheApplication(t *testing.T) {
	g, client := inProcess(t, tenant())
	one := &Client{App: g, HTTP: client}
	if err := os.WriteFile(one.Secret, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := one.authenticate(t.Context()); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("empty: %v", err)
	}
	if err := os.Chmod(one.Secret, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := one.authenticate(t.Context()); err == nil || !strings.Contains(err.Error(), "(mode 0604)") {
		t.Errorf("open: %v", err)
	}
	one.Secret = t.TempDir()
	if err := os.Chmod(one.Secret, 0o700); err != nil {
		t.Fatal(err)
	}
	if one.authenticate(t.Context()) == nil {
		t.Error("a folder")
	}
}

// TestAWaitIsBrokenOff: a stop does not wait until Graph may be asked again.
func TestAWaitIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := tenant()
		server.Before(func(r *http.Request) (int, http.Header, string) { return 429, http.Header{"Retry-After": {"100"}}, "" })
		g, client := inProcess(t, server)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		one := &Client{App: g, HTTP: client, token: "x"}
		if _, err := one.Get(ctx, users); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// FuzzFailure: what a server answers in place of a page is told in a short line
// of printable text, and it makes us wait within reason, as long as it says.
func FuzzFailure(f *testing.F) {
	now := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	f.Add(429, "120", 1, []byte(`{"error":{"code":"TooManyRequests","message":"slow\u001b[2J down"}}`))
	f.Add(400, "Thu, 22 Jan 2026 19:31:00 GMT", 2, []byte(`{"error":"invalid_client","error_description":"AADSTS7000215\r\nTrace"}`))
	f.Add(503, "18446744074", 4, []byte(`{"error":[1,2]}`))
	f.Add(500, "-1", 1, []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, after string, try int, body []byte) {
		a := received{status, after, body}
		line := a.failure("Graph").Error()
		if len(line) > 3000 || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is told as %q", body, line)
		}
		try = 1 + (try&0x7fffffff)%maxTries
		want := math.Pow(2, float64(try-1))
		if seconds, err := strconv.ParseFloat(after, 64); err == nil && fmt.Sprintf("%.0f", seconds) == strings.TrimPrefix(after, "+") && math.Abs(seconds) < 1e15 {
			want = seconds
		} else if at, err := http.ParseTime(after); err == nil {
			want = at.Sub(now).Seconds()
		} else if strings.Trim(after, "+-0123456789") == "" {
			return // no number, or one that is beyond reason
		}
		want = min(max(want, 1), maxPause.Seconds())
		if got := a.wait(try, now).Seconds(); math.Abs(got-want) > 1e-6 {
			t.Errorf("try %d, %q: %v, want %v", try, after, got, want)
		}
	})
}
