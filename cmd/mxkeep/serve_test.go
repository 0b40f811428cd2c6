package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/state"
)

// served is a configuration file for a relay on loopback whose primary refuses connections.
type served struct{ folder, file, socket string }

// newServed writes the file; rest is added to it.
func newServed(t *testing.T, rest string) served {
	t.Helper()
	folder, err := os.MkdirTemp("", "mx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	s := served{folder, filepath.Join(folder, "mxkeep.yaml"), filepath.Join(folder, "s")}
	text := "hostname: mx2.corp.example\ndomain: corp.example\nupstream: 127.0.0.31:1\ndata: data\nsocket: s\ndns: {servers: [\"127.0.0.1:1\"], tries: 1}\n" + rest
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// onLoopback is the rest of a file for a relay that anybody can run.
const onLoopback = "http: {listen: \"\"}\ninbound: {listen: \"127.0.0.1:0\", min_free: 1MiB, timeouts: {greeting: 0s}}\n"

// watched is an output that tells when a word has come; it comes once.
type watched struct {
	word string
	come chan struct{} // closed then

	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watched) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := strings.Contains(w.text.String(), w.word)
	w.text.Write(text)
	if !before && strings.Contains(w.text.String(), w.word) {
		close(w.come)
	}
	return len(text), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// await waits for the word.
func (w *watched) await(t *testing.T) {
	t.Helper()
	select {
	case <-w.come:
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s in:\n%s", w.word, w)
	}
}

func TestServe(t *testing.T) {
	s := newServed(t, onLoopback+"log: {format: json, level: debug}\n")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.socket + ".notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out bytes.Buffer
	errs := &watched{word: "relay.ready", come: make(chan struct{})}
	env := map[string]string{"MXKEEP_CONFIG": s.file, "NOTIFY_SOCKET": s.socket + ".notify"}
	code := make(chan int, 1)
	go func() {
		a := &app{in: strings.NewReader(""), out: &out, errs: errs, now: time.Now(), env: func(name string) string { return env[name] }}
		code <- a.run(ctx, []string{"serve"})
	}()
	errs.await(t)
	var told [100]byte
	if n, err := manager.Read(told[:]); err != nil || string(told[:n]) != "READY=1" {
		t.Errorf("the service manager was told %q, %v", told[:n], err)
	}
	r := &rig{t: t, socket: s.socket}
	if got := r.run("ready"); got.code != 0 {
		t.Errorf("ready: exit %d, %s", got.code, got.errs)
	}
	// Whoever comes second is told why, and does no harm.
	second := newServed(t, onLoopback)
	if err := os.WriteFile(second.file, []byte(strings.Replace(read(t, second.file), "socket: s", "socket: "+s.socket, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.run("serve", "--config", second.file); got.code != 1 || !strings.Contains(got.errs, "E2205 already_running: the relay cannot start: control socket "+s.socket) {
		t.Errorf("second: exit %d, %s", got.code, got.errs)
	}
	cancel()
	if got := <-code; got != 0 || out.Len() > 0 {
		t.Errorf("exit %d, %s", got, out.String())
	}
	for _, line := range []string{`"level":"info","event":"relay.ready","hostname":"mx2.corp.example"`, `"event":"relay.stopping"`, `"event":"relay.stopped"`} {
		if !strings.Contains(errs.String(), line) {
			t.Errorf("no %s in\n%s", line, errs)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServeThatCannotStart(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	for _, test := range []struct {
		name, rest string
		code       int
		words      []string
	}{
		{"an unknown key", "colour: blue\n", exitConfig, []string{"E2101 config_invalid: the configuration cannot be used", "colour"}},
		{"a port in use", "http: {listen: \"\"}\ninbound: {listen: \"" + occupied.Addr().String() + "\"}\n", exitFailed,
			[]string{"E2202 port_in_use: the relay cannot start: SMTP: listen tcp " + occupied.Addr().String(), "address already in use", "ss -ltnp"}},
		{"a port in use for HTTP", "http: {listen: \"" + occupied.Addr().String() + "\"}\ninbound: {listen: \"127.0.0.1:0\"}\n", exitFailed,
			[]string{"E2202 port_in_use: the relay cannot start: HTTP: "}},
		{"a port in use for ACME", "http: {listen: \"\"}\ninbound: {listen: \"127.0.0.1:0\", acme: {directory: \"https://127.0.0.1:1/d\", email: a@b.example, listen: \"" + occupied.Addr().String() + "\"}}\n", exitFailed,
			[]string{"E2202 port_in_use: the relay cannot start: ACME: ", "or inbound.acme.listen"}},
		{"an address of others", "http: {listen: \"\"}\ninbound: {listen: \"192.0.2.1:0\"}\n", exitFailed,
			[]string{"E2204 address_not_ours: ", "ip -brief address"}},
		{"a socket path that is too long", onLoopback + "log: {level: error}\n", exitFailed,
			[]string{"E2201 start_failed: the relay cannot start: control socket ", "longer than 90 bytes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServed(t, test.rest)
			if strings.Contains(test.name, "too long") {
				text := strings.Replace(read(t, s.file), "socket: s", "socket: "+strings.Repeat("s", 100), 1)
				if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := (&rig{t: t}).run("serve", "--config", s.file)
			for _, words := range test.words {
				if got.code != test.code || !strings.Contains(got.errs, words) || got.out != "" {
					t.Errorf("exit %d, no %q in\n%s", got.code, words, got.errs)
				}
			}
		})
	}
	if got := (&rig{t: t}).run("serve"); got.code != exitUsage || !strings.Contains(got.errs, "E1101 usage: no configuration file") {
		t.Errorf("without a file: exit %d, %s", got.code, got.errs)
	}
}

func TestWhyNotStarted(t *testing.T) {
	listen := func(err error) error { return fmt.Errorf("SMTP: %w", &net.OpError{Op: "listen", Err: err}) }
	for _, test := range []struct {
		err  error
		code string
	}{
		{listen(syscall.EADDRINUSE), "port_in_use"},
		{listen(syscall.EACCES), "port_not_allowed"},
		{listen(syscall.EADDRNOTAVAIL), "address_not_ours"},
		{listen(syscall.EMFILE), "start_failed"},
		{fmt.Errorf("state.db: %w", state.ErrInUse), "already_running"},
		{fmt.Errorf("s: %w", admin.ErrInUse), "already_running"},
		{&os.PathError{Op: "mkdir", Path: "/data", Err: syscall.EACCES}, "start_failed"},
		{&os.PathError{Op: "mkdir", Path: "/data", Err: syscall.EROFS}, "disk_failed"},
		{fmt.Errorf("queue: %w", bolt.ErrFailed), "disk_failed"},
		{errors.New("anything"), "start_failed"},
	} {
		exit := exitFailed
		if test.code == codeDiskFailed {
			exit = exitDisk
		}
		if got := whyNotStarted(test.err); got != test.code || lookup(got).exit != exit || lookup(got).code != got {
			t.Errorf("%v: %s", test.err, got)
		}
	}
}

func TestLog(t *testing.T) {
	for _, test := range []struct {
		config configs.Log
		want   string
	}{
		{configs.Log{Level: "info", Format: "text"}, `^time=\S+Z level=info event=it.happened id=1 reply="two\\nlines" client.time=noon client.level=high\n$`},
		{configs.Log{Level: "warn", Format: "text"}, `^$`},
		{configs.Log{Level: "debug", Format: "json"}, `^{"time":"[^"]+Z","level":"info","event":"it.happened","id":1,"reply":"two\\nlines","client":{"time":"noon","level":"high"}}\n$`},
	} {
		var out bytes.Buffer
		newLog(&out, test.config).Info("it.happened", "id", 1, "reply", "two\nlines", slog.Group("client", "time", "noon", "level", "high"))
		if !regexp.MustCompile(test.want).MatchString(out.String()) {
			t.Errorf("%+v: %s", test.config, out.String())
		}
	}
}

// TestASecondSignal ends what the first one lets come to its end.
func TestASecondSignal(t *testing.T) {
	s := newServed(t, strings.Replace(onLoopback, "127.0.0.1:0", "127.0.0.32:0", 1))
	errs := &watched{word: "relay.ready", come: make(chan struct{})}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MXKEEP_TEST_ARGUMENTS=serve --allow-root --config "+s.file)
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	errs.await(t)
	address := regexp.MustCompile(`127\.0\.0\.32:\d+`).FindString(errs.String())
	client, err := smtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := errors.Join(client.Mail("a@sender.example"), client.Rcpt("a@corp.example")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Data(); err != nil { // it is waited for
		t.Fatal(err)
	}
	again := time.NewTicker(50 * time.Millisecond) // the first one may not have got through yet
	defer again.Stop()
	for first := true; ; first = false {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && first {
			t.Fatal(err)
		}
		select {
		case <-ended:
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !status.Signaled() || status.Signal() != syscall.SIGTERM || !strings.Contains(errs.String(), "event=relay.stopping") {
				t.Errorf("ended with %s:\n%s", cmd.ProcessState, errs)
			}
			return
		case <-again.C:
		}
	}
}
