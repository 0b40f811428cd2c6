package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
)

const enforce = "version: STSv1\nmode: enforce\nmx: mx.corp.example\nmax_age: 604800\n"

// web is the policy host of all domains, over pipes, and their DNS.
type web struct {
	authority *primary.Authority
	named     string // in its certificate; "" is the host that is asked for

	mu     sync.Mutex
	texts  []string // the TXT records
	dead   error    // of the DNS
	handle http.HandlerFunc
	asked  []string // URLs
	down   bool     // nobody answers
}

func (w *web) LookupTXT(_ context.Context, name string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.HasPrefix(name, "_mta-sts.") {
		return nil, fmt.Errorf("asked for %s", name)
	}
	return w.texts, w.dead
}

func (w *web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked = append(w.asked, r.Host+r.URL.Path)
	handle := w.handle
	w.mu.Unlock()
	handle(out, r)
}

// calls counts the requests since the last call.
func (w *web) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.asked)
	w.asked = nil
	return n
}

func (w *web) dial(_ context.Context, host string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("nobody answers")
	}
	name := host
	if w.named != "" {
		name = w.named
	}
	certificate, err := w.authority.Certificate(name)
	if err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	l := &once{conn: tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{certificate}}), closed: make(chan struct{})}
	server := &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0)}
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed || s == http.StateHijacked {
			l.Close()
		}
	}
	go server.Serve(l)
	return ours, nil
}

// once is a listener with one connection.
type once struct {
	conn   net.Conn
	given  bool
	closed chan struct{}
	close  sync.Once
}

func (l *once) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *once) Close() error   { l.close.Do(func() { close(l.closed) }); return nil }
func (l *once) Addr() net.Addr { return &net.TCPAddr{} }

// bubble runs a test with a web, and waits until its connections have ended.
func bubble(t *testing.T, test func(t *testing.T, w *web)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newWeb(t))
		time.Sleep(time.Minute)
	})
}

func policyOf(text string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(out, text)
	}
}

func newWeb(t *testing.T) *web {
	t.Helper()
	authority, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return &web{authority: authority, texts: []string{"v=STSv1; id=1;"}, handle: policyOf(enforce)}
}

func (w *web) cache(change func(*Options)) *Cache {
	o := Options{Resolver: w, Dial: w.dial, Roots: w.authority.Pool()}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// kept is a Keep in memory.
type kept struct {
	mu     sync.Mutex
	values map[string][]byte
	broken error
}

func (k *kept) Put(_, key string, value any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, err := json.Marshal(value)
	if err == nil && k.broken == nil {
		k.values[key] = text
	}
	return errors.Join(err, k.broken)
}

func (k *kept) Delete(_, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.values, key)
	return k.broken
}

func (k *kept) Each(_ string, each func(key string, value []byte) error) error {
	for key, value := range k.values {
		if err := each(key, value); err != nil {
			return err
		}
	}
	return k.broken
}

// TestPolicyOfDomain: what a fetch can come to.
func TestPolicyOfDomain(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(w *web)
		mode   Mode
		calls  int
	}{
		{"a policy", func(*web) {}, Enforce, 1},
		{"testing", func(w *web) { w.handle = policyOf(strings.Replace(enforce, "enforce", "testing", 1)) }, Testing, 1},
		{"none", func(w *web) { w.handle = policyOf("version: STSv1\nmode: none\nmax_age: 60\n") }, None, 1},
		{"no record", func(w *web) { w.texts = nil }, "", 0},
		{"two records", func(w *web) { w.texts = []string{"v=STSv1; id=1", "v=STSv1; id=2"} }, "", 0},
		{"the DNS fails", func(w *web) { w.dead = errors.New("SERVFAIL") }, "", 0},
		{"nobody answers", func(w *web) { w.down = true }, "", 0},
		{"a certificate of another host", func(w *web) { w.named = "corp.example" }, "", 0},
		{"not found", func(w *web) { w.handle = http.NotFound }, "", 1},
		{"redirected to a policy", func(w *web) {
			w.handle = func(out http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/policy" {
					policyOf(enforce)(out, r)
					return
				}
				http.Redirect(out, r, "/policy", http.StatusFound)
			}
		}, "", 1},
		{"no text", func(w *web) {
			w.handle = func(out http.ResponseWriter, _ *http.Request) {
				out.Header().Set("Content-Type", "text/html")
				io.WriteString(out, enforce)
			}
		}, "", 1},
		{"no policy", func(w *web) { w.handle = policyOf("hello") }, "", 1},
		{"64 KiB", func(w *web) { w.handle = policyOf(enforce + strings.Repeat("x: y\n", (maxBody-len(enforce))/5)) }, Enforce, 1},
		{"more than 64 KiB", func(w *web) { w.handle = policyOf(enforce + strings.Repeat("x: y\n", maxBody/5+1)) }, "", 1},
		{"cut off", func(w *web) {
			w.handle = func(out http.ResponseWriter, _ *http.Request) {
				out.Header().Set("Content-Type", "text/plain")
				out.Header().Set("Content-Length", "1000")
				io.WriteString(out, enforce)
			}
		}, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *web) {
				test.change(w)
				p := w.cache(nil).Policy(t.Context(), "corp.example")
				if p.Mode != test.mode {
					t.Errorf("%+v, want mode %q", p, test.mode)
				}
				if test.calls == 1 && w.asked[0] != "mta-sts.corp.example/.well-known/mta-sts.txt" {
					t.Errorf("asked %v", w.asked)
				}
				if n := w.calls(); n != test.calls {
					t.Errorf("%d requests, want %d", n, test.calls)
				}
			})
		})
	}
}

// TestEndlessPolicy: a host that says a byte a second does not keep us for long,
// and one that ends because we do is not held against the domain.
func TestEndlessPolicy(t *testing.T) {
	bubble(t, func(t *testing.T, w *web) {
		w.handle = func(out http.ResponseWriter, r *http.Request) {
			out.Header().Set("Content-Type", "text/plain")
			for r.Context().Err() == nil {
				io.WriteString(out, "x")
				out.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}
		c := w.cache(nil)
		began := time.Now()
		if p := c.Policy(t.Context(), "corp.example"); p.Mode != "" || time.Since(began) != defaultTimeout {
			t.Errorf("%+v after %s", p, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if p := c.Policy(ctx, "other.example"); p.Mode != "" || !c.domains["other.example"].tried.IsZero() {
			t.Errorf("%+v, and held against it", p)
		}
	})
}

// TestPolicyIsKept: for its time, also while nothing answers, and over a restart.
func TestPolicyIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *web) {
		disk := &kept{values: map[string][]byte{}}
		c := w.cache(func(o *Options) { o.Keep = disk })
		want := func(mode Mode, calls int, when string) {
			t.Helper()
			if p := c.Policy(t.Context(), "corp.example"); p.Mode != mode {
				t.Errorf("%s: %+v, want %q", when, p, mode)
			}
			if n := w.calls(); n != calls {
				t.Errorf("%s: %d requests, want %d", when, n, calls)
			}
		}
		want(Enforce, 1, "at first")
		want(Enforce, 0, "again")
		w.texts = nil
		want(Enforce, 0, "without a record")
		w.dead = errors.New("SERVFAIL")
		want(Enforce, 0, "without the DNS")

		w.texts, w.dead, w.handle = []string{"v=STSv1; id=2"}, nil, http.NotFound
		want(Enforce, 1, "a new one that cannot be fetched")
		want(Enforce, 0, "a moment later")
		time.Sleep(again)
		want(Enforce, 1, "after five minutes")
		c = w.cache(func(o *Options) { o.Keep = disk })
		w.down = true
		want(Enforce, 0, "after a restart, and nobody answers")
		time.Sleep(7*24*time.Hour - again - time.Second)
		want(Enforce, 0, "in its last second")
		time.Sleep(time.Second)
		want("", 0, "when its time is over")
		if c = w.cache(func(o *Options) { o.Keep = disk }); len(c.domains) != 0 || len(disk.values) != 0 {
			t.Errorf("old ones are kept: %d, %d", len(c.domains), len(disk.values))
		}

		w.down, w.handle = false, policyOf(strings.Replace(enforce, "enforce", "testing", 1))
		want(Testing, 1, "a new one")
		time.Sleep(3 * 24 * time.Hour)
		want(Testing, 0, "in the first half of its time")
		time.Sleep(24 * time.Hour)
		want(Testing, 1, "in the second half, to be safe")
		time.Sleep(4 * 24 * time.Hour)
		want(Testing, 1, "which began its time anew")
	})
}

// TestNotForUs: a policy for no time at all is that of this one delivery.
func TestShortPolicy(t *testing.T) {
	bubble(t, func(t *testing.T, w *web) {
		w.handle = policyOf(strings.Replace(enforce, "604800", "0", 1))
		c := w.cache(nil)
		for range 2 {
			if p := c.Policy(t.Context(), "corp.example"); p.Mode != Enforce || w.calls() != 1 {
				t.Errorf("%+v", p)
			}
		}
	})
}

func TestDomainsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *web) {
		disk := &kept{values: map[string][]byte{}}
		c := w.cache(func(o *Options) { o.Keep = disk })
		c.Policy(t.Context(), "first.example")
		w.down = true
		for i := range maxDomains {
			c.Policy(t.Context(), fmt.Sprintf("dead%d.example", i))
		}
		if len(c.domains) != maxDomains || len(disk.values) != 1 {
			t.Errorf("%d domains, %d on disk", len(c.domains), len(disk.values))
		}
		time.Sleep(again)
		w.down = false
		c.Policy(t.Context(), "second.example") // the dead ones make room
		if len(c.domains) != 2 || len(disk.values) != 2 {
			t.Errorf("%d domains, %d on disk", len(c.domains), len(disk.values))
		}
		for i := range maxDomains {
			time.Sleep(time.Second)
			c.put(fmt.Sprintf("d%d.example", i), known{Policy: Policy{MaxAge: time.Hour}, Fetched: time.Now()}, time.Now())
		}
		if _, there := c.domains["first.example"]; there || len(c.domains) != maxDomains || len(disk.values) != 0 {
			t.Errorf("%d domains, %d on disk; the first one %v", len(c.domains), len(disk.values), there)
		}
	})
}

// TestDiskFails: the policies are as good without it.
func TestDiskFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *web) {
		disk := &kept{values: map[string][]byte{"corp.example": []byte("[]")}}
		c := w.cache(func(o *Options) { o.Keep = disk })
		disk.broken = errors.New("no disk")
		if p := c.Policy(t.Context(), "corp.example"); p.Mode != Enforce {
			t.Errorf("%+v", p)
		}
		c.drop("corp.example")
		disk.values["old.example"] = []byte("{}")
		if c = w.cache(func(o *Options) { o.Keep = disk }); len(c.domains) != 0 {
			t.Errorf("%v", c.domains)
		}
	})
}

// TestOverHTTPS: with a real server, and the roots of a test.
func TestOverHTTPS(t *testing.T) {
	w := newWeb(t)
	certificate, err := w.authority.Certificate("mta-sts.corp.example")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(w)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	defer server.Close()
	for name, roots := range map[string]*x509.CertPool{"our roots": w.authority.Pool(), "other roots": x509.NewCertPool()} {
		c := w.cache(func(o *Options) {
			o.Roots = roots
			o.Dial = func(ctx context.Context, host string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
			}
		})
		if p := c.Policy(t.Context(), "corp.example"); (p.Mode == Enforce) != (name == "our roots") || (p.Mode == "") == (name == "our roots") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
