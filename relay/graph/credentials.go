package graph

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

const assertionLasts = 10 * time.Minute

// credentials are what the token endpoint is sent. The files are read each time,
// so that a secret can be changed at any time.
func (a *App) credentials(endpoint string, now time.Time) (url.Values, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.Client}, "scope": {a.Address + "/.default"}}
	if a.Secret != "" {
		if err := closed(a.Secret); err != nil {
			return nil, err
		}
		text, err := os.ReadFile(a.Secret)
		if err != nil {
			return nil, err
		}
		secret := strings.TrimSpace(string(text))
		if secret == "" {
			return nil, fmt.Errorf("%s is empty", a.Secret)
		}
		form.Set("client_secret", secret)
		return form, nil
	}
	assertion, err := a.assertion(endpoint, now)
	if err != nil {
		return nil, err
	}
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return form, nil
}

// closed refuses a secret that others may read or write.
func closed(path string) error {
	at, err := os.Stat(path)
	if err != nil {
		return err
	}
	if at.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("others may read or write the secret in %s (mode %04o)", path, at.Mode().Perm())
	}
	return nil
}

// assertion proves by a signature that we have the key (RFC 7523 2.2), as
// Microsoft's identity platform wants it: PS256 (RFC 7518 3.5), and the
// certificate named by its SHA-256 (RFC 7515 4.1.8).
func (a *App) assertion(endpoint string, now time.Time) (string, error) {
	if err := closed(a.Key); err != nil {
		return "", err
	}
	pair, err := tls.LoadX509KeyPair(a.Certificate, a.Key)
	if err != nil {
		return "", err
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return "", errors.New("the key is not RSA, which Microsoft's identity platform wants")
	}
	print := sha256.Sum256(pair.Certificate[0])
	encode := base64.RawURLEncoding.EncodeToString
	header, _ := json.Marshal(map[string]string{"alg": "PS256", "typ": "JWT", "x5t#S256": encode(print[:])}) // strings cannot fail
	claims, _ := json.Marshal(map[string]any{"aud": endpoint, "iss": a.Client, "sub": a.Client, "jti": rand.Text(),
		"nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(assertionLasts).Unix()})
	signed := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		return "", err
	}
	return signed + "." + encode(signature), nil
}
