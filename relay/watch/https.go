package watch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// maxPage bounds what is read of an answer.
const maxPage = 4 << 20

// Page is a web address to look at.
type Page struct {
	URL    string
	Roots  *x509.CertPool // nil: those of the system
	Dialer Dialer
}

// Look asks for the page. Any answer that is no failure of the server is OK,
// also one that asks to log in: status and time are what counts.
func (p Page) Look(ctx context.Context) []health.Signal {
	s := begun(health.SourceHTTPS, p.URL, time.Now())
	status, _, err := get(ctx, client(p.Roots, p.Dialer), p.URL, "", &s)
	if over(ctx) {
		return nil
	}
	switch s.Command = http.MethodGet; {
	case err != nil:
		s.Class, s.Reply = health.Outage, plain(err)
	case status == http.StatusTooManyRequests:
		s.Class, s.Reply = health.Throttle, statusLine(status)
	case status >= 500:
		s.Class, s.Reply = health.Outage, statusLine(status)
	default:
		s.Reply = statusLine(status)
	}
	return []health.Signal{ended(s)}
}

// errLarge says that an answer is too large to be read.
var errLarge = errors.New("the answer is larger than 4 MiB")

// get asks for a page, with a bearer token if there is one. It enters into the
// signal who answered, and how far it came.
func get(ctx context.Context, via *http.Client, url, token string, s *health.Signal) (status int, body []byte, err error) {
	connected := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		s.Address, s.SourceIP, s.Phase = got.Conn.RemoteAddr().String(), hostOf(got.Conn.LocalAddr()), health.PhaseBanner
	}}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, connected), http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := via.Do(request)
	if err != nil {
		if s.Phase = phaseOf(err); isTLS(err) {
			s.Phase = health.PhaseTLS
		}
		return 0, nil, err
	}
	defer response.Body.Close()
	s.Phase = health.PhaseFinal
	body, err = io.ReadAll(io.LimitReader(response.Body, maxPage+1))
	if err == nil && len(body) > maxPage {
		err = errLarge
	}
	return response.StatusCode, body, err
}

func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &verify) || errors.As(err, &record)
}

func statusLine(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}
