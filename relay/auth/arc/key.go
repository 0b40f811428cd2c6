package arc

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Algorithms of signatures (RFC 8301, RFC 8463).
const (
	RSA     = "rsa-sha256"
	Ed25519 = "ed25519-sha256"
)

// keyring looks up the keys of one message, each once.
type keyring struct {
	resolver Resolver
	found    map[string]keys
}

// keys is what a name has; err is about all of them.
type keys struct {
	all []publicKey
	err error
}

type publicKey struct {
	algorithm string
	rsa       *rsa.PublicKey
	ed25519   ed25519.PublicKey
	err       error // the record cannot be used
}

// ErrLater says that a key cannot be had now: nobody knows what a signature is worth.
var ErrLater = errors.New("the key cannot be looked up")

// find returns the keys of a selector. An error that is ErrLater may pass.
func (k *keyring) find(ctx context.Context, domain, selector string) ([]publicKey, error) {
	name, err := keyName(domain, selector)
	if err != nil {
		return nil, err
	}
	if known, ok := k.found[name]; ok {
		return known.all, known.err
	}
	if len(k.found) >= maxKeys {
		return nil, fmt.Errorf("%w: more than %d keys", ErrLater, maxKeys)
	}
	var got keys
	records, err := k.resolver.LookupTXT(ctx, name)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		got.err = fmt.Errorf("no key at %s", name)
	case err != nil:
		got.err = fmt.Errorf("%w: %w", ErrLater, err)
	}
	for _, record := range records {
		got.all = append(got.all, parseKey(record))
	}
	if got.err == nil && len(records) == 0 {
		got.err = fmt.Errorf("no key at %s", name)
	}
	if k.found == nil {
		k.found = map[string]keys{}
	}
	k.found[name] = got
	return got.all, got.err
}

// keyName is where a key is looked up. U-labels become A-labels (RFC 8616 4).
func keyName(domain, selector string) (string, error) {
	for _, name := range []string{domain, selector} {
		if strings.HasPrefix(name, "[") {
			return "", fmt.Errorf("%q is no name", clip(name))
		}
	}
	name, err := smtp.ASCIIDomain(selector + "._domainkey." + domain)
	if err != nil {
		return "", fmt.Errorf("no key can be at %s", clip(selector+"._domainkey."+domain))
	}
	return name, nil
}

// parseKey reads a record (RFC 6376 3.6.1, RFC 8463 4.2).
func parseKey(record string) publicKey {
	t, err := parseTags([]byte(record))
	if err != nil {
		return publicKey{err: fmt.Errorf("the key's record is wrong: %w", err)}
	}
	if v, ok := t["v"]; ok && (v != "DKIM1" || !strings.HasPrefix(trim(record), "v")) {
		return publicKey{err: errors.New("the record is no key of DKIM")}
	}
	if _, ok := t["h"]; ok && !slices.Contains(t.list("h"), "sha256") {
		return publicKey{err: errors.New("the key is not for SHA-256")}
	}
	if _, ok := t["s"]; ok && !slices.Contains(t.list("s"), "*") && !slices.Contains(t.list("s"), "email") {
		return publicKey{err: errors.New("the key is not for mail")}
	}
	p, ok := t["p"]
	if ok && p == "" {
		return publicKey{err: errors.New("the key was revoked")}
	}
	raw, err := base64.StdEncoding.DecodeString(unspace(p))
	if err != nil || len(raw) == 0 {
		return publicKey{err: errors.New("the record has no key")}
	}
	switch k, given := t["k"]; {
	case !given || k == "rsa":
		return rsaKey(raw)
	case k == "ed25519" && len(raw) == ed25519.PublicKeySize:
		return publicKey{algorithm: Ed25519, ed25519: raw}
	}
	return publicKey{err: errors.New("the key is of a kind that nobody knows")}
}

func rsaKey(raw []byte) publicKey {
	var key *rsa.PublicKey
	if any, err := x509.ParsePKIXPublicKey(raw); err == nil {
		key, _ = any.(*rsa.PublicKey)
	} else if key, err = x509.ParsePKCS1PublicKey(raw); err != nil { // RFC 6376 3.6.1 has it both ways
		key = nil
	}
	if key == nil {
		return publicKey{err: errors.New("the key is no RSA key")}
	}
	if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
		return publicKey{err: fmt.Errorf("the key has %d bits, want %d to %d", bits, minRSA, maxRSA)}
	}
	return publicKey{algorithm: RSA, rsa: key}
}

// verify checks a signature over a hash.
func (k publicKey) verify(hash, signature []byte) bool {
	switch k.algorithm {
	case RSA:
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, hash, signature) == nil
	case Ed25519:
		return ed25519.Verify(k.ed25519, hash, signature)
	}
	return false
}
