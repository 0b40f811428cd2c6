// Package acme gets the certificate of the front door from a certificate
// authority, and renews it in time (RFC 8555).
//
// Guarantee: GetCertificate always has a certificate, and at once: the one of
// the authority while it is valid, else the one it was told to fall back to. An
// authority that cannot be reached, or refuses, is a line in the log and a word
// in the status, and is asked again later. Nothing here ends the relay.
//
// The account and the certificates are files in a folder that only we can read.
//
// What is logged, by event:
//
//	certificate.obtained  the authority has issued one, and until when it is valid
//	certificate.failed    it has not; why, and when it is asked again
//	certificate.invalid   what was kept cannot be read, so another one is asked for
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// The challenges by which the authority sees that a name is ours.
const (
	HTTP01    = "http-01"     // it asks over HTTP at port 80 of the name
	TLSALPN01 = "tls-alpn-01" // it asks over TLS at port 443 of the name (RFC 8737)
)

const (
	checkEvery = time.Hour // whether it is time to renew
	firstWait  = 5 * time.Minute
	longWait   = 6 * time.Hour
	issueLimit = 10 * time.Minute // of one try
)

// Options say whom to ask for what. All fields but Roots and Log are required.
type Options struct {
	Folder    string // of account and certificates
	Hostname  string // to be certified
	Directory string // URL of the authority
	Email     string // of the account
	Challenge string
	Listener  net.Listener   // where the authority asks; Run closes it
	Roots     *x509.CertPool // to trust for Directory; nil are the system's
	// Fallback serves while there is no valid certificate.
	Fallback func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Log      *slog.Logger // default: nothing is logged
}

// Keeper keeps a certificate. Its methods may be called concurrently.
type Keeper struct {
	options Options
	config  *certmagic.Config
	issuer  *certmagic.ACMEIssuer
	cache   *certmagic.Cache

	closing sync.Once

	mu      sync.Mutex
	current *tls.Certificate // nil if there is none
	failure string           // of the last try, "" if it went well
}

// Status is what is known of the certificate.
type Status struct {
	Until   time.Time // the end of the one that was issued; the zero Time if there is none
	Failure string    // why the last try to get one failed; "" if it did not
}

// Open reads the certificate that is kept, if there is one. It asks nobody yet.
// If it fails, the listener is as it was.
func Open(o Options) (*Keeper, error) {
	address, ok := o.Listener.Addr().(*net.TCPAddr)
	if !ok || o.Challenge != HTTP01 && o.Challenge != TLSALPN01 {
		return nil, fmt.Errorf("acme: no challenge %q at %s", o.Challenge, o.Listener.Addr())
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{options: o}
	quiet := zap.NewNop() // what counts comes back as an error
	k.cache = certmagic.NewCache(certmagic.CacheOptions{Logger: quiet, RenewCheckInterval: checkEvery, OCSPCheckInterval: checkEvery,
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return k.config, nil }})
	k.config = certmagic.New(k.cache, certmagic.Config{Logger: quiet, Storage: &certmagic.FileStorage{Path: o.Folder},
		OCSP: certmagic.OCSPConfig{DisableStapling: true}}) // no mail server asks for it
	host := ""
	if !address.IP.IsUnspecified() {
		host = address.IP.String()
	}
	issuer := certmagic.ACMEIssuer{CA: o.Directory, TestCA: o.Directory, Email: o.Email, Agreed: true, TrustedRoots: o.Roots, Logger: quiet,
		DisableHTTPChallenge: o.Challenge != HTTP01, DisableTLSALPNChallenge: o.Challenge != TLSALPN01,
		// It would listen for each challenge. It finds us there instead, and leaves the answer to us.
		ListenHost: host, AltHTTPPort: address.Port, AltTLSALPNPort: address.Port}
	k.issuer = certmagic.NewACMEIssuer(k.config, issuer)
	k.config.Issuers = []certmagic.Issuer{k.issuer}
	if _, err := k.load(context.Background()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Error("certificate.invalid", "folder", o.Folder, "error", err)
	}
	return k, nil
}

// GetCertificate returns the certificate for a handshake.
func (k *Keeper) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	current := k.current
	k.mu.Unlock()
	if current != nil && time.Now().Before(current.Leaf.NotAfter) {
		return current, nil
	}
	return k.options.Fallback(hello)
}

// Status says how it stands.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{Failure: k.failure}
	if k.current != nil {
		s.Until = k.current.Leaf.NotAfter
	}
	return s
}

// Run gets and renews the certificate until ctx ends. It must not be called twice.
func (k *Keeper) Run(ctx context.Context) {
	answering := k.answer(k.options.Listener)
	defer k.Close()
	defer answering()
	failures := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := checkEvery
		if err := k.renew(ctx); err != nil && ctx.Err() == nil {
			next = wait(failures)
			failures++
			k.options.Log.Error("certificate.failed", "hostname", k.options.Hostname, "directory", k.options.Directory, "again_in", next, "error", err)
		} else {
			failures = 0
		}
		timer.Reset(next)
	}
}

// Close ends what Open has begun. Run does it by itself; it may be called again.
func (k *Keeper) Close() {
	k.closing.Do(k.cache.Stop)
}

// wait is how long to wait after a failure that so many came before.
// Authorities bear few failures in an hour.
func wait(before int) time.Duration {
	if before >= 10 {
		return longWait
	}
	return min(firstWait<<before, longWait)
}

// renew gets a certificate if there is none, or the one there is should be renewed.
func (k *Keeper) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, issueLimit)
	defer cancel()
	err := k.renewed(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = ""
	if err != nil {
		k.failure = err.Error()
	}
	return err
}

func (k *Keeper) renewed(ctx context.Context) error {
	kept, err := k.load(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = k.config.ObtainCertSync(ctx, k.options.Hostname)
	case err != nil: // what is kept is of no use
		err = k.config.RenewCertSync(ctx, k.options.Hostname, true)
	case kept.NeedsRenewal(k.config):
		err = k.config.RenewCertSync(ctx, k.options.Hostname, false)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if kept, err = k.load(ctx); err != nil {
		return fmt.Errorf("read what was issued: %w", err)
	}
	k.options.Log.Info("certificate.obtained", "hostname", k.options.Hostname, "directory", k.options.Directory, "until", kept.Leaf.NotAfter)
	return nil
}

// load reads the certificate that is kept, and makes it the current one. The
// library's cache stays empty, so that nobody but us renews.
func (k *Keeper) load(ctx context.Context) (certmagic.Certificate, error) {
	kept, err := k.config.CacheManagedCertificate(ctx, k.options.Hostname)
	if err != nil {
		return kept, err
	}
	k.cache.Remove([]string{kept.Hash()})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = &kept.Certificate
	return kept, nil
}

// Address is where the authority is answered.
func (k *Keeper) Address() string {
	a := k.options.Listener.Addr().(*net.TCPAddr) // as Open has seen
	return net.JoinHostPort(a.IP.String(), strconv.Itoa(a.Port))
}
