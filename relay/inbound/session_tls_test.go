package inbound

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// handshake says STARTTLS and does a handshake as the client wants it.
func (w *wire) handshake(config *tls.Config) (tls.ConnectionState, error) {
	w.t.Helper()
	w.askLast("STARTTLS", "220 2.0.0")
	config.InsecureSkipVerify = true
	secured := tls.Client(w.conn, config)
	err := secured.Handshake()
	w.conn = secured
	w.listen()
	return secured.ConnectionState(), err
}

// TestVersionsOfTLS: below TLS 1.2, whatever the options say, the client is told
// by the alert that is there for it; Received names version and cipher of what was agreed on.
func TestVersionsOfTLS(t *testing.T) {
	const tooOld = "remote error: tls: protocol version not supported" // protocol_version (RFC 5246 7.2.2)
	for _, test := range []struct {
		version uint16
		cipher  uint16
		alert   string
		clause  string
	}{
		{tls.VersionTLS10, 0, tooOld, ""},
		{tls.VersionTLS11, 0, tooOld, ""},
		{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "", "tls TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 (TLS1.2)"},
		{tls.VersionTLS13, 0, "", "tls TLS_AES_128_GCM_SHA256 (TLS1.3)"},
	} {
		t.Run(tls.VersionName(test.version), func(t *testing.T) {
			offered := withTLS(t)
			r := newRig(t, func(o *Options) { offered(o); o.TLS.MinVersion = tls.VersionTLS10 })
			w := r.dial("192.0.2.1").hello()
			config := &tls.Config{MinVersion: test.version, MaxVersion: test.version}
			if test.cipher != 0 {
				config.CipherSuites = []uint16{test.cipher}
			}
			_, err := w.handshake(config)
			if got := fmt.Sprint(err); err != nil && got != test.alert || (err != nil) != (test.alert != "") {
				t.Fatalf("the handshake ends with %v", err)
			}
			if test.clause == "" {
				w.want("gone")
				r.finish()
				if r.refusedFor(reasonHandshake) != 1 {
					t.Error(counted(r))
				}
				return
			}
			w.ask("EHLO client.example", "250")
			w.envelope().ask("DATA", "354")
			w.ask(".", "250")
			w.ask("QUIT", "221")
			r.finish()
			if trace, _ := r.content(r.messages()[0].ID); !strings.Contains(trace, " with ESMTPS ") || !strings.Contains(trace, test.clause) {
				t.Errorf("trace %q", trace)
			}
		})
	}
}

// TestCertificateIsReloadedWhileSessionsRun: who comes after the change sees the
// new one, and who was there before goes on.
func TestCertificateIsReloadedWhileSessionsRun(t *testing.T) {
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "a.crt"), filepath.Join(folder, "a.key")
	begun := time.Now()
	give := func(name string, at time.Time) {
		t.Helper()
		err := makeSelfSigned(cert, key, name, at)
		for _, file := range []string{cert, key} { // file times may be too coarse to tell two writes apart
			err = errors.Join(err, os.Chtimes(file, at, at))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	give("one.example", begun)
	c, err := NewCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options) { o.TLS = c.Config() })
	var sessions []*wire
	for i, name := range []string{"one.example", "two.example"} {
		if i > 0 {
			give(name, begun.Add(time.Second))
		}
		w := r.dial("192.0.2.1").hello()
		state, err := w.handshake(&tls.Config{})
		if err != nil || state.PeerCertificates[0].VerifyHostname(name) != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sessions = append(sessions, w)
	}
	for _, w := range sessions {
		w.ask("EHLO client.example", "250")
		w.envelope().ask("DATA", "354")
		w.ask(".", "250")
		w.ask("QUIT", "221")
	}
	r.finish()
	if n := len(r.messages()); n != 2 {
		t.Errorf("%d messages", n)
	}
}
