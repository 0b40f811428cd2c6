package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/admin/admintest"
)

// rig is a server with parts that the test plays.
type rig struct {
	store      *admintest.Store
	exo        *admintest.Upstream
	inbound    *admintest.Inbound
	recipients *admintest.Recipients
	files      *admintest.Files
	bounces    *admintest.Bounces
	windows    *admintest.Windows
	incidents  *admintest.Incidents
	ready      error
	server     *admin.Server
}

func newRig() *rig {
	r := &rig{store: admintest.NewStore(), inbound: &admintest.Inbound{}, recipients: &admintest.Recipients{}, files: &admintest.Files{}, bounces: &admintest.Bounces{}, windows: &admintest.Windows{}, incidents: &admintest.Incidents{}, exo: &admintest.Upstream{Status: health.Status{State: health.Up}}}
	r.server = admin.New(admin.Options{Store: r.store, Files: r.files, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example")}, Inbound: r.inbound.Part(), Bounces: r.bounces.Part(), Windows: r.windows, Incidents: r.incidents, Recipients: r.recipients.Part(),
		Version: "0.1.0", Started: time.Now(), Ready: func() error { return r.ready }})
	return r
}

// without makes the server anew, of a relay that keeps no incidents.
func (r *rig) without() {
	r.server = admin.New(admin.Options{Store: r.store, Files: r.files, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example")}, Inbound: r.inbound.Part(), Bounces: r.bounces.Part(), Recipients: r.recipients.Part(),
		Version: "0.1.0", Started: time.Now(), Ready: func() error { return r.ready }})
}

// accept takes a message into custody.
func (r *rig) accept(t testing.TB, from, to string) queue.ID {
	t.Helper()
	id, err := r.store.Accept(context.Background(), "Subject: x\r\n\r\nbody\r\n", queue.Acceptance{At: time.Now(), MessageID: "<1@b.example>", Lifetime: queue.DefaultLifetime,
		Envelope: queue.Envelope{Upstream: "exo", ReversePath: from, Recipients: []queue.Recipient{{ForwardPath: to}}}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// snapshot is everything that a request could have changed.
func (r *rig) snapshot(t testing.TB) string {
	t.Helper()
	text, err := json.Marshal(append(r.store.Snapshot(context.Background()), r.exo.Status, r.exo.Delivery, r.inbound.Stats, r.windows.All, r.recipients.Imported, r.recipients.Forced, r.incidents.Records))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ask sends a request "METHOD path" to the handler.
func (r *rig) ask(request, body string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(request, " ")
	answer := httptest.NewRecorder()
	r.server.Handler().ServeHTTP(answer, httptest.NewRequest(method, "http://mxkeep"+path, strings.NewReader(body)))
	return answer
}

// lastError reads the error in the last line of an answer.
func lastError(t testing.TB, answer *httptest.ResponseRecorder) admin.Error {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(answer.Body.String(), "\n"), "\n")
	var e admin.Error
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil {
		t.Errorf("%q: %v", answer.Body, err)
	}
	if e.Schema != admin.SchemaError {
		return admin.Error{}
	}
	return e
}

// socketPath is a path short enough for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "mx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "run", "admin.sock")
}

// serve answers with a handler on a socket until the test ends.
func serve(t testing.TB, handler http.Handler) *admin.Client {
	t.Helper()
	path := filepath.Join(filepath.Dir(socketPath(t)), "s")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	return admin.NewClient(path)
}

// run serves on the listener; the function returned ends that and tells how it ended.
func run(serve func(context.Context, net.Listener) error, listener net.Listener) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// body writes a request.
func body(format string, args ...any) string { return fmt.Sprintf(format, args...) }
