// Package watch looks at what is around a primary: whether anything outside is
// reached at all, what resolvers say of its names, web addresses, what another
// relay sees of it, and what its provider says in public.
//
// Each look is one call and gives one signal for each thing that was looked at.
// It ends with its context; a look that was cancelled gives nothing, one that
// ran out of time is a look that found no answer.
package watch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Lookup finds the addresses of a name.
type Lookup interface {
	LookupHost(ctx context.Context, name string) ([]netip.Addr, error)
}

// Dialer connects from an address of ours.
type Dialer struct {
	Lookup Lookup
	Source netip.Addr // the zero Addr is any
}

// resolveError is one of finding addresses.
type resolveError struct{ error }

func (e resolveError) Unwrap() error { return e.error }

// DialContext connects to "host:port". The error is that of the last address.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		list = append(list, literal)
	} else if list, err = d.Lookup.LookupHost(ctx, host); err != nil {
		return nil, resolveError{err}
	}
	dialer := net.Dialer{}
	if d.Source.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: d.Source.AsSlice(), Zone: d.Source.Zone()}
	}
	err = resolveError{errors.New("it has no address of our source's kind")}
	for _, a := range list {
		if d.Source.IsValid() && d.Source.Is4() != a.Unmap().Is4() {
			continue
		}
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// phaseOf says how far a connection came that failed.
func phaseOf(err error) health.Phase {
	var resolve resolveError
	var dial *net.OpError
	switch {
	case errors.As(err, &resolve):
		return health.PhaseResolve
	case errors.As(err, &dial) && dial.Op == "dial":
		return health.PhaseConnect
	}
	return health.PhaseBanner
}

// plain says an error in a few words, without the address, which is named elsewhere.
func plain(err error) string {
	var number syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &number):
		return number.Error()
	}
	return cut(err.Error())
}

const maxWords = 300

// cut makes a text from outside short, and one line.
func cut(text string) string {
	return smtp.Printable(fmt.Sprintf("%.*s", maxWords, strings.Join(strings.Fields(text), " ")))
}

// over reports whether a look was broken off by us.
func over(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// client asks by HTTP, over a connection of its own each time: what is looked at
// is whether one can be had. No proxy is asked, and no redirect followed.
func client(roots *x509.CertPool, d Dialer) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: d.DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// begun is a signal of a look that began at.
func begun(source health.Source, host string, at time.Time) health.Signal {
	return health.Signal{At: at, Source: source, Host: host}
}

// ended enters how long the look took, and when it ended.
func ended(s health.Signal) health.Signal {
	now := time.Now()
	s.Took, s.At = now.Sub(s.At), now
	return s
}
