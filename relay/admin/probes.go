package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Probes answers /healthz and /readyz, for containers and load balancers. It
// says nothing about mail and changes nothing, but whoever reaches it may ask,
// so it belongs on loopback. /healthz is 200 as long as the process answers.
// /readyz is 200 when mail is accepted, or else 503 with the reason in one
// line. A primary that is down leaves us ready: it is why we exist.
func (s *Server) Probes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		probed(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.accepting(); err != nil {
			probed(w, http.StatusServiceUnavailable, "not ready: "+smtp.Printable(err.Error()))
			return
		}
		probed(w, http.StatusOK, "ok")
	})
	return mux
}

// accepting returns nil when senders are told 250: when all runs, there is room
// for their mail, and nobody has paused it.
func (s *Server) accepting() error {
	stats := s.options.Inbound.Stats()
	switch err := s.options.Ready(); {
	case err != nil:
		return err
	case stats.Refusing != "":
		return errors.New(stats.Refusing)
	case stats.Paused.Active(time.Now()):
		return fmt.Errorf("paused by %s: %s", stats.Paused.Actor, stats.Paused.Reason)
	}
	return nil
}

// probed answers with one line, which nobody may keep.
func probed(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, line)
}

// ServeProbes answers Probes until ctx ends, and closes the listener.
func (s *Server) ServeProbes(ctx context.Context, listener net.Listener) error {
	return serveHTTP(ctx, listener, &http.Server{
		Handler:           s.Probes(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	})
}
