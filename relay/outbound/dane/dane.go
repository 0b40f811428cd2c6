// Package dane verifies SMTP servers by their TLSA records (RFC 7672). It is pure.
//
// The usages 2 (DANE-TA) and 3 (DANE-EE) count; 0 and 1 are unusable in SMTP
// (RFC 7672 3.1.3), and so are unknown selectors and matching types.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/relay/dns"
)

// Usages, selectors and matching types (RFC 7218 2).
const (
	usageTA = 2
	usageEE = 3

	selectCert = 0
	selectKey  = 1

	matchFull   = 0
	matchSHA256 = 1
	matchSHA512 = 2
)

// maxRecords is how many records of a server are looked at.
const maxRecords = 20

// ErrNoMatch says that no record fits what the server showed.
var ErrNoMatch = errors.New("no TLSA record matches the certificate of the host")

// Usable returns the records that a server can be verified by. If records are
// secure and none is usable, TLS is needed, but nobody verified (RFC 7672 2.2).
func Usable(records []dns.TLSA) []dns.TLSA {
	var usable []dns.TLSA
	for _, r := range records {
		if fits(r) && len(usable) < maxRecords {
			usable = append(usable, r)
		}
	}
	return usable
}

func fits(r dns.TLSA) bool {
	if r.Usage != usageTA && r.Usage != usageEE || r.Selector != selectCert && r.Selector != selectKey {
		return false
	}
	switch r.Matching {
	case matchFull:
		if r.Selector == selectCert {
			_, err := x509.ParseCertificate(r.Data)
			return err == nil
		}
		_, err := x509.ParsePKIXPublicKey(r.Data)
		return err == nil
	case matchSHA256:
		return len(r.Data) == sha256.Size
	case matchSHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Verify checks the certificates of a server, its own first, against usable
// records. One of usage 3 is enough by itself: neither names nor dates count
// (RFC 7672 3.1.1). With one of usage 2, what it names must have issued the
// certificate, which must be valid at now for one of the names.
func Verify(records []dns.TLSA, names []string, chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return ErrNoMatch
	}
	roots, intermediates, anchors := x509.NewCertPool(), x509.NewCertPool(), false
	for _, r := range records {
		if r.Usage == usageEE && matches(r, chain[0]) {
			return nil
		}
		if r.Usage != usageTA {
			continue
		}
		for _, c := range chain[1:] {
			if matches(r, c) {
				roots.AddCert(c)
				anchors = true
			}
		}
		if r.Selector == selectCert && r.Matching == matchFull { // it need not be in the chain
			if c, err := x509.ParseCertificate(r.Data); err == nil {
				roots.AddCert(c)
				anchors = true
			}
		}
	}
	if !anchors {
		return ErrNoMatch
	}
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	if !slices.ContainsFunc(names, func(name string) bool { return chain[0].VerifyHostname(name) == nil }) {
		return x509.HostnameError{Certificate: chain[0], Host: names[0]}
	}
	return nil
}

func matches(r dns.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == selectKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}
