package relay

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mxkeep/mxkeep/relay/acme"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/inbound"
)

// certificate is what the front door shows: the files that are configured, the
// certificate of an authority, or one that we make ourselves and keep. It says
// how to speak TLS with it, and how it stands.
func (r *Relay) certificate() (*tls.Config, func() admin.Certificate, error) {
	c := r.config.Inbound
	if c.ACME.Directory != "" {
		return r.issued()
	}
	source, open := "files", func() (*inbound.Certificate, error) { return inbound.NewCertificate(c.Certificate, c.Key, r.log) }
	if c.Certificate == "" {
		source, open = "self-signed", func() (*inbound.Certificate, error) {
			return inbound.SelfSigned(r.config.Data, r.config.Hostname, r.log)
		}
	}
	own, err := open()
	if err != nil {
		return nil, nil, err
	}
	return own.Config(), func() admin.Certificate { return admin.Certificate{Source: source, Until: own.NotAfter()} }, nil
}

// issued is the certificate of an authority. A self-signed one stands behind it.
func (r *Relay) issued() (*tls.Config, func() admin.Certificate, error) {
	a := r.config.Inbound.ACME
	roots, err := readRoots(a.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("inbound.acme.ca: %w", err)
	}
	var own *inbound.Certificate
	r.keeper, err = acme.Open(acme.Options{Folder: filepath.Join(r.config.Data, "acme"), Hostname: r.config.Hostname, Directory: a.Directory,
		Email: a.Email, Challenge: a.Challenge, Listener: r.challenge, Roots: roots, Log: r.log,
		Fallback: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return own.GetCertificate(hello) }})
	if err != nil {
		return nil, nil, err
	}
	log := r.log
	if time.Now().Before(r.keeper.Status().Until) {
		log = slog.New(slog.DiscardHandler) // nobody will see the other one
	}
	if own, err = inbound.SelfSigned(r.config.Data, r.config.Hostname, log); err != nil {
		return nil, nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.keeper.GetCertificate}, func() admin.Certificate {
		s := r.keeper.Status()
		return admin.Certificate{Source: "acme", Until: s.Until, Failure: s.Failure}
	}, nil
}

// readRoots reads a file of certificates to trust; "" are those of the system.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return roots, nil
}
