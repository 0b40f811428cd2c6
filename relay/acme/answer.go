package acme

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"golang.org/x/net/netutil"
)

const (
	answerLimit = 10 * time.Second // for one question
	questions   = 64               // at the same time
	longHeader  = 8 << 10
)

// answer answers the questions of the authority, and nothing else, until the
// function that it returns is called.
func (k *Keeper) answer(l net.Listener) (stop func()) {
	server := &http.Server{Handler: http.NotFoundHandler(), ReadTimeout: answerLimit, WriteTimeout: answerLimit,
		MaxHeaderBytes: longHeader, ErrorLog: log.New(io.Discard, "", 0)} // anybody may come here, and leave as they like
	server.SetKeepAlivesEnabled(false)
	l = netutil.LimitListener(l, questions)
	serve := server.Serve
	if k.options.Challenge == HTTP01 {
		server.Handler = k.issuer.HTTPChallengeHandler(server.Handler)
	} else {
		server.TLSConfig = k.answerTLS()
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){ // the handshake was the answer
			acmez.ACMETLS1Protocol: func(*http.Server, *tls.Conn, http.Handler) {}}
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = serve(l) }) // ends when it is closed
	return func() {
		_ = server.Close() // and the listener
		_ = l.Close()      // if that came before Serve
		serving.Wait()
	}
}

// answerTLS is for handshakes that name the protocol of the challenge (RFC 8737).
func (k *Keeper) answerTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acmez.ACMETLS1Protocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if !slices.Contains(hello.SupportedProtos, acmez.ACMETLS1Protocol) {
				return nil, errors.New("only the certificate authority is answered here")
			}
			return k.config.GetCertificate(hello)
		}}
}
