package arc

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// Key signs. It is not changed by anything, so it may be used by many at once.
type Key struct {
	signer    crypto.Signer
	algorithm string
}

// ReadKey reads a key from a file that nobody but its owner may read or write.
func ReadKey(path string) (*Key, error) {
	at, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if at.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read or write the key in %s (mode %04o)", path, at.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// ParseKey reads a key in PEM: PKCS #8, or PKCS #1 of RSA.
func ParseKey(text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no key in PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the key has a pass phrase, and nobody is there to type it")
		}
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%s is no key that can sign: want PRIVATE KEY or RSA PRIVATE KEY", clip(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w", err)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("the key has %d bits, want %d to %d", bits, minRSA, maxRSA)
		}
		return &Key{k, RSA}, nil
	case ed25519.PrivateKey:
		return &Key{k, Ed25519}, nil
	}
	return nil, errors.New("the key is neither RSA nor Ed25519")
}

// NewKey makes a key of an algorithm; bits are those of an RSA key.
func NewKey(algorithm string, bits int) (*Key, error) {
	switch algorithm {
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return &Key{key, Ed25519}, err
	case RSA:
		if bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("%d bits, want %d to %d", bits, minRSA, maxRSA)
		}
		key, err := rsa.GenerateKey(rand.Reader, bits)
		return &Key{key, RSA}, err
	}
	return nil, fmt.Errorf("%s is neither %s nor %s", clip(algorithm), RSA, Ed25519)
}

// Algorithm is what the key signs with.
func (k *Key) Algorithm() string { return k.algorithm }

// PEM writes the key as PKCS #8.
func (k *Key) PEM() []byte {
	der, _ := x509.MarshalPKCS8PrivateKey(k.signer) // it knows both kinds
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Record is the text of the TXT record for the public half (RFC 6376 3.6.1, RFC
// 8463 4.2).
func (k *Key) Record() string {
	if public, ok := k.signer.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	}
	der, _ := x509.MarshalPKIXPublicKey(k.signer.Public()) // it knows RSA
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// sign signs a hash.
func (k *Key) sign(hash []byte) ([]byte, error) {
	var with crypto.SignerOpts = crypto.SHA256
	if k.algorithm == Ed25519 { // RFC 8463 3: of the hash, as of any text
		with = crypto.Hash(0)
	}
	return k.signer.Sign(rand.Reader, hash, with)
}
