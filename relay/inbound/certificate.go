package inbound

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Certificate is a certificate with its key, in files that may be replaced while
// the server runs. Its methods may be called concurrently.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	version [2]version // of the files when they were last read, also in vain
}

// version tells whether a file has changed.
type version struct {
	at   time.Time
	size int64
}

const (
	selfSignedName = "self-signed"
	selfSignedTime = 10 * 365 * 24 * time.Hour
)

// NewCertificate reads a certificate chain and its key from PEM files.
func NewCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	return c, nil
}

// SelfSigned returns the certificate that is kept in folder, and makes one if
// there is none, it has expired, or it cannot be read: nobody but us made it,
// and without one there is no start. Senders that verify will not trust it, so
// it is logged as a warning.
func SelfSigned(folder, hostname string, log *slog.Logger) (*Certificate, error) {
	certFile, keyFile := filepath.Join(folder, selfSignedName+".crt"), filepath.Join(folder, selfSignedName+".key")
	c, err := NewCertificate(certFile, keyFile, log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("certificate.invalid", "file", certFile, "error", err, "advice", "another one is made")
	}
	if err != nil || !c.serves(hostname, time.Now()) {
		if err := makeSelfSigned(certFile, keyFile, hostname, time.Now()); err != nil {
			return nil, fmt.Errorf("make a self-signed certificate: %w", err)
		}
		c, err = NewCertificate(certFile, keyFile, log)
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(c.loaded.Certificate[0])
	log.Warn("certificate.self_signed", "file", certFile, "sha256", hex.EncodeToString(sum[:]),
		"advice", "give a certificate that senders can verify")
	return c, nil
}

// Config is for a server that shows the certificate: TLS 1.2 and later.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.GetCertificate}
}

// GetCertificate returns the certificate for a handshake, read again if its
// files have changed. If they cannot be read, the last good one serves on.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.versions(); now != c.version {
		if err := c.load(); err != nil {
			c.log.Error("certificate.invalid", "file", c.certFile, "error", err)
		} else {
			c.log.Info("certificate.loaded", "file", c.certFile, "until", c.loaded.Leaf.NotAfter)
		}
	}
	return c.loaded, nil
}

// NotAfter is when the certificate ends.
func (c *Certificate) NotAfter() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded.Leaf.NotAfter
}

// load reads the files.
func (c *Certificate) load() error {
	c.version = c.versions() // before they are read: a change in between is seen the next time
	loaded, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.loaded = &loaded
	return nil
}

func (c *Certificate) versions() (v [2]version) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil { // a file that is missing has the zero version
			v[i] = version{info.ModTime(), info.Size()}
		}
	}
	return v
}

// serves reports whether the certificate is for the name and has not expired.
func (c *Certificate) serves(hostname string, now time.Time) bool {
	leaf := c.loaded.Leaf
	return leaf.VerifyHostname(hostname) == nil && now.Before(leaf.NotAfter)
}

func makeSelfSigned(certFile, keyFile, hostname string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	template := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[1:]), Subject: pkix.Name{CommonName: hostname}, DNSNames: []string{hostname},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedTime), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := replace(keyFile, "PRIVATE KEY", secret); err != nil {
		return err
	}
	if err := replace(certFile, "CERTIFICATE", der); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(certFile))
}

// replace writes a PEM file that only we can read. What was there before stays
// until the new one is whole, and on disk.
func replace(name, kind string, der []byte) error {
	next := name + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})) // Encode would not tell of every error
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// syncFolder makes names in the folder durable.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
