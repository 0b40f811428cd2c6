package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const limit = 30 * time.Second

// lines is a log whose lines can be waited for.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed at the next line, then replaced
}

func newLines() *lines { return &lines{grown: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
	return l.text.Write(p)
}

// await waits until the log has the word so many times.
func (l *lines) await(t *testing.T, word string, times int) {
	t.Helper()
	late := time.After(limit)
	for {
		l.mu.Lock()
		text, grown := l.text.String(), l.grown
		l.mu.Unlock()
		if strings.Count(text, word) >= times {
			return
		}
		select {
		case <-grown:
		case <-late:
			t.Fatalf("no %s in the log:\n%s", word, text)
		}
	}
}

// errFallback is what the other certificate is in these tests.
var errFallback = errors.New("the other certificate")

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keeper runs a Keeper until stop is called, or the test ends.
type keeper struct {
	*Keeper
	log  *lines
	stop func()
}

func opened(t *testing.T, o Options, folder string) *keeper {
	t.Helper()
	log := newLines()
	o.Folder, o.Log = folder, slog.New(slog.NewTextHandler(log, nil))
	o.Fallback = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errFallback }
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{Keeper: k, log: log}
}

func (k *keeper) run(t *testing.T) *keeper {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) })
	k.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(k.stop)
	return k
}

// leaf is the certificate that serves; nil is the other one.
func (k *keeper) leaf(t *testing.T) *x509.Certificate {
	t.Helper()
	c, err := k.GetCertificate(&tls.ClientHelloInfo{})
	if errors.Is(err, errFallback) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// TestIssue: a certificate is issued, kept, found again, and renewed, also if
// what was kept is damaged.
func TestIssue(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{HTTP01, TLSALPN01} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			o := issuing(t, challenge)
			folder := filepath.Join(t.TempDir(), "acme")
			at := o.Listener.Addr().String()
			k := opened(t, o, folder)
			if s := k.Status(); k.leaf(t) != nil || s != (Status{}) || k.Address() != at {
				t.Errorf("before: %+v at %s", s, k.Address())
			}
			k.run(t).log.await(t, "certificate.obtained", 1)
			first := k.leaf(t)
			if first == nil || first.VerifyHostname(o.Hostname) != nil || !k.Status().Until.Equal(first.NotAfter) || k.Status().Failure != "" {
				t.Fatalf("issued %v, status %+v", first, k.Status())
			}
			k.stop()
			closed(t, folder)

			o.Listener = listen(t, at)
			again := opened(t, o, folder)
			if got := again.leaf(t); got == nil || got.SerialNumber.Cmp(first.SerialNumber) != 0 {
				t.Fatalf("after a start: %v", got)
			}
			again.config.RenewalWindowRatio = 1 // its time is always near
			again.run(t).log.await(t, "certificate.obtained", 1)
			second := again.leaf(t)
			if second.SerialNumber.Cmp(first.SerialNumber) == 0 {
				t.Error("it was not renewed")
			}
			again.stop()

			spoil(t, folder, o.Hostname)
			o.Listener = listen(t, at)
			mended := opened(t, o, folder)
			if mended.leaf(t) != nil {
				t.Error("a damaged certificate serves")
			}
			mended.run(t).log.await(t, "certificate.obtained", 1)
			mended.log.await(t, "certificate.invalid", 1)
			if got := mended.leaf(t); got == nil || got.SerialNumber.Cmp(second.SerialNumber) == 0 {
				t.Errorf("after damage: %v", got)
			}
		})
	}
}

// closed checks that nobody else may read what is in the folder.
func closed(t *testing.T, folder string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		if !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files < 4 { // account, its key, certificate, its key
		t.Errorf("%d files, %v", files, err)
	}
}

// spoil damages the certificate that is kept.
func spoil(t *testing.T, folder, name string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "certificates", "*", name, name+".crt"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if err := os.WriteFile(found[0], []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOutageOfTheAuthority: what there is serves on, and the failure is told.
func TestOutageOfTheAuthority(t *testing.T) {
	t.Parallel()
	gone := listen(t, "127.0.0.1:0")
	gone.Close()
	o := Options{Hostname: "mx2.corp.example", Directory: "https://" + gone.Addr().String() + "/dir", Email: "a@corp.example",
		Challenge: HTTP01, Listener: listen(t, "127.0.0.1:0")}
	k := opened(t, o, t.TempDir()).run(t)
	k.log.await(t, "certificate.failed", 1)
	if s := k.Status(); k.leaf(t) != nil || !strings.Contains(s.Failure, "connection refused") || !s.Until.IsZero() {
		t.Errorf("status %+v", s)
	}
	k.mu.Lock()
	k.current = &tls.Certificate{Leaf: &x509.Certificate{NotAfter: time.Now().Add(time.Hour)}}
	k.mu.Unlock()
	if s := k.Status(); k.leaf(t) == nil || s.Failure == "" || s.Until.IsZero() {
		t.Errorf("with an older one: status %+v", s)
	}
	k.mu.Lock()
	k.current = &tls.Certificate{Leaf: &x509.Certificate{NotAfter: time.Now().Add(-time.Hour)}}
	k.mu.Unlock()
	if k.leaf(t) != nil {
		t.Error("an expired one serves")
	}
}

// TestOthersAreNotAnswered: only the authority has anything to ask.
func TestOthersAreNotAnswered(t *testing.T) {
	t.Parallel()
	gone := listen(t, "127.0.0.1:0")
	gone.Close()
	o := Options{Hostname: "mx2.corp.example", Directory: "https://" + gone.Addr().String() + "/dir", Email: "a@corp.example"}
	o.Challenge, o.Listener = HTTP01, listen(t, "127.0.0.1:0")
	opened(t, o, t.TempDir()).run(t)
	got, err := http.Get("http://" + o.Listener.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if text, _ := io.ReadAll(got.Body); got.StatusCode != http.StatusNotFound {
		t.Errorf("%s: %s", got.Status, text)
	}
	o.Challenge, o.Listener = TLSALPN01, listen(t, "127.0.0.1:0")
	opened(t, o, t.TempDir()).run(t)
	for _, protocols := range [][]string{nil, {"h2"}, {"acme-tls/1"}} {
		if conn, err := tls.Dial("tcp", o.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: "mx2.corp.example", NextProtos: protocols}); err == nil {
			conn.Close()
			t.Errorf("a handshake with %v", protocols)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	if _, err := Open(Options{Challenge: "dns-01", Listener: l}); err == nil {
		t.Error("a challenge that there is not")
	}
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if _, err := Open(Options{Challenge: HTTP01, Listener: local}); err == nil {
		t.Error("a listener without a port")
	}
}

func TestWait(t *testing.T) {
	want := map[int]time.Duration{0: 5 * time.Minute, 1: 10 * time.Minute, 2: 20 * time.Minute, 6: 320 * time.Minute, 7: 6 * time.Hour, 100: 6 * time.Hour}
	for before, d := range want {
		if got := wait(before); got != d {
			t.Errorf("after %d: %s, want %s", before, got, d)
		}
	}
}
