package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// SchemaVantage is that of what another relay may ask for.
const SchemaVantage = "mxkeep.vantage/1"

// VantageView is what this relay sees of its upstreams, for another relay. It
// says nothing about mail, people or their decisions.
type VantageView struct {
	Schema    string            `json:"schema"`
	At        Time              `json:"at"`
	Hostname  string            `json:"hostname"`
	Upstreams []VantageUpstream `json:"upstreams"`
}

// VantageUpstream is what was observed of one upstream.
type VantageUpstream struct {
	Name       string   `json:"name"`
	State      string   `json:"state"` // as it was observed, whatever an override says
	Since      Time     `json:"since"`
	BadRounds  int      `json:"bad_rounds"`
	GoodRounds int      `json:"good_rounds"`
	Throttled  bool     `json:"throttled"`
	Refuses    bool     `json:"refuses"` // this relay, as it is configured
	CutOff     bool     `json:"cut_off"` // the network of this relay is broken
	Probes     []Signal `json:"probes"`  // of the last round
}

// PathVantage is where the view is.
const PathVantage = "/v1/vantage"

// minToken is how long a token must at least be: whoever guesses sends one at a time.
const minToken = 20

// ReadToken reads a token from a file, which nobody but its owner may read.
func ReadToken(path string) (string, error) {
	at, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if at.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others may read or write the token in %s (mode %04o)", path, at.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("the token in %s is not %d or more letters, digits and signs", path, minToken)
	}
	return token, nil
}

// Vantage answers who has the token of the file, which is read each time, so
// that it can be changed. There is nothing to be asked but PathVantage.
func (s *Server) Vantage(tokenFile string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathVantage, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		token, err := ReadToken(tokenFile)
		said, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if err != nil || !bearer || !same(said, token) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		write(w, http.StatusOK, s.vantage(time.Now()))
	})
	return mux
}

// same compares in a time that tells nothing, not even how long the token is.
func same(said, token string) bool {
	a, b := sha256.Sum256([]byte(said)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (s *Server) vantage(now time.Time) VantageView {
	v := VantageView{Schema: SchemaVantage, At: Time{now}, Hostname: s.options.Hostname, Upstreams: []VantageUpstream{}}
	for _, u := range s.options.Upstreams {
		status := u.Status()
		v.Upstreams = append(v.Upstreams, VantageUpstream{Name: u.Name, State: status.State.String(), Since: Time{status.Since},
			BadRounds: status.BadRounds, GoodRounds: status.GoodRounds, Throttled: status.Throttled.Active(),
			Refuses: status.Misconfigured.Active(), CutOff: status.Network.Active(), Probes: lastRound(u.Recent())})
	}
	return v
}

// lastRound are the probes of the last round that has ended.
func lastRound(recent []health.Signal) []Signal {
	round, found := []Signal{}, uint64(0)
	for _, s := range slices.Backward(recent) {
		if s.Source == health.SourceProbe && (len(round) > 0 && s.Round == found || len(round) == 0 && s.Last) {
			round, found = append(round, describeSignal(s)), s.Round
		}
	}
	return round
}

// maxViewers bounds the connections at once: nobody outside may take all descriptors.
const maxViewers = 32

// fewListener closes connections at once that are too many.
type fewListener struct {
	net.Listener
	free chan struct{} // has a token for each connection that is open
}

func (l *fewListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &fewConn{Conn: conn, free: l.free}, nil
		default:
			_ = conn.Close()
		}
	}
}

// fewConn gives its token back when it is closed.
type fewConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (c *fewConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}

// ServeVantage answers Vantage over TLS until ctx ends, and closes the listener.
func (s *Server) ServeVantage(ctx context.Context, listener net.Listener, secured *tls.Config, tokenFile string) error {
	return serveHTTP(ctx, tls.NewListener(&fewListener{Listener: listener, free: make(chan struct{}, maxViewers)}, secured), &http.Server{
		Handler:           s.Vantage(tokenFile),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      headerTimeout,
		IdleTimeout:       headerTimeout,
		ErrorLog:          log.New(io.Discard, "", 0), // whoever scans ports would fill the log
		MaxHeaderBytes:    maxHeader,
	})
}
