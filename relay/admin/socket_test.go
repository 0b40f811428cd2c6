package admin_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	listener, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func TestTheSocketIsItsOwnersOnly(t *testing.T) {
	path := socketPath(t)
	old := syscall.Umask(0) // the mode must not depend on it
	defer syscall.Umask(old)
	listener := listen(t, path)
	for name, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		if found, err := os.Lstat(name); err != nil || found.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, found.Mode(), err, want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the socket: %v, %v", entries, err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

func TestOneSocketHasOneServer(t *testing.T) {
	path := socketPath(t)
	first := listen(t, path)
	if _, err := admin.Listen(path); !errors.Is(err, admin.ErrInUse) {
		t.Errorf("a second server: %v", err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first one is out of reach: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := listen(t, path)
	if err := first.Close(); err == nil {
		t.Error("a second Close of the first one succeeded")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing the first one again took the socket of the second: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	listener := listen(t, path)
	r := newRig()
	stop := run(r.server.Serve, listener)
	if err := admin.NewClient(path).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestWhereNoSocketCanBe(t *testing.T) {
	path := socketPath(t)
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(folder, "taken")
	if err := os.WriteFile(taken, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "link")
	if err := os.Symlink(taken, link); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ rule, path string }{
		{"a file", taken},
		{"a link", link},
		{"a folder", folder},
		{"below a file", filepath.Join(taken, "admin.sock")},
		{"a long path", filepath.Join(folder, strings.Repeat("x", 100))},
	} {
		if _, err := admin.Listen(test.path); err == nil || errors.Is(err, admin.ErrInUse) || !strings.Contains(err.Error(), "control socket") {
			t.Errorf("%s: %v", test.rule, err)
		}
	}
	if text, err := os.ReadFile(taken); err != nil || string(text) != "x" {
		t.Errorf("the file was touched: %q, %v", text, err)
	}
}

func TestTheKernelNamesTheActor(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig()
	id := r.accept(t, "a@b.example", "c@corp.example")
	path := socketPath(t)
	stop := run(r.server.Serve, listen(t, path))
	client := admin.NewClient(path)
	if _, err := client.Change(t.Context(), admin.ChangeRequest{Select: admin.Select{All: true}, Verb: "hold"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Pause(t.Context(), admin.PauseRequest{ResumeRequest: admin.ResumeRequest{Inbound: true}, ForSeconds: 60, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Override(t.Context(), admin.OverrideRequest{State: "down", ForSeconds: 60, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := client.Content(t.Context(), string(id), "raw", io.Discard); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for e, err := range r.store.Ledger(t.Context(), queue.LedgerFilter{Events: []queue.Event{queue.Hold, queue.Noted}}) {
		if err != nil || e.Actor != me.Username {
			t.Errorf("%+v, %v", e, err)
		}
		lines++
	}
	if lines != 4 || r.inbound.Stats.Paused.Actor != me.Username || r.exo.Status.Override.Actor != me.Username {
		t.Errorf("%d lines, %+v, %+v", lines, r.inbound.Stats.Paused, r.exo.Status.Override)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestStopping(t *testing.T) {
	r := newRig()
	asked, answer := make(chan struct{}), make(chan struct{})
	r.exo.Probing = func(context.Context) {
		close(asked)
		<-answer
	}
	path := socketPath(t)
	stop := run(r.server.Serve, listen(t, path))
	probed := make(chan error, 1)
	go func() {
		_, err := admin.NewClient(path).Probe(t.Context(), admin.ProbeRequest{})
		probed <- err
	}()
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until it does not listen any more
		conn, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(answer)
	if err := <-probed; err != nil {
		t.Errorf("a request that ran: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestAListenerThatFails(t *testing.T) {
	r := newRig()
	for name, serve := range map[string]func(context.Context, net.Listener) error{"socket": r.server.Serve, "probes": r.server.ServeProbes} {
		listener := listen(t, socketPath(t))
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if err := serve(t.Context(), listener); err == nil || !strings.Contains(err.Error(), "answering on") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProbes(t *testing.T) {
	r := newRig()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := run(r.server.ServeProbes, listener)
	for _, test := range []struct {
		method, path string
		ready        error
		status       int
		body         string
	}{
		{"GET", "/healthz", nil, 200, "ok\n"},
		{"HEAD", "/healthz", nil, 200, ""},
		{"GET", "/healthz", errors.New("the store is closed"), 200, "ok\n"},
		{"GET", "/readyz", nil, 200, "ok\n"},
		{"GET", "/readyz", errors.New("the listener is not open"), 503, "not ready: the listener is not open\n"},
		{"GET", "/readyz", errors.New("two\nlines \x1b[31m"), 503, `not ready: two\x0alines \x1b[31m` + "\n"},
		{"POST", "/readyz", nil, 405, "Method Not Allowed\n"},
		{"GET", "/v1/status", nil, 404, "404 page not found\n"},
	} {
		r.ready = test.ready
		request, err := http.NewRequest(test.method, "http://"+listener.Addr().String()+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != test.status || string(text) != test.body {
			t.Errorf("%s %s, ready %v: status %d, %q", test.method, test.path, test.ready, answer.StatusCode, text)
		}
		if answer.StatusCode < 400 && answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s may be cached", test.method, test.path)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
